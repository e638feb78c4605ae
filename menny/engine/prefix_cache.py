"""The caches of recent conversations, so that a prompt that continues one computes only what is new.

A conversation's next prompt begins with the tokens of its last one and of the reply. The store is bounded in bytes;
what was used longest ago leaves first. It belongs to the engine's thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import psutil

from menny.engine.cache import Cache

MOST_BYTES = 2 << 30
MEMORY_SHARE = 10  # at most a tenth of the machine's memory


def default_limit(room: int | None = None) -> int:
    """Return the bytes that a store may hold by default: a tenth of `room`, or of the machine's memory, up to 2 GiB."""
    return int(min(MOST_BYTES, (psutil.virtual_memory().total if room is None else room) // MEMORY_SHARE))


@dataclass(frozen=True)
class CachedPrefix:
    """A cache and the tokens that it holds.

    The first `prefilled` of them were computed from the start in whole chunks, as any prefill of them would do it.
    """

    tokens: tuple[int, ...]
    cache: Cache
    prefilled: int = 0


class PrefixCache:
    """Caches by the tokens that they hold; while one is in use it isn't here."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[CachedPrefix] = []  # the last used at the end

    @property
    def nbytes(self) -> int:
        """Bytes that all kept caches take."""
        return sum(kept.cache.nbytes for kept in self._kept)

    def pop(self, prompt: Sequence[int], chunk: int | None = None) -> CachedPrefix | None:
        """The longest kept beginning of a prompt, for the caller to continue; None: there is none.

        At least the prompt's last token is left to compute. Where a `chunk` is told, only whole chunks of this size
        are taken, as a prefill without this store would compute them: others may differ in their last digits.
        """
        best, length = self._longest(prompt, chunk)
        if best is None:
            return None
        if length < len(best.tokens):  # another conversation's, which may go on too: continue a copy
            return self.copy(prompt, chunk)
        self._kept.remove(best)
        return best

    def copy(self, prompt: Sequence[int], chunk: int | None = None) -> CachedPrefix | None:
        """As `take`, but always a copy: what is kept stays here."""
        best, length = self._longest(prompt, chunk)
        if best is None:
            return None
        self._kept.remove(best)
        self._kept.append(best)
        return CachedPrefix(best.tokens[:length], best.cache.prefix(length), min(length, best.prefilled))

    def _longest(self, prompt: Sequence[int], chunk: int | None) -> tuple[CachedPrefix | None, int]:
        """What has the longest beginning in common with a prompt, and how long it is."""
        best, length = None, 0
        for kept in self._kept:
            common = _common(kept.tokens, prompt[:-1])
            if chunk is not None:
                common = min(common, kept.prefilled) // chunk * chunk
            if common > length and kept.cache.can_trim_to(common):
                best, length = kept, common
        return best, length

    def insert(self, kept: CachedPrefix) -> None:
        """Store a cache, and let go of what was used longest ago where the bytes run out."""
        mx.eval(kept.cache.state)
        if len(kept.tokens) != kept.cache.offset or kept.cache.nbytes > self._limit:
            return
        self._kept = [other for other in self._kept if not _replaces(kept, other)]
        self._kept.append(kept)
        while self.nbytes > self._limit:
            self._kept.pop(0)

    def clear(self) -> None:
        """Let go of everything."""
        self._kept.clear()


def _common(tokens: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for place, (one, other) in enumerate(zip(tokens, prompt, strict=False)):
        if one != other:
            return place
    return min(len(tokens), len(prompt))


def _replaces(new: CachedPrefix, old: CachedPrefix) -> bool:
    """Does the new one serve every prompt that the old one serves?"""
    length = len(old.tokens)
    return new.tokens[:length] == old.tokens and new.prefilled >= old.prefilled and new.cache.can_trim_to(length)
