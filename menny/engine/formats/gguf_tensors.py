"""The tensors of a GGUF file as MLX arrays: plain numbers as they are, and ggml's blocks as gguf_quants.py has them.

Blocks stay quantized, and nothing is lost. Read through numpy, a piece at a time: `mx.load` wants to write to the file,
trusts what it reads, and doesn't know all types.
"""

import mmap
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from menny.engine.checkpoints.quantization import Bytes, pack
from menny.engine.checkpoints.weight_names import KINDS
from menny.engine.cpu.memory import MOST_THREADS
from menny.engine.formats.gguf import GGUFFile, GGUFTensor
from menny.engine.formats.gguf_quants import GROUPED
from menny.errors import ModelError

PLAIN = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
PIECE = 1 << 20  # weights that are taken apart at once: what that needs beside them stays small

Arrays = dict[str, mx.array]


def sizes(file: GGUFFile, tensor: GGUFTensor) -> dict[str, int]:
    """The arrays that a tensor becomes: weight, and scales and biases where it is quantized; and their bytes."""
    if tensor.type_name not in {*PLAIN, *GROUPED}:
        raise ModelError(
            f"{file.path}: tensor {tensor.name} is {tensor.type_name}, which no model file should be.", file=file.path
        )
    if tensor.type_name in PLAIN:
        return {KINDS[0]: tensor.nbytes}
    kind = GROUPED[tensor.type_name]
    scales = kind.scale_bytes * tensor.size // kind.group
    return dict(zip(KINDS, (tensor.size * kind.bits // 8, scales, scales), strict=True))


def read_tensors(file: GGUFFile, wanted: Container[str]) -> Iterator[tuple[str, Arrays]]:
    """Yield the tensors of these names one by one, each as the arrays that `sizes` lists."""
    try:
        with file.path.open("rb") as source:
            mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)  # goes with the last that reads from it
        for tensor in file.tensors.values():
            if tensor.name in wanted:
                yield tensor.name, _read(mapped, tensor)
    except (OSError, ValueError) as error:
        raise ModelError(f"{file.path} can't be read ({error}): download the file again.", file=file.path) from error


def _read(mapped: mmap.mmap, tensor: GGUFTensor) -> Arrays:
    """Read a tensor into arrays, which outlive the mapping."""
    if tensor.type_name in PLAIN:
        flat = np.frombuffer(mapped, PLAIN[tensor.type_name], tensor.size, tensor.offset)
        weight = mx.array(flat.reshape(tensor.shape))
        return {"weight": weight.view(mx.bfloat16) if tensor.type_name == "BF16" else weight}
    return _grouped(mapped, tensor)


def _grouped(mapped: mmap.mmap, tensor: GGUFTensor) -> Arrays:
    kind = GROUPED[tensor.type_name]
    *rows, width = tensor.shape
    n_groups, block = tensor.size // kind.group, tensor.kind.block
    step = PIECE // block * block // kind.group  # groups of a piece
    packed = np.empty((n_groups, kind.group * kind.bits // 8), np.uint8)
    scales, biases = (np.empty((n_groups, 1), np.dtype(f"f{kind.scale_bytes}")) for _ in range(2))

    def unpack(number: int, blocks: Bytes) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # a damaged file's scales may be beyond all numbers
            groups = kind.unpack(blocks)
            place = slice(number * step, number * step + len(groups.scales))
            packed[place], scales[place], biases[place] = pack(groups.numbers, kind.bits), groups.scales, groups.biases

    with ThreadPoolExecutor(MOST_THREADS) as threads:
        list(threads.map(unpack, count(), _pieces(mapped, tensor)))
    return {
        "weight": mx.array(packed.view(np.uint32).reshape(*rows, -1)),
        "scales": mx.array(scales.reshape(*rows, width // kind.group)),
        "biases": mx.array(biases.reshape(*rows, width // kind.group)),
    }


def _pieces(mapped: mmap.mmap, tensor: GGUFTensor) -> Iterator[NDArray[np.uint8]]:
    """A tensor's blocks [n, bytes of a block], some at a time."""
    block = tensor.kind.nbytes
    step = PIECE // tensor.kind.block
    count = tensor.nbytes // block
    for start in range(0, count, step):
        some = min(step, count - start) * block
        yield np.frombuffer(mapped, np.uint8, some, tensor.offset + start * block).reshape(-1, block)
