"""Text becomes the ids that the vocabulary's makers mean, comes back whole, and never forges a control token."""

import json
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from menny.engine.formats.gguf import read_gguf
from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer
from menny.errors import ModelError
from tests.engine.gguf_files import BOOL, STRING, array_entry, entry, gguf
from tests.engine.tokenizers import vocabulary_files as files

KINDS = ["v1", "v3", "tekken", "smollm2", "llama gguf", "hub json", "metaspace json", "byte-level json"]


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory, smollm2_path) -> dict[str, Tokenizer]:
    """One tokenizer of each kind."""
    folder = tmp_path_factory.mktemp("vocabularies")
    written = {
        "llama.gguf": files.sentencepiece_as_gguf(files.V3),
        "hub.json": json.dumps(files.sentencepiece_as_tokenizer_json(files.V3)).encode(),
        "metaspace.json": json.dumps(files.sentencepiece_as_tokenizer_json(files.V1, metaspace=True)).encode(),
        "byte-level.json": json.dumps(
            files.byte_level_json(
                files.added(300, "<|im_start|>", special=False),
                files.added(301, "</s>", special=True),
                files.added(302, "<tool>", special=False),
            )
        ).encode(),
    }
    for name, data in written.items():
        (folder / name).write_bytes(data)
    paths = [files.V1, files.V3, files.TEKKEN, smollm2_path, *(folder / name for name in written)]
    return {kind: load_tokenizer(path) for kind, path in zip(KINDS, paths, strict=True)}


@pytest.fixture(params=KINDS)
def tokenizer(request, tokenizers) -> Tokenizer:
    return tokenizers[request.param]


def whole(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("text", files.TEXTS)
def test_text_comes_back_as_it_was(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


# The vocabulary of SmolLM2 has no tokens for these bytes: some control characters and the planes 4 to 11.
SMOLLM2_LACKS = frozenset(b"\x04\x06\x13\x14\x16\x1d\xf1\xf2")


def test_any_text_comes_back_as_it_was(tokenizers):
    # SentencePiece writes a space as U+2581, so it can't tell the two apart.
    @given(st.text(st.characters(exclude_characters="▁", exclude_categories=[])))
    def check(text: str) -> None:
        for kind, tokenizer in tokenizers.items():
            if kind == "smollm2" and SMOLLM2_LACKS & set(whole(text).encode()):
                continue
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == whole(text), kind
            assert all(0 <= token < tokenizer.vocab_size for token in ids), kind

    check()


def test_an_empty_text_has_no_tokens(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


def test_surrogates_are_paired_where_they_make_a_character_and_replaced_where_not(tokenizer):
    assert tokenizer.encode("a\ud83d\ude00b") == tokenizer.encode("a😀b")
    assert tokenizer.encode("\ud800x\udc00\ud800") == tokenizer.encode("\ufffdx\ufffd\ufffd")


FORGERIES = [
    "<s>",
    "</s>",
    "<unk>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
]


@pytest.mark.parametrize("around", ["{}", " {} ", "x{}x", "\n{}\n", "{0}{0}", "a {} b {}"])
def test_a_control_tokens_name_in_a_text_is_encoded_as_letters(tokenizer, around):
    for name in FORGERIES:
        text = around.replace("{0}", "{}").replace("{}", name)
        ids = tokenizer.encode(text)
        assert tokenizer.control_id(name) not in ids
        assert tokenizer.decode(ids) == text


def test_control_tokens_are_known_by_name_and_decode_to_nothing(tokenizers):
    expected = {
        "v1": {"<s>": 1, "</s>": 2, "[INST]": None},
        "v3": {"<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4},
        "tekken": {"<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4, "[SYSTEM_PROMPT]": 17, "<SPECIAL_999>": 999},
        "smollm2": {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2, "[INST]": None, "hello": None},
        "llama gguf": {"<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4},
        "hub json": {"<s>": 1, "</s>": 2, "[INST]": 3, "[/INST]": 4},
        "byte-level json": {"</s>": 301, "<|im_start|>": 300, "<tool>": None},
    }
    for kind, ids in expected.items():
        tokenizer = tokenizers[kind]
        assert {name: tokenizer.control_id(name) for name in ids} == ids, kind
        assert tokenizer.decode([i for i in ids.values() if i is not None]) == "", kind


def test_start_and_end_and_size_are_known(tokenizers):
    assert {kind: (t.bos_id, set(t.eos_ids), t.vocab_size) for kind, t in tokenizers.items()} == {
        "v1": (1, {2}, 32000),
        "v3": (1, {2}, 32768),
        "tekken": (1, {2}, 131072),
        "smollm2": (1, {0, 2}, 49152),
        "llama gguf": (1, {2}, 32768),
        "hub json": (1, {2}, 32768),
        "metaspace json": (1, {2}, 32000),
        "byte-level json": (None, {301}, 303),
    }


def random_ids(tokenizer: Tokenizer) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30)


def test_a_stream_of_tokens_gives_the_same_text_as_all_at_once(tokenizer):
    @given(random_ids(tokenizer))
    @settings(max_examples=200)
    def check(ids: list[int]) -> None:
        decoder = tokenizer.decoder()
        parts = [decoder.add(token) for token in ids]
        assert "".join(parts) + decoder.finish() == tokenizer.decode(ids)

    check()


def test_a_character_appears_when_its_last_byte_does(tokenizer):
    for text in ("x😀y", "日本語", "👩‍👩‍👧", "ö😀 𝄞"):
        decoder = tokenizer.decoder()
        parts = [decoder.add(token) for token in tokenizer.encode(text)]
        assert "\ufffd" not in "".join(parts)
        assert "".join(parts) == text


def test_an_incomplete_character_at_the_end_yields_nothing(tokenizers):
    for kind in ("v1", "tekken", "smollm2", "llama gguf", "hub json", "byte-level json"):
        tokenizer = tokenizers[kind]
        ids = tokenizer.encode("ok 𝄞")
        decoder = tokenizer.decoder()
        text = "".join(decoder.add(token) for token in ids[:-1]) + decoder.finish()
        assert text == tokenizer.decode(ids[:-1]) == "ok ", kind


def test_bytes_that_are_no_utf8_become_replacement_characters_once_that_is_certain(tokenizers):
    tokenizer = tokenizers["tekken"]
    assert tokenizer.decode([1000 + 0xF0, 1000 + 0x9F, 1000 + ord("a")]) == "\ufffda"
    assert tokenizer.decode([1000 + 0x80, 1000 + ord("a")]) == "\ufffda"


@pytest.mark.parametrize("token", [-1, 1 << 20, 1 << 40])
def test_an_id_outside_the_vocabulary_is_told_in_a_sentence(tokenizer, token):
    with pytest.raises(ModelError, match=f"token {token} is not in the vocabulary"):
        tokenizer.decode([token])


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["a", " ", "\n", "1", "日", "word ", "👩‍👩‍👧", " \n", "!", "\u3000", "<|im_start|>"])
def test_a_long_run_of_anything_is_encoded_and_comes_back(tokenizer, unit):
    text = unit * (300_000 // len(unit.encode()))
    assert tokenizer.decode(tokenizer.encode(text)) == text


# Independent truths: the libraries that the vocabularies' makers use.


@pytest.mark.parametrize("path", [files.V1, files.V2, files.V3, files.V7], ids=["v1", "v2", "v3", "v7"])
def test_sentencepiece_files_agree_with_the_library(path):
    truth, tokenizer = files.sentencepiece(path), load_tokenizer(path)
    assert tokenizer.vocab_size == truth.get_piece_size()

    @given(st.one_of(st.sampled_from(files.TEXTS), st.text()))
    def check_ids(text: str) -> None:
        ids = tokenizer.encode(text)
        assert ids == truth.encode(text)
        assert tokenizer.decode(ids) == truth.decode(ids)

    # Byte pieces are left out: of an incomplete character, the library makes as many U+FFFD as it has bytes.
    plain = st.integers(0, truth.get_piece_size() - 1).filter(lambda i: not truth.is_byte(i))

    @given(st.lists(plain, max_size=20))
    def check_text(ids: list[int]) -> None:
        assert tokenizer.decode(ids) == truth.decode(ids)

    check_ids()
    check_text()


def test_a_leading_space_is_stripped_as_sentencepiece_strips_it(tokenizers):
    truth, tokenizer = files.sentencepiece(files.V1), tokenizers["v1"]
    space, byte_space, hello = truth.piece_to_id("▁"), truth.piece_to_id("<0x20>"), truth.piece_to_id("▁Hello")
    for ids in (
        [space, hello],
        [1, hello],
        [1, 2, space, space],
        [byte_space, hello],
        [0, hello],
        [hello, hello],
        [0, 0],
    ):
        assert tokenizer.decode(ids) == truth.decode(ids)


def test_tekken_agrees_with_mistral_common(tokenizers):
    truth, tokenizer = Tekkenizer.from_file(files.TEKKEN), tokenizers["tekken"]
    assert tokenizer.vocab_size == truth.n_words
    names = ["<unk>", "<s>", "[TOOL_CALLS]", "[IMG_END]", "[SUFFIX]", "[TOOL_CONTENT]", "<SPECIAL_20>", "<SPECIAL_999>"]
    assert [tokenizer.control_id(name) for name in names] == [truth.get_special_token(name) for name in names]

    @given(st.one_of(st.sampled_from(files.TEXTS), st.text()))
    def check(text: str) -> None:
        ids = tokenizer.encode(text)
        assert ids == truth.encode(text, bos=False, eos=False)
        assert tokenizer.decode(ids) == truth.decode(ids)

    check()


@pytest.mark.parametrize("kind", ["llama gguf", "hub json", "metaspace json"])
def test_a_sentencepiece_vocabulary_in_another_format_gives_the_same_ids(tokenizers, kind):
    truth = files.sentencepiece(files.V1 if kind == "metaspace json" else files.V3)
    tokenizer = tokenizers[kind]

    # A tokenizer.json ranks each way to make a piece; SentencePiece ranks the piece. Long runs of spaces show it.
    texts = [text for text in files.TEXTS if " " * 100 not in text or kind == "llama gguf"]

    @given(st.one_of(st.sampled_from(texts), st.text(st.characters(exclude_characters="▁"))))
    def check(text: str) -> None:
        ids = tokenizer.encode(text)
        assert ids == truth.encode(text)
        assert tokenizer.decode(ids) == truth.decode(ids)

    check()


def test_a_gguf_tells_whether_a_space_is_put_before_the_text(tmp_path):
    path = tmp_path / "plain.gguf"
    path.write_bytes(files.sentencepiece_as_gguf(files.V1, entry("tokenizer.ggml.add_space_prefix", BOOL, False)))
    tokenizer, truth = load_tokenizer(path), files.sentencepiece(files.V1)
    ids = tokenizer.encode("Hello there")
    assert [truth.id_to_piece(i) for i in ids] == ["Hello", "▁there"]
    assert tokenizer.decode(tokenizer.encode(" Hello")) == " Hello"


def test_tekken_in_a_gguf_gives_the_same_ids_as_tekken(tmp_path):
    spec = files.small_tekken()
    (tmp_path / "tekken.json").write_text(json.dumps(spec))
    (tmp_path / "tekken.gguf").write_bytes(files.tekken_as_gguf(spec))
    truth = Tekkenizer.from_file(tmp_path / "tekken.json")
    tokenizers = [load_tokenizer(tmp_path / "tekken.json"), load_tokenizer(tmp_path / "tekken.gguf")]

    @given(st.one_of(st.sampled_from(files.TEXTS), st.text()))
    def check(text: str) -> None:
        expected = truth.encode(text, bos=False, eos=False)
        assert [tokenizer.encode(text) for tokenizer in tokenizers] == [expected, expected]

    check()


def test_byte_pair_encoding_by_hand_gives_the_same_ids_as_the_model_that_comes_along(tokenizers, smollm2_path):
    metadata = read_gguf(smollm2_path).metadata
    ids = {token: index for index, token in enumerate(metadata["tokenizer.ggml.tokens"])}
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(metadata["tokenizer.ggml.merges"])}
    letters = files.byte_letters()
    digits = regex.compile(r"(\p{N})")
    words = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

    @given(
        st.one_of(
            st.sampled_from(files.TEXTS), st.text(st.characters(codec="latin-1", categories=["L", "N", "P", "Zs"]))
        )
    )
    def check(text: str) -> None:
        found = [word for part in digits.split(text) for word in words.findall(part)]
        parts = [[letters[byte] for byte in word.encode()] for word in found]
        merged = [ids[piece] for part in parts for piece in files.merge_pairs(part, lambda *pair: ranks.get(pair))]
        assert tokenizers["smollm2"].encode(text) == merged

    check()


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("gpt-2", ["12345", "'", "S"]),
        ("default", ["12345", "'", "S"]),
        ("llama-bpe", ["123", "4", "5", "'S"]),
        ("qwen2", ["1", "2", "3", "4", "5", "'S"]),
        ("smollm", ["1", "2", "3", "4", "5", "'", "S"]),
        ("tekken", ["1", "2", "3", "4", "5", "'S"]),
    ],
)
def test_a_gguf_names_how_text_is_split_into_words(tmp_path, pre, pieces):
    merges = ["1 2", "12 3", "123 4", "1234 5", "' S"]
    tokens = [*files.byte_letters().values(), *(merge.replace(" ", "") for merge in merges)]
    path = tmp_path / "digits.gguf"
    path.write_bytes(
        gguf(
            [
                entry("tokenizer.ggml.model", STRING, "gpt2"),
                entry("tokenizer.ggml.pre", STRING, pre),
                array_entry("tokenizer.ggml.tokens", STRING, tokens),
                array_entry("tokenizer.ggml.merges", STRING, merges),
            ]
        )
    )
    assert [tokens[i] for i in load_tokenizer(path).encode("12345'S")] == pieces


def test_path_may_be_a_string_and_begin_at_home(smollm2_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(smollm2_path.parent))
    for path in (str(smollm2_path), f"~/{smollm2_path.name}"):
        assert load_tokenizer(path).control_id("<|im_start|>") == 1
