"""Real vocabularies for tests, and the same vocabularies written in the other formats.

The wheel of mistral-common carries Mistral's own files. Writing them as a tokenizer.json or a GGUF gives each reader
a truth that doesn't come from itself.
"""

import base64
import importlib.util
import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor

from tests.engine.gguf_files import BOOL, F32, I32, STRING, U32, array_entry, entry, gguf


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed"
    return Path(str(spec.origin)).parent


MISTRAL = package_folder("mistral_common") / "data"
V1 = MISTRAL / "tokenizer.model.v1"
V2 = MISTRAL / "mistral_instruct_tokenizer_240216.model.v2"
V3 = MISTRAL / "mistral_instruct_tokenizer_240323.model.v3"
V7 = MISTRAL / "mistral_instruct_tokenizer_241114.model.v7"
TEKKEN = MISTRAL / "tekken_240718.json"

TEXTS = [
    " ",
    "  two spaces  around  ",
    "Hello, world! It's 12345 o'clock.",
    "line\nbreaks\r\nand\ttabs\n\n\n",
    "naïve café – “quotes” … ①②③ ﬁ",
    "日本語のテキスト、中文文本，한국어",
    "שלום עולם مرحبا بالعالم",
    "emoji 👩‍👩‍👧 🇩🇪 👍🏽 ❤️",
    "zero\u200dwidth\u200bjoiners\u2060",
    "nul \0 and \x01 control \x7f characters",
    "</s>[INST] forged [/INST] <s> <unk> <|im_start|>system\n<|im_end|> [SYSTEM_PROMPT]",
    "<0x0A> <0xE2> written out",
    "def f(x):\n    return x ** 2  # code\n",
    "supercalifragilisticexpialidocious" * 5,
    "a" * 300,
    " " * 300 + "end",
]


def sentencepiece(path: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(path))


def kind_of(processor: SentencePieceProcessor, index: int) -> int:
    """The type of a piece; the library tells a user-defined one from a normal one by nothing but its score of 0."""
    if processor.is_unknown(index):
        return 2
    if processor.is_control(index):
        return 3
    if processor.is_byte(index):
        return 6
    return 4 if processor.id_to_piece(index).startswith("[REF") else 1


def sentencepiece_as_gguf(path: Path, *more: bytes) -> bytes:
    """A GGUF of the "llama" kind with the pieces of a SentencePiece model."""
    processor = sentencepiece(path)
    ids = range(processor.get_piece_size())
    return gguf(
        [
            entry("tokenizer.ggml.model", STRING, "llama"),
            array_entry("tokenizer.ggml.tokens", STRING, [processor.id_to_piece(i) for i in ids]),
            array_entry("tokenizer.ggml.scores", F32, [processor.get_score(i) for i in ids]),
            array_entry("tokenizer.ggml.token_type", I32, [kind_of(processor, i) for i in ids]),
            entry("tokenizer.ggml.bos_token_id", U32, 1),
            entry("tokenizer.ggml.eos_token_id", U32, 2),
            *more,
        ]
    )


def added(index: int, content: str, *, special: bool) -> dict[str, Any]:
    off = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": content, "special": special} | off


@cache
def _merges(path: Path) -> tuple[tuple[str, str], ...]:
    """Every way to make a piece of two, by the pieces' rank, as the hub's converted files list them."""
    processor = sentencepiece(path)
    ids = {processor.id_to_piece(i): i for i in range(processor.get_piece_size()) if not processor.is_byte(i)}
    merges = []
    for piece, index in ids.items():
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        pairs = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
        merges += [(-processor.get_score(index), ids[left], ids[right], left, right) for left, right in pairs]
    return tuple((left, right) for *_, left, right in sorted(merges))


def sentencepiece_as_tokenizer_json(path: Path, *, metaspace: bool = False) -> dict[str, Any]:
    """A tokenizer.json of the SentencePiece-like kind, in the older form or with Metaspace."""
    processor = sentencepiece(path)
    ids = range(processor.get_piece_size())
    special = [i for i in ids if processor.is_control(i) or processor.is_unknown(i)]
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    older = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    parts = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": None,
        "added_tokens": [added(i, processor.id_to_piece(i), special=True) for i in special],
        "normalizer": None if metaspace else older,
        "pre_tokenizer": space if metaspace else None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": parts},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {processor.id_to_piece(i): i for i in ids},
            "merges": [list(pair) for pair in _merges(path)],
        },
    }


def byte_letters() -> dict[int, str]:
    """GPT-2's visible character for each byte, written down from its rule."""
    letters = {b: chr(b) for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174}
    return letters | {b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in letters)}


def merge_pairs(parts: list[Any], rank_of: Callable[[Any, Any], int | None]) -> list[Any]:
    """The whole of byte-pair encoding, slowly: join the leftmost neighbours of lowest rank, until none are left."""
    while True:
        ranks = [rank_of(left, right) for left, right in pairwise(parts)]
        joined = [(rank, place) for place, rank in enumerate(ranks) if rank is not None]
        if not joined:
            return parts
        _, place = min(joined)
        parts = [*parts[:place], parts[place] + parts[place + 1], *parts[place + 2 :]]


def small_tekken(size: int = 3000) -> dict[str, Any]:
    """Mistral's Tekken, cut to its first tokens: one's own, to be changed."""
    spec = json.loads(TEKKEN.read_text(encoding="utf-8"))
    spec["vocab"] = spec["vocab"][: size + 50]
    spec["config"] |= {"default_vocab_size": size + 1000}
    return spec


def tekken_as_gguf(spec: dict[str, Any]) -> bytes:
    """A GGUF of the "gpt2" kind with the ranks of a Tekken vocabulary as merges."""
    n_special = spec["config"]["default_num_special_tokens"]
    count = spec["config"]["default_vocab_size"] - n_special
    tokens = [base64.b64decode(item["token_bytes"]) for item in spec["vocab"][:count]]
    letters = byte_letters()
    ranks: dict[bytes, int] = {}
    merges = []
    for rank, token in enumerate(tokens):
        pair = merge_pairs([bytes([b]) for b in token], lambda left, right: ranks.get(left + right))
        if len(pair) == 2:
            merges.append(" ".join("".join(letters[b] for b in part) for part in pair))
        ranks[token] = rank
    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    specials = names + [f"<SPECIAL_{i}>" for i in range(len(names), n_special)]
    return gguf(
        [
            entry("tokenizer.ggml.model", STRING, "gpt2"),
            entry("tokenizer.ggml.pre", STRING, "tekken"),
            array_entry("tokenizer.ggml.tokens", STRING, specials + ["".join(letters[b] for b in t) for t in tokens]),
            array_entry("tokenizer.ggml.token_type", I32, [3] * n_special + [1] * count),
            array_entry("tokenizer.ggml.merges", STRING, merges),
            entry("tokenizer.ggml.bos_token_id", U32, 1),
            entry("tokenizer.ggml.eos_token_id", U32, 2),
            entry("tokenizer.ggml.add_bos_token", BOOL, True),
        ]
    )


def byte_level_json(*extra: dict[str, Any], merges: tuple[str, ...] = ("h e", "l l", "he ll")) -> dict[str, Any]:
    """A small tokenizer.json of the byte-level kind: the 256 bytes, a few merges, and added tokens."""
    vocab = {letter: byte for byte, letter in byte_letters().items()}
    for merge in merges:
        vocab[merge.replace(" ", "")] = len(vocab)
    return {
        "version": "1.0",
        "added_tokens": list(extra),
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": list(merges)},
    }
