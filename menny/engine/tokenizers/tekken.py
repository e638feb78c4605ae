"""Tekken vocabularies: `tekken.json`, the byte-level BPE of Mistral Nemo and later, encoded by tiktoken.

A token's id is its rank after the special tokens: id = rank + default_num_special_tokens. Text is encoded by ranks
alone, so it can't name a special token. Newer files list their special tokens, older ones mean the list below.
"""

import base64
import binascii
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiktoken

from menny.engine.tokenizers.vocabulary import MAX_VOCABULARY, Vocabulary, broken, library_faults, named_bos, named_ends

# The special tokens that a file without `special_tokens` means, from id 0 on; the rest are <SPECIAL_n>.
DEFAULT_SPECIALS = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
)
MAX_PATTERN = 2048
LATEST_VERSION = 15  # of Mistral's prompt formats
TRAILING_SPACE = r"\s+(?!\S)"
# What makes a regular expression backtrack: look-around, references, atomic groups and possessive repeats.
BACKTRACKS = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|\\[1-9kgGK]|[*+?}]\+")
LONG_SPACE = re.compile(r"(\s{10000})")


def tekken_vocabulary(spec: dict[str, Any], source: Path) -> Vocabulary:
    """The vocabulary that a parsed tekken.json describes."""
    config = spec.get("config")
    if not isinstance(config, dict):
        raise broken(source, "'config' is missing or not an object")
    n_special = _count(config, "default_num_special_tokens", source)
    size = _count(config, "default_vocab_size", source)
    ranks = _ranks(spec.get("vocab"), size - n_special, source)
    specials = _specials(spec.get("special_tokens"), n_special, source)
    pattern = _pattern(config.get("pattern"), source)
    with library_faults(source, "building its encoding"):
        encoding = _encoding(pattern, ranks)
    return Vocabulary(
        source=source,
        pieces=[b""] * n_special + list(ranks),
        controls=specials,
        encode=_encoder(encoding, n_special),
        bos_id=named_bos(specials),
        eos_ids=named_ends(specials),
        unk_id=specials.get("<unk>"),
        template_version=_version(config.get("version"), source),
    )


def _version(value: Any, source: Path) -> str | None:
    """Return the prompt format that a file is for; refuse one that is newer than the formats known here."""
    if value is None:
        return None
    number = re.fullmatch(r"v(\d{1,3})", value) if isinstance(value, str) else None
    if number is None:
        raise broken(source, "'config.version' should be a version such as v13")
    if int(number[1]) > LATEST_VERSION:
        raise broken(
            source, f"it is for the prompt format {value}, which is newer than v{LATEST_VERSION}; update Menny"
        )
    return str(value)


def _encoding(pattern: str, ranks: dict[bytes, int]) -> tiktoken.Encoding:
    return tiktoken.Encoding("tekken", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _encoder(encoding: tiktoken.Encoding, n_special: int) -> Callable[[str], list[int]]:
    def encode(text: str) -> list[int]:
        # The library's regular expression overflows its stack on some 100,000 spaces in a row.
        parts = LONG_SPACE.split(text)
        return [rank + n_special for part in parts for rank in encoding.encode_ordinary(part)]

    return encode


def _count(config: dict[str, Any], key: str, source: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_VOCABULARY:
        raise broken(source, f"'config.{key}' is missing or not a number of tokens")
    return value


def _ranks(vocab: Any, count: int, source: Path) -> dict[bytes, int]:
    """The first `count` tokens in the order of their ranks."""
    if not isinstance(vocab, list):
        raise broken(source, "'vocab' is missing or not a list")
    if not 256 <= count <= len(vocab):
        raise broken(source, f"'config.default_vocab_size' asks for {count} of {len(vocab)} tokens in 'vocab'")
    ranks: dict[bytes, int] = {}
    for index, entry in enumerate(vocab[:count]):
        if not isinstance(entry, dict) or entry.get("rank") != index or isinstance(entry.get("rank"), bool):
            raise broken(source, f"'vocab[{index}].rank' is not {index}")
        try:
            token = base64.b64decode(entry["token_bytes"], validate=True)
        except (binascii.Error, KeyError, TypeError, ValueError) as error:
            raise broken(source, f"'vocab[{index}].token_bytes' is not base64") from error
        if not token or token in ranks:
            raise broken(source, f"'vocab[{index}].token_bytes' is {'there twice' if token else 'empty'}")
        ranks[token] = index
    if not all(bytes([byte]) in ranks for byte in range(256)):
        raise broken(source, "'vocab' lacks some of the 256 single bytes")
    return ranks


def _specials(listed: Any, count: int, source: Path) -> dict[str, int]:
    """Special tokens by name: those listed, or the default ones, and fillers for the rest."""
    if listed is None:
        listed = [{"rank": rank, "token_str": name} for rank, name in enumerate(DEFAULT_SPECIALS)]
    if not isinstance(listed, list) or len(listed) > count:
        raise broken(source, f"'special_tokens' is not a list of at most {count} tokens")
    names: dict[int, str] = {}
    for index, entry in enumerate(listed):
        rank, name = (entry.get("rank"), entry.get("token_str")) if isinstance(entry, dict) else (None, None)
        if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < count or rank in names:
            raise broken(source, f"'special_tokens[{index}].rank' is not a number of its own below {count}")
        if not isinstance(name, str) or not name:
            raise broken(source, f"'special_tokens[{index}].token_str' is not a name")
        names[rank] = name
    specials = {names.get(rank, f"<SPECIAL_{rank}>"): rank for rank in range(count)}
    if len(specials) != count:
        raise broken(source, "'special_tokens' names one token twice")
    return specials


def _pattern(pattern: Any, source: Path) -> str:
    """The pattern that splits text into words, if it runs in linear time.

    A file's pattern may come from anywhere, and one that backtracks can be made to run forever. The single look-ahead
    that Tekken's has, as an alternative of its own, is harmless; what stands around it must be complete in itself.
    """
    if not isinstance(pattern, str) or not pattern or len(pattern) > MAX_PATTERN:
        raise broken(source, f"'config.pattern' is missing or longer than {MAX_PATTERN} characters")
    parts = pattern.split(TRAILING_SPACE)
    if any(BACKTRACKS.search(part) for part in parts):
        raise broken(source, "'config.pattern' is a regular expression that could run forever")
    single_bytes = {bytes([byte]): byte for byte in range(256)}
    with library_faults(source, "reading 'config.pattern' as a regular expression"):
        for part in parts:
            _encoding(part, single_bytes)
    if len(parts) > 1 and not _alternatives(parts):
        raise broken(source, "'config.pattern' is a regular expression that could run forever")
    return pattern


def _alternatives(parts: list[str]) -> bool:
    """Whether what stood between the parts was each time an alternative of its own."""
    first, *middle, last = parts
    return (
        (not first or first.endswith("|"))
        and all(len(part) > 1 and part.startswith("|") and part.endswith("|") for part in middle)
        and (not last or last.startswith("|"))
    )
