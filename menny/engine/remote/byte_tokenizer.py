"""A vocabulary for models on a server: its ids spell text, three bytes each, and two of them enclose messages.

Three bytes are a little less than a token of most vocabularies has in English, so counts are on the safe side.
"""

from collections.abc import Iterable, Sequence
from typing import TypedDict

CONTROLS = ("<|im_start|>", "<|im_end|>")
START, END = 0, 1
WIDTH = 3  # bytes an id


class Spelled(TypedDict):
    """A message in the form that servers expect."""

    role: str
    content: str


class ByteTokenizer:
    """A tokenizer for `encode_chat` whose ids spell text, so that every text comes back from them unchanged."""

    bos_id: int | None = None
    opening: Sequence[int] = ()
    eos_ids = frozenset({END})
    vocab_size = len(CONTROLS) + (2 << 8 * WIDTH)

    def encode(self, text: str) -> list[int]:
        """Return the ids that spell a text; never a control id."""
        data = text.encode("utf-8", "surrogatepass")
        pieces = (data[place : place + WIDTH] for place in range(0, len(data), WIDTH))
        return [len(CONTROLS) + int.from_bytes(b"\1" + piece, "big") for piece in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that ids spell; control ids add nothing."""
        numbers = (i - len(CONTROLS) for i in ids if i >= len(CONTROLS))
        data = b"".join(number.to_bytes(number.bit_length() // 8 + 1, "big").lstrip(b"\0")[1:] for number in numbers)
        return data.decode("utf-8", "replace")

    def control_id(self, piece: str) -> int | None:
        """Return the id of a control token; None if there is no such token."""
        return CONTROLS.index(piece) if piece in CONTROLS else None


def messages_of(prompt: Sequence[int]) -> list[Spelled] | None:
    """Return the messages of a prompt, without an answer that is still empty; None for a prompt of mere text."""
    if START not in prompt:
        return None
    spelling, messages, piece = ByteTokenizer(), list[Spelled](), list[int]()
    is_within = False
    for token in [*prompt, END]:
        if token not in (START, END):
            piece.append(token)
        elif is_within:
            role, _, content = spelling.decode(piece).partition("\n")
            messages.append({"role": role, "content": content})
        if token in (START, END):
            piece, is_within = [], token == START
    is_begun = messages[-1]["role"] == "assistant" and not messages[-1]["content"]
    return messages[:-1] if is_begun else messages
