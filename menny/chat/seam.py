"""The seam of a reply that goes on: the ids that it ended with, and the text that a new stream adds to them.

For an ideal model the joined text is what it would have been without the cut, wherever that was. So the model gets
the ids that it had produced itself: those of the text, or, where the text's encoding is another (a cut within a
character; a word in pieces), those that were kept beside the reply.
"""

from collections.abc import Sequence

from menny.engine_protocols import Chunk, Tokenizer
from menny.errors import MennyError

TOKEN_IDS_KEY = "token_ids"  # in a message's extra  # noqa: S105 - no password
LONGEST = 16  # tokens until a stream has certainly left the seam
REPLACEMENT = "\ufffd"


def ids_to_keep(ids: Sequence[int], text: str, tokenizer: Tokenizer) -> list[int]:
    """The ids of a text, if it needs them to go on: none where its encoding has the same, or where they are others'."""
    if not ids or tokenizer.decode(ids) != text or tokenizer.encode(text) == list(ids):
        return []
    return list(ids)


def kept_ids(kept: object, text: str, tokenizer: Tokenizer) -> list[int]:
    """Check what was kept by `ids_to_keep`; none if it isn't the text's, for this vocabulary.

    It may come from a file of anybody's: a control token would forge a turn, so ids that add nothing are refused.
    """
    if not isinstance(kept, list) or not all(type(token) is int and token >= 0 for token in kept):
        return []
    try:
        if tokenizer.decode(kept) != text:
            return []
        mark = tokenizer.encode("a")
        plain = tokenizer.decode([*mark, *mark])
        is_text = all(tokenizer.decode([*mark, token, *mark]) != plain for token in set(kept))
    except MennyError:  # an id of another vocabulary
        return []
    return kept if is_text else []


class Seam:
    """Joins a stream to the reply that it goes on with.

    An engine decodes a stream as a text of its own: without the space that SentencePiece sets before a word, and with
    U+FFFD for the rest of a character that the last token began.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int]) -> None:
        """`before`: the ids of the reply so far, as they are in the prompt; none: the reply begins."""
        self._decode = tokenizer.decode
        self._before = list(before)
        self._base = self._decode(self._before)
        self._new: list[int] = []
        self._streamed = ""
        self._n_joined = 0  # characters
        self._is_over = not before

    @property
    def ids(self) -> list[int]:
        """The ids of the whole reply."""
        return [*self._before, *self._new]

    def begin_anew(self) -> None:
        """Forget what came before: the reply's text begins here, as a thought ends."""
        self._before, self._new, self._is_over = [], [], True

    def join(self, chunk: Chunk) -> str:
        """The text that a chunk adds to the reply."""
        if chunk.token is not None:
            self._new.append(chunk.token)
        if self._is_over or not self._new:
            return chunk.text
        self._streamed += chunk.text
        alone, joined = self._decode(self._new), self._decode(self.ids)
        if not alone.startswith(self._streamed) or not joined.startswith(self._base):  # no stream of such tokens
            self._is_over = True
            return chunk.text
        n_held = len(alone) - len(self._streamed)  # the beginning of a stop string, perhaps
        text = joined[len(self._base) + self._n_joined : len(joined) - n_held]
        self._n_joined += len(text)
        self._is_over = bool(alone.strip(REPLACEMENT)) or len(self._new) >= LONGEST
        return text
