"""Of a model folder's files, the vocabulary that is whole is used, and its configuration says where a reply ends."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from menny.engine.tokenizers.tokenizer import load_tokenizer
from menny.errors import ModelError
from tests.engine.tokenizers import vocabulary_files as files


def write(folder: Path, **contents: Any) -> Path:
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def byte_level(*more: dict[str, Any]) -> dict[str, Any]:
    return files.byte_level_json(files.added(300, "<|im_start|>", special=True), *more)


def test_the_original_sentencepiece_file_is_used_by_itself(tmp_path):
    shutil.copy(files.V1, tmp_path / "tokenizer.model")
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_ids) == (32000, 1, {2})


def test_a_later_version_of_the_original_file_comes_before_an_earlier_one(tmp_path):
    shutil.copy(files.V1, tmp_path / "tokenizer.model")
    shutil.copy(files.V3, tmp_path / "tokenizer.model.v3")
    (tmp_path / "weights.model.bak").write_bytes(b"not a vocabulary")
    assert load_tokenizer(tmp_path).control_id("[INST]") == 3


def test_a_hub_folder_with_all_three_files_gives_the_ids_of_the_original(tmp_path):
    shutil.copy(files.V3, tmp_path / "tokenizer.model")
    shutil.copy(files.V3, tmp_path / "tokenizer.model.v3")
    write(tmp_path, tokenizer=files.sentencepiece_as_tokenizer_json(files.V3))
    truth, tokenizer = files.sentencepiece(files.V3), load_tokenizer(tmp_path)
    for text in files.TEXTS:
        assert tokenizer.encode(text) == truth.encode(text)


def test_tekken_comes_before_the_others(tmp_path):
    shutil.copy(files.V1, tmp_path / "tokenizer.model")
    write(tmp_path, tekken=files.small_tekken())
    assert load_tokenizer(tmp_path).vocab_size == 4000


def test_a_tokenizer_json_that_adds_tokens_to_the_original_file_is_the_whole_vocabulary(tmp_path):
    shutil.copy(files.V1, tmp_path / "tokenizer.model")
    spec = files.sentencepiece_as_tokenizer_json(files.V1)
    spec["added_tokens"] += [files.added(32000, "<|im_end|>", special=True)]
    spec["added_tokens"] += [files.added(32001, "<|im_start|>", special=False)]
    tokenizer = load_tokenizer(write(tmp_path, tokenizer=spec))
    assert (tokenizer.control_id("<|im_start|>"), tokenizer.control_id("<|im_end|>")) == (32001, 32000)
    assert tokenizer.eos_ids == {2, 32000}
    assert not {32000, 32001} & set(tokenizer.encode("<|im_start|>user\n<|im_end|>"))


def test_an_added_tokens_file_continues_the_original_file(tmp_path):
    shutil.copy(files.V1, tmp_path / "tokenizer.model")
    added = {"<|im_end|>": 32000, "<|im_start|>": 32001, "<unk>": 0}
    tokenizer = load_tokenizer(write(tmp_path, added_tokens=added, generation_config={"eos_token_id": 32000}))
    assert (tokenizer.control_id("<|im_start|>"), tokenizer.vocab_size) == (32001, 32002)
    assert tokenizer.eos_ids == {2, 32000}
    assert tokenizer.decode([32001, *tokenizer.encode("user"), 32000]) == "user"


@pytest.mark.parametrize("added", [{"<a>": 32001}, {"<a>": 32000, "<b>": 32000}, {"<a>": "x"}, {"<a>": -1}, []])
def test_an_added_tokens_file_that_leaves_a_gap_is_refused(tmp_path, added):
    shutil.copy(files.V1, tmp_path / "tokenizer.model")
    with pytest.raises(ModelError, match=r"added_tokens\.json"):
        load_tokenizer(write(tmp_path, added_tokens=added))


def test_the_only_gguf_of_a_folder_brings_its_vocabulary(tmp_path):
    (tmp_path / "model.gguf").write_bytes(files.sentencepiece_as_gguf(files.V1))
    assert load_tokenizer(tmp_path).vocab_size == 32000


@pytest.mark.parametrize(
    ("configs", "bos", "eos"),
    [
        ({"config": {"bos_token_id": 5, "eos_token_id": 6}}, 5, {6}),
        ({"config": {"eos_token_id": [6, 7]}, "generation_config": {"eos_token_id": 8}}, None, {8}),
        ({"generation_config": {"eos_token_id": [301, 300], "bos_token_id": None}}, None, {300, 301}),
        ({"tokenizer_config": {"bos_token": "<|im_start|>", "eos_token": {"content": "<end>"}}}, 300, {301}),
        ({"tokenizer_config": {"bos_token": None, "eos_token": "no such token"}}, None, set()),
        ({"tokenizer_config": {"eos_token": "<end>"}, "config": {"eos_token_id": 2}}, None, {301}),
    ],
)
def test_the_configuration_says_where_a_reply_starts_and_ends(tmp_path, configs, bos, eos):
    spec = byte_level(files.added(301, "<end>", special=True))
    tokenizer = load_tokenizer(write(tmp_path, tokenizer=spec, **configs))
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (bos, eos)


def test_the_end_of_a_turn_ends_a_reply_whatever_the_configuration_says(tmp_path):
    spec = byte_level(files.added(301, "<|im_end|>", special=True), files.added(302, "</s>", special=True))
    tokenizer = load_tokenizer(write(tmp_path, tokenizer=spec, config={"eos_token_id": 302}))
    assert tokenizer.eos_ids == {301, 302}


@pytest.mark.parametrize(
    ("name", "config", "fault"),
    [
        ("config", {"eos_token_id": 99999}, "'eos_token_id' is 99999"),
        ("config", {"bos_token_id": -1}, "'bos_token_id' is -1"),
        ("generation_config", {"eos_token_id": [1, "2"]}, "'eos_token_id' is not a whole number"),
        ("config", {"eos_token_id": True}, "'eos_token_id' is not a whole number"),
        ("tokenizer_config", ["x"], "doesn't hold a JSON object"),
    ],
)
def test_a_broken_configuration_is_refused_by_file_and_key(tmp_path, name, config, fault):
    with pytest.raises(ModelError) as caught:
        load_tokenizer(write(tmp_path, tokenizer=byte_level(), **{name: config}))
    assert f"{name}.json" in str(caught.value)
    assert fault in str(caught.value)


def test_a_folder_without_a_vocabulary_is_told_what_was_looked_for(tmp_path):
    write(tmp_path, config={"vocab_size": 10})
    with pytest.raises(ModelError) as caught:
        load_tokenizer(tmp_path)
    for part in (str(tmp_path), "tekken.json", "tokenizer.model", "tokenizer.json"):
        assert part in str(caught.value)


def test_a_broken_file_is_not_passed_over_for_another(tmp_path):
    shutil.copy(files.V1, tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer.json").write_text('{"model": {')
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_text_by_itself_begins_as_the_model_was_taught(tmp_path, smollm2_path):
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}]}
    plain = files.byte_level_json(files.added(300, "<s>", special=True))
    opens = plain | {"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}}
    assert load_tokenizer(write(tmp_path, tokenizer=plain)).opening == []
    assert load_tokenizer(write(tmp_path, tokenizer=opens)).opening == [300]
    assert load_tokenizer(write(tmp_path, tokenizer_config={"add_bos_token": False})).opening == []
    assert load_tokenizer(write(tmp_path, tokenizer=plain, tokenizer_config={"add_bos_token": True})).opening == [300]
    assert load_tokenizer(files.V1).opening == [1]
    assert load_tokenizer(smollm2_path).opening == []  # its tokenizer.ggml.add_bos_token says so
