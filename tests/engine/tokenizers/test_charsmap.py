"""Charsmaps of SentencePiece: the library's own are read, in either kind of file, and damaged ones never reach it."""

import base64
import io
import json
import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from sentencepiece import sentencepiece_model_pb2 as protos

from menny.engine import load_tokenizer
from menny.engine.tokenizers.charsmap import is_charsmap
from tests.engine.tokenizers import vocabulary_files as files

RULES = ["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf"]
TEXTS = ["ｆｕｌｌ ｗｉｄｔｈ", "ﬁne ½ ㎏ ﷺ", "Ångström ﾊﾝｶｸ", "plain text"]


def trained(rule: str) -> bytes:
    """A small model with one of the library's own charsmaps."""
    made = io.BytesIO()
    sentences = iter(["Full width, fine half Angstrom, kg and plain text 1 2 ⁄"] * 50)
    SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_writer=made,
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name=rule,
        minloglevel=2,
    )
    return made.getvalue()


def charsmap_of(model: bytes) -> bytes:
    return bytes(protos.ModelProto.FromString(model).normalizer_spec.precompiled_charsmap)


@pytest.mark.parametrize("rule", RULES)
def test_a_model_that_normalises_is_encoded_as_the_library_does(tmp_path: Path, rule: str) -> None:
    model = trained(rule)
    (tmp_path / "tokenizer.model").write_bytes(model)
    ours, theirs = load_tokenizer(tmp_path / "tokenizer.model"), SentencePieceProcessor(model_proto=model)
    assert is_charsmap(charsmap_of(model))
    assert [ours.encode(text) for text in TEXTS] == [theirs.encode(text) for text in TEXTS]


def test_so_is_a_tokenizer_json_with_one(tmp_path: Path) -> None:
    value = base64.b64encode(charsmap_of(trained("nfkc"))).decode()
    spec = files.byte_level_json() | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": value}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    assert tokenizer.encode("ｈｅ") == tokenizer.encode("he")


def test_damaged_charsmaps_are_found_and_what_passes_is_harmless() -> None:
    model = protos.ModelProto.FromString(trained("nfkc"))
    sound, chance = charsmap_of(model.SerializeToString()), random.Random(0)
    nodes = struct.unpack("<I", sound[:4])[0]
    for data in (b"", sound[:4], sound[:1000], sound[:-1], b"\0" * 99, sound[:4] + b"\xff" * (len(sound) - 4)):
        assert not is_charsmap(data)
    assert not is_charsmap(sound[: 4 + nodes] + b"a" * 1000 + b"\0" + sound[4 + nodes :])
    for _ in range(60):
        damaged = bytearray(sound)
        for _ in range(chance.choice((1, 4, 400))):
            damaged[chance.randrange(4, 4 + nodes)] = chance.randrange(256)
        if is_charsmap(bytes(damaged)):
            model.normalizer_spec.precompiled_charsmap = bytes(damaged)
            with suppress(RuntimeError):  # which the loader makes a sentence of
                SentencePieceProcessor(model_proto=model.SerializeToString()).encode("".join(TEXTS) * 5)
