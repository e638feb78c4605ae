"""Which files make a model: one answer for the catalogue, the hub and the engine."""

import json
from pathlib import Path
from typing import Any

import pytest

from menny.engine import load_tokenizer
from menny.engine.args import MoEArgs, args_from_folder
from menny.engine.checkpoints.checkpoint import FORMATS
from menny.errors import ModelError
from menny.model_files import (
    CONFIG_FILES,
    MAX_CONFIG_BYTES,
    MAX_INDEX_BYTES,
    MODEL_TYPES,
    WEIGHT_PATTERNS,
    find_model,
    find_weights,
    is_computed,
    parse_json,
)
from menny.models.catalogue import model_at
from menny.models.hub.files import RemoteFile, chosen
from tests.engine.tiny_models import hub_config, tiny_args
from tests.engine.tokenizers.vocabulary_files import byte_level_json

INDEX = "model.safetensors.index.json"


def index_of(folder: Path, index: Any) -> Path:
    raw = index if isinstance(index, bytes) else json.dumps(index).encode()
    (folder / "model.safetensors.index.json").write_bytes(raw)
    return folder


def test_the_index_tells_the_shards_and_other_files_are_left_alone(tmp_path):
    for name in ("a-1.safetensors", "a-2.safetensors", "model.safetensors", "consolidated.safetensors"):
        (tmp_path / name).touch()
    weight_map = {"x": "a-2.safetensors", "y": "a-1.safetensors", "z": "a-1.safetensors"}
    found = find_weights(index_of(tmp_path, {"weight_map": weight_map}))
    assert [path.name for path in found] == ["a-1.safetensors", "a-2.safetensors"]


def test_without_an_index_the_models_files_are_the_shards(tmp_path):
    for name in ("model-2.safetensors", "model-1.safetensors", "consolidated.safetensors", "model.bin"):
        (tmp_path / name).touch()
    (tmp_path / "model-3.safetensors").mkdir()
    assert [path.name for path in find_weights(tmp_path)] == ["model-1.safetensors", "model-2.safetensors"]


def test_a_folder_without_weights_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"lacks weights, such as model\.safetensors"):
        find_weights(tmp_path)


def test_an_index_that_names_a_missing_shard_says_which(tmp_path):
    (tmp_path / "model-1.safetensors").touch()
    weight_map = {"x": "model-1.safetensors", "y": "model-2.safetensors"}
    with pytest.raises(ModelError, match=r"lacks model-2\.safetensors, which model\.safetensors\.index\.json lists"):
        find_weights(index_of(tmp_path, {"weight_map": weight_map}))


OUTSIDE = ["../model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", "..\\model.safetensors"]
NO_SHARD = ["", ".", "..", "model.bin", "model.safetensors/", "a\0.safetensors", "\ud800.safetensors", "a" * 5000]


@pytest.mark.parametrize("name", [*OUTSIDE, *NO_SHARD, "b" * 5000 + ".safetensors"], ids=lambda name: repr(name[:20]))
def test_an_index_cant_lead_out_of_the_folder_or_to_other_files(tmp_path, name):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "model.safetensors", folder / "sub" / "model.safetensors", folder / "model.bin"):
        path.touch()
    with pytest.raises(ModelError, match=r"index\.json can't be used: it names '") as refused:
        find_weights(index_of(folder, {"weight_map": {"x": name}}))
    assert len(str(refused.value)) < 500 + len(str(folder))
    str(refused.value).encode()  # can be printed


INDICES = {
    "not JSON": b"{",
    "a list": [1],
    "no map": {"metadata": {}},
    "an empty map": {"weight_map": {}},
    "a map that isn't one": {"weight_map": ["model.safetensors"]},
    "a file that isn't a name": {"weight_map": {"x": 3}},
    "nested beyond reason": b'{"weight_map":' + b"[" * 200_000,
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_a_broken_index_is_refused_by_name(tmp_path, index):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json"):
        find_weights(index_of(tmp_path, index))


def listing(*names: str) -> dict[str, Any]:
    return {"weight_map": {f"weight {number}": name for number, name in enumerate(names)}}


def shards(count: int, stem: str = "model") -> list[str]:
    return [f"{stem}-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]


# What lies in a folder, what its index lists, and the weights that are read.
WHOLE = {
    "an index and its shards": (shards(2), shards(2), shards(2)),
    "a whole beside a stale index": (["model.safetensors"], shards(3), ["model.safetensors"]),
    "a whole beside a stale index and some of its shards": (
        ["model.safetensors", *shards(3)[:2]],
        shards(3),
        ["model.safetensors"],
    ),
    "shards of one numbering beside an index of another": (shards(2), shards(3), shards(2)),
    "all of both numberings": ([*shards(2), *shards(3)], shards(3), shards(3)),
    "the reference's file beside an index of the hub's": (
        ["consolidated.safetensors"],
        shards(3),
        ["consolidated.safetensors"],
    ),
    "PyTorch's file beside an index": (["consolidated.00.pth"], shards(3), ["consolidated.00.pth"]),
    "a whole beside old shards": (["model.safetensors", *shards(2)[:1]], None, ["model.safetensors"]),
    "whole shards beside some of another numbering": ([*shards(2), *shards(3)[:2]], None, shards(2)),
    "shards that aren't counted": (["model-1.safetensors", "model-2.safetensors"], None, ["model-1", "model-2"]),
    "an index that lists the whole": (["model.safetensors"], ["model.safetensors"], ["model.safetensors"]),
}


@pytest.mark.parametrize(("files", "listed", "read"), WHOLE.values(), ids=WHOLE.keys())
def test_a_whole_model_is_read_whatever_lies_beside_it(tmp_path: Path, files, listed, read) -> None:
    for name in ("config.json", *files):
        (tmp_path / name).write_text("{}")
    if listed is not None:
        index_of(tmp_path, listing(*listed))
    remote = {name: RemoteFile(name, 2, "") for name in (INDEX, "config.json", *files) if (tmp_path / name).is_file()}

    found = find_weights(tmp_path)

    assert [path.name.removesuffix(".safetensors") for path in found] == [n.removesuffix(".safetensors") for n in read]
    assert find_model(tmp_path) == model_at(tmp_path) == tmp_path
    fetched = [file.name for file in chosen(remote, lambda name: tmp_path / name) if not file.name.endswith(".json")]
    assert fetched == [path.name for path in found]


# The same for models that lack something, and the file that is named.
NOT_WHOLE = {
    "a shard is missing": (shards(3)[:2], shards(3), f"{shards(3)[2]}, which {INDEX} lists"),
    "nothing is there": ([], shards(3), f"{shards(3)[0]}, which {INDEX} lists"),
    "another file of the kind": (["model-adapter.safetensors"], shards(3), f"{shards(3)[0]}, which {INDEX} lists"),
    "the whole is one of the listed": (["model.safetensors"], ["model.safetensors", "model2.safetensors"], "model2"),
    "shards of both numberings are missing": ([shards(2)[0], shards(3)[0]], shards(3), shards(3)[1]),
    "a counted shard is missing": (shards(3)[1:], None, shards(3)[0]),
    "a file of another name": (["adapter.safetensors"], None, "weights, such as model.safetensors"),
    "PyTorch's file of the hub": (["pytorch_model.bin"], None, "weights, such as model.safetensors"),
}


@pytest.mark.parametrize(("files", "listed", "lack"), NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
def test_what_a_model_lacks_is_named_alike_everywhere(tmp_path: Path, files, listed, lack) -> None:
    for name in ("config.json", *files):
        (tmp_path / name).write_text("{}")
    if listed is not None:
        index_of(tmp_path, listing(*listed))

    for look in (find_weights, model_at):
        with pytest.raises(ModelError) as refused:
            look(tmp_path)
        assert f"{tmp_path} lacks {lack}" in str(refused.value)
        assert refused.value.file == tmp_path


def test_a_folders_only_gguf_is_what_is_loaded_with_or_without_a_config(tmp_path: Path) -> None:
    (tmp_path / "Model.GGUF").touch()
    assert find_model(tmp_path) == model_at(tmp_path) == tmp_path / "Model.GGUF"
    (tmp_path / "config.json").write_text("{}")
    assert find_model(tmp_path) == model_at(tmp_path) == tmp_path / "Model.GGUF"
    (tmp_path / "model.safetensors").touch()
    assert find_model(tmp_path) == model_at(tmp_path) == tmp_path


def test_every_pattern_has_a_reader_in_the_engine() -> None:
    assert {Path(pattern).suffix for pattern in WEIGHT_PATTERNS} == FORMATS.keys()


@pytest.mark.parametrize("kind", MODEL_TYPES)
@pytest.mark.parametrize("file", CONFIG_FILES)
def test_the_catalogue_knows_every_type_that_the_engine_computes(tmp_path: Path, kind: str, file: str) -> None:
    moe = MoEArgs(4, 2) if kind == "mixtral" else None
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}} if kind == "ministral3" else {}
    config = hub_config(tiny_args(moe=moe)) | {"model_type": kind} | rope
    (tmp_path / file).write_text(json.dumps(config))

    assert is_computed(config)
    assert args_from_folder(tmp_path).dim == tiny_args().dim


@pytest.mark.parametrize(
    ("config", "computed"),
    [
        ({"architectures": ["MistralForCausalLM"]}, True),
        ({"dim": 4096, "n_layers": 32}, True),
        ({"hidden_size": 4096, "num_hidden_layers": 32}, True),
        ({"model_type": "qwen2"}, False),
        ({"architectures": ["WhisperForConditionalGeneration"]}, False),
        ({"architecture": "resnet50", "num_classes": 1000}, False),
        ({}, False),
        ([], False),
        (None, False),
        ({"model_type": ["mistral"]}, False),
    ],
)
def test_a_config_of_another_kind_of_model_is_not_taken_for_a_mistral(config: object, computed: bool) -> None:
    assert is_computed(config) is computed


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_read_in_whatever_unicode_it_is_written(encoding: str) -> None:
    assert parse_json('{"näme": ["▁"]}'.encode(encoding)) == {"näme": ["▁"]}


def test_json_that_would_fill_the_memory_is_refused_before_it_is_parsed() -> None:
    for part in (b"[],", b"{},", b"0,", b'"",', b"[[],[[]]],"):
        with pytest.raises(ValueError, match="more values than"):
            parse_json(b"[" + part * (6 << 20) + b"0]")


def test_a_config_or_an_index_as_large_as_a_model_is_not_read(tmp_path: Path) -> None:
    for name, limit in (("config.json", MAX_CONFIG_BYTES), (INDEX, MAX_INDEX_BYTES)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(limit + 1)
    with pytest.raises(ModelError, match=r"config\.json can't be used: it is larger than 4 MiB"):
        args_from_folder(tmp_path)
    with pytest.raises(ModelError, match=r"index\.json can't be used: it is too large"):
        find_weights(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_whole_model_saved_by_an_editor_that_writes_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    for name, content in (
        ("config.json", hub_config(tiny_args())),
        ("tokenizer.json", byte_level_json()),
        ("tokenizer_config.json", {"eos_token": "hell"}),
        (INDEX, listing("model.safetensors")),
    ):
        (tmp_path / name).write_text(json.dumps(content), encoding=encoding)
    (tmp_path / "model.safetensors").touch()

    assert args_from_folder(tmp_path) == tiny_args(rope_traditional=False)
    assert load_tokenizer(tmp_path).encode("hell") == [257 + 1]
    assert model_at(tmp_path) == tmp_path
    assert find_weights(tmp_path) == [tmp_path / "model.safetensors"]
