"""StopFinder: ends a stream of text where the first stop string begins, also when it is split over tokens."""

from collections.abc import Sequence


class StopFinder:
    """Holds text back while it could be the start of a stop string, and no longer.

    Where stop strings overlap, the one that begins first counts, however the text is cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.found = False
        self._stops = tuple(stops)
        self._held = ""

    def add(self, text: str) -> str:
        """The text that is certain to stay, given what came so far. Nothing after a stop string was found."""
        if self.found:
            return ""
        self._held += text
        first = self._first()
        begun = min((_begun(self._held, stop) for stop in self._stops), default=len(self._held))
        self.found = first is not None and first <= begun
        return self._release(min(begun, len(self._held) if first is None else first))

    def finish(self) -> str:
        """What was held back and turned out to be ordinary text, at the end of all text."""
        first = self._first()
        self.found = self.found or first is not None
        return self._release(len(self._held) if first is None else first)

    def _first(self) -> int | None:
        """Where the first whole stop string begins."""
        return min((place for stop in self._stops if (place := self._held.find(stop)) >= 0), default=None)

    def _release(self, end: int) -> str:
        text, self._held = self._held[:end], "" if self.found else self._held[end:]
        return text


def _begun(text: str, stop: str) -> int:
    """Where the longest end of the text begins that is a part of the stop string so far; else the text's length."""
    for start in range(max(0, len(text) - len(stop) + 1), len(text)):
        if stop.startswith(text[start:]):
            return start
    return len(text)
