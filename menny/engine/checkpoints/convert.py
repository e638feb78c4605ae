"""Any model that the engine reads as a folder of MLX safetensors, in the hub's names: plain numbers, or quantized.

Written matrix by matrix, so that memory holds a shard and not the model, and into a folder beside the target, which
gets the target's name when it is whole.
"""

import errno
import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx

from menny.engine.args import ModelArgs
from menny.engine.checkpoints.checkpoint import Source, open_model
from menny.engine.checkpoints.export import half_split, hub_config
from menny.engine.checkpoints.load import check_forms, check_names
from menny.engine.checkpoints.quantization import GROUP_SIZES, QuantFormat, expand
from menny.engine.checkpoints.weight_names import HUB, KINDS
from menny.engine.formats.gguf import read_gguf
from menny.engine.formats.safetensors import write_safetensors
from menny.engine.formats.small_files import MAX_FILE_BYTES, read_config
from menny.engine.tokenizers.gguf import vocabulary_files
from menny.errors import EngineError, ModelError
from menny.model_files import find_model
from menny.text import size

SHARD_BYTES = 2 << 30
GROUP_SIZE = 64  # the usual one
BITS = (4, 8)
DTYPES = {"float16": mx.float16, "bfloat16": mx.bfloat16, "float32": mx.float32}
VOCABULARY_FILES = re.compile(
    r"(tokenizer.*\.json|tekken.*\.json|.*\.model(\.v\d+(m\d+)?)?|added_tokens\.json|special_tokens_map\.json"
    r"|vocab\.json|merges\.txt|generation_config\.json|chat_template\..*|SYSTEM_PROMPT\.txt)"
)
ID_KEYS = ("bos_token_id", "eos_token_id", "pad_token_id")

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class QuantizationConfig:
    """The numbers that weights are written in: plain ones, or quantized groups with scales of the plain type."""

    dtype: str = "float16"
    bits: int | None = None
    group_size: int = GROUP_SIZE

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise EngineError(f"dtype is {self.dtype!r}, but must be one of {', '.join(DTYPES)}")
        if self.bits not in (None, *BITS):
            raise EngineError(f"bits is {self.bits}, but must be 4 or 8, or left out for plain numbers")
        if self.group_size not in GROUP_SIZES:
            raise EngineError(f"group_size is {self.group_size}, but must be 32, 64 or 128")

    @property
    def form(self) -> QuantFormat | None:
        """Group size and bits of quantized matrices, None where they stay plain."""
        return None if self.bits is None else (self.group_size, self.bits)


def convert(
    source: str | Path,
    target: str | Path,
    numbers: QuantizationConfig = QuantizationConfig(),
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the model at `source` as the folder `target`, which mustn't be there yet.

    `on_progress` is called with the weights done and those in all. Raises ModelError for a source that can't be
    converted, and EngineError for a target that can't be written; then nothing of it is left.
    """
    source, target = find_model(_absolute(source)), _absolute(target)
    if os.path.lexists(target):
        raise EngineError(f"{target} already exists: choose another name, or move it away first.")
    args, found = open_model(source)
    shapes = check_names(args, found)
    _check_groups(source, shapes, numbers)
    vocabulary = _vocabulary(source)
    with _whole_or_nothing(target) as folder:
        _check_room(folder, target, sum(_written_bytes(name, shape, numbers) for name, shape in shapes.items()))
        shards = _Shards(folder)
        done = 0
        for whole, parts in _matrices(shapes).items():
            for kind, array in _converted(parts, args, found, shapes, numbers).items():
                shards.add(HUB.theirs(f"{whole}.{kind}"), array)
            done += sum(math.prod(shapes[part]) for part in parts)
            mx.clear_cache()
            if on_progress:
                on_progress(done, args.n_parameters)
        shards.finish()
        _write_json(folder / "config.json", _config(source, args, numbers))
        for name, file in vocabulary.items():
            if isinstance(file, bytes):
                (folder / name).write_bytes(file)
            else:
                shutil.copyfile(file, folder / name)


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def fitting_group_size(source: Path) -> int | None:
    """The usual size of groups, or the largest that divides a model's widths where that doesn't; None: none does.

    Raises ModelError for a source that can't be read.
    """
    fitting = _fitting(_widths(check_names(*open_model(_absolute(source)))))
    return GROUP_SIZE if GROUP_SIZE in fitting else max(fitting, default=None)


def _widths(shapes: Shapes) -> dict[str, int]:
    return {name: shape[-1] for name, shape in shapes.items() if _is_quantizable(name, shape)}


def _fitting(widths: dict[str, int]) -> list[int]:
    return [group for group in GROUP_SIZES if not any(width % group for width in widths.values())]


def _check_groups(source: Path, shapes: Shapes, numbers: QuantizationConfig) -> None:
    widths = _widths(shapes)
    wrong = next((name for name, width in widths.items() if width % numbers.group_size), None)
    if numbers.form and wrong:
        fitting = _fitting(widths)
        advice = f"take --group-size {fitting[-1]}" if fitting else "leave out --bits"
        raise ModelError(
            f"{source}: {HUB.theirs(f'{wrong}.weight')} is {widths[wrong]} wide, which groups of {numbers.group_size} "
            f"don't divide: {advice}."
        )


def _is_quantizable(name: str, shape: tuple[int, ...]) -> bool:
    """All matrices but a gate, which is small, and decides which experts are chosen."""
    return len(shape) > 1 and not name.endswith(".gate")


def _matrices(shapes: Shapes) -> dict[str, list[str]]:
    """The modules that are written, each with those of the source that it is made of: single experts are stacked."""
    wholes: dict[str, list[str]] = {}
    for name in shapes:
        wholes.setdefault(re.sub(r"\.experts\.\d+\.", ".experts.", name), []).append(name)
    return wholes


def _written_bytes(name: str, shape: tuple[int, ...], numbers: QuantizationConfig) -> int:
    count, each = math.prod(shape), DTYPES[numbers.dtype].size
    if numbers.bits is None or not _is_quantizable(name, shape):
        return count * each
    return count * numbers.bits // 8 + 2 * each * count // numbers.group_size


def _check_room(folder: Path, target: Path, needed: int) -> None:
    """Refuse what the disk can't hold before hours are spent on it."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise EngineError(
            f"The disk has too little room: {target} takes {size(needed)}, and {size(free)} are free. "
            f"Free some space, choose another place, or take fewer --bits."
        )


def _converted(
    parts: list[str], args: ModelArgs, found: Source, shapes: Shapes, numbers: QuantizationConfig
) -> dict[str, mx.array]:
    """The arrays of one written module, evaluated."""
    names = {f"{part}.{kind}" for part in parts for kind in KINDS} & found.listed
    piece = replace(found, weights=dict(found.fetch(names)))
    forms = check_forms({part: shapes[part] for part in parts}, piece)
    made = []
    try:
        for part in parts:
            arrays = [piece.weights.pop(f"{part}.{kind}") for kind in (KINDS if part in forms else KINDS[:1])]
            arrays = [_half_split(part, array, args) for array in arrays]
            made.append(_recast(arrays, forms.get(part), numbers, _is_quantizable(part, shapes[part])))
            mx.eval(made[-1])
            _check_finite(found.place(f"{part}.weight"), made[-1], numbers)
        stacked = [mx.stack(list(same)) if len(same) > 1 else same[0] for same in zip(*made, strict=True)]
        mx.eval(stacked)
    except RuntimeError as error:
        raise ModelError(f"{found.path}: the weights can't be read ({error}): download the model again.") from error
    return dict(zip(KINDS, stacked, strict=False))


def _half_split(name: str, rows: mx.array, args: ModelArgs) -> mx.array:
    heads = {"wq": args.n_heads, "wk": args.n_kv_heads}.get(name.rpartition(".")[2])
    return half_split(rows, heads) if args.rope_traditional and heads else rows


def _recast(
    arrays: list[mx.array], form: QuantFormat | None, numbers: QuantizationConfig, is_quantizable: bool
) -> list[mx.array]:
    """Weight, and scales and biases, in the asked form: what has it already stays as it is, to the bit."""
    dtype = DTYPES[numbers.dtype]
    if is_quantizable and numbers.form and numbers.form != form:
        arrays = list(mx.quantize(_expanded(arrays, form).astype(mx.float32), *numbers.form))
    elif form and not (is_quantizable and numbers.form):
        arrays = [_expanded(arrays, form)]
    return [array if array.dtype == mx.uint32 else array.astype(dtype) for array in arrays]


def _expanded(arrays: list[mx.array], form: QuantFormat | None) -> mx.array:
    return expand((arrays[0], arrays[1], arrays[2]), form) if form else arrays[0]


def _check_finite(place: str, arrays: list[mx.array], numbers: QuantizationConfig) -> None:
    if not all(array.dtype == mx.uint32 or mx.isfinite(array).all() for array in arrays):
        raise ModelError(
            f"{place} has numbers that are none, or too large for {numbers.dtype}: take --dtype "
            f"{'bfloat16' if numbers.dtype == 'float16' else 'float32'}, or download the model again."
        )


class _Shards:
    """Gathers weights, and writes them out whenever they fill a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gathered: dict[str, mx.array] = {}
        self._written: list[list[str]] = []  # the names in each file
        self._total = 0

    def add(self, name: str, array: mx.array) -> None:
        if self._gathered and array.nbytes + sum(one.nbytes for one in self._gathered.values()) > SHARD_BYTES:
            self._flush()
        self._gathered[name] = array
        self._total += array.nbytes

    def finish(self) -> None:
        """Write the rest; name the files, and index them where they are several, as the hub does."""
        self._flush()
        count = len(self._written)
        if count == 1:
            self._file(1).rename(self._folder / "model.safetensors")
            return
        weight_map: dict[str, str] = {}
        for number, names in enumerate(self._written, start=1):
            file = f"model-{number:05}-of-{count:05}.safetensors"
            self._file(number).rename(self._folder / file)
            weight_map |= dict.fromkeys(names, file)
        index = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
        _write_json(self._folder / "model.safetensors.index.json", index)

    def _flush(self) -> None:
        self._written.append(list(self._gathered))
        write_safetensors(self._file(len(self._written)), self._gathered)
        self._gathered.clear()

    def _file(self, number: int) -> Path:
        return self._folder / f"shard-{number}"


def _config(source: Path, args: ModelArgs, numbers: QuantizationConfig) -> dict[str, Any]:
    config = hub_config(args) | {"torch_dtype": numbers.dtype}
    if numbers.form:
        config["quantization"] = {"group_size": numbers.group_size, "bits": numbers.bits}
    config_before = read_config(source / "config.json") if (source / "config.json").is_file() else {}
    return config | {key: config_before[key] for key in ID_KEYS if _is_ids(config_before.get(key))}


def _is_ids(value: object) -> bool:
    return all(type(one) is int for one in value) if isinstance(value, list) else type(value) is int


def _vocabulary(source: Path) -> dict[str, Path | bytes]:
    """The files that go along, by name: of a folder as they are, of a GGUF made from what it holds."""
    if not source.is_dir():
        return dict(vocabulary_files(read_gguf(source)))
    files: dict[str, Path | bytes] = {}
    for path in sorted(source.iterdir()):
        if VOCABULARY_FILES.fullmatch(path.name) and path.is_file():
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ModelError(
                    f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: download the model again.", file=path
                )
            files[path.name] = path
    return files


@contextmanager
def _whole_or_nothing(target: Path) -> Iterator[Path]:
    """A folder beside the target, which gets its name at the end, or is removed with what a killed run left."""
    folder = target.with_name(f".{target.name}.converting")
    try:
        with _locked(folder, target):
            try:
                yield folder
                os.rename(folder, target)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EngineError(
                f"The disk is full: {target} is not written. Free some space, and convert again."
            ) from error
        reason = error.strerror or str(error)
        raise EngineError(f"{target} can't be written ({reason}): choose another place.") from error


@contextmanager
def _locked(folder: Path, target: Path) -> Iterator[None]:
    """Hold this folder, new and empty. Its lock goes with the process, so what isn't locked is a killed one's."""
    if folder.exists():
        with _lock(folder, target):
            shutil.rmtree(folder)
    folder.mkdir(parents=True)
    with _lock(folder, target):
        yield


@contextmanager
def _lock(folder: Path, target: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EngineError(f"{target} is being written by another conversion: wait for it to end.") from error
        yield
    finally:
        os.close(handle)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
