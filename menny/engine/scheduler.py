"""The scheduler: several requests side by side, each as if it were alone.

A row is a request under way. It says which pass of the model it needs next, and goes on once that is computed; between
two steps rows come and go. A step computes the few tokens that each row decodes by one pass over all of them, and then
one chunk, of one row that still reads its prompt: so no reply waits longer than a chunk for its next word.
"""

import time
from collections.abc import Coroutine

import mlx.core as mx

from menny.engine.memory import return_freed_memory
from menny.engine.passes import Cancelled, Pass
from menny.engine.requests import Request
from menny.engine.runtime import Runtime

FREE_EVERY = 512  # steps after which freed memory is returned to the system: caches that grow leave gaps in the heap
GIVES_WAY = 4.0  # times its own duration, that a chunk in the background leaves to replies before the next one

Work = Coroutine[Pass | None, mx.array | None, None]


class Row:
    """A request under way, and the pass that it waits for; None: it goes on with the next step."""

    def __init__(self, request: Request, work: Work, cache_bytes: int) -> None:
        self.request = request
        self.cache_bytes = cache_bytes  # that its cache will take at most
        self.is_over = False
        self._work = work
        self._wait_for(None)

    def _wait_for(self, wants: Pass | None) -> None:
        self.wants = wants
        self.is_reading = wants is not None and not wants.is_light  # it waits for a pass that it shares with no other
        self.n_tokens = 0 if wants is None or self.is_reading else wants.length  # that it puts into the next shared one

    def go_on(self, logits: mx.array | None = None) -> None:
        """Hand over what it waited for, and run it up to its next pass."""
        try:
            self._wait_for(self._work.send(logits))
        except StopIteration:
            self._end()

    def fail(self, error: Exception) -> None:
        """Raise an error where it waits for its pass."""
        try:
            self._wait_for(self._work.throw(error))
        except StopIteration:
            self._end()

    def _end(self) -> None:
        self._wait_for(None)
        self.is_over = True


class Scheduler:
    """The rows of an engine; it belongs to the engine's thread."""

    def __init__(self, runtime: Runtime, most_rows: int, cache_bytes: int) -> None:
        """`cache_bytes` are what the caches of all rows together may take; a single row may take more."""
        self.rows: list[Row] = []
        self._runtime = runtime
        self._most_rows = most_rows
        self._cache_bytes = cache_bytes
        self._background_from = 0.0  # the time from which a chunk in the background is due
        self._steps = 0

    @property
    def free_rows(self) -> int:
        """The number of rows that may come."""
        return self._most_rows - len(self.rows)

    def has_room(self, cache_bytes: int) -> bool:
        """True if a row whose cache takes up to `cache_bytes` may come now."""
        taken = sum(row.cache_bytes for row in self.rows)
        return self.free_rows > 0 and (not self.rows or taken + cache_bytes <= self._cache_bytes)

    def add(self, row: Row) -> None:
        """Begin with a row, at the next step."""
        self.rows.append(row)

    def step(self) -> None:
        """Go on with every row that decodes, and with one of those that read their prompts."""
        self._steps += 1
        if self._steps % FREE_EVERY == 0:
            return_freed_memory()
        for row in self.rows:
            if row.wants is None:
                row.go_on()
            elif row.is_reading and row.request.cancelled.is_set():
                row.fail(Cancelled())
        reader = self._next_reader()
        self._decode([row for row in self.rows if row.n_tokens])
        if reader:
            self._read(reader)
        self.rows = [row for row in self.rows if not row.is_over]

    def _next_reader(self) -> Row | None:
        """The row whose turn it is to read a chunk: one that is watched, or else, now and then, another."""
        readers = [row for row in self.rows if row.is_reading]
        watched = [row for row in readers if not row.request.is_background]
        if watched:
            return watched[0]
        is_watched = any(not row.request.is_background for row in self.rows)
        return readers[0] if readers and not (is_watched and time.perf_counter() < self._background_from) else None

    def _read(self, row: Row) -> None:
        """Compute a chunk, and put its row at the end of those that take turns."""
        began = time.perf_counter()
        self._compute(row)
        if row.request.is_background:
            now = time.perf_counter()
            self._background_from = now + GIVES_WAY * (now - began)
        self.rows.remove(row)
        self.rows.append(row)

    def _decode(self, rows: list[Row]) -> None:
        """Compute what these rows wait for by one pass over the tokens of all, where the model allows that."""
        if len(rows) > 1 and self._runtime.model.shares_passes:
            self._compute_together(rows)
        else:
            for row in rows:
                self._compute(row)

    def _compute(self, row: Row) -> None:
        assert row.wants is not None  # noqa: S101
        self._runtime.pass_costs.others = min(1, len(self.rows) - 1)
        try:
            logits = row.wants.compute(self._runtime.model)
        except Exception as error:
            row.fail(error)
            return
        row.go_on(logits)

    def _compute_together(self, rows: list[Row]) -> None:
        n_tokens = sum(row.n_tokens for row in rows)
        try:
            computed = self._runtime.model.together([row.wants for row in rows if row.wants])
        except Exception as error:  # whose it was isn't known
            for row in rows:
                row.fail(error)
            return
        for row, logits in zip(rows, computed, strict=True):
            self._runtime.pass_costs.others = n_tokens - row.n_tokens
            row.go_on(logits)
