"""The vocabulary within a GGUF: byte-level BPE ("gpt2") or SentencePiece ("llama"), by its metadata.

The keys are ggml's (docs/gguf.md): tokenizer.ggml.model, .tokens, .token_type, .scores, .merges, .pre and the ids of
control tokens. A byte-level vocabulary is put in the words of a tokenizer.json and read as one.
"""

import json
import math
from dataclasses import replace
from typing import Any

from menny.engine.formats.gguf import GGUFFile
from menny.engine.tokenizers.sentencepiece import (
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    parse_sentencepiece,
    sentencepiece_model,
)
from menny.engine.tokenizers.tokenizer_json import json_vocabulary
from menny.engine.tokenizers.vocabulary import MAX_VOCABULARY, Vocabulary, broken, checked_id, named_ends
from menny.errors import quoted

KEY = "tokenizer.ggml."
END_KEYS = ("eos_token_id", "eot_token_id")

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": use_regex}


def _split(pattern: str) -> list[dict[str, Any]]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return [split, _byte_level(use_regex=False)]


# How text is split into words before merging, by the name in tokenizer.ggml.pre.
SPLITS = {
    "smollm": [{"type": "Digits", "individual_digits": True}, _byte_level(use_regex=True)],
    "gpt-2": [_byte_level(use_regex=True)],
    "llama-bpe": _split(LLAMA_3),
    "qwen2": _split(QWEN_2),
    "tekken": _split(TEKKEN),
}
SAME = {"default": "gpt-2", "llama3": "llama-bpe", "llama-v3": "llama-bpe"}
WHOLE_WORDS = ("llama-bpe", "tekken")  # a word that is a token by itself is taken before any merge


def gguf_vocabulary(file: GGUFFile) -> Vocabulary:
    """The vocabulary that a checked GGUF header holds."""
    source, kind = file.path, file.metadata.get(KEY + "model")
    tokens = _texts(file, "tokens")
    if not tokens or len(tokens) > MAX_VOCABULARY:
        raise broken(source, f"'{KEY}tokens' holds {len(tokens)} tokens")
    if kind == "gpt2":
        vocabulary = json_vocabulary(_as_tokenizer_json(file, tokens), source)
    elif kind == "llama":
        vocabulary = parse_sentencepiece(_as_sentencepiece(file, tokens), source)
    else:
        raise broken(source, f"'{KEY}model' is {quoted(kind)}, and Menny reads 'gpt2' and 'llama'")
    return _with_ids(vocabulary, file, len(tokens))


def vocabulary_files(file: GGUFFile) -> dict[str, bytes]:
    """Return the vocabulary as the files of a model folder, by name; empty for a GGUF without a vocabulary."""
    if KEY + "model" not in file.metadata:
        return {}
    vocabulary, tokens = gguf_vocabulary(file), _texts(file, "tokens")
    byte_level = file.metadata[KEY + "model"] == "gpt2"
    template = vocabulary.chat_template
    end = file.metadata.get(KEY + "eos_token_id", min(vocabulary.eos_ids, default=None))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast" if byte_level else "LlamaTokenizer",
        "bos_token": _name(tokens, vocabulary.bos_id),
        "eos_token": _name(tokens, end),
        "unk_token": _name(tokens, vocabulary.unk_id),
        "add_bos_token": vocabulary.adds_bos,
        "chat_template": template or None,
        "clean_up_tokenization_spaces": False,
    }
    ids = {"bos_token_id": vocabulary.bos_id, "eos_token_id": sorted(vocabulary.eos_ids) or None}
    files = {"tokenizer_config.json": _json(settings), "generation_config.json": _json(ids)}
    if byte_level:
        return files | {"tokenizer.json": _json(_as_tokenizer_json(file, tokens))}
    return files | {"tokenizer.model": _as_sentencepiece(file, tokens)}


def _name(tokens: list[str], index: int | None) -> str | None:
    return None if index is None else tokens[index]


def _json(values: dict[str, Any]) -> bytes:
    """Return the values as JSON, without those that are None."""
    return json.dumps({key: value for key, value in values.items() if value is not None}, ensure_ascii=False).encode()


def _with_ids(vocabulary: Vocabulary, file: GGUFFile, size: int) -> Vocabulary:
    """Return the vocabulary with the ids that the metadata name."""
    ids = {
        key: checked_id(file.metadata[KEY + key], size, file.path, f"'{KEY}{key}'")
        for key in ("bos_token_id", *END_KEYS)
        if KEY + key in file.metadata
    }
    ends = {ids[key] for key in END_KEYS if key in ids}
    template = file.metadata.get("tokenizer.chat_template")
    by_default = file.metadata[KEY + "model"] == "llama" or _split_name(file) in WHOLE_WORDS
    return replace(
        vocabulary,
        bos_id=ids.get("bos_token_id", vocabulary.bos_id),
        adds_bos=_truth(file, "add_bos_token", by_default),
        eos_ids=named_ends(vocabulary.controls) | ends,
        chat_template=template if isinstance(template, str) else "",
    )


def _as_sentencepiece(file: GGUFFile, tokens: list[str]) -> bytes:
    scores = file.metadata.get(KEY + "scores")
    if not isinstance(scores, list) or len(scores) != len(tokens) or not all(map(_is_finite, scores)):
        raise broken(file.path, f"'{KEY}scores' is missing or not one number for each token")
    return sentencepiece_model(
        file.path,
        tokens,
        scores,
        _types(file, len(tokens)),
        add_space_prefix=_truth(file, "add_space_prefix", True),
        remove_extra_whitespaces=_truth(file, "remove_extra_whitespaces", False),
    )


def _as_tokenizer_json(file: GGUFFile, tokens: list[str]) -> dict[str, Any]:
    source, name = file.path, _split_name(file)
    if name not in SPLITS:
        pre = file.metadata.get(KEY + "pre")
        raise broken(source, f"'{KEY}pre' is {quoted(pre)}, and Menny knows {', '.join(sorted([*SPLITS, *SAME]))}")
    vocab = {token: index for index, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        twice = next(token for index, token in enumerate(tokens) if vocab[token] != index)
        raise broken(source, f"'{KEY}tokens' holds {quoted(twice)} twice")
    types = _types(file, len(tokens))
    return {
        "version": "1.0",
        "added_tokens": [
            _added(index, tokens[index], special=kind != USER_DEFINED)
            for index, kind in enumerate(types)
            if kind in (CONTROL, UNKNOWN, USER_DEFINED)
        ],
        "normalizer": {"type": "NFC"} if name == "qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": SPLITS[name]},
        "decoder": _byte_level(use_regex=False),
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": _texts(file, "merges"),
            "ignore_merges": name in WHOLE_WORDS,
        },
    }


def _split_name(file: GGUFFile) -> str:
    """Return the name that SPLITS has for how text is split; empty where the file doesn't name it."""
    pre = file.metadata.get(KEY + "pre", "default")
    return SAME.get(pre, pre) if isinstance(pre, str) else ""


def _added(index: int, content: str, *, special: bool) -> dict[str, Any]:
    off = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": content, "special": special} | off


def _texts(file: GGUFFile, key: str) -> list[str]:
    value = file.metadata.get(KEY + key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise broken(file.path, f"'{KEY}{key}' is missing or not a list of texts")
    return value


def _types(file: GGUFFile, count: int) -> list[int]:
    types = file.metadata.get(KEY + "token_type", [NORMAL] * count)
    if not isinstance(types, list) or len(types) != count or not all(isinstance(kind, int) for kind in types):
        raise broken(file.path, f"'{KEY}token_type' is missing or not one number for each token")
    return types


def _is_finite(score: Any) -> bool:
    return isinstance(score, float) and math.isfinite(score)


def _truth(file: GGUFFile, key: str, default: bool) -> bool:
    value = file.metadata.get(KEY + key, default)
    if not isinstance(value, bool):
        raise broken(file.path, f"'{KEY}{key}' is neither true nor false")
    return value
