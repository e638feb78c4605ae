"""PrefixCache: the caches of recent conversations, so that a prompt that continues one computes only what is new.

A conversation's next prompt begins with the tokens of its last one and of the reply; those of several chats with a
persona begin alike. So caches are kept as a tree, as SGLang's radix cache is: what several have in common is held
once, in a node from which they branch off, and what several requests read at the same time is computed once. The store
is bounded in bytes; what was used longest ago leaves first, for a file where it may have one. It belongs to the
engine's thread.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import mlx.core as mx
import psutil

from menny.engine.cache import Cache
from menny.engine.cache_files import CachedPrefix, CacheFiles
from menny.engine.cache_pieces import can_divide, join, piece

log = logging.getLogger(__name__)

MOST_BYTES = 2 << 30
MEMORY_SHARE = 10  # a tenth of the machine's memory at most
USUAL_CONTEXTS = 2  # no more than so many whole contexts take,
USUAL_BYTES = 1 << 28  # unless that is less than this
LEAST_SHARED = 64  # tokens: a shorter common beginning is held, and computed, by each


def default_limit(room: int | None = None, context_bytes: int = 0) -> int:
    """Return the bytes that a store may hold by default: two whole contexts of `context_bytes`, or 256 MiB.

    It is a tenth of `room`, or of the machine's memory, at most, and 2 GiB.
    """
    share = (psutil.virtual_memory().total if room is None else room) // MEMORY_SHARE
    return int(min(MOST_BYTES, share, max(USUAL_BYTES, USUAL_CONTEXTS * context_bytes)))


@dataclass(eq=False)
class _Node:
    """Tokens that follow those of its parents, and the cache of them alone."""

    tokens: tuple[int, ...]
    cache: Cache
    prefilled: int  # tokens from the start, as in CachedPrefix
    parent: "_Node | None" = None
    children: list["_Node"] = field(default_factory=list)
    used: int = 0
    may_be_filed: bool = False
    is_filed: bool = False

    @property
    def path(self) -> list["_Node"]:
        """The nodes from the first to this one."""
        return [*(self.parent.path if self.parent else ()), self][(self.parent is None) :]

    @property
    def start(self) -> int:
        """The position of its first token."""
        return sum(len(node.tokens) for node in self.path[:-1])


@dataclass(eq=False)
class Growing:
    """A request that is reading its prompt, or has read it: others that begin alike need not read that again."""

    prompt: Sequence[int]
    cache: Cache
    is_background: bool = False
    exact: int | None = None  # tokens from the start that are computed in whole chunks, if it isn't all of them


class PrefixCache:
    """Caches by the tokens that they hold. One that is in use is not in here."""

    def __init__(self, limit: int, files: CacheFiles | None = None) -> None:
        """`limit` is in bytes; `files` are for caches that may be filed."""
        self._limit, self._files = limit, files
        self._root = _Node((), Cache(), 0)
        self._clock = count()
        self._growing: list[Growing] = []

    @property
    def nbytes(self) -> int:
        """The size of all kept caches in bytes."""
        return sum(node.cache.nbytes for node in _below(self._root))

    def pop(
        self, prompt: Sequence[int], chunk: int | None = None, make_cache: Callable[[], Cache] | None = None
    ) -> CachedPrefix | None:
        """Take out the longest kept prefix of a prompt, for the caller to continue, if there is one.

        At least the prompt's last token is left to compute. With a `chunk`, only whole chunks of this size count, as a
        prefill without this store would compute them: others may differ in their last digits. With `make_cache`, which
        makes an empty cache of the model, it may come from a file.
        """
        node, length = self._longest(prompt, chunk)
        growing, common = self._longest_growing(prompt, chunk)
        if make_cache and (filed := self._read(prompt, chunk, max(length, common), make_cache)):
            return filed
        if growing and common >= length + LEAST_SHARED:
            exact = common if growing.exact is None else min(common, growing.exact)
            return CachedPrefix(tuple(prompt[:common]), growing.cache.prefix(common), min(common, exact))
        if node is None:
            return None
        if node.children or length < node.start + len(node.tokens):  # another conversation's, which may go on too
            return self._copy(node, prompt, length)
        path = node.path
        self._remove(node)
        cache = node.cache if len(path) == 1 else join([each.cache for each in path], length)
        return CachedPrefix(tuple(prompt[:length]), cache, node.prefilled)

    def copy(self, prompt: Sequence[int], chunk: int | None = None) -> CachedPrefix | None:
        """Copy the longest kept prefix of a prompt, as `pop` finds it; it stays in the store."""
        node, length = self._longest(prompt, chunk)
        return None if node is None else self._copy(node, prompt, length)

    def _copy(self, node: _Node, prompt: Sequence[int], length: int) -> CachedPrefix:
        path = node.path
        self._touch(path)
        cache = node.cache.prefix(length) if len(path) == 1 else join([each.cache for each in path], length)
        return CachedPrefix(tuple(prompt[:length]), cache, min(length, node.prefilled))

    def _longest(self, prompt: Sequence[int], chunk: int | None) -> tuple[_Node | None, int]:
        """Find the node that holds most of a prompt, with those above it, and the number of tokens."""
        best: tuple[_Node | None, int] = None, 0
        places = [(child, 0) for child in self._root.children]
        while places:
            node, start = places.pop()
            reached = start + _common(node.tokens, prompt[start:-1])
            length = _whole(reached, node.prefilled, chunk)
            if length > max(start, best[1]) and node.cache.can_trim_to(length - start):
                best = node, length
            if reached == start + len(node.tokens):
                places += [(child, reached) for child in node.children]
        return best

    def insert(self, kept: CachedPrefix) -> None:
        """Store a cache, and evict the least recently used ones beyond the limit."""
        mx.eval(kept.cache.state)
        if len(kept.tokens) != kept.cache.offset:
            return
        if kept.cache.nbytes > self._limit:
            if self._files and kept.may_be_filed:
                self._files.save(kept)
            return
        for old in [node for node in self._root.children if _replaces(kept, node)]:
            self._remove(old)
        parent, start = self._branch(kept) if can_divide(kept.cache) else (self._root, 0)
        self._touch(parent.path)
        if start < len(kept.tokens):
            cache = piece(kept.cache, start, len(kept.tokens)) if start else kept.cache
            node = _Node(kept.tokens[start:], cache, kept.prefilled)
            node.may_be_filed = kept.may_be_filed
            self._add(parent, node)
        while self.nbytes > self._limit:
            oldest = min((node for node in _below(self._root) if not node.children), key=lambda node: node.used)
            self._file(oldest)
            self._remove(oldest)

    def _branch(self, kept: CachedPrefix) -> tuple[_Node, int]:
        """The node after which the tokens of a cache are its own, and the number of those before them."""
        parent, start = self._root, 0
        while True:
            shared = [(_common(child.tokens, kept.tokens[start:]), child) for child in parent.children]
            common, child = max(shared, key=lambda pair: pair[0], default=(0, parent))
            is_whole = common == len(child.tokens)
            if child is parent or (common < LEAST_SHARED and not is_whole):
                return parent, start
            if child.prefilled < min(start + common, kept.prefilled):  # it would do for fewer prompts
                return parent, start
            parent = child if is_whole else self._split(child, common)
            start += common
            if not is_whole:
                return parent, start

    def _split(self, node: _Node, length: int) -> _Node:
        """Divide a node in two; returns the first."""
        first = _Node(node.tokens[:length], piece(node.cache, 0, length), min(node.prefilled, node.start + length))
        rest = _Node(node.tokens[length:], piece(node.cache, length, len(node.tokens)), node.prefilled)
        rest.children, first.used, rest.used = node.children, node.used, node.used
        rest.may_be_filed, rest.is_filed = node.may_be_filed, node.is_filed
        for child in rest.children:
            child.parent = rest
        parent = node.parent or self._root
        self._remove(node)
        for above, below in ((parent, first), (first, rest)):
            below.parent = above
            above.children.append(below)
        return first

    def _add(self, parent: _Node, node: _Node) -> None:
        node.parent = parent
        parent.children.append(node)
        self._touch([node])

    def _remove(self, node: _Node) -> None:
        (node.parent or self._root).children.remove(node)

    def _touch(self, nodes: Sequence[_Node]) -> None:
        for node in nodes:
            node.used = next(self._clock)

    # Files

    def _read(
        self, prompt: Sequence[int], chunk: int | None, held: int, make_cache: Callable[[], Cache]
    ) -> CachedPrefix | None:
        """Read the longest prefix of a prompt from its file, where that is longer than the `held` tokens in memory."""
        if not self._files or self._files.longest(prompt) < held + LEAST_SHARED:
            return None
        found = self._files.load(prompt, make_cache)
        if found is None:
            return None
        length = _whole(_common(found.tokens, prompt[:-1]), found.prefilled, chunk)
        if length < held + LEAST_SHARED or not found.cache.can_trim_to(length):
            return None
        found.cache.trim(length)
        return CachedPrefix(tuple(prompt[:length]), found.cache, min(length, found.prefilled))

    def file_all(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Write the caches that may be filed and aren't yet to their files, one after the other."""
        while not should_stop() and any(not node.children and self._file(node) for node in _below(self._root)):
            pass

    def _file(self, node: _Node) -> bool:
        """Write the cache that ends with a node to its file; False where it mustn't have one, or has it."""
        if not self._files or not node.may_be_filed or node.is_filed:
            return False
        node.is_filed = True
        path = node.path
        tokens = tuple(token for each in path for token in each.tokens)
        try:
            cache = node.cache if len(path) == 1 else join([each.cache for each in path], len(tokens))
            self._files.save(CachedPrefix(tokens, cache, node.prefilled))
        except (MemoryError, RuntimeError) as error:  # memory has no room for its pieces in one
            log.warning("A cache can't be kept in a file: %s", error)
        return True

    def forget(self) -> None:
        """Drop all caches, and their files."""
        self.clear()
        if self._files:
            self._files.clear()

    def clear(self) -> None:
        """Drop all caches; files stay."""
        self._root.children.clear()

    # What is being computed

    def begin(self, growing: Growing) -> None:
        """Tell others of a prompt that is being read."""
        self._growing.append(growing)

    def end(self, growing: Growing) -> None:
        """A request is over; its cache may be changed by others from now on."""
        self._growing.remove(growing)

    def is_coming(self, prompt: Sequence[int], is_background: bool, chunk: int | None = None) -> bool:
        """True while another request is computing a beginning of this prompt that isn't there yet."""
        if not self._limit:
            return False
        _, held = self._longest(prompt, chunk)
        return any(
            growing.cache.offset < common and common >= held + LEAST_SHARED
            for growing in self._growing
            if is_background or not growing.is_background
            for common in [_whole(_common(growing.prompt, prompt[:-1]), len(prompt), chunk)]
        )

    def _longest_growing(self, prompt: Sequence[int], chunk: int | None) -> tuple[Growing | None, int]:
        best: tuple[Growing | None, int] = None, 0
        for growing in self._growing if self._limit else ():
            common = min(_common(growing.prompt, prompt[:-1]), growing.cache.offset)
            length = _whole(common, common if growing.exact is None else growing.exact, chunk)
            if length > best[1] and growing.cache.can_trim_to(length):
                best = growing, length
        return best


def _below(node: _Node) -> Iterator[_Node]:
    """All nodes below one."""
    for child in node.children:
        yield child
        yield from _below(child)


def _whole(length: int, prefilled: int, chunk: int | None) -> int:
    """A length, or as many of its whole chunks as were prefilled."""
    return length if chunk is None else min(length, prefilled) // chunk * chunk


def _common(tokens: Sequence[int], prompt: Sequence[int]) -> int:
    """The length of the common prefix."""
    for place, (one, other) in enumerate(zip(tokens, prompt, strict=False)):
        if one != other:
            return place
    return min(len(tokens), len(prompt))


def _replaces(new: CachedPrefix, old: _Node) -> bool:
    """True if the new entry serves every prompt that the old one serves."""
    length = len(old.tokens)
    is_longer = not old.children and new.tokens[:length] == old.tokens
    return is_longer and new.prefilled >= old.prefilled and new.cache.can_trim_to(length)
