"""A server's address and key, and the models that it lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from menny.engine.remote.connection import Connection
from menny.engine.remote.errors import (
    NO_LIST,
    NO_REASON,
    NotTheProtocolError,
    RefusedError,
    describe_error,
    reason_of,
    without_key,
)
from menny.errors import EngineError

LIST_SECONDS = 20.0
MOST_MODELS = 1000
LONGEST_NAME = 200  # characters


@dataclass(frozen=True)
class Server:
    """The address of an OpenAI-compatible server; `served` None is the first model that it lists."""

    address: str  # with its /v1
    served: str | None = None
    key: str | None = None
    context_length: int | None = None

    def __repr__(self) -> str:
        """Leave out the key, which belongs in no log."""
        return f"Server({self.address!r}, {self.served!r})"


@dataclass(frozen=True)
class ServedModel:
    """A model as its server lists it: the tokens of its context, and the program or firm that serves it."""

    context: int | None = None
    owner: str = ""


def served_models(server: Server, silence: float = LIST_SECONDS) -> dict[str, int | None]:
    """Return the names of the models that a server lists, with the context that it states for each.

    A server that keeps no list has the model that its entry names. Raises EngineError within `silence` seconds.
    """
    with Connection(server.address, server.key, silence) as connection:
        return {name: model.context for name, model in list_models(connection, server, silence).items()}


def list_models(connection: Connection, server: Server, seconds: float) -> dict[str, ServedModel]:
    """Return what `served_models` does, with each model's owner."""
    try:
        answer = connection.fetch("GET", "/models", seconds=seconds)
        return dict(_listed(answer, server))
    except RefusedError as error:
        if error.status == 404 and server.served:
            return {server.served: ServedModel()}
        raise describe_error(error, server.address, server.key) from None
    except Exception as error:
        raise describe_error(error, server.address, server.key) from None


def choose_model(models: dict[str, ServedModel], server: Server) -> str:
    """Return the name of the model to talk to. Raises EngineError where the server doesn't have it."""
    name = server.served or next(iter(models), "")
    if name not in models:
        known = without_key(", ".join(list(models)[:5]), server.key) or "none at all"
        raise EngineError(f"{server.address} has no model {name!r}; it has {known}: name one of these.")
    return name


def _listed(answer: Any, server: Server) -> Iterator[tuple[str, ServedModel]]:
    """Yield the entries of a list of models; some servers send the bare list, some names only."""
    entries = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(entries, list):
        if (reason := reason_of(answer)) != NO_REASON:
            raise EngineError(NO_LIST.format(address=server.address, reason=without_key(reason, server.key)))
        raise NotTheProtocolError("it is no list of models")
    known = [(name, entry) for entry in entries[:MOST_MODELS] if (name := _name(entry))]
    if entries and not known:
        raise NotTheProtocolError("no entry has an id")
    for name, entry in known:
        yield name[:LONGEST_NAME], _described(entry) if isinstance(entry, dict) else ServedModel()


def _name(entry: Any) -> str:
    name = entry.get("id") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else ""


def _described(entry: dict[str, Any]) -> ServedModel:
    """Read a context as vLLM, llama-server, Mistral, OpenRouter and others state it, each by its own name."""
    meta = entry.get("meta")
    stated = [entry.get(name) for name in ("max_model_len", "max_context_length", "context_length", "context_window")]
    stated.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    context = next((count for count in stated if type(count) is int and count > 0), None)
    return ServedModel(context, str(entry.get("owned_by") or "")[:LONGEST_NAME].lower())
