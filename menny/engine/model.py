"""Mistral 7B (arXiv 2310.06825), and with experts Mixtral, from the smallest part to the whole.

Legend of shapes: B batch, L tokens, T tokens to attend to, H heads, K KV heads, D head_dim, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from menny.engine.args import ModelArgs
from menny.engine.cache import Cache, KVCache, LayerCache, Mask, RollingCache
from menny.engine.moe import MoEFeedForward
from menny.engine.rope import rope_periods
from menny.engine.stage import Stage

if TYPE_CHECKING:
    from menny.engine.cpu.matrix import Packed
    from menny.engine.passes import Pass

Part = tuple[int, Mask, LayerCache]  # some of a pass's tokens, which attend to one cache; all of them in most passes
Sequences = Sequence[tuple[Cache, int]]  # caches, each with the number of its tokens in a pass


class RMSNorm(nn.Module):
    """x / rms(x), scaled per dimension (Zhang and Sennrich, 2019)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = mx.ones((dim,))
        self.eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention: every n_heads / n_kv_heads query heads share one head of keys and values.

    The paper's wq, wk and wv are stacked into one matrix, and queries and keys are rotated in one call: a decoding
    step has one token, and its time goes into the number of operations as much as into their size.
    """

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.n_heads = args.n_heads
        self.n_kv_heads = args.n_kv_heads
        self.head_dim = args.head_dim
        self.rope_theta = args.rope_theta
        self.rope_traditional = args.rope_traditional
        self.query_scaling = args.query_scaling
        scaling = args.rope_scaling
        self._periods = rope_periods(args.head_dim, args.rope_theta, scaling) if scaling else None  # not a weight
        # YaRN's factor would multiply queries and keys: here it is in what multiplies their products.
        self.scale = args.head_dim**-0.5 * (scaling.attention_factor**2 if scaling else 1)
        self.wqkv = nn.Linear(args.dim, (args.n_heads + 2 * args.n_kv_heads) * args.head_dim, bias=False)
        self.wo = nn.Linear(args.n_heads * args.head_dim, args.dim, bias=False)

    def __call__(self, x: mx.array, parts: Sequence[Part]) -> mx.array:
        batch, length, _ = x.shape
        heads = self.wqkv(x).reshape(batch, length, -1, self.head_dim).transpose(0, 2, 1, 3)  # [B, H + 2K, L, D]
        mixed = [self._attend(*part) for part in _divided(heads, parts)]  # [B, H, L, D] each
        joined = mx.concatenate(mixed, axis=2) if len(mixed) > 1 else mixed[0]
        return self.wo(joined.transpose(0, 2, 1, 3).reshape(batch, length, -1))  # [B, L, dim]

    def _attend(self, heads: mx.array, mask: Mask, cache: LayerCache) -> mx.array:
        """Attention over these tokens and all that are in their cache: [B, H + 2K, L, D] → [B, H, L, D]."""
        length = heads.shape[2]
        rotated = self._rope(heads[:, : -self.n_kv_heads], cache.offset)
        queries, keys = rotated[:, : self.n_heads], rotated[:, self.n_heads :]  # [B, H, L, D], [B, K, L, D]
        if self.query_scaling and cache.offset + length > self.query_scaling.original_max_position_embeddings:
            queries = queries * self.query_scaling(cache.offset, length).astype(queries.dtype)
        keys, values = cache.update(keys, heads[:, -self.n_kv_heads :])  # [B, K, T, D]
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=self.scale, mask=mask)

    def _rope(self, x: mx.array, offset: int) -> mx.array:
        """Rotary embeddings (Su et al., 2021): every pair of dimensions turns by its position times its frequency."""
        base = self.rope_theta if self._periods is None else None
        return mx.fast.rope(
            x,
            self.head_dim,
            traditional=self.rope_traditional,
            base=base,
            scale=1.0,
            offset=offset,
            freqs=self._periods,
        )


def _divided(heads: mx.array, parts: Sequence[Part]) -> Iterator[tuple[mx.array, Mask, LayerCache]]:
    """The heads of each part's tokens."""
    start = 0
    for length, mask, cache in parts:
        yield (heads if len(parts) == 1 else heads[:, :, start : start + length]), mask, cache
        start += length


class FeedForward(nn.Module):
    """SwiGLU (Shazeer, 2020): w2(silu(w1 x) * w3 x)."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.w1 = nn.Linear(args.dim, args.hidden_dim, bias=False)
        self.w2 = nn.Linear(args.hidden_dim, args.dim, bias=False)
        self.w3 = nn.Linear(args.dim, args.hidden_dim, bias=False)

    def __call__(self, x: mx.array) -> mx.array:
        return self.w2(nn.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """Attention, then the feed-forward, dense or sparse, each on the normed input and added to it."""

    def __init__(self, args: ModelArgs) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(args.dim, args.norm_eps)
        self.attention = Attention(args)
        self.ffn_norm = RMSNorm(args.dim, args.norm_eps)
        self.feed_forward = MoEFeedForward(args, args.moe) if args.moe else FeedForward(args)

    def __call__(self, x: mx.array, parts: Sequence[Part]) -> mx.array:
        x = x + self.attention(self.attention_norm(x), parts)
        return x + self.feed_forward(self.ffn_norm(x))


class Mistral(nn.Module):
    """Token ids in, logits out. `model(tokens)` starts a cache; `model(tokens, cache)` continues one.

    Where several machines share a model (distributed/pipeline.py), each builds one stage of it: some of the blocks, and
    of the embeddings, the norm and the output what its stage needs.
    """

    leaves_out_vision = False  # set where the checkpoint had a vision tower beside this text model

    def __init__(self, args: ModelArgs, stage: Stage | None = None) -> None:
        super().__init__()
        self.args = args
        stage = stage or Stage.whole(args.n_layers)
        self.start = stage.start
        if stage.has("tok_embeddings", args.tie_word_embeddings):
            self.tok_embeddings = nn.Embedding(args.vocab_size, args.dim)
        self.layers = [Block(args) for _ in stage.blocks]
        if stage.is_last:
            self.norm = RMSNorm(args.dim, args.norm_eps)
            if not args.tie_word_embeddings:
                self.output = nn.Linear(args.dim, args.vocab_size, bias=False)

    def __call__(self, tokens: mx.array, cache: Cache | None = None) -> tuple[mx.array, Cache]:
        """Token ids int32 [B, L] → logits [B, L, V], and the cache with these tokens in it."""
        cache = self.make_cache() if cache is None else cache
        return self.logits(self.hidden(self.tok_embeddings(tokens), cache)), cache

    def prefill(self, tokens: mx.array, cache: Cache) -> None:
        """Put tokens int32 [B, L] into the cache without computing their logits."""
        self.hidden(self.tok_embeddings(tokens), cache)
        mx.eval(cache.state)

    @property
    def shares_passes(self) -> bool:
        """True where a pass may serve several sequences at once.

        On a CPU a product rounds differently with the number of its rows, and a reply must not depend on its company:
        there only the kernels of our own, which don't, are shared (cpu/packed_model.py).
        """
        return mx.default_device().type == mx.DeviceType.gpu

    def together(self, passes: Sequence["Pass"]) -> list[mx.array | None]:
        """Compute light passes of several sequences; returns what each would by itself.

        Products run over all tokens at once, attention sequence by sequence: nothing is padded, no caches are joined.
        """
        x = self.tok_embeddings(mx.concatenate([one.tokens for one in passes], axis=1))
        return self.logits_of(passes, self.hidden_of(x, [(one.cache, one.length) for one in passes]))

    def logits_of(self, passes: Sequence["Pass"], x: mx.array) -> list[mx.array | None]:
        """The logits of the passes that want them, of the last block's output for the tokens of all [1, L, dim]."""
        wanted, places, start, n_wanted = [], [], 0, 0
        for one in passes:
            places.append(slice(n_wanted, n_wanted + one.length) if one.wants_logits else None)
            if one.wants_logits:
                wanted.append(x[:, start : start + one.length])
                n_wanted += one.length
            start += one.length
        if not wanted:
            return [None] * len(passes)
        logits = self.logits_apart(x if n_wanted == start else mx.concatenate(wanted, axis=1), filter(None, places))
        return [None if place is None else next(logits) for place in places]

    def logits_apart(self, x: mx.array, places: Iterable[slice]) -> Iterator[mx.array]:
        """The logits [1, L, V] at each of these places of the last block's output [1, L, dim]."""
        logits = self.logits(x)
        return (logits[:, place] for place in places)

    def hidden(self, x: mx.array, cache: Cache) -> mx.array:
        """Run the blocks: [B, L, dim] → [B, L, dim]."""
        return self.hidden_of(x, [(cache, x.shape[1])])

    def hidden_of(self, x: mx.array, sequences: Sequences) -> mx.array:
        """Run the blocks over several sequences' tokens, one behind the other: [1, L, dim] → [1, L, dim]."""
        parts = [(length, cache.masks(length), cache) for cache, length in sequences]
        for number, block in enumerate(self.layers):
            x = block(x, [(length, masks[number], cache[number]) for length, masks, cache in parts])
        return x

    @property
    def is_exact(self) -> bool:
        """True if a token's numbers are the same to the last bit, whatever is computed in the same pass."""
        return False

    def logits(self, x: mx.array) -> mx.array:
        """The logits [B, L, V] of the last block's output [B, L, dim]."""
        x = self.norm(x)
        return self.tok_embeddings.as_linear(x) if self.args.tie_word_embeddings else self.output(x)

    @property
    def stage_bytes(self) -> tuple[int, ...]:
        """Bytes of the weights on each machine that holds a stage."""
        return (sum(self.weight_sizes.values()),)

    @property
    def packed(self) -> "Mapping[str, Packed]":
        """The matrices that kernels of our own multiply, by the names of their modules: none here."""
        return {}

    @property
    def weight_sizes(self) -> dict[str, int]:
        """The size of every weight in bytes, by its name."""
        weights: Any = tree_flatten(self.parameters())
        return {name: weight.nbytes for name, weight in weights}

    def make_cache(self) -> Cache:
        """Make an empty cache, rolling where the model has a sliding window."""
        windows = [self.args.window_of(self.start + number) for number in range(len(self.layers))]
        quantized = self.quantizes_cache
        return Cache(KVCache(quantized) if window is None else RollingCache(window, quantized) for window in windows)

    @property
    def quantizes_cache(self) -> bool:
        """True if its caches keep 16-bit integers with a scale a row, as kernels of our own read them."""
        return False
