"""A header is checked before MLX sees the file, and an index leads nowhere but to the folder's own files."""

import json
import struct
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
