"""The cache of keys and values: one that grows in blocks, and one that rolls over a sliding window.

Legend of shapes: B batch, K KV heads, L new tokens, T cached tokens, D head_dim, W window.
"""

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Self

import mlx.core as mx
import numpy as np

from menny.engine.cpu.arrays import SCALE, check_order, dequantize_rows, quantize_rows

BLOCK = 256  # tokens by which a cache grows

Mask = mx.array | str | None
Views = tuple[np.ndarray, np.ndarray]  # keys and values [1, K, capacity, D]
Addresses = tuple[int, int, int]  # of keys and of values, and their capacity in tokens


class LayerCache:
    """The keys and values of a single block: two buffers [B, K, capacity, D] that grow, and are written in place."""

    window: int | None = None
    """The largest number of positions that it holds; None: all of them."""

    def __init__(self, quantized: bool = False) -> None:
        """`quantized`: a token's keys and values are kept as cpu/arrays.py quantizes rows."""
        self.offset = 0  # the position of the next token
        self.quantized = quantized
        self._expected = 0  # the position that the buffers will reach when they grow
        self._keys: mx.array | None = None
        self._values: mx.array | None = None
        self._views: Views | None = None  # of the buffers as they are
        self._addresses: Addresses = 0, 0, 0  # of the views
        self._is_shared = False  # perhaps another cache reads them too

    @property
    def nbytes(self) -> int:
        """The size of the buffers in bytes."""
        return sum(buffer.nbytes for buffer in self.state)

    @property
    def state(self) -> tuple[mx.array, ...]:
        """The buffers, to be evaluated."""
        return () if self._keys is None or self._values is None else (self._keys, self._values)

    def mask(self, n_tokens: int) -> Mask:
        """The mask of the next `n_tokens` queries over the keys that `update` will return for them."""
        raise NotImplementedError

    def can_trim_to(self, offset: int) -> bool:
        """True if the cache still holds all that the token at this earlier position attends to."""
        raise NotImplementedError

    def fits_without_eviction(self, n_tokens: int) -> bool:
        """True if no key is overwritten before `n_tokens` tokens were seen."""
        raise NotImplementedError

    def broadcast(self, rows: int) -> Self:
        """A copy for a batch of `rows` rows, each with the tokens of this one; it shares these buffers of batch 1."""
        other = self._empty()
        if self._keys is not None and self._values is not None:
            shape = (rows, *self._keys.shape[1:])
            other._keys, other._values = mx.broadcast_to(self._keys, shape), mx.broadcast_to(self._values, shape)
        self._is_shared = other._is_shared = True
        other.offset = self.offset
        return other

    def _empty(self) -> Self:
        """A cache of this kind."""
        return type(self)(self.quantized)

    def prefix(self, offset: int) -> Self:
        """A copy with only the tokens before this position, to which `can_trim_to` must be true.

        MLX copies the buffers when either is written to.
        """
        other, end = self._empty(), self._capacity if self.window else -(-offset // BLOCK) * BLOCK
        if self._keys is not None and self._values is not None:
            other._keys, other._values = self._keys[..., :end, :], self._values[..., :end, :]
        self._is_shared = other._is_shared = True
        other.offset = offset
        return other

    def restore(self, keys: mx.array, values: mx.array, offset: int) -> None:
        """Take over filled slots [B, K, T, D] of a cache that had seen `offset` tokens."""
        self._keys, self._values, self.offset, self._views = keys, values, offset, None

    def reserve(self, n_tokens: int) -> None:
        """Make room for `n_tokens` more tokens at once, when the next ones come.

        So a long prompt's buffers aren't copied for every chunk, and the old ones, each a little too small for the
        next, don't pile up as gaps in the heap.
        """
        self._expected = self.offset + n_tokens

    def trim(self, offset: int) -> None:
        """Drop the tokens from this position on, to which `can_trim_to` must be true: others come in their places."""
        self.offset = offset

    @property
    def _capacity(self) -> int:
        return 0 if self._keys is None else self._keys.shape[2]

    def _blocks(self, end: int) -> int:
        """The number of slots in whole blocks up to a position, or to the expected one."""
        return -(-max(end, self._expected) // BLOCK) * BLOCK

    def update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append keys and values [B, K, L, D]; return those to attend to [B, K, T, D]."""
        if not self.quantized:
            return self._update(keys, values)
        keys, values = self._update(quantize_rows(keys), quantize_rows(values))
        return dequantize_rows(keys), dequantize_rows(values)

    def _update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append keys and values in the form in which they are kept; return those to attend to."""
        raise NotImplementedError

    def _grow(self, keys: mx.array, capacity: int) -> None:
        """Make room for `capacity` tokens of the shape of `keys`."""
        missing = capacity - self._capacity
        if missing <= 0:
            return
        batch, heads, _, dim = keys.shape
        self._keys, self._values = (
            mx.concatenate([*old, mx.zeros((batch, heads, missing, dim), keys.dtype)], axis=2)
            for old in (([], []) if self._keys is None else ([self._keys], [self._values]))
        )
        self._views, self._is_shared = None, False

    def _write(self, keys: mx.array, values: mx.array, slot: int) -> tuple[mx.array, mx.array]:
        self._views = None  # or MLX would copy the buffers for their sake
        all_keys, all_values = self.state
        end = slot + keys.shape[2]
        all_keys[..., slot:end, :] = keys
        all_values[..., slot:end, :] = values
        return all_keys, all_values

    def open(self, n_tokens: int, n_heads: int, head_dim: int) -> Addresses:
        """Where the buffers of batch 1 are, with room for the next tokens, to be written in place: see Cache.close."""
        if self.offset + n_tokens <= self.open_until:
            return self._addresses
        most = self.window or sys.maxsize
        capacity = min(self._blocks(self.offset + n_tokens), most)
        if capacity > self._capacity:
            width = head_dim + SCALE if self.quantized else head_dim
            self._grow(mx.zeros((1, n_heads, 1, width), mx.int16 if self.quantized else mx.float32), capacity)
        if self._views is None or self._is_shared:
            views = [np.array(buffer, copy=False) for buffer in self.state]
            kind = np.int16 if self.quantized else np.float32
            if self._is_shared or not all(view.flags.c_contiguous and view.dtype == kind for view in views):
                # In the order of the axes: MLX keeps the strides that an array of NumPy comes with.
                self._keys, self._values = (mx.array(np.ascontiguousarray(view, kind)) for view in views)
                views = [np.array(buffer, copy=False) for buffer in self.state]
            check_order(views)
            self._views, self._is_shared = (views[0], views[1]), False
            self._addresses = views[0].ctypes.data, views[1].ctypes.data, self._capacity
        return self._addresses

    @property
    def open_until(self) -> int:
        """The position before which tokens may be written where `open` said last; 0 where that no longer holds."""
        if self._views is None or self._is_shared:
            return 0
        return sys.maxsize if self._addresses[2] == self.window else self._addresses[2]


class KVCache(LayerCache):
    """A cache of all positions: position i lives in slot i."""

    @classmethod
    def of(cls, buffers: Sequence[mx.array], offset: int) -> Self:
        """A cache with these buffers, of which `offset` slots are filled."""
        cache = cls(quantized=buffers[0].dtype == mx.int16)
        cache._keys, cache._values = buffers
        cache.offset = offset
        return cache

    def mask(self, n_tokens: int) -> Mask:
        return None if n_tokens == 1 else "causal"

    def _update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        start, end = self.offset, self.offset + keys.shape[2]
        self._grow(keys, self._blocks(end))
        all_keys, all_values = self._write(keys, values, start)
        self.offset = end
        return all_keys[..., :end, :], all_values[..., :end, :]

    def can_trim_to(self, offset: int) -> bool:
        return offset <= self.offset

    def fits_without_eviction(self, n_tokens: int) -> bool:  # noqa: ARG002 - any number
        return True


class RollingCache(LayerCache):
    """The last W positions: position i lives in slot i mod W (Mistral 7B, section 2, "Rolling Buffer Cache").

    A single token attends to the slots in any order: the rotary embeddings are in the keys already. A chunk attends to
    the cached window, in the order of time, and causally to itself ("Pre-fill and Chunking").
    """

    def __init__(self, window: int, quantized: bool = False) -> None:
        super().__init__(quantized)
        self.window: int = window

    def mask(self, n_tokens: int) -> Mask:
        if n_tokens == 1:
            return None
        past = min(self.offset, self.window - 1)
        if past + n_tokens <= self.window:
            return "causal"
        query = mx.arange(past, past + n_tokens)[:, None]
        key = mx.arange(past + n_tokens)[None]
        return (key <= query) & (key > query - self.window)  # [L, T]

    def _update(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        return self._update_one(keys, values) if keys.shape[2] == 1 else self._update_chunk(keys, values)

    def can_trim_to(self, offset: int) -> bool:
        needed, held = max(0, offset - self.window + 1), max(0, self.offset - self.window)  # the first position of each
        return held <= needed and offset <= self.offset

    def fits_without_eviction(self, n_tokens: int) -> bool:
        return n_tokens <= self.window

    def _empty(self) -> Self:
        return type(self)(self.window, self.quantized)

    def _update_one(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        held = min(self.offset + 1, self.window)
        self._grow(keys, min(self._blocks(held), self.window))
        all_keys, all_values = self._write(keys, values, self.offset % self.window)
        self.offset += 1
        return all_keys[..., :held, :], all_values[..., :held, :]

    def _update_chunk(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        past_keys, past_values = self._in_order(min(self.offset, self.window - 1))
        all_keys = mx.concatenate([*past_keys, keys], axis=2)
        all_values = mx.concatenate([*past_values, values], axis=2)
        end = self.offset + keys.shape[2]
        kept = min(keys.shape[2], self.window)
        self._grow(keys, min(self._blocks(end), self.window))
        slot = (end - kept) % self.window
        first = min(kept, self.window - slot)  # up to the end of the buffer; the rest wraps to its start
        new_keys, new_values = keys[..., -kept:, :], values[..., -kept:, :]
        self._write(new_keys[..., :first, :], new_values[..., :first, :], slot)
        if first < kept:
            self._write(new_keys[..., first:, :], new_values[..., first:, :], 0)
        self.offset = end
        return all_keys, all_values

    def _in_order(self, n_tokens: int) -> tuple[list[mx.array], list[mx.array]]:
        """The last `n_tokens` keys and values in order of time, in up to two pieces each."""
        if n_tokens == 0:
            return [], []
        keys, values = self.state
        start, end = (self.offset - n_tokens) % self.window, self.offset % self.window
        pieces = [slice(start, end)] if start < end else [slice(start, self.window), slice(0, end)]
        pieces = [piece for piece in pieces if piece.start < piece.stop]
        return [keys[..., p, :] for p in pieces], [values[..., p, :] for p in pieces]


class Cache(list[LayerCache]):
    """A whole model's cache: one layer cache per block."""

    _addresses: np.ndarray | None = None  # of what was opened last
    _open_until = 0  # the position before which they hold, if they still do for the first layer: all change together

    @property
    def offset(self) -> int:
        """The number of tokens seen, which is the position of the next one."""
        return self[0].offset

    @cached_property
    def windows(self) -> np.ndarray:
        """Each layer's window; a very large number where it has none."""
        return np.array([layer.window or sys.maxsize for layer in self])

    @property
    def nbytes(self) -> int:
        """The size of all blocks' buffers in bytes."""
        return sum(layer.nbytes for layer in self)

    @property
    def state(self) -> list[mx.array]:
        """Every buffer, to be evaluated."""
        return [buffer for layer in self for buffer in layer.state]

    def masks(self, n_tokens: int) -> list[Mask]:
        """The mask of each layer for the next `n_tokens` tokens; layers with the same window share one."""
        shared = {layer.window: layer for layer in self}
        masks = {window: layer.mask(n_tokens) for window, layer in shared.items()}
        return [masks[layer.window] for layer in self]

    def can_trim_to(self, offset: int) -> bool:
        """True if the cache still holds all that the token at this earlier position attends to."""
        return all(layer.can_trim_to(offset) for layer in self)

    def fits_without_eviction(self, n_tokens: int) -> bool:
        """True if no key is overwritten before `n_tokens` tokens were seen."""
        return all(layer.fits_without_eviction(n_tokens) for layer in self)

    def reserve(self, n_tokens: int) -> None:
        """Make room for `n_tokens` more tokens at once, when the next ones come."""
        for layer in self:
            layer.reserve(n_tokens)

    def open(self, n_tokens: int, n_heads: int, head_dim: int) -> np.ndarray:
        """Where each layer's buffers are [layers, 3], with room for the next tokens: as LayerCache.open tells it."""
        if self._addresses is None or self.offset + n_tokens > min(self[0].open_until, self._open_until):
            self._addresses = np.array([layer.open(n_tokens, n_heads, head_dim) for layer in self], np.int64)
            self._open_until = min(layer.open_until for layer in self)
        return self._addresses

    def close(self, n_tokens: int) -> None:
        """So many tokens were written into what `open` returned."""
        for layer in self:
            layer.offset += n_tokens

    def trim(self, offset: int) -> None:
        """Drop the tokens from this position on, to which `can_trim_to` must be true."""
        for layer in self:
            layer.trim(offset)

    def prefix(self, offset: int) -> "Cache":
        """A copy with only the tokens before this position."""
        return Cache(layer.prefix(offset) for layer in self)

    def broadcast(self, rows: int) -> "Cache":
        """A copy for a batch of `rows` rows, each with the tokens of this one, which is of batch 1."""
        return Cache(layer.broadcast(rows) for layer in self)
