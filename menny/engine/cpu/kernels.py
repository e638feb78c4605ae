"""Kernels for this processor, if it can have any: Numba must be there to compile them, and what they compute be right.

Nothing of Numba is imported before a model is loaded on a CPU of Linux; without it, MLX multiplies.
"""

import importlib.util
import logging
import sys
from functools import cache
from typing import TYPE_CHECKING

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from menny.engine.args import ModelArgs
from menny.engine.cpu.kept import has_kept, keep
from menny.engine.model import Mistral

if TYPE_CHECKING:
    from menny.engine.cpu.packed_model import PackedMistral

log = logging.getLogger(__name__)

_TOLERANCE = 1e-3  # of the largest logit


def packed_mistral() -> "type[PackedMistral] | None":
    """The model whose matrices stay as the file has them, where this processor has kernels for it.

    They are compiled at the first call, unless an earlier process has kept them.
    """
    return _prepared() if sys.platform == "linux" and mx.default_device().type == mx.DeviceType.cpu else None


@cache
def _prepared() -> "type[PackedMistral] | None":
    try:
        from menny.engine.cpu.packed_model import PackedMistral  # noqa: PLC0415 - Numba is optional
    except ImportError as error:
        log.info("MLX multiplies, which is slow on a CPU, as Numba can't be had (%s): pip install numba", error)
        return None
    try:
        _check(PackedMistral)
        keep()
    except Exception:
        log.warning("MLX multiplies, which is slow on a CPU: the kernels for this processor failed.", exc_info=True)
        return None
    return PackedMistral


def keep_compiled() -> None:
    """Keep for later starts what a model needed besides, that was compiled since."""
    if _prepared.cache_info().currsize and _prepared():
        keep()


def have_kernels() -> bool:
    """Whether this machine should have kernels; compiles none."""
    is_cpu = sys.platform == "linux" and mx.default_device().type == mx.DeviceType.cpu
    return is_cpu and importlib.util.find_spec("numba") is not None


def must_compile() -> bool:
    """Whether the first model will wait for the kernels to be compiled."""
    return have_kernels() and not _prepared.cache_info().currsize and not has_kept()


def _check(kind: "type[PackedMistral]") -> None:
    """Compare a tiny model's logits by kernels and by MLX, of several tokens and of one; compiles all that it needs."""
    args = ModelArgs(
        dim=32, n_layers=1, head_dim=16, hidden_dim=64, n_heads=2, n_kv_heads=1, norm_eps=1e-5, vocab_size=40
    )
    model = kind(args)
    mx.eval(model.parameters())
    nn.quantize(model.layers[0].attention, 32, 4)
    tokens = mx.array(np.arange(17)[None], mx.int32)
    expected = np.array(Mistral.__call__(model, tokens)[0])
    model.pack(1)
    together, _ = model(tokens)
    one, _ = model(tokens[:, :1])
    few, _ = model(tokens[:, 1:3], model(tokens[:, :1])[1])
    for logits, places in ((together, slice(0, 17)), (one, slice(0, 1)), (few, slice(1, 3))):
        difference = np.abs(np.array(logits) - expected[:, places]).max() / np.abs(expected).max()
        if not difference < _TOLERANCE:  # NaN isn't
            raise ArithmeticError(f"logits differ by {difference:.1e} of the largest")
