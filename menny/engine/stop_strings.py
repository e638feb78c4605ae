"""StopFinder: ends a stream of text at its first stop string, even one that is split over several tokens."""

from collections.abc import Sequence


class StopFinder:
    """Holds text back while it could be the start of a stop string, and no longer.

    Of overlapping stop strings the one that begins first counts, however the text is divided.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.found = False
        self._stops = tuple(stops)
        self._held = ""

    def add(self, text: str) -> str:
        """Add text; returns the text that is certain to stay. After a stop string, nothing does."""
        if self.found:
            return ""
        self._held += text
        first = self._first()
        begun = min((_begun(self._held, stop) for stop in self._stops), default=len(self._held))
        self.found = first is not None and first <= begun
        return self._release(min(begun, len(self._held) if first is None else first))

    def finish(self) -> str:
        """End the text; returns the held-back text that turned out to be ordinary."""
        first = self._first()
        self.found = self.found or first is not None
        return self._release(len(self._held) if first is None else first)

    def _first(self) -> int | None:
        """The start of the first whole stop string."""
        return min((place for stop in self._stops if (place := self._held.find(stop)) >= 0), default=None)

    def _release(self, end: int) -> str:
        text, self._held = self._held[:end], "" if self.found else self._held[end:]
        return text


def _begun(text: str, stop: str) -> int:
    """The start of the longest end of the text that begins the stop string, else the text's length."""
    for start in range(max(0, len(text) - len(stop) + 1), len(text)):
        if stop.startswith(text[start:]):
            return start
    return len(text)
