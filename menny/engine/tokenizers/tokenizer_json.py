"""`tokenizer.json` vocabularies: byte-level BPE and SentencePiece-like BPE, encoded by the tokenizers library.

The library turns the text of a special token into that token, and a vocabulary may reach one by merging, too. So the
control tokens are taken out before the library sees the file: out of the added tokens, out of the merges, and in the
vocabulary each is renamed to a text that holds a bare space, which no word does in either kind of BPE. What is left
can't name them.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer as HubTokenizer

from menny.engine.tokenizers.components import MODEL_KEYS, check_components
from menny.engine.tokenizers.sentencepiece import byte_of
from menny.engine.tokenizers.vocabulary import (
    CONTROL_NAMES,
    MAX_VOCABULARY,
    Vocabulary,
    broken,
    checked_id,
    library_faults,
    named_bos,
    named_ends,
)


def json_vocabulary(spec: dict[str, Any], source: Path) -> Vocabulary:
    """The vocabulary that a parsed tokenizer.json describes."""
    model = _bpe(spec, source)
    ids = _vocab(model, source)
    added = _added_tokens(spec, source)
    controls = _controls(ids, added, source)
    names = _names(ids, added, controls, source)
    unk = model.get("unk_token")
    to_bytes, leading_space = _decoding(spec, source)
    specials = set(controls.values())
    plain = {content for content, entry in added.items() if entry["id"] not in specials}
    with library_faults(source, "building its encoding"):
        check_components(spec)
        hub = HubTokenizer.from_str(json.dumps(_without_controls(spec, ids, added, controls)))
    pieces = [b""] * (max(names) + 1)
    for index, name in names.items():
        if index not in specials:
            pieces[index] = name.encode("utf-8", "replace") if name in plain else to_bytes(name)
    return Vocabulary(
        source=source,
        pieces=pieces,
        controls=controls,
        encode=_encoder(hub, spec),
        bos_id=named_bos(controls),
        adds_bos=_adds_bos(spec, controls),
        eos_ids=named_ends(controls),
        unk_id=controls.get(unk, ids.get(unk)) if isinstance(unk, str) else None,
        leading_space=leading_space,
    )


def _encoder(hub: HubTokenizer, spec: dict[str, Any]) -> Callable[[str], list[int]]:
    """The library's encoding, with one repair: Metaspace puts no space before a text that has one, so two texts would
    be one. SentencePiece, which the models were trained with, puts it there always."""
    parts = _components(spec.get("pre_tokenizer"), "pretokenizers")
    swallowed = (" ", "▁") if any(part.get("type") == "Metaspace" and _prepends(part) for part in parts) else ()

    def encode(text: str) -> list[int]:
        text = " " + text if text.startswith(swallowed) else text
        return list(hub.encode(text, add_special_tokens=False).ids)

    return encode


def _adds_bos(spec: dict[str, Any], controls: dict[str, int]) -> bool:
    """Whether what the file does to an encoded text puts BOS before it."""
    parts = _components(spec.get("post_processor"), "processors")
    firsts = [_list(part.get("single"))[:1] for part in parts if part.get("type") == "TemplateProcessing"]
    names = {name for name, index in controls.items() if index == named_bos(controls)}
    return any(isinstance(one, dict) and _special(one) in names for first in firsts for one in first)


def _special(item: dict[str, Any]) -> Any:
    """The name of a special token in a template of that kind, None for what isn't one."""
    special = item.get("SpecialToken")
    return special.get("id") if isinstance(special, dict) else None


def added_ids(spec: dict[str, Any], source: Path) -> dict[str, int]:
    """The added tokens of a parsed tokenizer.json with their ids."""
    return {content: entry["id"] for content, entry in _added_tokens(spec, source).items()}


def _bpe(spec: dict[str, Any], source: Path) -> dict[str, Any]:
    model = spec.get("model")
    if not isinstance(model, dict):
        raise broken(source, "'model' is missing or not an object")
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise broken(source, f"'model.type' is {kind!r}, and Menny reads BPE")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise broken(source, f"'model.{key}' is set, which Menny doesn't read")
    return model


def _vocab(model: dict[str, Any], source: Path) -> dict[str, int]:
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not vocab:
        raise broken(source, "'model.vocab' is missing or not an object")
    return {
        piece: checked_id(index, MAX_VOCABULARY, source, f"'model.vocab.{piece}'") for piece, index in vocab.items()
    }


def _added_tokens(spec: dict[str, Any], source: Path) -> dict[str, dict[str, Any]]:
    listed = spec.get("added_tokens")
    listed = [] if listed is None else listed
    if not isinstance(listed, list):
        raise broken(source, "'added_tokens' is not a list")
    added: dict[str, dict[str, Any]] = {}
    for index, entry in enumerate(listed):
        content = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(content, str) or not content or content in added:
            raise broken(source, f"'added_tokens[{index}].content' is not a text of its own")
        checked_id(entry.get("id"), MAX_VOCABULARY, source, f"'added_tokens[{index}].id'")
        added[content] = entry
    return added


def _controls(ids: dict[str, int], added: dict[str, dict[str, Any]], source: Path) -> dict[str, int]:
    """Control tokens by name: what is marked as special, and what bears the name of one."""
    controls = {name: index for name, index in ids.items() if name in CONTROL_NAMES}
    for content, entry in added.items():
        if ids.get(content, entry["id"]) != entry["id"]:
            raise broken(source, f"the token {content!r} has one id in 'model.vocab' and another in 'added_tokens'")
        if entry.get("special") or content in CONTROL_NAMES:
            controls[content] = entry["id"]
    return controls


def _names(
    ids: dict[str, int], added: dict[str, dict[str, Any]], controls: dict[str, int], source: Path
) -> dict[int, str]:
    """Tokens by id, each id once."""
    together = ids | {content: entry["id"] for content, entry in added.items()} | controls
    names = {index: name for name, index in together.items()}
    if len(names) != len(together):
        twice = next(name for name, index in together.items() if names[index] != name)
        raise broken(source, f"the tokens {twice!r} and {names[together[twice]]!r} have the same id {together[twice]}")
    return names


def _without_controls(
    spec: dict[str, Any], ids: dict[str, int], added: dict[str, dict[str, Any]], controls: dict[str, int]
) -> dict[str, Any]:
    """The file's own description, less its control tokens and whatever would cut or lengthen what is encoded."""
    hidden = {name: f"control {index}" for name, index in controls.items()}
    plain = {content: entry for content, entry in added.items() if content not in controls}
    vocab = {hidden.get(name, name): index for name, index in ids.items()}
    vocab |= {hidden[name]: index for name, index in controls.items()}
    vocab |= {content: entry["id"] for content, entry in plain.items()}  # an added token takes its id from here
    model: dict[str, Any] = {key: spec["model"][key] for key in MODEL_KEYS if key in spec["model"]}
    model |= {"type": "BPE", "vocab": vocab, "dropout": None}
    model["merges"] = [pair for pair in _list(model.get("merges")) if not _concerns(pair, controls)]
    unk = model.get("unk_token")
    model["unk_token"] = hidden.get(unk, unk) if isinstance(unk, str) else None
    return {
        "version": spec.get("version", "1.0"),
        "added_tokens": list(plain.values()),
        "normalizer": spec.get("normalizer"),
        "pre_tokenizer": spec.get("pre_tokenizer"),
        "model": model,
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _concerns(pair: Any, controls: dict[str, int]) -> bool:
    """Whether a merge makes a control token or is made of one; the library judges a pair that is none."""
    parts = pair.split(" ", 1) if isinstance(pair, str) else pair
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return False
    return "".join(parts) in controls or any(part in controls for part in parts)


def _decoding(spec: dict[str, Any], source: Path) -> tuple[Callable[[str], bytes], Any]:
    """Return how a piece becomes bytes, and what decoding does about the text's leading space.

    How text was encoded decides; the decoder, which a converter may have left from another kind, only where that
    doesn't tell.
    """
    decoder = list(_components(spec.get("decoder"), "decoders"))
    before = [*_components(spec.get("normalizer"), "normalizers")]
    before += _components(spec.get("pre_tokenizer"), "pretokenizers")
    kind = _kind(before) or _kind(decoder)
    if kind is None or (decoder and _kind(decoder) is None):
        raise broken(source, "'decoder' is neither of the byte-level nor of the SentencePiece kind")
    if kind == "byte-level":
        return _byte_level(), "keep"
    parts = decoder if _kind(decoder) == kind else before
    strips = any(
        (part.get("type") == "Strip" and part.get("start"))
        or (part.get("type") == "Metaspace" and _prepends(part))
        or (parts is before and part.get("type") == "Prepend")
        for part in parts
    )
    return _spaced, "one" if strips else "keep"


def _kind(parts: list[dict[str, Any]]) -> Literal["byte-level", "spaced"] | None:
    """Return the kind of BPE that these components belong to, None where they don't tell."""
    types = {part.get("type") for part in parts}
    if "ByteLevel" in types:
        return "byte-level"
    return "spaced" if types & {"Metaspace", "ByteFallback", "Replace"} else None


def _components(value: Any, nested: str, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The parts of a decoder, normalizer or pre-tokenizer, whether single or in a sequence."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or depth > 8:
        return
    if value.get("type") == "Sequence":
        for part in _list(value.get(nested)):
            yield from _components(part, nested, depth + 1)
    else:
        yield value


def _prepends(metaspace: dict[str, Any]) -> bool:
    if "prepend_scheme" in metaspace:
        return bool(metaspace["prepend_scheme"] != "never")
    return metaspace.get("add_prefix_space") is not False


def _spaced(piece: str) -> bytes:
    return byte_of(piece) or piece.replace("▁", " ").encode("utf-8", "replace")


def _byte_level() -> Callable[[str], bytes]:
    """Byte-level BPE writes a byte as a visible character: itself where it is one, else one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in visible]
    bytes_of = {chr(byte): byte for byte in visible} | {chr(0x100 + i): byte for i, byte in enumerate(rest)}

    def decode(piece: str) -> bytes:
        if all(letter in bytes_of for letter in piece):
            return bytes(bytes_of[letter] for letter in piece)
        return piece.encode("utf-8", "replace")

    return decode
