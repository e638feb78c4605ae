"""A broken or hostile vocabulary file is refused with a sentence that names the file and what is wrong in it."""

import base64
import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from menny.engine.tokenizers.tokenizer import load_tokenizer
from menny.errors import ModelError
from tests.engine.gguf_files import BOOL, F32, I32, STRING, U32, array_entry, entry, gguf
from tests.engine.tokenizers import vocabulary_files as files


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Writes a file, expects it to be refused, and gives the sentence."""

    def refused(name: str, content: Any) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        with pytest.raises(ModelError) as caught:
            load_tokenizer(path)
        sentence = str(caught.value)
        assert str(path) in sentence
        assert "\n" not in sentence
        return sentence

    return refused


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at a dotted path replaced, or taken out where the value is `...`."""
    spec = copy.deepcopy(spec)
    *above, last = path.split(".")
    place: Any = spec
    for step in above:
        place = place[int(step) if isinstance(place, list) else step]
    key = int(last) if isinstance(place, list) else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return spec


def tiny_tekken() -> dict[str, Any]:
    tokens = [bytes([byte]) for byte in range(256)] + [b"he", b"ll", b"hell"]
    return {
        "config": {
            "pattern": files.small_tekken()["config"]["pattern"],
            "default_vocab_size": 24 + len(tokens),
            "default_num_special_tokens": 24,
            "version": "v3",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for rank, token in enumerate(tokens)
        ],
    }


def byte_level() -> dict[str, Any]:
    return files.byte_level_json(files.added(300, "<s>", special=True), files.added(301, "<x>", special=False))


def spaced() -> dict[str, Any]:
    """A small vocabulary of the SentencePiece-like kind."""
    spec = changed(byte_level(), "model.vocab", {"<unk>": 0, "<s>": 300, "▁": 1, "h": 2, "▁h": 3, "e": 4, "<0x20>": 5})
    spec["model"] |= {"merges": [["▁", "h"]], "unk_token": "<unk>", "byte_fallback": True}
    spec["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    spec["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, spec["pre_tokenizer"]]}
    return spec


def test_the_whole_files_that_the_others_are_made_of_are_fine(tmp_path):
    for name, spec in (("tekken.json", tiny_tekken()), ("tokenizer.json", byte_level())):
        (tmp_path / name).write_text(json.dumps(spec))
        tokenizer = load_tokenizer(tmp_path / name)
        assert tokenizer.decode(tokenizer.encode("hello <x> </s>")) == "hello <x> </s>"


ANY_FILE = {
    "an empty file": b"",
    "a file cut short": b'{"model": {"type": "BPE", "vo',
    "text": b"not JSON at all",
    "no UTF-8": b'{"model": "\xff"}',
    "a list": b"[1, 2]",
    "a number": b"17",
    "nothing inside": b"{}",
    "deep nesting": b'{"a":' * 100_000,
    "deep lists": b'{"model": {"type": "BPE", "vocab": ' + b"[" * 100_000,
    "an endless number": b'{"model": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("name", ["tokenizer.json", "tekken.json"])
@pytest.mark.parametrize("case", ANY_FILE)
def test_a_file_that_is_no_vocabulary_is_refused(refused, name, case):
    refused(name, ANY_FILE[case])


TEKKEN: list[tuple[str, Any, str]] = [
    ("config", ..., "config"),
    ("config", [], "config"),
    ("config.pattern", ..., "pattern"),
    ("config.pattern", 5, "pattern"),
    ("config.pattern", "(", "pattern"),
    ("config.pattern", "(" * 1000 + ")" * 1000, "pattern"),
    ("config.pattern", "a" * 5000, "pattern"),
    ("config.pattern", r"(?=(a+)+$)a", "pattern"),
    ("config.pattern", r"(a+)+\1b", "pattern"),
    ("config.pattern", r"(?:\s+(?!\S))+", "pattern"),
    ("config.pattern", r"(|\s+(?!\S)|)+", "pattern"),
    ("config.pattern", r"(((a{1,1000}){1,1000}){1,1000})", "pattern"),
    ("config.default_vocab_size", ..., "default_vocab_size"),
    ("config.default_vocab_size", "24", "default_vocab_size"),
    ("config.default_vocab_size", -1, "default_vocab_size"),
    ("config.default_vocab_size", 10**12, "default_vocab_size"),
    ("config.default_vocab_size", 1000, "default_vocab_size"),
    ("config.default_num_special_tokens", True, "default_num_special_tokens"),
    ("config.default_num_special_tokens", 3, "vocab"),
    ("vocab", ..., "vocab"),
    ("vocab", {}, "vocab"),
    ("vocab.5", None, "vocab[5]"),
    ("vocab.5.rank", 6, "vocab[5].rank"),
    ("vocab.1.rank", True, "vocab[1].rank"),
    ("vocab.5.token_bytes", "*", "vocab[5].token_bytes"),
    ("vocab.5.token_bytes", 5, "vocab[5].token_bytes"),
    ("vocab.5.token_bytes", ..., "vocab[5].token_bytes"),
    ("vocab.257.token_bytes", "AA==", "twice"),
    ("vocab.257.token_bytes", "", "empty"),
    ("vocab.5.token_bytes", "aGVsbG8=", "256 single bytes"),
    ("special_tokens", 5, "special_tokens"),
    ("special_tokens", [{"rank": 0, "token_str": f"<{i}>"} for i in range(30)], "special_tokens"),
    ("special_tokens", [{"rank": 99, "token_str": "<s>"}], "special_tokens[0].rank"),
    ("special_tokens", [{"rank": 0, "token_str": None}], "special_tokens[0].token_str"),
    ("special_tokens", [{"rank": 0, "token_str": "a"}, {"rank": 1, "token_str": "a"}], "twice"),
    ("special_tokens", ["<s>"], "special_tokens[0]"),
]


@pytest.mark.parametrize(("path", "value", "key"), TEKKEN)
def test_a_tekken_file_with_a_broken_key_is_refused_by_the_name_of_the_key(refused, path, value, key):
    assert key in refused("tekken.json", changed(tiny_tekken(), path, value))


HUB: list[tuple[str, Any, str]] = [
    ("model", ..., "model"),
    ("model", "BPE", "model"),
    ("model.type", "Unigram", "Unigram"),
    ("model.vocab", ..., "model.vocab"),
    ("model.vocab", [["a", 0.0]], "model.vocab"),
    ("model.vocab.a", "1", "model.vocab.a"),
    ("model.vocab.a", -1, "model.vocab.a"),
    ("model.vocab.a", 1 << 40, "model.vocab.a"),
    ("model.vocab.a", ord("b"), "same id"),
    ("model.merges", [["q", "no such piece"]], "building"),
    ("model.merges", ["a"], "building"),
    ("model.merges", [5], "building"),
    ("model.end_of_word_suffix", "</w>", "end_of_word_suffix"),
    ("added_tokens", {}, "added_tokens"),
    ("added_tokens.0", "x", "added_tokens[0]"),
    ("added_tokens.0.content", "", "added_tokens[0].content"),
    ("added_tokens.0.content", "<x>", "added_tokens[1].content"),
    ("added_tokens.0.id", ..., "added_tokens[0].id"),
    ("added_tokens.0.id", 1 << 40, "added_tokens[0].id"),
    ("added_tokens.0.id", 301, "same id"),
    ("added_tokens.1.content", "hell", "hell"),
    ("pre_tokenizer", {"type": "Split"}, "building"),
    ("pre_tokenizer", 5, "building"),
    ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "building"),
    ("decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}, "decoder"),
]


@pytest.mark.parametrize(("path", "value", "key"), HUB)
def test_a_tokenizer_json_with_a_broken_key_is_refused_by_the_name_of_the_key(refused, path, value, key):
    assert key in refused("tokenizer.json", changed(byte_level(), path, value))


def test_an_expression_that_runs_away_ends_in_a_sentence(refused):
    spec = byte_level()
    spec["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    assert "a regular expression that could run forever" in refused("tokenizer.json", spec)


def test_a_sentencepiece_file_that_is_cut_short_or_something_else_is_refused(refused):
    data = files.V1.read_bytes()
    for length in (1, 10, 1000, 250_000, len(data) - 1):
        refused("tokenizer.model", data[:length])
    refused("tokenizer.model.v3", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 493443\n")
    refused("tokenizer.model", b"\0" * 1000)


PIECES = ["<unk>", "<s>", "</s>", "▁", "a", "▁a"]


def small_gguf(**changes: bytes | None) -> bytes:
    entries: dict[str, bytes | None] = {
        "model": entry("tokenizer.ggml.model", STRING, "llama"),
        "tokens": array_entry("tokenizer.ggml.tokens", STRING, PIECES),
        "scores": array_entry("tokenizer.ggml.scores", F32, [0.0, 0.0, 0.0, -1.0, -2.0, -0.5]),
        "token_type": array_entry("tokenizer.ggml.token_type", I32, [2, 3, 3, 1, 1, 1]),
    }
    return gguf([value for value in (entries | changes).values() if value is not None])


GGUF = {
    "another kind": ({"model": entry("tokenizer.ggml.model", STRING, "bert")}, "'bert'"),
    "no kind": ({"model": None}, "tokenizer.ggml.model"),
    "no tokens": ({"tokens": None}, "tokenizer.ggml.tokens"),
    "numbers for tokens": ({"tokens": array_entry("tokenizer.ggml.tokens", I32, [1, 2])}, "tokenizer.ggml.tokens"),
    "no tokens within": ({"tokens": array_entry("tokenizer.ggml.tokens", STRING, [])}, "tokenizer.ggml.tokens"),
    "no scores": ({"scores": None}, "tokenizer.ggml.scores"),
    "too few scores": ({"scores": array_entry("tokenizer.ggml.scores", F32, [0.0])}, "tokenizer.ggml.scores"),
    "no-number scores": (
        {"scores": array_entry("tokenizer.ggml.scores", F32, [float("nan")] * 6)},
        "tokenizer.ggml.scores",
    ),
    "too few types": ({"token_type": array_entry("tokenizer.ggml.token_type", I32, [1])}, "token_type"),
    "types from nowhere": ({"token_type": array_entry("tokenizer.ggml.token_type", I32, [2, 3, 3, 9, 1, 1])}, "type 9"),
    "a byte that is none": ({"token_type": array_entry("tokenizer.ggml.token_type", I32, [2, 3, 3, 6, 1, 1])}, "byte"),
    "nothing unknown": ({"token_type": None}, "loading"),
    "a piece twice": ({"tokens": array_entry("tokenizer.ggml.tokens", STRING, [*PIECES[:5], "a"])}, "loading"),
    "an empty piece": ({"tokens": array_entry("tokenizer.ggml.tokens", STRING, [*PIECES[:5], ""])}, "loading"),
    "an end outside": ({"end": entry("tokenizer.ggml.eos_token_id", U32, 6)}, "eos_token_id"),
    "a start in words": ({"start": entry("tokenizer.ggml.bos_token_id", STRING, "<s>")}, "bos_token_id"),
    "a truth in words": ({"space": entry("tokenizer.ggml.add_space_prefix", STRING, "no")}, "add_space_prefix"),
    "merges missing": ({"model": entry("tokenizer.ggml.model", STRING, "gpt2")}, "tokenizer.ggml.merges"),
    "a strange split": (
        {
            "model": entry("tokenizer.ggml.model", STRING, "gpt2"),
            "pre": entry("tokenizer.ggml.pre", STRING, "a-new-one"),
        },
        "'a-new-one'",
    ),
    "a split of no name": (
        {"model": entry("tokenizer.ggml.model", STRING, "gpt2"), "pre": entry("tokenizer.ggml.pre", BOOL, True)},
        "tokenizer.ggml.pre",
    ),
}


@pytest.mark.parametrize("case", GGUF)
def test_a_gguf_with_a_broken_vocabulary_is_refused_by_the_name_of_the_key(refused, case):
    changes, key = GGUF[case]
    assert key in refused("model.gguf", small_gguf(**changes))


def test_the_whole_gguf_that_the_others_are_made_of_is_fine(tmp_path):
    (tmp_path / "model.gguf").write_bytes(small_gguf())
    assert load_tokenizer(tmp_path / "model.gguf").encode("a a") == [5, 5]


def test_what_is_no_vocabulary_file_is_refused(refused, tmp_path):
    assert "not a vocabulary" in refused("notes.txt", b"hello")
    assert "not a vocabulary" in refused("weights.safetensors", b"\0" * 64)
    os.mkfifo(tmp_path / "tokenizer.model")
    os.mkfifo(tmp_path / "pipe")
    for name in ("tokenizer.model", "pipe", "missing.json", "missing", "missing.model", "nul\0", "\ud800.json"):
        with pytest.raises(ModelError):
            load_tokenizer(tmp_path / name)


STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1 << 31,
    1 << 63,
    1.5,
    "",
    "x",
    " ",
    "\ud800",
    "\0",
    [],
    {},
    [[]],
    {"type": "x"},
]


def mutate(value: Any, draw: random.Random) -> Any:
    """The same JSON with one value somewhere in it replaced, taken out or doubled."""
    value = copy.copy(value)
    places = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not places or draw.random() < 0.1:
        return draw.choice(STRANGE)
    place = draw.choice(places)
    if isinstance(value[place], dict | list) and draw.random() < 0.8:
        value[place] = mutate(value[place], draw)
    elif draw.random() < 0.2:
        del value[place]
    else:
        value[place] = draw.choice([*STRANGE, value[draw.choice(places)]])
    return value


@pytest.mark.parametrize("make", [tiny_tekken, byte_level, spaced], ids=["tekken", "byte", "▁"])
def test_any_change_of_a_json_vocabulary_is_read_or_refused_and_nothing_else(tmp_path, make):
    draw, path, spec = random.Random(1), tmp_path / "tokenizer.json", make()
    for _ in range(150):
        path.write_text(json.dumps(mutate(spec, draw)))
        try:
            tokenizer = load_tokenizer(path)
            tokenizer.decode(tokenizer.encode("hello <s> wörld"))
        except ModelError:
            pass


@pytest.mark.slow
def test_any_change_of_a_sentencepiece_file_is_read_or_refused_and_nothing_else(tmp_path):
    data, draw, path = files.V1.read_bytes(), random.Random(2), tmp_path / "tokenizer.model"
    for _ in range(60):
        mutant = bytearray(data)
        for _ in range(draw.choice([1, 3, 30])):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        path.write_bytes(mutant[: draw.choice([len(mutant), draw.randrange(len(mutant))])])
        try:
            tokenizer = load_tokenizer(path)
            tokenizer.decode(tokenizer.encode("hello <s> wörld"))
        except ModelError:
            pass
