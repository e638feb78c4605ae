"""The bound of decoding speed: the bytes that a token's computation reads, and this machine's memory bandwidth."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import mlx.core as mx
import numpy as np

from menny.engine.model import Mistral

FLOATS = 1 << 26  # 256 MiB: more than a processor's caches hold
RUNS = 5


def measure_bandwidth() -> float:
    """Measure the bytes a second that this machine reads: the best of several passes over a large array."""
    if mx.default_device().type == mx.DeviceType.gpu:
        on_gpu = mx.ones(FLOATS)
        mx.eval(on_gpu)
        return _best(lambda: mx.eval(mx.sum(on_gpu)))
    threads = os.cpu_count() or 1
    parts = np.array_split(np.ones(FLOATS, np.float32), 4 * threads)
    with ThreadPoolExecutor(threads) as pool:
        return _best(lambda: list(pool.map(np.max, parts)))


def _best(read: Callable[[], object]) -> float:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        read()
        seconds.append(time.perf_counter() - began)
    return 4 * FLOATS / min(seconds)


def weights_bytes(model: Mistral) -> int:
    """The size of all weights in bytes."""
    return sum(model.weight_sizes.values())


def bytes_per_token(model: Mistral, position: int) -> int:
    """The bytes that decoding reads for the token at this position: every weight that takes part, and the cache."""
    args = model.args
    seen = sum(min(position, args.window_of(layer) or position) for layer in range(args.n_layers))
    numbers = 2 * args.n_kv_heads * args.head_dim * seen
    sizes = dict(model.weight_sizes)
    if args.moe:
        for name in sizes:
            if ".experts." in name:  # stacked
                sizes[name] = sizes[name] * args.moe.num_experts_per_tok // args.moe.num_experts
    unread = 0 if args.tie_word_embeddings else sizes["tok_embeddings.weight"]  # but for one row
    return sum(sizes.values()) - unread + numbers * model.norm.weight.dtype.size
