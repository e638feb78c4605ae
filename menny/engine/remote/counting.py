"""Exact counts of tokens: a text is spelled in as many ids as the server's own vocabulary has tokens for it."""

import httpx2

from menny.engine.remote.byte_tokenizer import CONTROLS, ByteTokenizer
from menny.engine.remote.connection import Connection
from menny.engine.remote.errors import NotTheProtocolError, RefusedError

COUNT_SECONDS = 5.0
MOST_KEPT = 4096  # counts of texts


class CountingTokenizer(ByteTokenizer):
    """Asks vLLM's or llama-server's /tokenize; from its first failure on, the counts are the estimates of bytes."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection, self._model = connection, model
        self._counts: dict[str, int] = {}
        self.is_exact = True

    def encode(self, text: str) -> list[int]:
        """Return ids that spell a text, as many as it has tokens; never a control id."""
        data = text.encode("utf-8", "surrogatepass")
        count = self._count(text) if data and self.is_exact else 0
        if not count:
            return super().encode(text)
        ends = [len(data) * (number + 1) // count for number in range(count)]
        pieces = (data[start:end] for start, end in zip([0, *ends], ends, strict=False))
        return [len(CONTROLS) + int.from_bytes(b"\1" + piece, "big") for piece in pieces]

    def _count(self, text: str) -> int:
        if (known := self._counts.get(text)) is not None:
            return known
        sent = text.encode(errors="replace").decode()
        body = {"model": self._model, "prompt": sent, "content": sent, "add_special_tokens": False}
        try:
            answer = self._connection.fetch("POST", "/tokenize", body, seconds=COUNT_SECONDS, root=True)
            count = len(answer["tokens"])
        except (RefusedError, NotTheProtocolError, httpx2.HTTPError, KeyError, TypeError):
            self.is_exact = False
            return 0
        if len(self._counts) >= MOST_KEPT:
            self._counts.clear()
        self._counts[text] = count
        return count
