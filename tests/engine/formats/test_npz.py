"""An npz gives its arrays, and one that lies about them is refused before anything of that size is allocated."""

import random
import zipfile
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from menny.engine import load_model
from menny.engine.formats.npz import npz_sizes, read_npz
from menny.errors import ModelError
from tests.engine.format_files import FORMATS, of_examples, reference_weights
from tests.engine.tiny_models import random_weights, tiny_args

NUMBERS = np.arange(12, dtype=np.float32).reshape(3, 4)


def npy(descr: str = "'<f4'", shape: str = "(3, 4)", order: str = "False", version: bytes = b"\1\0") -> bytes:
    """An .npy of twelve floats, with whatever header."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + NUMBERS.tobytes()


def archive(path: Path, content: bytes, name: str = "norm.weight.npy", kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr(name, content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        npz_sizes(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path))
    return str(error.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_out_as_numpy_wrote_them(tmp_path, save):
    arrays = {
        "a.weight": NUMBERS,
        "b.weight": NUMBERS.astype(np.float16),
        "c.weight": np.asfortranarray(NUMBERS),
        "d.weight": np.arange(4, dtype=np.uint32),
        "e.weight": np.float32(3),
        "f.weight": NUMBERS[:0],
    }
    save(tmp_path / "w.npz", **arrays)
    found = dict(read_npz(tmp_path / "w.npz"))
    assert npz_sizes(tmp_path / "w.npz") == {key: array.nbytes for key, array in arrays.items()}
    for key, array in arrays.items():
        assert np.array_equal(np.array(found[key]), array)
        assert np.array(found[key]).dtype == array.dtype


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.uint32])
def test_arrays_come_out_as_mlx_wrote_them(tmp_path, dtype):
    array = mx.array(NUMBERS).astype(dtype)
    mx.savez(str(tmp_path / "w.npz"), **{"a.weight": array})
    (found,) = dict(read_npz(tmp_path / "w.npz")).values()
    assert found.dtype == dtype
    assert mx.array_equal(found, array)


LIES = {
    "objects": npy("'|O'"),
    "big-endian numbers": npy("'>f4'"),
    "whole numbers of 64 bits": npy("'<i8'"),
    "a record": npy("[('a', '<f4')]"),
    "more rows": npy(shape="(4, 4)"),
    "rows without end": npy(shape="(1000000000, 1000000000)"),
    "fewer rows": npy(shape="(2, 4)"),
    "a negative size": npy(shape="(-3, -4)"),
    "a fraction": npy(shape="(3.0, 4)"),
    "no tuple": npy(shape="12"),
    "code for a shape": npy(shape="__import__('os').mkdir('made')"),
    "deep nesting": npy(shape="(" * 5000 + ")" * 5000),
    "forty dimensions": npy(shape="(" + "1, " * 40 + ")"),
    "another version": npy(version=b"\4\0"),
    "no header": b"\x93NUMPY\1\0\x05\0abcde",
    "a header beyond the file": b"\x93NUMPY\1\0\xff\xff{",
    "another key": npy().replace(b"descr", b"dtype"),
    "no .npy": b"hello",
    "nothing": b"",
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
def test_an_array_that_lies_is_refused_by_file_and_key(tmp_path, content):
    assert "norm.weight" in refused(archive(tmp_path / "w.npz", content))


def test_what_is_no_archive_of_arrays_is_refused(tmp_path):
    path = tmp_path / "w.npz"
    path.write_bytes(b"PK\x03\x04")
    refused(path)
    assert "'notes.txt' is no array" in refused(archive(path, b"hello", "notes.txt"))
    assert "packed in a way" in refused(archive(path, npy(), kind=zipfile.ZIP_LZMA))
    whole = archive(path, npy()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path)


def test_an_archive_that_unpacks_into_far_more_than_the_model_is_not_unpacked(tmp_path):
    args = tiny_args()
    folder = of_examples(tmp_path, args)
    weights = reference_weights(args, random_weights(args))
    np.savez_compressed(
        folder / "weights.npz", **weights, **{"layers.9.ffn_norm.weight": np.zeros(1 << 24, np.float32)}
    )
    with pytest.raises(ModelError, match="would take 64 MiB, but the config describes"):
        load_model(folder)


def test_whatever_is_wrong_with_a_file_it_loads_or_a_sentence_says_why_not(tmp_path):
    """A fixed number of mutations of a whole archive's bytes."""
    args = tiny_args(n_layers=1, dim=32, hidden_dim=32, vocab_size=8)
    folder = FORMATS["weights.npz"](tmp_path / "m", args, random_weights(args))
    path = folder / "weights.npz"
    original = path.read_bytes()
    draw, outcomes = random.Random(4), set()
    headers = [place for place in range(len(original)) if original[place : place + 2] in (b"PK", b"\x93N")]
    for _ in range(200):
        mutated = bytearray(original)
        place = draw.choice(headers) + draw.randrange(120)
        mutated[place : place + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
        path.write_bytes(mutated)
        try:
            load_model(folder)
            outcomes.add("loaded")
        except ModelError as error:
            outcomes.add("refused with the path" if str(folder) in str(error) else str(error))
    assert outcomes <= {"loaded", "refused with the path"}
    assert "refused with the path" in outcomes
