"""Which components of a tokenizer.json are let near the tokenizers library: known ones that grow a text little.

The library runs whatever a file asks for: replacements that multiply a text, prefixes of megabytes, expressions that
never end. An allocation that fails within it ends the process. So every component is checked here first.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from menny.engine.tokenizers.patterns import is_bounded
from menny.errors import quoted

MAX_COMPONENTS = 16
MAX_DEPTH = 4  # of sequences
MAX_GROWTH = 8  # characters for each one of a text, by all replacements and prefixes together
MAX_TEXT = 64  # characters of a pattern, prefix or replacement that is written out
MAX_ADDED = 1024  # characters of an added token
MAX_ALL_ADDED = 1 << 20  # characters of all added tokens

NORMALIZERS = frozenset(("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Prepend", "Replace"))
PRE_TOKENIZERS = frozenset(
    ("ByteLevel", "Metaspace", "Digits", "Punctuation", "Split", "Whitespace", "WhitespaceSplit")
)
MODEL_KEYS = ("type", "unk_token", "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges")


def check_components(spec: Mapping[str, Any]) -> None:
    """Raise ValueError with a reason for a normalizer, pre-tokenizer or added token that Menny doesn't run."""
    normalizers = _flat(spec.get("normalizer"), "normalizer", "normalizers", NORMALIZERS)
    pre_tokenizers = _flat(spec.get("pre_tokenizer"), "pre_tokenizer", "pretokenizers", PRE_TOKENIZERS)
    growth = prod(_growth(part) for part in normalizers + pre_tokenizers)
    if growth > MAX_GROWTH:
        raise ValueError(f"its 'normalizer' and 'pre_tokenizer' may make a text {growth:.0f} times as long")
    for once in ("ByteLevel", "Metaspace"):
        if sum(part["type"] == once for part in pre_tokenizers) > 1:
            raise ValueError(f"'pre_tokenizer' holds {once} twice")
    for part in pre_tokenizers:
        if part["type"] == "Split":
            _check_split(part)
    _check_added(spec.get("added_tokens") or [])


def _flat(value: Any, key: str, nested: str, known: frozenset[str], depth: int = 0) -> list[dict[str, Any]]:
    """Return the components under a key, in their order."""
    if value is None:
        return []
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        raise ValueError(f"{key!r} is not a component with a type")
    if kind != "Sequence":
        if kind not in known:
            raise ValueError(f"{key!r} holds {quoted(kind)}, and Menny knows {', '.join(sorted(known))}")
        return [value]
    parts = value.get(nested)
    if not isinstance(parts, list) or len(parts) > MAX_COMPONENTS or depth >= MAX_DEPTH:
        raise ValueError(f"{key!r} is not a sequence of at most {MAX_COMPONENTS} components")
    flat = [one for part in parts for one in _flat(part, key, nested, known, depth + 1)]
    if len(flat) > MAX_COMPONENTS:
        raise ValueError(f"{key!r} holds {len(flat)} components, more than {MAX_COMPONENTS}")
    return flat


def _growth(part: dict[str, Any]) -> float:
    """Return the characters that a component may make of one; a prefix may come before each, between added tokens.

    Unicode's own forms are left out: they grow few characters, and by no more than 18.
    """
    check: Callable[[dict[str, Any]], float] | None = {"Prepend": _prefix, "Replace": _replacement}.get(part["type"])
    if part["type"] == "Metaspace" and len(str(part.get("replacement"))) != 1:
        raise ValueError("Metaspace should have one character for a space")
    adds_space = part["type"] == "Metaspace" or (part["type"] == "ByteLevel" and part.get("add_prefix_space"))
    return check(part) if check else 2.0 if adds_space else 1.0


def _prefix(part: dict[str, Any]) -> float:
    return 1 + len(_text(part, "prepend", "Prepend"))


def _replacement(part: dict[str, Any]) -> float:
    pattern = part.get("pattern")
    if not isinstance(pattern, dict) or pattern.keys() != {"String"}:
        raise ValueError("Replace should have a pattern of the kind String")
    old, new = _text(pattern, "String", "Replace"), _text(part, "content", "Replace")
    if not old:
        raise ValueError("Replace has an empty pattern")
    return max(1.0, len(new) / len(old))


def _text(part: dict[str, Any], key: str, kind: str) -> str:
    text = part.get(key)
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ValueError(f"{kind} should have a text of at most {MAX_TEXT} characters under {key!r}")
    return text


def _check_split(part: dict[str, Any]) -> None:
    pattern = part.get("pattern")
    if not isinstance(pattern, dict) or len(pattern) != 1 or not pattern.keys() <= {"String", "Regex"}:
        raise ValueError("Split should have a pattern of the kind String or Regex")
    if "String" in pattern:
        if not _text(pattern, "String", "Split"):
            raise ValueError("Split has an empty pattern")
    elif not isinstance(pattern["Regex"], str) or not is_bounded(pattern["Regex"]):
        raise ValueError("'pre_tokenizer' holds a regular expression that could run forever")


def _check_added(added: Any) -> None:
    """Refuse added tokens whose matching would take far more memory than the file does."""
    contents = [entry["content"] for entry in added]
    longest = max(map(len, contents), default=0)
    if longest > MAX_ADDED or sum(map(len, contents)) > MAX_ALL_ADDED:
        raise ValueError(f"'added_tokens' holds tokens of up to {longest} characters, which is too much")
