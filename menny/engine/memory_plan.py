"""The memory plan: the bytes that a model needs on this machine, computed from the headers of its files alone.

A model needs room for its weights, for the keys and values of its context (with a rolling cache: of its window), and
for the numbers that a pass computes on the way.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import mlx.core as mx
import psutil

from menny.engine.args import ModelArgs
from menny.engine.cache import BLOCK
from menny.engine.checkpoints.checkpoint import Source, open_model
from menny.engine.checkpoints.load import check_names, is_expanded
from menny.engine.checkpoints.quantization import SMALL_GROUP
from menny.engine.checkpoints.weight_names import GGUF, KINDS
from menny.engine.cpu.arrays import SCALE
from menny.engine.cpu.kernels import have_kernels
from menny.engine.cpu.matrix import packed_bits
from menny.engine.cpu.scales import form_in_steps, scale_bytes
from menny.engine.formats.gguf_quants import GROUP
from menny.engine.passes import PREFILL_CHUNK
from menny.engine.prefix_cache import default_limit
from menny.engine.stage import Stage
from menny.errors import EngineError, TooLargeError
from menny.text import size

LEAST_CONTEXT = 2048  # tokens: a model with a shorter context is of little use
PROCESS = 160 << 20  # bytes of the vocabulary, the BLAS's own buffers, and code
GROUP_SIZE = 64  # weights that share a scale, where no file says it
PLAIN_BITS = 16


@dataclass(frozen=True)
class Machine:
    """A device, and the bytes that it can give to a model once the one that is loaded is released."""

    kind: Literal["metal", "cuda", "cpu"]
    room: int


@dataclass(frozen=True)
class Plan:
    """The bytes that a model needs with a certain context, and the room that there is for them."""

    context: int  # tokens
    weights: int
    cache: int
    overhead: int
    room: int
    needs: "MemoryNeeds" = field(repr=False, compare=False)

    @property
    def total(self) -> int:
        """The sum of all bytes."""
        return self.weights + self.cache + self.overhead

    @property
    def fits(self) -> bool:
        """True if the machine has as much room."""
        return self.total <= self.room

    @property
    def kept(self) -> int:
        """The bytes that the caches of recent conversations may take beside this, while they aren't in use."""
        return min(default_limit(self.room, self.cache), self.cache + max(0, self.room - self.total))

    @property
    def caches(self) -> int:
        """The bytes that the caches of replies under way may take together: a whole context's, and what is spare."""
        return self.cache + max(0, self.room - self.total - self.kept)

    def cache_of(self, tokens: int) -> int:
        """The bytes of a cache that holds up to `tokens` tokens."""
        return self.needs.cache_bytes(min(tokens, self.context))

    @property
    def peak(self) -> int:
        """The most bytes that the process takes: a reply at the end of its context, and all that is kept."""
        return self.total + self.kept


@dataclass(frozen=True)
class MemoryNeeds:
    """The memory that a model needs on one machine, for any context."""

    args: ModelArgs
    machine: Machine
    weights: int  # bytes, once loaded
    number: int  # bytes of a number in keys, values and hidden states
    stage: Stage  # the part of the model that this machine holds
    is_quantized: bool = False

    def at(self, context: int) -> Plan:
        """The plan for a context of a number of tokens."""
        overhead = PROCESS + self._working(context)
        return Plan(context, self.weights, self.cache_bytes(context), overhead, self.machine.room, self)

    def cache_bytes(self, tokens: int) -> int:
        """The bytes of a cache with this number of tokens."""
        args, buffer = self.args, -(-tokens // BLOCK) * BLOCK
        held = sum(min(buffer, args.window_of(layer) or buffer) for layer in self.stage.blocks)
        return 2 * args.n_kv_heads * held * self._row

    @cached_property
    def _row(self) -> int:
        """The bytes of a token's keys, or values, of a head."""
        in_integers = self.is_quantized and self.machine.kind == "cpu" and have_kernels()
        return 2 * (self.args.head_dim + SCALE) if in_integers else self.number * self.args.head_dim

    def _working(self, context: int) -> int:
        """Bytes that a prefill chunk needs in passing; on a CPU with all attention scores of a layer."""
        args = self.args
        width = 4 * args.dim + 3 * args.hidden_dim * (args.moe.num_experts_per_tok if args.moe else 1)
        windows = [args.window_of(layer) for layer in self.stage.blocks]
        seen = max(min(context, window + PREFILL_CHUNK) if window else context for window in windows)
        scores = args.n_heads * seen if self.machine.kind == "cpu" else 0
        return PREFILL_CHUNK * (width + scores) * self.number

    def plan(self, context: int | None = None) -> Plan:
        """The plan for this context; by default for the longest that fits, or the least useful one where none fits."""
        longest = self.args.max_position_embeddings
        if context is not None:
            return self.at(min(context, longest))
        contexts = range(min(LEAST_CONTEXT, longest), longest + BLOCK, BLOCK)
        too_long = bisect_left(contexts, True, key=lambda context: not self.at(context).fits)
        return self.at(min(contexts[max(0, too_long - 1)], longest))


def this_machine() -> Machine:
    """This machine's room: Apple's recommended working set, a graphics card's free memory, or the free memory."""
    ours = mx.get_active_memory() + mx.get_cache_memory()
    if mx.metal.is_available():
        return Machine("metal", int(mx.device_info()["max_recommended_working_set_size"]))
    if mx.default_device().type == mx.DeviceType.gpu:
        return Machine("cuda", int(mx.device_info()["free_memory"]) + ours)
    return Machine("cpu", psutil.virtual_memory().available + ours)


def needs_of(path: Path, machine: Machine, stage: Stage | None = None) -> MemoryNeeds:
    """The memory that the model at `path`, or a stage of it, needs. Only headers are read.

    Raises ModelError for files that can't be a model's.
    """
    return needs_of_opened(*open_model(path), machine, stage)


def needs_of_opened(args: ModelArgs, source: Source, machine: Machine, stage: Stage | None = None) -> MemoryNeeds:
    """As `needs_of`, for a model whose headers have been read."""
    stage = stage or Stage.whole(args.n_layers)
    shapes = stage.part_of(check_names(args, source), args.tie_word_embeddings)
    if machine.kind == "cpu":
        parts = [name for name in shapes if name.endswith(("attention.wq", "attention.wk", "attention.wv"))]
        is_quantized = all(f"{name}.scales" in source.listed for name in parts)
        return MemoryNeeds(args, machine, _bytes_on_cpu(shapes, source, machine), 4, stage, is_quantized)
    nbytes = sum(_bytes_by_mlx(name, shape, source) for name, shape in shapes.items())
    return MemoryNeeds(args, machine, nbytes, 4 if nbytes >= 4 * _count(shapes) else 2, stage)


def needs_at(args: ModelArgs, bits: int, machine: Machine) -> MemoryNeeds:
    """The memory that a model with these args needs with weights of 4 or 8 bits, as MLX quantizes them, or of 16."""
    whole = Stage.whole(args.n_layers)
    per_weight = bits / 8 if bits >= PLAIN_BITS else bits / 8 + 2 * 2 / GROUP_SIZE
    if machine.kind != "cpu":
        return MemoryNeeds(args, machine, round(args.n_parameters * per_weight), 2, whole)
    if have_kernels():
        return MemoryNeeds(args, machine, round(args.n_parameters * per_weight), 4, whole, bits < PLAIN_BITS)
    if bits >= PLAIN_BITS or is_expanded(args.n_parameters, machine.room):
        return MemoryNeeds(args, machine, 4 * args.n_parameters, 4, whole)
    return MemoryNeeds(args, machine, round(args.n_parameters * (bits / 8 + 2 * 4 / GROUP_SIZE)), 4, whole)


def plan_for(path: Path, context: int | None = None, force: bool = False, stage: Stage | None = None) -> Plan:
    """Plan the model at `path`, or a stage of it, on this machine, with this context or the longest that fits.

    Raises TooLargeError, which says what would fit instead, unless `force` is set.
    """
    return plan_for_opened(*open_model(path), context, force, stage)


def plan_for_opened(
    args: ModelArgs, source: Source, context: int | None = None, force: bool = False, stage: Stage | None = None
) -> Plan:
    """As `plan_for`, for a model whose headers have been read."""
    if context is not None and context < 1:
        raise EngineError(f"The context is {context} tokens, but must be at least 1.")
    needs = needs_of_opened(args, source, this_machine(), stage)
    plan = needs.plan(context)
    if not plan.fits and not force:
        raise TooLargeError(_too_large(source.path, plan, needs), needed=plan.total, room=plan.room)
    return plan


def _too_large(path: Path, plan: Plan, needs: MemoryNeeds) -> str:
    fitting = [f"a context of {other.context:,} tokens" for other in [needs.plan()] if other.fits]
    fitting += [f"{bits} bits a weight" for bits in (8, 4) if needs_at(needs.args, bits, needs.machine).plan().fits][:1]
    return (
        f"{path.name} takes about {size(plan.total)} with a context of {plan.context:,} tokens "
        f"({size(plan.weights)} of it for the weights), but this machine can give {size(plan.room)}: "
        + (f"it would fit with {' or '.join(fitting)}." if fitting else "choose a smaller model.")
    )


def _count(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes.values()))


def _bytes_on_cpu(shapes: dict[str, tuple[int, ...]], source: Source, machine: Machine) -> int:
    """Bytes of the weights once loaded on a CPU: as in the file where there are kernels for them.

    Without kernels, plain ones become float32, and quantized ones too where they fit.
    """
    if have_kernels():
        return sum(_bytes_packed(name, shape, source) for name, shape in shapes.items())
    if is_expanded(_count(shapes), machine.room):
        return 4 * _count(shapes)
    return sum(_bytes_by_mlx(name, shape, source, on_cpu=True) for name, shape in shapes.items())


def _bytes_by_mlx(name: str, shape: tuple[int, ...], source: Source, on_cpu: bool = False) -> int:
    """Bytes of a weight for MLX's own products: on a CPU with scales and plain numbers in float32."""
    count, sizes = math.prod(shape), [source.sizes.get(f"{name}.{kind}", 0) for kind in KINDS]
    if f"{name}.scales" not in source.listed:
        return 4 * count if on_cpu else sizes[0]
    if name in source.in_small_groups:
        sizes[0] = count  # quantized again, to 8 bits
    scales = 4 * count // GROUP if source.names is GGUF else sum(sizes[1:])
    return sizes[0] + (2 * scales if on_cpu else scales)


def _bytes_packed(name: str, shape: tuple[int, ...], source: Source) -> int:
    """Bytes of a weight for kernels, which take numbers of 4 or 8 bits; vectors become float32."""
    count, nbytes = math.prod(shape), source.sizes.get(f"{name}.weight", 0)
    if len(shape) == 1:
        return 4 * count
    if f"{name}.scales" not in source.listed:
        return nbytes
    kinds = KINDS[1:2] if name in source.without_biases else KINDS[1:]
    scales = source.sizes[f"{name}.scales"]
    group = SMALL_GROUP if name in source.in_small_groups else GROUP
    if source.names is GGUF and scales == 4 * count // group:  # a K-quant's, which MLX would have in float32
        scales = scale_bytes(form_in_steps(group), count // group)
    return count * packed_bits(8 * nbytes // count) // 8 + len(kinds) * scales
