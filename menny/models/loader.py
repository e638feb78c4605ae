"""From a catalogue's entry to an engine: a plan of the memory, then the model itself or a connection to its server."""

import json
import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from menny.engine import (
    PARALLEL,
    CacheFolder,
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
from menny.engine.args import args_from_folder
from menny.engine.cpu.pool import default_threads
from menny.engine.memory_plan import MemoryNeeds
from menny.engine.remote.byte_tokenizer import ByteTokenizer, Spelled
from menny.engine.remote.engine import RemoteEngine, connect
from menny.engine.remote.errors import BAD_ADDRESS
from menny.engine.remote.server import Server, served_models
from menny.engine.stage import Stage
from menny.errors import ConfigError, EngineError, ModelError
from menny.messages import Message, Role
from menny.models import credentials
from menny.models.catalogue import Fit, ModelSpec, ServerSource, Shape, is_address, will_it_fit
from menny.models.catalogue.recommend import USEFUL_CONTEXT
from menny.models.hub import Choice, Hit, search
from menny.prompts import encode_chat

AnyEngine = Engine | RemoteEngine

CONTROL_NAME = re.compile(r"\[/?[A-Z_]+\]|<\|.*?\|>|</?s>|<</?SYS>>|<unk>")
PLAIN_BITS = 16
WEIGHTS_PER_CORE = 25e9  # multiplied a second by a core, of a processor with wide vectors
CPU_BANDWIDTH = 40e9  # bytes a second of two channels of memory
CACHED_NUMBERS = 0.7  # of a token, per square root of the number of weights, as in the catalogue's shapes
VOCABULARY = 131_072
USUAL_QUANTIZATIONS = ("Q4_K_M", "Q4_K_S", "4-bit", "Q4_1", "Q4_0")
MAC_SHARE = 0.7  # 70-75% of the unified memory is safe to fill
NORM_EPS = 1e-5  # takes no memory, but a model has one


class Planner:
    """Plans the memory that models would take on one machine, and how fast they would be."""

    def __init__(self, machine: Machine | None = None, threads: int | None = None) -> None:
        """`threads` compute on a CPU; None: as many as this one has cores."""
        self.machine = machine or this_machine()
        self.threads = threads
        self._needs: dict[Path, MemoryNeeds] = {}  # by the model's path: headers are read once

    def __call__(self, spec: ModelSpec, context: int | None = None, bits: int | None = None) -> Plan | None:
        """Plan a model by its headers if it is here, else by its shape; `bits`: as if it were quantized to these.

        None where neither is known. Raises ModelError for files that can't be a model's.
        """
        path = spec.path()
        if path is not None:
            needs = self._needs.get(path) or needs_of(path, self.machine)
            self._needs[path] = needs
            return (needs_at(needs.args, bits, self.machine) if bits else needs).plan(context)
        if spec.shape is None:
            return None
        args = args_of(spec.shape, spec.context_length)
        return needs_at(args, bits or spec.bits or PLAIN_BITS, self.machine).plan(context)

    def speed_of(self, spec: ModelSpec) -> float | None:
        """Estimate the tokens a second of a model that the catalogue describes on a CPU; None on a GPU, which is fast.

        A token multiplies by every active weight once: the cores' pace is a limit, and the memory's another.
        """
        if self.machine.kind != "cpu" or spec.shape is None:
            return None
        args, bits = args_of(spec.shape, spec.context_length), spec.bits or PLAIN_BITS
        idle = args.moe.num_experts - args.moe.num_experts_per_tok if args.moe else 0
        active = args.n_parameters - idle * args.n_layers * 3 * args.dim * args.hidden_dim
        threads = self.threads or default_threads()
        return min(threads * WEIGHTS_PER_CORE / active, CPU_BANDWIDTH / (active * bits / 8))

    def plan_found(self, hit: Hit, choice: Choice) -> Plan:
        """Plan what a search of the hub found, with a useful context. Raises ModelError for what can't be loaded."""
        if hit.config:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "config.json").write_text(json.dumps(hit.config), encoding="utf-8")
                args = args_from_folder(Path(folder))
            return needs_at(args, choice.bits or PLAIN_BITS, self.machine).plan(USEFUL_CONTEXT)
        args = typical_args(hit.n_parameters or 2 * choice.size)
        number = 4 if self.machine.kind == "cpu" else 2
        is_quantized = choice.label.startswith("Q") or (choice.bits or PLAIN_BITS) < PLAIN_BITS
        needs = MemoryNeeds(args, self.machine, choice.size, number, Stage.whole(args.n_layers), is_quantized)
        return needs.plan(USEFUL_CONTEXT)


def a_mac(gigabytes: int) -> Machine:
    """Return a Mac with this much memory, filled to the share that Apple recommends, or a little less."""
    return Machine("metal", int(gigabytes * MAC_SHARE * (1 << 30)))


def typical_args(n_parameters: int) -> ModelArgs:
    """Return likely args of a model with this number of weights: width and cache grow with its square root."""
    n_layers, head_dim = 32, 128
    dim = max(1, round(math.sqrt(n_parameters / (13 * n_layers))))  # 13: attention and a feed-forward of 3.5 widths
    n_kv_heads = max(1, round(CACHED_NUMBERS * math.sqrt(n_parameters) / (2 * n_layers * head_dim)))
    return ModelArgs(dim, n_layers, head_dim, 7 * dim // 2 or 1, 4 * n_kv_heads, n_kv_heads, NORM_EPS, VOCABULARY)


def args_of(shape: Shape, context_length: int | None) -> ModelArgs:
    """Return the engine's args for the shape that a catalogue states."""
    stated: dict[str, Any] = shape.model_dump(exclude={"num_experts", "num_experts_per_tok"})
    if context_length:
        stated["max_position_embeddings"] = context_length
    moe = MoEArgs(shape.num_experts, shape.num_experts_per_tok or 1) if shape.num_experts else None
    return ModelArgs(**stated, norm_eps=NORM_EPS, moe=moe)


@dataclass(frozen=True)
class LoadOptions:
    """Options of loading: a context in tokens (None: as many as fit); `force` loads what doesn't seem to fit.

    `threads` compute on a CPU; None: one for each physical core. `parallel` replies are written at once. Caches of
    chats are kept in `cache_folder`.
    """

    context: int | None = None
    force: bool = False
    threads: int | None = None
    parallel: int = PARALLEL
    cache_folder: CacheFolder | None = None


AS_FITS = LoadOptions()


@dataclass(frozen=True)
class ModelSource:
    """A model's files or server, with the options to load it. Sessions with equal sources share an engine."""

    place: Path | ServerSource
    options: LoadOptions = AS_FITS


def source_of(spec: ModelSpec, options: LoadOptions = AS_FITS) -> ModelSource | None:
    """Return the source of a catalogue's model; None where it isn't on this machine yet."""
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
    return load_engine(
        model,
        context_length=options.context,
        force=options.force,
        threads=options.threads,
        parallel=options.parallel,
        cache_folder=options.cache_folder,
    )


def notice_of(engine: object) -> str:
    """Return what a user should know of a loaded model, in a sentence; "" where there is nothing."""
    has_no_eyes = isinstance(engine, Engine) and engine.leaves_out_vision
    return "This model could see pictures, but Menny only reads text." if has_no_eyes else ""


def why_no_continuing(engine: object) -> str:
    """Return why an engine can't continue a reply that it began, in a sentence; "" where it can.

    An engine of this machine always can. A server that isn't known is asked, once.
    """
    return engine.why_no_continuing() if isinstance(engine, RemoteEngine) else ""


def prepares(source: ModelSource) -> bool:
    """Return True where this processor has to be prepared for the model first, which takes some seconds, once."""
    return not isinstance(source.place, ServerSource) and must_compile()


def models_at(address: str, variable: str | None, key: str | None) -> dict[str, int | None]:
    """Return the models of a server that isn't in the catalogue yet, with their contexts. Raises MennyError."""
    if not is_address(address):
        raise ConfigError(BAD_ADDRESS)
    if not (models := served_models(Server(address, key=key or credentials.key_of(address, variable)))):
        raise EngineError(f"{address} lists no model: have it serve one, then connect again.")
    return models


def converted_bytes(path: Path, bits: int) -> int | None:
    """Estimate the size of a converted model in bytes; None for files that are no model's."""
    disk = Machine("metal", 0)
    try:
        return needs_at(needs_of(path, disk).args, bits, disk).weights
    except ModelError:
        return None


def server_of(source: ServerSource, context: int | None = None) -> Server:
    """Return a server with its key. Raises ConfigError where the key's environment variable isn't set."""
    key = credentials.key_of(source.address, source.key)
    render = partial(prompt_text, source.template) if source.template else None
    return Server(source.address, source.served, key, context, render)


def prompt_text(template: str, messages: Sequence[Spelled]) -> str:
    """Return a prompt as text, for a server that takes neither messages nor ids where it should continue.

    The server adds the first `<s>` itself. Raises EngineError for messages with the name of a control token, which the
    server couldn't tell from one.
    """
    if any(CONTROL_NAME.search(message["content"]) for message in messages):
        raise EngineError("This chat quotes control tokens, so the server can't continue the reply: regenerate it.")
    spelling = _SpelledControls()
    chat = [Message(cast("Role", message["role"]), message["content"]) for message in messages]
    parts = groupby(encode_chat(chat, template, spelling), key=lambda token: token < 0)
    text = "".join(
        "".join(spelling.pieces[-1 - token] for token in ids) if is_control else spelling.decode(ids)
        for is_control, ids in parts
    )
    return text.removeprefix("<s>")


class _SpelledControls(ByteTokenizer):
    """A vocabulary with every control token, by a negative id each."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def control_id(self, piece: str) -> int:
        if piece not in self.pieces:
            self.pieces.append(piece)
        return -1 - self.pieces.index(piece)


@dataclass(frozen=True)
class Found:
    """A repository of the hub that a search found, with a plan of the memory for each of its choices."""

    hit: Hit
    plans: tuple[Plan, ...]

    def usual(self) -> int:
        """The choice to offer first: four bits where they fit, else the largest that does, else the smallest."""
        fitting = [n for n, plan in enumerate(self.plans) if plan.fits]
        labels = [choice.label for choice in self.hit.choices]
        usual = [n for n in fitting if labels[n] in USUAL_QUANTIZATIONS]
        return (usual or fitting[-1:] or [0])[0]


def find_models(words: str, planner: Planner) -> tuple[list[Found], int]:
    """Search the hub for models that Menny loads; return them, and the number of those that it doesn't.

    Raises ModelError where the hub can't be searched.
    """
    result, found = search(words), []
    for hit in result.hits:
        try:
            found.append(Found(hit, tuple(planner.plan_found(hit, choice) for choice in hit.choices)))
        except ModelError:
            continue
    return found, result.left_out + len(result.hits) - len(found)


def fit_of(spec: ModelSpec, others: Sequence[ModelSpec], planner: Planner, context: int | None = None) -> Fit | None:
    """Return whether a model fits; None where that isn't known, also for files that are no model's."""
    try:
        return will_it_fit(spec, planner, others, context)
    except ModelError:
        return None
