"""Where weights come from: a model folder in any of its formats, or a GGUF file, as one flat dict under our names.

| format | files | keys |
| --- | --- | --- |
| hub and MLX | model*.safetensors, with an index where there are several | `HUB` |
| MLX's examples | weights*.safetensors, weights*.npz | `REFERENCE` |
| reference | consolidated*.safetensors, consolidated*.pth | `REFERENCE` |
| Mixtral's first | consolidated*.pt | `BLOCK_SPARSE` |
| GGUF | one .gguf | `GGUF` |

A file is read by its suffix. Its naming scheme is recognised by the keys alone, since exports differ in their habits.
"""

import re
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import mlx.core as mx
import numpy as np
import psutil

from menny.engine.args import ModelArgs, args_from_folder, args_from_gguf
from menny.engine.checkpoints import fp8
from menny.engine.checkpoints.quantization import GROUP_SIZES, SMALL_GROUP
from menny.engine.checkpoints.weight_names import (
    BLOCK_SPARSE,
    COMPUTED,
    GGUF,
    HUB,
    NESTED,
    NESTED_IN_MODEL,
    REFERENCE,
    VISION,
    WeightNames,
)
from menny.engine.formats.gguf import GGUFFile
from menny.engine.formats.gguf_quants import GROUP, GROUPED
from menny.engine.formats.gguf_split import read_gguf_parts
from menny.engine.formats.gguf_tensors import read_tensors, sizes
from menny.engine.formats.npz import npz_sizes, read_npz
from menny.engine.formats.pth import pth_sizes, read_pth
from menny.engine.formats.safetensors import read_safetensors, read_safetensors_header, safetensors_sizes
from menny.errors import ModelError
from menny.model_files import find_model, find_weights

Weights = dict[str, mx.array]

ROPE_TABLE = "rope_freqs.weight"  # llama3's scaling in a GGUF
MAX_ROPE_TABLE = 1 << 16
SINGLE_EXPERT = re.compile(r"\.experts\.[0-9]+\.")


def _nothing(_: Collection[str]) -> Iterator[tuple[str, mx.array]]:
    return iter(())


@dataclass
class Source:
    """Weights under this engine's names, and where they came from, so that errors can say it.

    `fetch` reads those of these names that the files have, without putting them in `weights`.
    """

    path: Path
    names: WeightNames
    weights: Weights = field(default_factory=dict)
    shards: dict[str, Path] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of each weight, by the headers
    group_sizes: tuple[int, ...] = GROUP_SIZES  # of quantized weights
    in_small_groups: set[str] = field(default_factory=set)  # modules whose weights MLX's products don't take
    without_biases: set[str] = field(default_factory=set)  # modules whose biases follow from the scales
    scales: dict[str, tuple[Path, str]] = field(default_factory=dict)  # of FP8 weights: file and key
    has_vision: bool = False  # the files have a vision tower too, which is left out
    fetch: Callable[[Collection[str]], Iterator[tuple[str, mx.array]]] = _nothing

    @property
    def listed(self) -> set[str]:
        """The names of all weights, whether they have been read or not."""
        return self.weights.keys() | self.shards.keys()

    def place(self, name: str) -> str:
        """Return the file and key of a weight, as its format names them."""
        return f"{self.shards.get(name, self.path)}: {self.names.theirs(name)}"

    @property
    def has_single_experts(self) -> bool:
        """True where experts have weights of their own here or, without any weights of experts, could have."""
        experts = [name for name in self.listed if ".experts." in name]
        could = "feed_forward.experts.#.w1" in self.names.inner and self.names is not GGUF
        return any(map(SINGLE_EXPERT.search, experts)) or (not experts and could)


@dataclass(frozen=True)
class Format:
    """A reader of one kind of file: `sizes` gives the bytes of each key's array unread, and `read` the arrays.

    `sizes` refuses whatever would be unsafe to read.
    """

    sizes: Callable[[Path], dict[str, int]]
    read: Callable[[Path, Container[str]], Iterator[tuple[str, mx.array]]]


FORMATS = {
    ".safetensors": Format(safetensors_sizes, read_safetensors),
    ".npz": Format(npz_sizes, read_npz),
    ".pth": Format(pth_sizes, read_pth),
    ".pt": Format(pth_sizes, read_pth),
}


def open_model(path: Path) -> tuple[ModelArgs, Source]:
    """The args and weights of a model folder or .gguf file; ModelError names file and key.

    No weight is read yet: the files' headers are checked, and what is in them is listed.
    """
    path = find_model(path)
    return _open_folder(path) if path.is_dir() else _open_gguf(path)


def _open_folder(folder: Path) -> tuple[ModelArgs, Source]:
    sizes = {file: FORMATS[file.suffix].sizes(file) for file in find_weights(folder)}
    formats = (HUB, NESTED, NESTED_IN_MODEL, REFERENCE, BLOCK_SPARSE)
    names = max(formats, key=lambda names: sum(map(names.knows, sizes.values())))
    args = args_from_folder(folder, original=names in (REFERENCE, BLOCK_SPARSE))
    source = Source(folder, names)
    for file, of_file in sizes.items():
        _check_keys(source, file, of_file)
    _refuse_too_much(args, folder, sum(source.sizes.values()))
    if names in (NESTED, NESTED_IN_MODEL) and "output.weight" in source.listed:
        args = replace(args, tie_word_embeddings=False)  # whole and text model may differ in what they say of it
    for name in source.scales.keys() & source.sizes.keys():
        source.sizes[name] *= 2  # it becomes bfloat16
    source.fetch = partial(_fetch_from_files, args, source)
    return args, source


def _fetch_from_files(args: ModelArgs, source: Source, wanted: Collection[str]) -> Iterator[tuple[str, mx.array]]:
    by_file: dict[Path, set[str]] = {}
    for name in wanted:
        if name in source.shards:
            by_file.setdefault(source.shards[name], set()).add(source.names.theirs(name))
    for file, keys in by_file.items():
        for key, weight in FORMATS[file.suffix].read(file, keys):
            name = str(source.names.ours(key))
            if weight.dtype == mx.uint8 and _is_fp8(file, key):
                weight = _expanded_fp8(args, source, name, weight)
            is_block_sparse = source.names is BLOCK_SPARSE and ".experts." in name
            yield name, _apart(args, name, weight) if is_block_sparse else weight


def _is_fp8(file: Path, key: str) -> bool:
    """Return True for FP8 numbers, which MLX reads as bytes; other bytes are no weights."""
    return file.suffix == ".safetensors" and read_safetensors_header(file)[key][0] == "F8_E4M3"


def _expanded_fp8(args: ModelArgs, source: Source, name: str, weight: mx.array) -> mx.array:
    """Return FP8 numbers in float32 on a CPU whose memory has room for that, else in bfloat16."""
    if name not in source.scales:
        raise ModelError(f"{source.place(name)} is FP8, but its weight_scale_inv is missing: get the whole model.")
    file, key = source.scales[name]
    ((_, scale),) = FORMATS[file.suffix].read(file, {key})
    on_cpu = mx.default_device().type == mx.DeviceType.cpu
    fits = 4 * args.n_parameters < psutil.virtual_memory().available // 2
    return fp8.expand(weight, scale, mx.float32 if on_cpu and fits else mx.bfloat16, file, key)


def _apart(args: ModelArgs, name: str, rows: mx.array) -> mx.array:
    """Each expert's matrix [E, out, in], of those one below the other, w2 transposed. Another shape stays as it is."""
    experts = args.moe.num_experts if args.moe else 1
    if rows.shape != (experts * args.hidden_dim, args.dim):
        return rows
    stacked = rows.reshape(experts, args.hidden_dim, args.dim)
    return mx.contiguous(stacked.swapaxes(1, 2)) if name.endswith(".w2.weight") else stacked


def _check_keys(source: Source, file: Path, sizes: Mapping[str, int]) -> None:
    """Record the keys of this file; refuse those that no Mistral has, and those of an earlier file."""
    for key, nbytes in sizes.items():
        name = source.names.ours(key)
        if name is None:
            scaled = source.names.ours(fp8.scaled_weight(key) or "")
            if scaled:
                source.scales[scaled] = file, key
                continue
            if key.startswith(VISION):
                source.has_vision = True
                continue
            if key.endswith((*COMPUTED, *fp8.ACTIVATION_SCALES)):
                continue
            raise ModelError(f"{file}: the key {key[:200]!r} doesn't belong to a Mistral model.", file=file)
        if name in source.shards:
            raise ModelError(f"{file}: the key {key!r} stands in {source.shards[name].name} too.", file=file)
        source.shards[name] = file
        source.sizes[name] = nbytes


def _refuse_too_much(args: ModelArgs, folder: Path, nbytes: int) -> None:
    """Refuse packed files that would unpack into far more than the model that the config describes."""
    most = 16 * args.n_parameters + (1 << 24)  # doubles, and as much again
    if nbytes > most:
        raise ModelError(
            f"{folder}: the weights would take {nbytes >> 20} MiB, but the config describes a model of at most "
            f"{most >> 20} MiB. Is this the whole model, and its own config?"
        )


def _open_gguf(path: Path) -> tuple[ModelArgs, Source]:
    file, parts = read_gguf_parts(path)
    args, source = args_from_gguf(file, _rope_table(parts)), Source(path, GGUF, group_sizes=(SMALL_GROUP, GROUP))
    part_of = {key: part.path for part in parts for key in part.tensors}
    for key, tensor in file.tensors.items():
        if key == ROPE_TABLE:
            continue
        name = GGUF.ours(key)
        if name is None or not name.endswith(".weight"):
            raise ModelError(f"{path}: the tensor {key!r} doesn't belong to a Mistral model.", file=path)
        nbytes = {name.removesuffix("weight") + part: size for part, size in sizes(file, tensor).items()}
        source.sizes |= nbytes
        source.shards |= dict.fromkeys(nbytes, part_of[key])
        kind, module = GROUPED.get(tensor.type_name), name.removesuffix(".weight")
        if kind and kind.group == SMALL_GROUP:
            source.in_small_groups.add(module)
        if kind and not kind.has_biases:
            source.without_biases.add(module)
    source.fetch = partial(_fetch_from_gguf, parts)
    return args, source


def _rope_table(parts: list[GGUFFile]) -> tuple[float, ...] | None:
    """Return the numbers by which rotary frequencies are divided; None without such a tensor."""
    file = next((part for part in parts if ROPE_TABLE in part.tensors), None)
    if file is None:
        return None
    tensor = file.tensors[ROPE_TABLE]
    if tensor.type_name != "F32" or len(tensor.shape) != 1 or tensor.size > MAX_ROPE_TABLE:
        raise ModelError(f"{file.path}: the tensor {ROPE_TABLE} should be a row of F32 numbers.", file=file.path)
    ((_, arrays),) = read_tensors(file, {ROPE_TABLE})
    table = tuple(np.array(arrays["weight"]).tolist())
    if not all(0 < value < float("inf") for value in table):
        raise ModelError(f"{file.path}: the tensor {ROPE_TABLE} should hold numbers above 0.", file=file.path)
    return table


def _fetch_from_gguf(parts: list[GGUFFile], wanted: Collection[str]) -> Iterator[tuple[str, mx.array]]:
    keys = {GGUF.theirs(name) for name in wanted}
    for part in parts:
        for key, arrays in read_tensors(part, keys & part.tensors.keys()):
            stem = str(GGUF.ours(key)).removesuffix("weight")
            yield from ((stem + kind, array) for kind, array in arrays.items())
