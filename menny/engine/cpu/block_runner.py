"""Tokens through all blocks at once: what kernels need of a model and its caches, gathered in NumPy's arrays.

The tokens may belong to several sequences: every token has its own place, in its own sequence's cache.
"""

import time

import mlx.core as mx
import numpy as np

from menny.engine.args import ModelArgs
from menny.engine.cache import Cache
from menny.engine.checkpoints.quantization import SMALL_GROUP
from menny.engine.cpu.attention import SPARE, attend_to
from menny.engine.cpu.attention_tile import LANES, attend_in_lanes
from menny.engine.cpu.blocks import MATRICES, STAGES, WQKV, Scratch, run_blocks
from menny.engine.cpu.matrix import DESCRIPTION, Packed
from menny.engine.cpu.modules import describe
from menny.engine.cpu.pool import Pace, Pool
from menny.engine.cpu.scales import ROWS
from menny.engine.cpu.stages import IN_LANES, PLACE, SEEN, SLOT, Numbers, Workspace
from menny.engine.cpu.tiles import TOKENS
from menny.engine.cpu.together import STAGE
from menny.engine.model import Attention, Sequences
from menny.engine.passes import FEW, PREFILL_CHUNK

MOST = PREFILL_CHUNK  # tokens a pass
_TURNS = 256  # positions whose rotations are computed at once
_KEPT_TURNS = 64  # times, of which this many are kept

PackedBlock = dict[int, Packed]  # a block's matrices by WQKV, WO, W1, W2, W3 and, with experts, GATE


class BlockRunner:
    """The blocks of a model, for passes of up to MOST tokens."""

    def __init__(
        self,
        args: ModelArgs,
        blocks: list[PackedBlock],
        norms: np.ndarray,
        attention: Attention,
        pool: Pool,
    ) -> None:
        """`norms` are [blocks, 2, dim]; `attention` is any block's, whose rotations and scales are those of all."""
        self._blocks = blocks  # whose memory the table points at
        self._norms = norms
        self._attention = attention
        self._pool = pool
        self._head_dim, self._n_kv_heads = args.head_dim, args.n_kv_heads
        self._neighbours = args.rope_traditional
        self.is_quantized = all(block[WQKV].group for block in blocks)  # then keys and values are too
        experts, chosen = (args.moe.num_experts, args.moe.num_experts_per_tok) if args.moe else (0, 1)
        self._numbers = Numbers(
            args.dim, args.hidden_dim, args.n_heads, args.n_kv_heads, args.head_dim, args.norm_eps,
            args.rope_traditional, experts, chosen, self.is_quantized, attend_to(self.is_quantized), attend_in_lanes(),
        )  # fmt: skip
        self._matrices = np.zeros((len(blocks), MATRICES), DESCRIPTION)
        for number, matrices in enumerate(blocks):
            for which, packed in matrices.items():
                self._matrices[number, which] = describe([packed])[0]
        self._places = np.zeros((len(blocks), MOST, PLACE), np.int64)
        self._turned: dict[int, np.ndarray] = {}
        self._paces: dict[int, Pace] = {}
        self._shared: Workspace | None = None
        self._scratch: Scratch | None = None
        self._room_for = 0, 0  # queries at once, and tokens that are seen, in the scratch

    def takes(self, n_tokens: int, cache: Cache) -> bool:
        """Whether this number of tokens, after what the cache has seen, may come: they mustn't wrap around a window."""
        is_whole = n_tokens == 1 or cache.fits_without_eviction(cache.offset + n_tokens)
        return 1 <= n_tokens <= MOST and is_whole and cache[0].quantized == self.is_quantized

    def __call__(self, x: np.ndarray, sequences: Sequences) -> np.ndarray:
        """[L, dim] before the blocks → [L, dim] behind them, for up to MOST tokens; the caches have seen them then."""
        n_tokens = len(x)
        self._find_places(sequences)
        positions = np.concatenate([np.arange(cache.offset, cache.offset + length) for cache, length in sequences])
        shared = self._room(n_tokens)
        shared.x[: x.size] = x.reshape(-1)
        args = (
            self._numbers, self._matrices, self._norms, self._places, self._turns(positions), self._scales(positions),
            shared, self._own_rooms(int(self._places[:, :n_tokens, SEEN].max()), n_tokens), n_tokens,
        )  # fmt: skip
        pace = self._pace(n_tokens)
        began = time.perf_counter()
        self._pool.run(run_blocks, args, len(self._norms) * STAGES * STAGE, pace.in_use if pace else None)
        if pace:
            pace.observe(time.perf_counter() - began)
        for cache, length in sequences:
            cache.close(length)
        return shared.x[: x.size].reshape(x.shape)

    def _find_places(self, sequences: Sequences) -> None:
        """Write down where each token's keys and values go in each block's cache, and how many it sees."""
        first = 0
        for cache, length in sequences:
            positions, windows = np.arange(cache.offset, cache.offset + length), cache.windows[:, None]
            places = self._places[:, first : first + length]  # [blocks, L, 5]
            places[..., :SLOT] = cache.open(length, self._n_kv_heads, self._head_dim)[:, None]
            places[..., SLOT] = positions % windows
            places[..., SEEN] = np.minimum(positions + 1, windows)
            first += length

    def _pace(self, n_tokens: int) -> Pace | None:
        """The pace of passes of about this many tokens: each size has its own usual time.

        None for a chunk of a prompt: its stages take long, and waiting for a thread that lost its core is short then.
        """
        if n_tokens == 1:
            return self._pool.pace
        if n_tokens > FEW:
            return None
        return self._paces.setdefault(-(-n_tokens // TOKENS), Pace(self._pool.threads))

    def _turns(self, positions: np.ndarray) -> np.ndarray:
        """Cosines and sines that turn pairs at these positions [L, 2, D / 2]."""
        return np.stack([self._turns_from(place // _TURNS)[place % _TURNS] for place in positions.tolist()])

    def _turns_from(self, number: int) -> np.ndarray:
        """Those of the positions from `number` times _TURNS on: what the model's rope makes of (1, 0)."""
        if number not in self._turned:
            first = (slice(None, None, 2), slice(1, None, 2)) if self._neighbours else _halves(self._head_dim)
            ones = np.zeros((1, 1, _TURNS, self._head_dim), np.float32)
            ones[..., first[0]] = 1
            turned = np.array(self._attention._rope(mx.array(ones), number * _TURNS))[0, 0]
            if len(self._turned) == _KEPT_TURNS:
                self._turned.clear()
            self._turned[number] = np.stack([turned[:, half] for half in first], axis=1)
        return self._turned[number]

    def _scales(self, positions: np.ndarray) -> np.ndarray:
        """What multiplies the queries at these positions [L], so that their products with keys needn't be scaled."""
        scale, growth = self._attention.scale, self._attention.query_scaling
        factors = [np.array(growth(place, 1)).item() if growth else 1.0 for place in positions.tolist()]
        return (np.array(factors, np.float32) * scale).astype(np.float32)

    def _room(self, n_tokens: int) -> Workspace:
        """What threads share, with room for a number of tokens, filled up to fours."""
        numbers = self._numbers
        if self._shared is None or len(self._shared.x) < n_tokens * numbers.dim:
            count = -(-n_tokens // TOKENS) * TOKENS
            rows = max(block[WQKV].rows for block in self._blocks)
            self._shared = Workspace(
                x=np.zeros(count * numbers.dim, np.float32),
                qkv=np.zeros(count * rows, np.float32),
                mixed=np.zeros(count * numbers.n_heads * numbers.head_dim, np.float32),
                hidden=np.zeros(count * numbers.chosen * numbers.hidden, np.float32),
                experts=np.zeros(count * numbers.chosen, np.int64),
                shares=np.zeros(count * numbers.chosen, np.float32),
            )
        return self._shared

    def _own_rooms(self, seen: int, n_tokens: int) -> Scratch:
        """What each thread has to itself, with scores of one query, or of sixteen, for a number of tokens."""
        queries = LANES if n_tokens >= IN_LANES else 1
        if self._scratch is None or queries > self._room_for[0] or seen > self._room_for[1]:
            numbers = self._numbers
            queries, most = max(queries, self._room_for[0]), max(2 * seen, self._room_for[1])
            n_rows = 2 * most if queries > 1 and numbers.quantized else 0
            self._room_for = queries, most
            longest = max(numbers.dim, numbers.n_heads * numbers.head_dim, numbers.chosen * numbers.hidden)
            of_threads = self._pool.threads
            self._scratch = Scratch(
                normed=np.zeros((of_threads, MOST * numbers.dim), np.float32),
                n=np.zeros((of_threads, MOST * longest), np.int16),
                u=np.zeros((of_threads, MOST * longest // SMALL_GROUP), np.float32),
                v=np.zeros((of_threads, MOST * longest // SMALL_GROUP), np.float32),
                tiles=np.zeros((of_threads, 2 * TOKENS * ROWS), np.float32),
                head=np.zeros((of_threads, numbers.head_dim), np.float32),
                lanes=np.zeros((of_threads, 2 * numbers.head_dim * LANES), np.float32),
                seen_by=np.zeros((of_threads, LANES), np.int32),
                rows=np.empty((of_threads, n_rows * numbers.head_dim), np.float32),
                row_scales=np.ones((of_threads, 2 * most), np.float32),
                scores=np.zeros((of_threads, max(queries * (most + SPARE), numbers.experts + ROWS)), np.float32),
            )
        return self._scratch


def _halves(head_dim: int) -> tuple[slice, slice]:
    return slice(None, head_dim // 2), slice(head_dim // 2, None)
