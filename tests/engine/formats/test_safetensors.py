"""A header is checked before MLX sees the file, and an index leads nowhere but to the folder's own files."""

import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from menny.engine.formats.safetensors import read_safetensors_header
from menny.errors import ModelError

GOOD = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def file_of(path: Path, header: Any, data: bytes = bytes(64)) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def test_dtypes_and_shapes_are_read_as_another_writer_wrote_them(tmp_path):
    path = tmp_path / "model.safetensors"
    arrays = {
        "a": mx.zeros((2, 3)),
        "b": mx.zeros((4,), mx.bfloat16),
        "c": mx.zeros((1, 2, 3), mx.float16),
        "d": mx.zeros((5,), mx.uint32),
    }
    mx.save_safetensors(str(path), arrays, {"format": "mlx"})
    assert read_safetensors_header(path) == {
        "a": ("F32", (2, 3)),
        "b": ("BF16", (4,)),
        "c": ("F16", (1, 2, 3)),
        "d": ("U32", (5,)),
    }


HOSTILE = {
    "not JSON": b"nonsense",
    "nothing": b"",
    "another encoding": json.dumps({"a": GOOD}).encode("utf-16"),
    "not UTF-8": b'{"a\xff": {}}',
    "nested beyond reason": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a number of too many digits": b'{"a": ' + b"9" * 10_000 + b"}",
    "a list": [GOOD],
    "metadata that aren't texts": {"__metadata__": {"format": 1}, "a": GOOD},
    "metadata that aren't an object": {"__metadata__": "mlx", "a": GOOD},
    "a tensor that isn't an object": {"a": 3},
    "a tensor without a shape": {"a": {"dtype": "F32", "data_offsets": [0, 24]}},
    "a tensor without a place": {"a": {"dtype": "F32", "shape": [2, 3]}},
    "a tensor without a type": {"a": {"shape": [2, 3], "data_offsets": [0, 24]}},
    "a type that isn't a word": {"a": GOOD | {"dtype": ["F32"]}},
    "an unknown type": {"a": GOOD | {"dtype": "F8_E4M3"}},
    "a type that MLX doesn't read": {"a": GOOD | {"dtype": "F64", "data_offsets": [0, 48]}},
    "a shape of fractions": {"a": GOOD | {"shape": [2.0, 3]}},
    "a shape of truths": {"a": GOOD | {"shape": [True, 6]}},
    "a negative dimension": {"a": GOOD | {"shape": [-2, -3]}},
    "dimensions that overflow": {"a": GOOD | {"shape": [1 << 32, 1 << 32, 1 << 32]}},
    "an endless dimension beside an empty one": {"a": {"dtype": "F32", "shape": [0, 1 << 40], "data_offsets": [0, 0]}},
    "more bytes than the shape": {"a": GOOD | {"data_offsets": [0, 28]}},
    "fewer bytes than the shape": {"a": GOOD | {"data_offsets": [0, 20]}},
    "an end before the start": {"a": GOOD | {"data_offsets": [24, 0]}},
    "a place before the file": {"a": GOOD | {"data_offsets": [-24, 0]}},
    "a place beyond the file": {"a": GOOD | {"data_offsets": [48, 72]}},
    "a place beyond any file": {"a": GOOD | {"data_offsets": [(1 << 64) - 24, 1 << 64]}},
    "three offsets": {"a": GOOD | {"data_offsets": [0, 12, 24]}},
    "a tensor twice": b'{"a": %b, "a": %b}' % ((json.dumps(GOOD).encode(),) * 2),
    "a place told twice": json.dumps({"a": GOOD}).encode().replace(b"}}", b', "data_offsets": [8, 32]}}'),
}


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_is_refused_by_file(tmp_path, header):
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        read_safetensors_header(file_of(tmp_path / "model.safetensors", header))


def test_a_wrong_description_is_refused_by_its_tensor(tmp_path):
    path = file_of(tmp_path / "model.safetensors", {"lm_head.weight": GOOD | {"data_offsets": [48, 72]}})
    with pytest.raises(ModelError, match=r"model\.safetensors is cut short within tensor 'lm_head\.weight'"):
        read_safetensors_header(path)


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_file_too_short_for_a_header_is_refused(tmp_path, length):
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(length))
    with pytest.raises(ModelError, match="cut short"):
        read_safetensors_header(path)


@pytest.mark.parametrize("claimed", [100, 1 << 40, (1 << 64) - 1])
def test_a_header_longer_than_its_file_is_refused(tmp_path, claimed):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", claimed) + b'{"a":{}}')
    with pytest.raises(ModelError, match="cut short"):
        read_safetensors_header(path)


def test_every_cut_of_a_good_file_is_refused(tmp_path):
    whole = file_of(tmp_path / "whole", {"a": GOOD}, bytes(24)).read_bytes()
    path = tmp_path / "model.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            read_safetensors_header(path)


def tensors(*places: tuple[int, int]) -> dict[str, Any]:
    """Rows of float32 at these places."""
    rows = enumerate(places)
    return {f"t{n}": {"dtype": "F32", "shape": [(b - a) // 4], "data_offsets": [a, b]} for n, (a, b) in rows}


SHARED_OUT = {
    "in their order": (tensors((0, 24), (24, 64)), 64, None),
    "in another order": (tensors((24, 64), (0, 24)), 64, None),
    "empty ones": (tensors((0, 0), (0, 64), (64, 64)), 64, None),
    "no tensor": ({}, 0, None),
    "two at one place": (tensors((0, 64), (0, 64)), 64, "'t0' and 't1' overlap"),
    "one within another": (tensors((0, 64), (16, 32)), 64, "'t0' and 't1' overlap"),
    "one over another's end": (tensors((0, 40), (36, 64)), 64, "'t0' and 't1' overlap"),
    "an empty one within another": (tensors((0, 64), (32, 32)), 64, "'t0' and 't1' overlap"),
    "a gap": (tensors((0, 24), (32, 64)), 64, "8 bytes before tensor 't1' belong to none"),
    "a gap at the start": (tensors((8, 64)), 64, "8 bytes before tensor 't0' belong to none"),
    "bytes behind the last": (tensors((0, 24)), 64, "40 bytes behind its last tensor"),
    "bytes without a tensor": ({}, 1, "1 bytes behind its last tensor"),
}


@pytest.mark.parametrize(("header", "nbytes", "words"), SHARED_OUT.values(), ids=SHARED_OUT.keys())
def test_every_byte_belongs_to_one_tensor(tmp_path, header, nbytes, words):
    path = file_of(tmp_path / "model.safetensors", header, bytes(nbytes))
    if words is None:
        assert read_safetensors_header(path).keys() == header.keys()
        return
    with pytest.raises(ModelError) as refused:
        read_safetensors_header(path)
    assert words in str(refused.value)


BOMBS = {
    "spaces": lambda: b"{}" + b" " * 99_000_000,
    "empty lists": lambda: b'{"a":[' + b"[]," * 5_000_000 + b"[]]}",
    "numbers": lambda: b'{"a":[' + b"0," * 8_000_000 + b"0]}",
    "metadata": lambda: b'{"__metadata__":{' + b",".join(b'"%d":""' % n for n in range(1_500_000)) + b"}}",
    "one name": lambda: b'{"' + b"a" * 16_000_000 + b'":3}',
}


@pytest.mark.parametrize("header", BOMBS.values(), ids=BOMBS.keys())
def test_a_header_as_large_as_a_model_takes_no_memory(tmp_path, header):
    path = file_of(tmp_path / "model.safetensors", header(), b"")
    tracemalloc.start()
    with pytest.raises(ModelError) as refused:
        read_safetensors_header(path)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()
    assert len(str(refused.value)) < 500 + len(str(path))
