"""A Mistral whose matrices our kernels multiply, as the file has them."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

from menny.engine.cache import Cache
from menny.engine.checkpoints.quantization import SMALL_GROUP, expand, widen
from menny.engine.checkpoints.weight_names import KINDS
from menny.engine.cpu.block_runner import MOST, BlockRunner, PackedBlock
from menny.engine.cpu.blocks import GATE, W1, W2, W3, WO, WQKV
from menny.engine.cpu.matrix import Packed, can_pack, is_packable, pack, pack_quantized
from menny.engine.cpu.memory import Arena
from menny.engine.cpu.modules import PackedEmbedding, PackedFeedForward, PackedLinear, PackedMoE, rows_of
from menny.engine.cpu.pool import Pool
from menny.engine.model import Block, Mistral, Sequences
from menny.engine.moe import MoEFeedForward

SWIGLU = ("w1", "w2", "w3")


class PackedMistral(Mistral):
    """The model of model.py, with its matrices packed: by `pack`, once it has its weights."""

    _runner: BlockRunner | None = None

    def pack(self, threads: int | None = None) -> None:
        """Put packed matrices in the places of MLX's, one by one, wherever there is a kernel for them."""
        pool, arena = Pool(threads), Arena()
        blocks = [_pack_block(block, pool, arena) for block in self.layers]
        _replace(self, "tok_embeddings", PackedEmbedding, pool, arena)
        _replace(self, "output", PackedLinear, pool, arena)
        whole = [block for block in blocks if block is not None]
        if len(whole) == len(blocks) and blocks:
            norms = [
                [np.array(norm.weight) for norm in (block.attention_norm, block.ffn_norm)] for block in self.layers
            ]
            attention = self.layers[0].attention
            self._runner = BlockRunner(self.args, whole, np.array(norms, np.float32), attention, pool)

    def parameters(self) -> dict[str, Any]:
        """All weights as MLX's modules would have them, unpacked: for what writes a model into files."""
        flat: Any = tree_flatten(super().parameters())
        for name, packed in self.packed.items():
            flat += [(f"{name}.{kind}", part) for kind, part in zip(KINDS, _parts(packed), strict=False)]
        return cast(dict[str, Any], tree_unflatten(flat))

    @property
    def packed(self) -> dict[str, Packed]:
        """The packed matrices by the names of their modules."""
        found = {}
        for name, module in self.named_modules():
            if isinstance(module, PackedLinear):
                found[name] = module.packed
            elif isinstance(module, PackedFeedForward):
                found |= {f"{name}.{which}": packed for which, packed in zip(SWIGLU, module.packed, strict=True)}
        return found

    @property
    def weight_sizes(self) -> dict[str, int]:
        """Bytes of every weight, by its name."""
        plain: Any = tree_flatten(super().parameters())
        sizes = {name: weight.nbytes for name, weight in plain}
        return sizes | {f"{name}.weight": packed.nbytes for name, packed in self.packed.items()}

    @property
    def shares_passes(self) -> bool:
        """True where kernels compute all products: a token's numbers are then the same whoever shares its pass."""
        return self._runner is not None and isinstance(self._last, PackedLinear)

    @property
    def _last(self) -> nn.Module:
        """The matrix whose product is the logits."""
        return self.tok_embeddings if self.args.tie_word_embeddings else self.output

    def logits_apart(self, x: mx.array, places: Iterable[slice]) -> Iterator[mx.array]:
        """As in Mistral: arrays of their own, as views of one would have to be evaluated, each by itself."""
        if not isinstance(self._last, PackedLinear):
            return super().logits_apart(x, places)
        logits = self._last.product(self.norm(x))
        return (mx.array(logits[None, place]) for place in places)

    @property
    def is_exact(self) -> bool:
        """True where kernels compute every pass: beyond a window they don't take long ones."""
        windows = [self.args.window_of(layer) for layer in range(self.args.n_layers)]
        return self.shares_passes and not any(windows)

    @property
    def quantizes_cache(self) -> bool:
        """True where the kernels multiply quantized weights: vectors are written in 16-bit integers there too."""
        return self._runner is not None and self._runner.is_quantized

    def hidden_of(self, x: mx.array, sequences: Sequences) -> mx.array:
        """[B, L, dim] before the blocks → [B, L, dim] behind them, by kernels where those take the tokens."""
        if self._runner is None or x.shape[0] > 1:
            return super().hidden_of(x, sequences)
        done, start = [], 0
        for group in self._groups(sequences):
            end = start + sum(length for _, length in group)
            done.append(self._hidden_of_group(x[:, start:end], group))
            start = end
        return done[0] if len(done) == 1 else mx.concatenate(done, axis=1)

    def _groups(self, sequences: Sequences) -> list[list[tuple[Cache, int]]]:
        """Neighbours that the kernels take in one pass; what they don't take stands by itself."""
        groups: list[list[tuple[Cache, int]]] = []
        room = 0
        for cache, length in sequences:
            taken = self._runner is not None and self._runner.takes(length, cache)
            if not taken or length > room:
                groups.append([])
                room = MOST if taken else 0
            groups[-1].append((cache, length))
            room -= length
        return groups

    def _hidden_of_group(self, x: mx.array, group: Sequences) -> mx.array:
        if self._runner and all(self._runner.takes(length, cache) for cache, length in group):
            return mx.array(self._runner(rows_of(x), group))[None]
        return super().hidden_of(x, group)


def _parts(packed: Packed) -> tuple[mx.array, ...]:
    """A matrix as MLX has it: plain where MLX has no such groups."""
    if not packed.group:
        return (packed.weights(),)
    parts = packed.quantized()
    return (expand(parts, (packed.group, packed.bits)),) if packed.group == SMALL_GROUP else parts


def _form(module: Any) -> tuple[int, int] | None:
    """Group size and bits of a module's weights; None: they are plain."""
    return (module.group_size, module.bits) if "scales" in module else None


def _can_pack(module: Any) -> bool:
    form = _form(module)
    if form is None:
        return is_packable(module.weight) and can_pack(module.weight.shape)
    columns = module.weight.shape[-1] * 32 // form[1]
    return can_pack((*module.weight.shape[:-1], columns), *form)


def _take(owner: nn.Module, name: str, arena: Arena, group: int | None = None) -> Packed:
    """Pack the weights of a module, in groups of this size if it is given, and drop it: memory holds them once."""
    module: Any = owner.pop(name)
    form = _form(module)
    if form:
        shared = group or form[0], form[1]
        packed = pack_quantized(*widen((module.weight, module.scales, module.biases), form, shared), *shared, arena)
    else:
        packed = pack(module.weight, arena)
    del module
    mx.clear_cache()
    return packed


def _replace(owner: nn.Module, name: str, kind: type[PackedLinear], pool: Pool, arena: Arena) -> Packed | None:
    """Put a packed module in the place of this one, if there is a kernel for it."""
    if name not in owner or not _can_pack(owner[name]):
        return None
    packed = _take(owner, name, arena)
    owner[name] = kind(packed, pool)
    return packed


def _pack_block(block: Block, pool: Pool, arena: Arena) -> PackedBlock | None:
    """Pack a block; its matrices, if kernels take all of them."""
    matrices = {
        WQKV: _replace(block.attention, "wqkv", PackedLinear, pool, arena),
        WO: _replace(block.attention, "wo", PackedLinear, pool, arena),
    }
    feed_forward: Any = block.feed_forward
    is_sparse = isinstance(feed_forward, MoEFeedForward)
    owner = feed_forward.experts if is_sparse else feed_forward
    if not _is_swiglu(owner) or (is_sparse and not _can_pack(feed_forward.gate)):
        for name in () if is_sparse else SWIGLU:
            _replace(owner, name, PackedLinear, pool, arena)
        return None
    shared = min(form[0] for form in (_form(owner.w1), _form(owner.w3)) if form) if _form(owner.w1) else None
    w1, w2, w3 = (_take(owner, name, arena, None if name == "w2" else shared) for name in SWIGLU)
    swiglu = PackedFeedForward(w1, w2, w3, pool)
    if is_sparse:
        matrices[GATE] = _replace(feed_forward, "gate", PackedLinear, pool, arena)
        block["feed_forward"] = PackedMoE(feed_forward.gate, swiglu, feed_forward.num_experts_per_tok)
    else:
        block["feed_forward"] = swiglu
    whole = {which: packed for which, packed in (matrices | {W1: w1, W2: w2, W3: w3}).items() if packed}
    return whole if len(whole) == len(matrices) + len(SWIGLU) else None


def _is_swiglu(owner: Any) -> bool:
    """Whether kernels take w1, w2 and w3, and w1 and w3 both integers, or both plain numbers."""
    w1, w3 = _form(owner.w1), _form(owner.w3)
    return (w1 is None) == (w3 is None) and all(_can_pack(owner[name]) for name in SWIGLU)
