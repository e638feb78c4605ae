"""Only tensors come out of a .pth: whatever else its pickle asks for is refused by name, and nothing of it is run."""

import os
import pickle
import random
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from menny.engine import load_model
from menny.engine.formats.pth import MAX_PICKLE_BYTES, pth_sizes, read_pth
from menny.errors import ModelError
from tests.engine.format_files import glob, of_reference, reference_weights, state_dict, tensor, text, whole, write_pth
from tests.engine.tiny_models import random_weights, tiny_args

ARRAYS = {"norm.weight": np.arange(8, dtype=np.float32), "output.weight": np.arange(6, dtype=np.float16).reshape(2, 3)}


class Touches:
    """Unpickled by Python, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def script(item: bytes, key: bytes = text("norm.weight")) -> bytes:
    """A pickle of a dict with one item."""
    return b"\x80\x02}(" + key + item + b"u."


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        dict(read_pth(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(path))
    with pytest.raises(ModelError):
        pth_sizes(path)
    return str(error.value)


def test_tensors_of_every_type_come_out_as_they_went_in(tmp_path):
    write_pth(tmp_path / "m.pth", ARRAYS | {"half": np.array([0x3F80, 0xC000], np.uint16)})
    found = dict(read_pth(tmp_path / "m.pth"))
    assert np.array_equal(np.array(found["norm.weight"]), ARRAYS["norm.weight"])
    assert np.array_equal(np.array(found["output.weight"]), ARRAYS["output.weight"])
    assert found["half"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, protocol):
    victim = tmp_path / "made"
    write_pth(tmp_path / "m.pth", ARRAYS, script=pickle.dumps({"norm.weight": Touches(victim)}, protocol))
    refused(tmp_path / "m.pth")
    assert not victim.exists()
    folder = of_reference(tmp_path / "model", tiny_args())
    write_pth(folder / "consolidated.00.pth", ARRAYS, script=pickle.dumps({"x": Touches(victim)}, protocol))
    with pytest.raises(ModelError, match=r"consolidated\.00\.pth"):
        load_model(folder)
    assert not victim.exists()


NAMES = [
    ("os", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("torch", "load"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    ("torch", "FloatStorage.__init__"),
    ("torch", "LongStorage"),
    ("collections", "namedtuple"),
    ("x" * 9000, "y"),
]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda name: name[:30])
def test_any_other_name_is_refused_by_that_name(tmp_path, module, name):
    write_pth(tmp_path / "m.pth", ARRAYS, script=script(glob(module, name) + b")R"))
    assert repr(f"{module}.{name}"[:200]) in refused(tmp_path / "m.pth")
    stacked = b"\x80\x04}(" + text("a") + text(module) + text(name) + b"\x93)Ru."
    write_pth(tmp_path / "m.pth", ARRAYS, script=stacked)
    assert repr(f"{module}.{name}"[:200]) in refused(tmp_path / "m.pth")


BUILT = tensor(0, np.float32, (8,))
STORED = BUILT[BUILT.index(text("storage")) - 1 : BUILT.index(b"Q") + 1]
REBUILD, DICT = glob("torch._utils", "_rebuild_tensor_v2"), glob("collections", "OrderedDict")
BROKEN = {
    "not a dict": b"\x80\x02]." ,
    "nothing": b"",
    "no end": b"\x80\x02}(",
    "a number for a tensor": script(whole(3)),
    "a dict for a tensor": script(b"}"),
    "a number for a name": script(tensor(0, np.float32, (8,)), key=whole(1)),
    "a tuple for a name": script(tensor(0, np.float32, (8,)), key=b"(" + b")" * 99 + b"t"),
    "a name that is not hashable": script(tensor(0, np.float32, (8,)), key=b"}"),
    "an instruction that makes an object": script(b"(" + DICT + b"o"),
    "the same by name": b"\x80\x02(ios\nsystem\n.",
    "an object by its class": script(DICT + b")\x81"),
    "an extension": script(b"\x82\x01"),
    "a memo beyond all memory": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a text longer than the file": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "a long text": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    "a rebuilt nothing": script(REBUILD + b")R"),
    "a rebuilt text": script(REBUILD + b"(" + text("x") * 4 + b"tR"),
    "attributes for a function": script(REBUILD + b"N}" + text("__defaults__") + b")s\x86b"),
    "a storage that isn't one": script(text("storage") + b"Q"),
    "more numbers than there are": script(tensor(0, np.float32, (9,))),
    "an offset behind them": script(tensor(0, np.float32, (8,), offset=1)),
    "a stride behind them": script(tensor(0, np.float32, (4,), (3,))),
    "a stride of nothing": script(tensor(0, np.float32, (1000, 8), (0, 1))),
    "a negative offset": script(tensor(0, np.float32, (2,), offset=-1)),
    "a negative size": script(tensor(0, np.float32, (-2, -4))),
    "more strides than sizes": script(tensor(0, np.float32, (8,), (1, 1))),
    "too many dimensions": script(tensor(0, np.float32, (1,) * 65)),
    "attributes for a tensor": script(BUILT + b"}" + text("shape") + b"Nsb"),
    "slots for a tensor": script(BUILT + b"N}" + text("shape") + b"Ns\x86b"),
    "a list of fields for a tensor": script(BUILT + b"](K\x01K\x02K\x03K\x04eb"),
    "a setter for a tensor": script(BUILT + b"}" + text("__setstate__") + REBUILD + b"sb"),
    "attributes for a storage": script(STORED + b"}" + text("length") + b"Nsb"),
    "attributes for a list": script(b"]}" + text("append") + REBUILD + b"sb"),
    "attributes for a text": script(text("x") + b"}b"),
    "items for a tensor": script(BUILT + text("x") + b"a"),
    "a storage type that isn't hashable": script(b"(" + text("storage") + b"]" + text("0") * 2 + whole(8) + b"tQ"),
    "a storage of too few parts": script(b"(" + text("storage") + b"tQ"),
    "a dict in itself": b"\x80\x02}q\x00(" + text("a") + b"h\x00u.",
    "another record": script(tensor(7, np.float32, (8,))),
}  # fmt: skip


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_or_hostile_pickle_is_refused(tmp_path, data):
    write_pth(tmp_path / "m.pth", ARRAYS, script=data)
    refused(tmp_path / "m.pth")


def test_a_record_that_leads_elsewhere_a_packed_one_and_another_order_of_bytes_are_refused(tmp_path):
    path = tmp_path / "m.pth"
    write_pth(path, ARRAYS, script=state_dict(ARRAYS).replace(text("1"), text("../../etc/passwd")))
    assert "missing" in refused(path)
    write_pth(path, ARRAYS, compress=True)
    assert "packed" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", state_dict(ARRAYS))
        archive.writestr("m/byteorder", "big")
    assert "byte" in refused(path)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "m.pth"
    for content in (b"", b"PK\x03\x04", pickle.dumps({"a": 1}), b"\x80\x02."):
        path.write_bytes(content)
        refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/version", "3")
    assert "no PyTorch checkpoint" in refused(path)


def test_whatever_is_wrong_with_a_file_it_loads_or_a_sentence_says_why_not(tmp_path):
    """A fixed number of mutations of a whole checkpoint's bytes, and of its pickle's."""
    args = tiny_args(n_layers=1, dim=32, hidden_dim=32, vocab_size=8)
    arrays = reference_weights(args, random_weights(args))
    folder = of_reference(tmp_path / "m", args)
    path = folder / "consolidated.00.pth"
    write_pth(path, arrays)
    whole_file, words = path.read_bytes(), state_dict(arrays)
    draw, outcomes = random.Random(3), set()
    for turn in range(300):
        mutated = bytearray(whole_file if turn % 2 else words)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(mutated))
            mutated[place : place + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
        path.write_bytes(mutated) if turn % 2 else write_pth(path, arrays, script=bytes(mutated))
        try:
            load_model(folder)
            outcomes.add("loaded")
        except ModelError as error:
            outcomes.add("refused with the path" if str(folder) in str(error) else str(error))
    assert outcomes <= {"loaded", "refused with the path"}
    assert "refused with the path" in outcomes


def test_attributes_of_a_state_are_left_out_and_change_nothing(tmp_path):
    """A module's state carries `_metadata`, which torch.save writes by BUILD; the tensors stay as they were checked."""
    built = state_dict(ARRAYS).removesuffix(b".") + b"}" + text("_metadata") + b"}sb."
    ordered = b"\x80\x02" + DICT + b")R(" + text("norm.weight") + BUILT + b"u}" + text("_metadata") + b"}sb."
    write_pth(tmp_path / "m.pth", ARRAYS, script=ordered)
    assert pth_sizes(tmp_path / "m.pth") == {"norm.weight": 32}
    for setter in ("items", "__class__", "__setstate__", "__len__"):
        write_pth(tmp_path / "m.pth", ARRAYS, script=ordered.replace(text("_metadata"), text(setter)))
        assert pth_sizes(tmp_path / "m.pth") == {"norm.weight": 32}
    write_pth(tmp_path / "m.pth", ARRAYS, script=built)
    refused(tmp_path / "m.pth")  # a plain dict has no attributes


BOMBS = {
    "thirty megabytes of lists": b"\x80\x02}(" + b"]" * 30_000_000 + b"u.",
    "lists up to the bound": b"\x80\x02}(" + b"]" * (MAX_PICKLE_BYTES - 100) + b"u.",
    "a million empty tensors": b"\x80\x02}("
    + b"".join(text(str(n)) + tensor(0, np.float32, (0,)) for n in range(20_000))
    + b"u.",
    "a memo at the end of all": b"\x80\x02}r"
    + (MAX_PICKLE_BYTES - 100).to_bytes(4, "little")
    + b"."
    + b" " * 2_000_000,
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_a_pickle_that_would_take_all_memory_or_minutes_is_refused(tmp_path, data):
    write_pth(tmp_path / "m.pth", ARRAYS, script=data)
    tracemalloc.start()
    refused(tmp_path / "m.pth")
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_a_script_of_any_admitted_opcodes_ends_in_a_sentence(tmp_path):
    """By chance: fragments of a sound pickle, BUILD between them, in any order."""
    parts = [text("norm.weight"), BUILT, STORED, REBUILD, DICT, whole(3), *(bytes([code]) for code in b"}]()tasbRuNQ0")]
    parts += [b"\x85", b"\x86", b"\x87", b"e", b"q\x00", b"h\x00", b"\x88", text("shape"), text("storage")]
    draw, sentences = random.Random(4), 0
    for _ in range(1500):
        body = b"".join(draw.choices(parts, k=draw.randrange(1, 12)))
        path = tmp_path / "m.pth"
        write_pth(path, ARRAYS, script=b"\x80\x02}(" + text("norm.weight") + BUILT + body + b"u.")
        try:
            assert set(pth_sizes(path).values()) <= {32}
        except ModelError as error:
            sentences += str(path) in str(error)
    assert sentences > 1000
