"""What --model takes: an id, a repository's name, a folder or a .gguf, and the sentence for anything else."""

import json
from pathlib import Path

import pytest

from menny.config.paths import CONFIGS
from menny.errors import ModelError
from menny.models.catalogue import ModelSpec, load_catalogue, model_at, resolve

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"metadata": {}, "weight_map": {"a.weight": SHARDS[0], "b.weight": SHARDS[1]}})


@pytest.fixture
def specs(tmp_path: Path) -> list[ModelSpec]:
    return load_catalogue(CONFIGS / "models.yaml", tmp_path / "models", tmp_path / "hub")[0]


def whole_model(folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def test_an_id_a_repository_a_folder_and_a_gguf_are_all_understood(specs: list[ModelSpec], tmp_path: Path) -> None:
    folder = whole_model(tmp_path / "some model")
    (tmp_path / "some.gguf").write_text("weights")

    assert resolve("smollm2", specs).id == "smollm2"
    assert resolve(" SmolLM2 ", specs).id == "smollm2"
    assert resolve("MLX-community/mistral-7b-instruct-v0.3-8bit", specs).id == "mistral-7b-v0.3-8bit"
    assert resolve("mixtral-8x7b-4bit", specs).path() is None
    assert resolve(folder, specs).path() == folder
    assert resolve(folder, specs).template is None
    assert resolve(str(tmp_path / "some.gguf"), specs).path() == tmp_path / "some.gguf"


def test_a_relative_path_is_understood_and_made_whole(tmp_path: Path, monkeypatch) -> None:
    whole_model(tmp_path / "here")
    monkeypatch.chdir(tmp_path)

    assert resolve("here", []).path() == tmp_path / "here"
    assert resolve("./here", []).path() == tmp_path / "here"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smolm2", "did you mean smollm2?"),
        ("mistral-7b", "did you mean mistral-7b-v0."),
        ("zzzz", "give a folder, a .gguf file or one of: smollm2, "),
        ("", "give a folder"),
        ("/no/such/folder", "There is no model at '/no/such/folder': check the path"),
        ("typo.gguf", "There is no model at 'typo.gguf': check the path"),
        ("somebody/something", "There is no model at 'somebody/something'"),
        ("a\0b", "There is no model 'a\\x00b'"),
        ("x" * 5000, "…"),
        ("~nobody/model", "There is no model at '~nobody/model'"),
        ("mistral-7b-v0.3", "did you mean mistral-7b-v0.3-4bit or mistral-7b-v0.3-8bit?"),
    ],
)
def test_a_wrong_name_is_one_sentence_with_what_to_do(specs: list[ModelSpec], name: str, words: str) -> None:
    with pytest.raises(ModelError) as refused:
        resolve(name, specs)

    assert words in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "is not a model: it has neither config.json nor a .gguf file"),
        ({"model.safetensors": "a"}, "is not a model: it has neither config.json"),
        ({"config.json": "{}"}, "lacks weights, such as model.safetensors"),
        ({"config.json": "{}", "model.safetensors.index.json": INDEX, SHARDS[1]: "b"}, f"lacks {SHARDS[0]}"),
        ({"config.json": "{}", SHARDS[0]: "a"}, f"lacks {SHARDS[1]}"),
        ({"config.json": "{}", "model.safetensors.index.json": "{"}, "index.json can't be used"),
        ({"config.json": "{}", "model.safetensors.index.json": "[1]"}, "index.json can't be used"),
        ({"config.json": "{}", "model.safetensors.index.json": '{"weight_map": {}}'}, "weight_map should say"),
        (
            {"config.json": "{}", "model.safetensors.index.json": '{"weight_map": {"a": "../b"}}'},
            "it names '../b', which",
        ),
        ({"config.json": "{}", "model.safetensors.index.json": '{"weight_map": {"a": 3}}'}, "weight_map should say"),
        ({"config.json": "{}", "model.safetensors.index.json": "[" * 100_000}, "index.json can't be used"),
        ({"a.gguf": "a", "b.gguf": "b"}, "holds 2 .gguf files: give one of them, such as "),
    ],
)
def test_a_folder_that_is_no_whole_model_says_what_it_lacks(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(ModelError) as refused:
        resolve(tmp_path, [])

    assert str(tmp_path) in str(refused.value)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "files",
    [
        ["config.json", "model.safetensors"],
        ["config.json", *SHARDS],
        ["config.json", "weights.npz"],
        ["config.json", "weights.00.safetensors"],
        ["params.json", "consolidated.safetensors"],
        ["params.json", "consolidated.00.pth"],
    ],
)
def test_every_layout_of_the_four_formats_counts_as_a_model(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")

    assert model_at(tmp_path) == tmp_path


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("a")

    with pytest.raises(ModelError, match=r"is not a model: give its folder, or a \.gguf file"):
        resolve(tmp_path / "model.safetensors", [])
