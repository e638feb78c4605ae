"""Mixtral's sparse mixture of experts (arXiv 2401.04088): each token goes through the few experts that a gate chooses.

Legend of shapes: B batch, L tokens, N = B L, E experts, k experts a token, R rows = N k.
"""

import math
from typing import Self

import mlx.core as mx
import mlx.nn as nn

from menny.engine.args import ModelArgs, MoEArgs

SORT_FROM = 64  # rows from which it pays to group them by expert
CPU_BLOCK = 16  # rows of a matrix product: each product reads a whole expert


class QuantizedExpertLinear(nn.Module):
    """An ExpertLinear with quantized weights."""

    def __init__(self, weight: mx.array, scales: mx.array, biases: mx.array, group_size: int, bits: int) -> None:
        super().__init__()
        self.weight, self.scales, self.biases = weight, scales, biases
        self.group_size, self.bits = group_size, bits
        self.freeze()

    def __call__(self, x: mx.array, experts: mx.array, is_sorted: bool) -> mx.array:
        return mx.gather_qmm(
            x,
            self.weight,
            self.scales,
            self.biases,
            rhs_indices=experts,
            group_size=self.group_size,
            bits=self.bits,
            sorted_indices=is_sorted,
        )


class ExpertLinear(nn.Module):
    """The same projection of every expert, stacked: weight [E, out, in]."""

    def __init__(self, n_experts: int, width: int, out: int) -> None:
        super().__init__()
        bound = math.sqrt(1 / width)
        self.weight = mx.random.uniform(-bound, bound, (n_experts, out, width))

    def __call__(self, x: mx.array, experts: mx.array, is_sorted: bool) -> mx.array:
        """x [..., rows, in] through the expert of each leading index → [..., rows, out]."""
        return mx.gather_mm(x, self.weight.swapaxes(-1, -2), rhs_indices=experts, sorted_indices=is_sorted)

    def to_quantized(self, group_size: int, bits: int, mode: str = "affine") -> QuantizedExpertLinear:
        """Quantize this layer, as nn.quantize does; `mode` is affine throughout the engine."""
        return QuantizedExpertLinear(*mx.quantize(self.weight, group_size, bits, mode), group_size, bits)


class Experts(nn.Module):
    """SwiGLU, E times: w2(silu(w1 x) * w3 x)."""

    def __init__(self, args: ModelArgs, n_experts: int) -> None:
        super().__init__()
        self.w1 = ExpertLinear(n_experts, args.dim, args.hidden_dim)
        self.w2 = ExpertLinear(n_experts, args.hidden_dim, args.dim)
        self.w3 = ExpertLinear(n_experts, args.dim, args.hidden_dim)

    def __call__(self, x: mx.array, experts: mx.array, is_sorted: bool = False) -> mx.array:
        hidden = nn.silu(self.w1(x, experts, is_sorted)) * self.w3(x, experts, is_sorted)
        return self.w2(hidden, experts, is_sorted)


class MoEFeedForward(nn.Module):
    """y = sum over the top k of Softmax(TopK(x Wg))_i SwiGLU_i(x) (section 2.1): softmax after the k are chosen."""

    def __init__(self, args: ModelArgs, moe: MoEArgs) -> None:
        super().__init__()
        self.num_experts = moe.num_experts
        self.num_experts_per_tok = moe.num_experts_per_tok
        self.gate = nn.Linear(args.dim, moe.num_experts, bias=False)
        self.experts = Experts(args, moe.num_experts)

    def __call__(self, x: mx.array) -> mx.array:
        rows = x.reshape(-1, x.shape[-1])  # [N, dim]
        chosen, weights = self._route(rows)  # [N, k]
        compute = self._row_by_row if chosen.size < SORT_FROM else self._by_expert
        return (compute(rows, chosen) * weights[..., None]).sum(axis=-2).reshape(x.shape)

    def _route(self, x: mx.array) -> tuple[mx.array, mx.array]:
        """Each token's k experts, unordered, and their weights, which sum to 1."""
        k = self.num_experts_per_tok
        logits = self.gate(x)  # [N, E]
        chosen = mx.argpartition(-logits, kth=k - 1, axis=-1)[..., :k]  # kth counts from 0: k - 1 ends the first k
        return chosen, mx.softmax(mx.take_along_axis(logits, chosen, axis=-1), axis=-1, precise=True)

    def _row_by_row(self, x: mx.array, chosen: mx.array) -> mx.array:
        return self.experts(x[:, None, None, :], chosen).squeeze(-2)  # [N, k, dim]

    def _by_expert(self, x: mx.array, chosen: mx.array) -> mx.array:
        """Group the rows by expert, in blocks that belong to one expert each → [N, k, dim]."""
        layout = Layout.of(chosen.reshape(-1), self.num_experts)
        rows = mx.zeros((layout.n_blocks * layout.block, x.shape[-1]), x.dtype)
        rows[layout.positions] = mx.repeat(x, chosen.shape[-1], axis=0)
        out = self.experts(rows.reshape(layout.n_blocks, layout.block, -1), layout.experts, is_sorted=True)
        return out.reshape(rows.shape)[layout.positions].reshape(*chosen.shape, -1)


class Layout:
    """Positions that group rows by expert, each group from the start of a block: a vectorized counting sort."""

    def __init__(self, block: int, positions: mx.array, experts: mx.array) -> None:
        self.block = block  # rows
        self.n_blocks = experts.shape[0]
        self.positions = positions  # [R], the new position of every row
        self.experts = experts  # [n_blocks], ascending

    @classmethod
    def of(cls, experts: mx.array, n_experts: int) -> Self:
        """The layout of rows that go through these experts [R]."""
        block = CPU_BLOCK if mx.default_device().type == mx.DeviceType.cpu else 1
        n_blocks = (experts.size + n_experts * (block - 1)) // block  # enough for any distribution
        counts = mx.cumsum((experts[:, None] == mx.arange(n_experts)).astype(mx.int32), axis=0)  # [R, E]
        ends = mx.cumsum((counts[-1] + block - 1) // block)  # [E], in blocks
        starts = mx.concatenate([mx.zeros((1,), ends.dtype), ends[:-1]])
        rank = mx.take_along_axis(counts, experts[:, None], axis=1).squeeze(1) - 1  # among its expert's rows
        owners = (mx.arange(n_blocks)[:, None] >= ends).astype(mx.int32).sum(axis=1)
        return cls(block, starts[experts] * block + rank, mx.minimum(owners, n_experts - 1))
