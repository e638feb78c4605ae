"""Receipts: what exactly a model got for a reply, kept beside it, as text with its control tokens apart.

Prompts mostly grow, so a receipt keeps only what differs from that of the reply before it, compressed: a few hundred
bytes a turn. It can be read without the model.
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from menny.chat.prompt_builder import PARTS
from menny.chat.turn_context import TurnContext
from menny.engine_protocols import Tokenizer
from menny.prompts import CONTROLS
from menny.storage import MessageNode

if TYPE_CHECKING:
    from menny.chat.prompt_builder import Usage
    from menny.chat.settings import Instructions

RECEIPT_KEY = "receipt"  # in a reply's extra
MOST_BYTES = 64 * 1024 * 1024  # of one that is unpacked

Segment = tuple[bool, str]  # whether it is a control token, and its text


@dataclass(frozen=True, slots=True)
class Receipt:
    """The prompt of a reply. `sections` are its tokens by kind, `cached` those that weren't computed again.

    The first `same` segments stand in the prompt of the reply `base` too.
    """

    segments: tuple[Segment, ...]
    tokens: int
    cached: int = 0
    sections: Mapping[str, int] = field(default_factory=dict)
    base: str = ""
    same: int = 0

    @property
    def text(self) -> str:
        """The prompt as one text."""
        return "".join(text for _, text in self.segments)

    @property
    def new(self) -> tuple[Segment, ...]:
        """What the prompt of the reply before didn't have."""
        return self.segments[self.same :]


def receipt_of(
    ids: Sequence[int], tokenizer: Tokenizer, sections: Mapping[str, int], path: Sequence[MessageNode]
) -> Receipt:
    """The receipt of a prompt's ids, for the reply that ends a path."""
    segments = segments_of(ids, tokenizer)
    for entry in reversed(path[:-1]):
        if entry.role == "assistant" and (before := read_receipt(entry, path)):
            same = 0
            for one, other in zip(segments, before.segments, strict=False):
                if one != other:
                    break
                same += 1
            return Receipt(segments, len(ids), sections=sections, base=entry.id, same=same)
    return Receipt(segments, len(ids), sections=sections)


def apart(
    usage: "Usage", instructions: "Instructions", turns: Iterable[MessageNode], count: Callable[[str], int]
) -> "Usage":
    """The use of the context with lore, memory and note apart: in the instructions, and in turns that are seen."""
    in_system, in_turns = Counter[str](), Counter[str]()
    for kind, text in instructions.parts:
        if kind in PARTS:  # the others are long, and a page asks at each of its runs
            in_system[kind] += count(text)
    for entry in turns:
        for piece in TurnContext.read(entry.extra).pieces:
            in_turns[piece.kind] += count(piece.text)
    return usage.parted(in_system, in_turns)


def sections_of(instructions: "Instructions", usage: "Usage", count: Callable[[str], int]) -> dict[str, int]:
    """The tokens of a prompt by kind: the parts of the instructions, and the others as its usage tells them apart."""
    sections = Counter({kind: count(text) for kind, text in instructions.parts})
    sections["examples"] = sum(count(message.content) for message in instructions.examples)
    others = {kind: getattr(usage, kind) for kind in ("lore", "memory", "note", "summary", "turns")}
    return {kind: tokens for kind, tokens in {**sections, **others}.items() if tokens}


def segments_of(ids: Sequence[int], tokenizer: Tokenizer) -> tuple[Segment, ...]:
    """A prompt's text, parted at its control tokens, which are shown by their names."""
    names = {found: piece for piece in CONTROLS if (found := tokenizer.control_id(piece)) is not None}
    segments: list[Segment] = []
    begin = 0
    for at, token in enumerate(ids):
        if token in names:
            if at > begin:
                segments.append((False, tokenizer.decode(ids[begin:at])))
            segments.append((True, names[token]))
            begin = at + 1
    if begin < len(ids):
        segments.append((False, tokenizer.decode(ids[begin:])))
    return tuple(segments)


def packed(receipt: Receipt) -> dict[str, Any]:
    """A receipt as it is kept."""
    rest = json.dumps(receipt.new, ensure_ascii=False).encode()
    kept = {
        "base": receipt.base,
        "same": receipt.same,
        "rest": base64.b85encode(zlib.compress(rest, 9)).decode(),
        "tokens": receipt.tokens,
        "cached": receipt.cached,
        "sections": dict(receipt.sections),
    }
    return {key: value for key, value in kept.items() if value}


def read_receipt(reply: MessageNode, path: Sequence[MessageNode]) -> Receipt | None:
    """Read the receipt beside a reply, by those of the replies before it in its path.

    None without one, or where it can't be read: a file from elsewhere may have brought it.
    """
    by_id = {entry.id: entry for entry in path}
    chain: list[Mapping[str, Any]] = []
    at: MessageNode | None = reply
    seen: set[str] = set()
    while at is not None and at.id not in seen:
        seen.add(at.id)
        kept = at.extra.get(RECEIPT_KEY)
        if not isinstance(kept, dict) or not _is_sound(kept):
            return None
        chain.append(kept)
        at = by_id.get(kept.get("base", "")) if kept.get("same") else None
        if kept.get("same") and at is None:
            return None
    segments: list[Segment] = []
    for kept in reversed(chain):
        rest = _unpacked(kept["rest"])
        if rest is None:
            return None
        segments = [*segments[: kept.get("same", 0)], *rest]
    last = chain[0]
    sections = {str(name): tokens for name, tokens in last.get("sections", {}).items() if type(tokens) is int}
    return Receipt(
        tuple(segments), last["tokens"], last.get("cached", 0), sections, last.get("base", ""), last.get("same", 0)
    )


def _is_sound(kept: Mapping[str, Any]) -> bool:
    numbers = [kept.get("tokens"), kept.get("cached", 0), kept.get("same", 0)]
    texts = [kept.get("rest"), kept.get("base", "")]
    return (
        all(type(number) is int and number >= 0 for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and isinstance(kept.get("sections", {}), dict)
    )


def _unpacked(rest: str) -> list[Segment] | None:
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b85decode(rest), MOST_BYTES)
        if unpacker.unconsumed_tail:
            return None
        listed = json.loads(data)
    except (ValueError, zlib.error, RecursionError):
        return None
    if not isinstance(listed, list):
        return None
    pairs = [one for one in listed if isinstance(one, list) and len(one) == 2 and isinstance(one[1], str)]
    return [(bool(is_control), text) for is_control, text in pairs] if len(pairs) == len(listed) else None
