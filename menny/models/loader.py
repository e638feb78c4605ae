"""From a catalogue's entry to an engine: whether it fits here, and then the model itself, or the server that has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menny.engine import (
    Engine,
    Machine,
    ModelArgs,
    MoEArgs,
    Plan,
    load_engine,
    must_compile,
    needs_at,
    needs_of,
    this_machine,
)
from menny.engine.remote.engine import RemoteEngine, connect
from menny.engine.remote.server import Server, served_models
from menny.errors import ConfigError, EngineError, ModelError
from menny.models import credentials
from menny.models.catalogue import Fit, ModelSpec, ServerSource, Shape, is_address, will_it_fit

AnyEngine = Engine | RemoteEngine

PLAIN_BITS = 16
MAC_SHARE = 0.7  # 70-75% of the unified memory is safe to fill
NORM_EPS = 1e-5  # takes no memory, but a model has one


class Planner:
    """How models would lie in the memory of one machine."""

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or this_machine()

    def __call__(self, spec: ModelSpec, context: int | None = None, bits: int | None = None) -> Plan | None:
        """By the headers of a model that is here, by its shape for one that isn't, or for another number of bits.

        None where there is neither. Raises ModelError for files that can't be a model's.
        """
        path = spec.path()
        if path is not None:
            needs = needs_of(path, self.machine)
            return (needs_at(needs.args, bits, self.machine) if bits else needs).plan(context)
        if spec.shape is None:
            return None
        args = args_of(spec.shape, spec.context_length)
        return needs_at(args, bits or spec.bits or PLAIN_BITS, self.machine).plan(context)


def a_mac(gigabytes: int) -> Machine:
    """A Mac with so much memory: the share of it that Apple recommends to fill, or a little less."""
    return Machine("metal", int(gigabytes * MAC_SHARE * (1 << 30)))


def args_of(shape: Shape, context_length: int | None) -> ModelArgs:
    """The engine's words for the shape that a catalogue tells of a model."""
    told: dict[str, Any] = shape.model_dump(exclude={"num_experts", "num_experts_per_tok"})
    if context_length:
        told["max_position_embeddings"] = context_length
    moe = MoEArgs(shape.num_experts, shape.num_experts_per_tok or 1) if shape.num_experts else None
    return ModelArgs(**told, norm_eps=NORM_EPS, moe=moe)


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded: its context in tokens (None: as many as fit), and whether memory may run short.

    On a CPU, `threads` multiply (None: as many as there are cores).
    """

    context: int | None = None
    force: bool = False
    threads: int | None = None


AS_FITS = LoadOptions()


@dataclass(frozen=True)
class ModelSource:
    """What an engine is made of, and how. Whoever wants the same source can share the engine."""

    place: Path | ServerSource
    options: LoadOptions = AS_FITS


def source_of(spec: ModelSpec, options: LoadOptions = AS_FITS) -> ModelSource | None:
    """The source of a catalogue's model; None where it isn't on this machine yet."""
    if isinstance(spec.source, ServerSource):
        return ModelSource(spec.source, LoadOptions(options.context or spec.context_length))
    path = spec.path()
    return ModelSource(path, options) if path else None


def load(model: ModelSpec | Path | ServerSource, options: LoadOptions = AS_FITS) -> AnyEngine:
    """Load a model of this machine, or connect to the server that has it.

    Raises ModelError where it isn't here, TooLargeError where it doesn't fit, EngineError for a server's error.
    """
    if isinstance(model, ModelSpec):
        source = source_of(model, options)
        return load(source.place, source.options) if source else load(model.present(), options)
    if isinstance(model, ServerSource):
        return connect(server_of(model, options.context))
    return load_engine(model, context_length=options.context, force=options.force, threads=options.threads)


def prepares(source: ModelSource) -> bool:
    """Whether this processor has to be prepared for a model first, which takes some seconds, once."""
    return not isinstance(source.place, ServerSource) and must_compile()


def models_at(address: str, variable: str | None, key: str | None) -> dict[str, int | None]:
    """The models of a server that isn't in the catalogue yet. Raises MennyError."""
    if not is_address(address):
        raise ConfigError("That is no address: it looks like http://127.0.0.1:8000/v1.")
    if not (models := served_models(Server(address, key=key or credentials.key_of(address, variable)))):
        raise EngineError(f"{address} lists no model: have it serve one, then connect again.")
    return models


def converted_bytes(path: Path, bits: int) -> int | None:
    """About how large a model is after its conversion; None for files that are no model's."""
    disk = Machine("metal", 0)
    try:
        return needs_at(needs_of(path, disk).args, bits, disk).weights
    except ModelError:
        return None


def server_of(source: ServerSource, context: int | None = None) -> Server:
    """A server with its key, of the environment or the keyring. Raises ConfigError where a named one isn't set."""
    return Server(source.address, source.served, credentials.key_of(source.address, source.key), context)


def fit_of(spec: ModelSpec, others: Sequence[ModelSpec], planner: Planner, context: int | None = None) -> Fit | None:
    """Whether a model fits; None where that isn't known, be it that its files are no model's."""
    try:
        return will_it_fit(spec, planner, others, context)
    except ModelError:
        return None
