"""A GGUF header is read exactly, and nothing hostile gets past it to a reader that trusts what it says."""

import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from menny.engine import load_model, load_tokenizer
from menny.engine.formats.gguf import read_gguf
from menny.errors import ModelError
from tests.engine.gguf_files import (
    ARRAY,
    BOOL,
    F32,
    F64,
    I32,
    STRING,
    U8,
    U32,
    U64,
    Tensor,
    array_entry,
    entry,
    gguf,
    string,
)

F32_4 = Tensor("a.weight", [4], 0, struct.pack("<4f", 1, 2, 3, 4))
Q4_1_64 = Tensor("b.weight", [64, 2], 3, bytes(range(80)))


def sample() -> bytes:
    """A small file with every kind of value, an odd alignment and three tensors."""
    entries = [
        entry("general.architecture", STRING, "llama"),
        entry("general.alignment", U32, 64),
        entry("llama.rope.freq_base", F32, 10000.0),
        entry("tokenizer.ggml.add_bos_token", BOOL, True),
        entry("u8", U8, 7),
        entry("u64", U64, 1 << 40),
        array_entry("tokens", STRING, ["<s>", "Grüße", "", "日本"]),
        array_entry("scores", F32, [0.0, -1.5]),
        array_entry("types", I32, [3, 1, -1]),
        array_entry("none", U32, []),
    ]
    return gguf(entries, [F32_4, Q4_1_64, Tensor("c.weight", [32, 1], 8, bytes(34))], alignment=64)


@pytest.fixture
def write(tmp_path: Path):
    def write(data: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_and_tensors_are_read_as_written(write, version):
    data = bytearray(sample())
    data[4] = version
    file = read_gguf(write(bytes(data)))
    assert file.metadata == {
        "general.architecture": "llama",
        "general.alignment": 64,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": True,
        "u8": 7,
        "u64": 1 << 40,
        "tokens": ["<s>", "Grüße", "", "日本"],
        "scores": [0.0, -1.5],
        "types": [3, 1, -1],
        "none": [],
    }
    assert [(t.name, t.shape, t.type_name, t.nbytes) for t in file.tensors.values()] == [
        ("a.weight", (4,), "F32", 16),
        ("b.weight", (2, 64), "Q4_1", 80),
        ("c.weight", (1, 32), "Q8_0", 34),
    ]


def test_a_tensors_offset_points_at_its_data_in_the_file(write):
    path = write(sample())
    file = read_gguf(str(path))
    data = path.read_bytes()
    for tensor in (F32_4, Q4_1_64):
        found = file.tensors[tensor.name]
        assert data[found.offset : found.offset + found.nbytes] == tensor.data


def test_a_file_without_tensors_is_a_vocabulary_and_fine(write):
    assert read_gguf(write(gguf([entry("x", U32, 1)]))).metadata == {"x": 1}


FORGED = {
    "not a GGUF": (b"PK\x03\x04 something else entirely", "not a GGUF file"),
    "too short for a magic": (b"GG", "not a GGUF file"),
    "nothing after the magic": (b"GGUF", "version"),
    "version 1": (gguf(version=1), "version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "more tensors than a file has": (gguf([], [F32_4], n_tensors=1 << 60), "tensors"),
    "more keys than a file has": (gguf([entry("x", U32, 1)], n_entries=(1 << 64) - 1), "metadata keys"),
    "one tensor too many": (gguf([], [F32_4], n_tensors=9), "tensor"),
    "a key twice": (gguf([entry("x", U32, 1), entry("x", U32, 2)]), "twice"),
    "a key that is not UTF-8": (gguf([entry(b"\xff\xfe", U32, 1)]), "UTF-8"),
    "a key without letters": (gguf([entry("", U32, 1)]), "empty"),
    "a string beyond the file": (gguf([string("x") + struct.pack("<IQ", STRING, 1 << 63)]), "'x'"),
    "a string item beyond the file": (
        gguf([array_entry("x", STRING, ["a"], count=2) + struct.pack("<Q", 99)]),
        "item 1",
    ),
    "a string that is not UTF-8": (gguf([entry("x", STRING, b"\xff")]), "'x'"),
    "an item that is not UTF-8": (gguf([array_entry("x", STRING, ["a", b"\xff"])]), "item 1 of the value of 'x'"),
    "an array beyond the file": (gguf([array_entry("x", F32, [1.0], count=1000)]), "'x'"),
    "an array of more than memory": (gguf([array_entry("x", F32, [1.0], count=1 << 61)]), "'x'"),
    "strings beyond the file": (gguf([array_entry("x", STRING, ["a"], count=1000)]), "'x'"),
    "an array of arrays": (gguf([string("x") + struct.pack("<IIQ", ARRAY, ARRAY, 1)]), "array of arrays"),
    "an unknown type": (gguf([string("x") + struct.pack("<II", 13, 1)]), "unknown type 13"),
    "an array of an unknown type": (gguf([string("x") + struct.pack("<IIQI", ARRAY, 99, 1, 1)]), "unknown type 99"),
    "a float64, which derails other readers": (gguf([entry("x", F64, 1.5)], [F32_4]), "float64"),
    "a truth of 2": (gguf([string("x") + struct.pack("<IB", BOOL, 2)]), "true nor false"),
    "an alignment of 0": (gguf([entry("general.alignment", U32, 0)], [F32_4]), "alignment"),
    "an alignment of 48": (gguf([entry("general.alignment", U32, 48)], [F32_4]), "alignment"),
    "an alignment of 4": (gguf([entry("general.alignment", U32, 4)], [F32_4]), "alignment"),
    "an alignment of 2 MiB": (gguf([entry("general.alignment", U32, 2 << 20)], [F32_4]), "alignment"),
    "an alignment in words": (gguf([entry("general.alignment", STRING, "32")], [F32_4]), "alignment"),
    "an alignment others don't see": (gguf([entry("general.alignment", U64, 64)], [F32_4], alignment=64), "uint32"),
    "no dimensions": (gguf([], [Tensor("t", [], 0, bytes(4))]), "0 dimensions"),
    "five dimensions": (gguf([], [Tensor("t", [1] * 5, 0, bytes(4))]), "5 dimensions"),
    "a dimension of 0": (gguf([], [Tensor("t", [4, 0], 0, b"")]), "dimensions"),
    "dimensions that overflow": (gguf([], [Tensor("t", [1 << 32, 1 << 32], 0, bytes(64))]), "dimensions"),
    "dimensions that wrap to 4": (gguf([], [Tensor("t", [(1 << 62) + 1, 4], 0, bytes(16))]), "dimensions"),
    "more numbers than the file": (gguf([], [Tensor("t", [1 << 20], 0, bytes(64))]), "'t'"),
    "a negative dimension": (gguf([], [Tensor("t", [(1 << 64) - 4], 0, bytes(64))]), "dimensions"),
    "an unsupported type": (gguf([], [Tensor("blk.0.attn_q.weight", [256], 16, bytes(66))]), "blk.0.attn_q.weight"),
    "a type from nowhere": (gguf([], [Tensor("t", [32], 1 << 31, bytes(64))]), "type number 2147483648"),
    "a row that blocks can't divide": (gguf([], [Tensor("t", [33], 2, bytes(64))]), "divide"),
    "a name that is not UTF-8": (gguf([], [Tensor("t", [4], 0, bytes(16))]).replace(b"t", b"\xff"), "UTF-8"),
    "a name of 65 bytes": (gguf([], [Tensor("t" * 65, [4], 0, bytes(16))]), "65"),
    "a name without letters": (gguf([], [Tensor("", [4], 0, bytes(16))]), "empty"),
    "a tensor twice": (gguf([], [F32_4, F32_4]), "twice"),
    "tensors that overlap": (gguf([], [F32_4, Tensor("b", [4], 0, bytes(16), offset=0)]), "overlap"),
    "an offset off the grid": (gguf([], [Tensor("b", [4], 0, bytes(64), offset=8)]), "aligned"),
    "an offset beyond the file": (gguf([], [Tensor("b", [4], 0, bytes(64), offset=1 << 40)]), "cut short"),
    "an offset that wraps": (gguf([], [Tensor("b", [4], 0, bytes(64), offset=(1 << 64) - 32)]), "cut short"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_header_is_refused_with_a_sentence_that_names_file_and_fault(write, case):
    data, fault = FORGED[case]
    path = write(data)
    with pytest.raises(ModelError) as caught:
        read_gguf(path)
    assert str(path) in str(caught.value)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_a_folder_a_pipe_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "folder.gguf").mkdir()
    os.mkfifo(tmp_path / "pipe.gguf")
    for name in ("empty.gguf", "folder.gguf", "pipe.gguf", "missing.gguf", "nul\0.gguf", "surrogate\ud800.gguf"):
        with pytest.raises(ModelError, match=r"gguf"):
            read_gguf(tmp_path / name)


def test_every_truncation_of_a_file_is_refused(write):
    data = sample()
    for length in range(len(data)):
        with pytest.raises(ModelError):
            read_gguf(write(data[:length]))


def is_read(path: Path) -> bool:
    """Whether the header is accepted; any exception but ModelError escapes and fails the test."""
    try:
        read_gguf(path)
    except ModelError:
        return False
    return True


def mutants(data: bytes, places: range, count: int, seed: int) -> list[bytes]:
    """Copies with one to four bytes or eight-byte numbers overwritten at random places of a range."""
    draw = random.Random(seed)
    copies = []
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            place = draw.choice(places)
            if draw.random() < 0.3:
                number = draw.choice([0, 1, 7, 255, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62, (1 << 64) - 1])
                copy[place : place + 8] = struct.pack("<Q", number)
            else:
                copy[place] = draw.choice([0, 1, 2, 8, 9, 12, 16, 32, 64, 127, 128, 255, draw.randrange(256)])
        copies.append(bytes(copy[: len(data)]))
    return copies


def test_a_mutated_header_is_read_or_refused_and_nothing_else(write):
    data = sample()
    outcomes = {is_read(write(mutant)) for mutant in mutants(data, range(4, len(data) - 200), 800, seed=1)}
    assert outcomes == {True, False}


LOAD_ALL = """
import sys, mlx.core as mx
for path in sys.argv[1:]:
    try:
        arrays, metadata = mx.load(path, return_metadata=True)
        mx.eval(arrays)
    except Exception as error:
        pass
print("alive")
"""


@pytest.mark.slow
def test_what_passes_the_check_never_kills_the_reader_behind_it(tmp_path):
    data = sample()
    accepted = []
    for index, mutant in enumerate(mutants(data, range(4, len(data) - 200), 4000, seed=2)):
        path = tmp_path / f"{index}.gguf"
        path.write_bytes(mutant)
        if is_read(path):
            accepted.append(str(path))
    assert len(accepted) > 100
    done = subprocess.run([sys.executable, "-c", LOAD_ALL, *accepted], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


def test_the_model_that_comes_along_is_read(smollm2_path):
    file = read_gguf(smollm2_path)
    assert file.metadata["general.architecture"] == "llama"
    assert len(file.metadata["tokenizer.ggml.tokens"]) == 49152
    assert file.tensors["token_embd.weight"].shape == (49152, 576)
    assert file.tensors["blk.0.ffn_down.weight"].type_name == "Q4_1"
    assert len(file.tensors) == 272
    last = max(file.tensors.values(), key=lambda tensor: tensor.offset)
    assert last.offset + last.nbytes <= smollm2_path.stat().st_size


@pytest.mark.slow
def test_the_real_header_truncated_or_mutated_anywhere_is_read_or_refused(smollm2_path, tmp_path):
    size = smollm2_path.stat().st_size
    header = min(tensor.offset for tensor in read_gguf(smollm2_path).tensors.values())
    with smollm2_path.open("rb") as file:
        data = file.read(header)
    draw = random.Random(3)
    path = tmp_path / "model.gguf"
    for length in [*draw.sample(range(header), 60), header, size // 2, size - 1]:
        path.write_bytes(data[:length])
        os.truncate(path, length)
        assert not is_read(path), length
    for seed, places in enumerate([range(4, 2000), range(4, header), range(header - 16000, header)]):
        for mutant in mutants(data, places, 40, seed):
            path.write_bytes(mutant)
            os.truncate(path, size)
            is_read(path)


LONG = "x" * 20_000_000
NAMED_AT_LENGTH = {
    "an architecture": [entry("general.architecture", STRING, LONG)],
    "an architecture and a kind of rotation": [
        entry("general.architecture", STRING, "llama"),
        entry("llama.rope.scaling.type", STRING, LONG),
    ],
    "a kind of vocabulary": [
        entry("tokenizer.ggml.model", STRING, LONG),
        array_entry("tokenizer.ggml.tokens", STRING, ["a"]),
    ],
    "a key of numbers": [entry("k" * 60_000, F64, 1.0)],
}


@pytest.mark.parametrize("entries", NAMED_AT_LENGTH.values(), ids=NAMED_AT_LENGTH.keys())
def test_a_name_of_any_length_makes_a_short_sentence(tmp_path: Path, entries: list[bytes]) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(entries))
    for attempt in (load_model, load_tokenizer):
        with pytest.raises(ModelError) as refused:
            attempt(path)
        assert len(str(refused.value)) < 500 + len(str(path))
        assert str(path) in str(refused.value)
