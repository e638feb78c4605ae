"""A few tokens through all blocks at once: what kernels need of a model and its cache, gathered in NumPy's arrays."""

import time

import mlx.core as mx
import numpy as np

from menny.engine.args import ModelArgs
from menny.engine.cache import Cache
from menny.engine.cpu.blocks import MATRICES, STAGES, WQKV, Scratch, run_blocks
from menny.engine.cpu.matrix import DESCRIPTION, GROUP_SIZES, TILE, Packed
from menny.engine.cpu.modules import describe
from menny.engine.cpu.pool import Pool
from menny.engine.cpu.stages import CACHE_NUMBERS, SEEN, Numbers, Workspace
from menny.engine.cpu.tiles import TOKENS
from menny.engine.cpu.together import STAGE
from menny.engine.model import Attention

FEW = 16  # tokens a pass; more go through the modules, one after the other
_TURNS = 256  # positions whose rotations are computed at once

PackedBlock = dict[int, Packed]  # a block's matrices by WQKV, WO, W1, W2, W3 and, with experts, GATE


class BlockRunner:
    """The blocks of a model, for passes of a few tokens of one sequence."""

    def __init__(
        self,
        args: ModelArgs,
        blocks: list[PackedBlock],
        norms: np.ndarray,
        attention: Attention,
        pool: Pool,
    ) -> None:
        """`norms` are [blocks, 2, dim]; `attention` is any block's, whose rotations and scales are those of all."""
        self._blocks = blocks  # whose memory the table points at
        self._norms = norms
        self._attention = attention
        self._pool = pool
        self._head_dim, self._n_kv_heads = args.head_dim, args.n_kv_heads
        self._neighbours = args.rope_traditional
        experts, chosen = (args.moe.num_experts, args.moe.num_experts_per_tok) if args.moe else (0, 1)
        self._numbers = Numbers(
            args.dim, args.hidden_dim, args.n_heads, args.n_kv_heads, args.head_dim, args.norm_eps,
            args.rope_traditional, experts, chosen,
        )  # fmt: skip
        self._matrices = np.zeros((len(blocks), MATRICES), DESCRIPTION)
        for number, matrices in enumerate(blocks):
            for which, packed in matrices.items():
                self._matrices[number, which] = describe([packed])[0]
        self._caches = np.zeros((len(blocks), CACHE_NUMBERS), np.int64)
        self._turned = 0, np.zeros((0, 2, args.head_dim // 2), np.float32)
        self._shared: dict[int, Workspace] = {}
        self._scratch: Scratch | None = None

    def takes(self, n_tokens: int, cache: Cache) -> bool:
        """Whether so many tokens, after what the cache has seen, may come."""
        return 1 <= n_tokens <= FEW and all(layer.slots(n_tokens) is not None for layer in cache)

    def __call__(self, x: np.ndarray, cache: Cache) -> np.ndarray:
        """[L, dim] before the blocks → [L, dim] behind them; the cache has seen the tokens then."""
        n_tokens = len(x)
        turns, scales = self._turns(cache.offset, n_tokens), self._scales(cache.offset, n_tokens)
        for number, layer in enumerate(cache):
            slot, seen = layer.slots(n_tokens) or (0, 0)
            keys, values = layer.open(n_tokens, self._n_kv_heads, self._head_dim)
            self._caches[number] = keys.ctypes.data, values.ctypes.data, keys.shape[2], slot, seen
        shared = self._room(n_tokens)
        shared.x[: x.size] = x.reshape(-1)
        scratch = self._own_rooms(int(self._caches[:, SEEN].max()) + n_tokens)
        args = self._numbers, self._matrices, self._norms, self._caches, turns, scales, shared, scratch, n_tokens
        began = time.perf_counter()
        self._pool.run(run_blocks, args, len(self._norms) * STAGES * STAGE, self._pool.pace.in_use)
        if n_tokens == 1:
            self._pool.pace.observe(time.perf_counter() - began)
        for layer in cache:
            layer.close(n_tokens)
        return shared.x[: x.size].reshape(x.shape)

    def _turns(self, position: int, n_tokens: int) -> np.ndarray:
        """Cosines and sines that turn pairs at these positions [L, 2, D / 2]: what the model's rope makes of (1, 0)."""
        start, turns = self._turned
        if not start <= position <= position + n_tokens <= start + len(turns):
            first = (slice(None, None, 2), slice(1, None, 2)) if self._neighbours else _halves(self._head_dim)
            ones = np.zeros((1, 1, _TURNS, self._head_dim), np.float32)
            ones[..., first[0]] = 1
            turned = np.array(self._attention._rope(mx.array(ones), position))[0, 0]
            turns = np.ascontiguousarray(np.stack([turned[:, half] for half in first], axis=1))
            self._turned = start, turns = position, turns
        return turns[position - start :]

    def _scales(self, position: int, n_tokens: int) -> np.ndarray:
        """What multiplies the queries at these positions [L], so that their products with keys needn't be scaled."""
        scale, growth = self._attention.scale, self._attention.query_scaling
        factors = np.array(growth(position, n_tokens))[:, 0] if growth else np.ones(n_tokens, np.float32)
        return (factors * scale).astype(np.float32)

    def _room(self, n_tokens: int) -> Workspace:
        """What threads share for so many tokens, filled up to fours."""
        count = n_tokens if n_tokens == 1 else -(-n_tokens // TOKENS) * TOKENS
        if count not in self._shared:
            numbers = self._numbers
            rows = max(block[WQKV].rows for block in self._blocks)
            self._shared[count] = Workspace(
                x=np.zeros(count * numbers.dim, np.float32),
                qkv=np.zeros(count * rows, np.float32),
                mixed=np.zeros(count * numbers.n_heads * numbers.head_dim, np.float32),
                hidden=np.zeros(count * numbers.chosen * numbers.hidden, np.float32),
                experts=np.zeros(count * numbers.chosen, np.int64),
                shares=np.zeros(count * numbers.chosen, np.float32),
            )
        return self._shared[count]

    def _own_rooms(self, seen: int) -> Scratch:
        """What each thread has to itself, with scores for so many tokens."""
        if self._scratch is None or self._scratch.scores.shape[1] < seen:
            numbers = self._numbers
            longest = max(numbers.dim, numbers.n_heads * numbers.head_dim, numbers.chosen * numbers.hidden)
            of_threads = self._pool.threads
            self._scratch = Scratch(
                normed=np.zeros((of_threads, FEW * numbers.dim), np.float32),
                n=np.zeros((of_threads, FEW * longest), np.int16),
                u=np.zeros((of_threads, FEW * longest // GROUP_SIZES[0]), np.float32),
                v=np.zeros((of_threads, FEW * longest // GROUP_SIZES[0]), np.float32),
                tiles=np.zeros((of_threads, 2 * TOKENS * TILE), np.float32),
                head=np.zeros((of_threads, numbers.head_dim), np.float32),
                scores=np.zeros((of_threads, max(2 * seen, numbers.experts + TILE)), np.float32),
            )
        return self._scratch


def _halves(head_dim: int) -> tuple[slice, slice]:
    return slice(None, head_dim // 2), slice(head_dim // 2, None)
