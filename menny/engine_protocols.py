"""The interface between an engine and the rest of Menny: its protocols, and the values that they exchange.

`menny.engine.Engine` computes on this machine, `menny.engine.remote.RemoteEngine` asks a server; chats, moderation and
the page know either as an `Engine`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from menny.engine import SamplingParams

FinishReason = Literal["stop", "length", "cancelled"]
OPENING = "[Start a new chat]"  # the user's message before an answer that opens a chat, where one is needed
Phase = Literal["busy", "preparing", "loading", "waiting", "summarizing", "classifying", "prefill", "writing"]


@dataclass(frozen=True)
class Chunk:
    """A piece of a reply, and the statistics so far. Speeds are tokens a second.

    `thought` is a piece of what a reasoning model thinks before its answer, where the engine tells the two apart: a
    server does; the engine on this machine gives tokens, and chats read their thoughts from these.
    """

    text: str
    token: int | None = None
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompt: those that weren't computed again
    completion_tokens: int = 0
    prompt_tps: float = 0.0  # of the computed tokens
    decode_tps: float = 0.0
    seconds_to_first_token: float = 0.0
    thought: str = ""


@dataclass(frozen=True)
class Score:
    """The likelihood of a continuation: the natural logarithm of its probability, over its number of tokens."""

    log_likelihood: float
    tokens: int

    @property
    def per_token(self) -> float:
        """The log likelihood per token, so that a longer continuation isn't less likely for its length alone."""
        return self.log_likelihood / self.tokens


@dataclass(frozen=True)
class Progress:
    """The state of a request without new text: `done` of `total` tokens, or `total` requests ahead of it."""

    phase: Phase
    done: int = 0
    total: int = 0


OnProgress = Callable[[Progress], None]


class Tokenizer(Protocol):
    """Text to ids and back: `encode` never yields a control token, `control_id` finds one by its name."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def control_id(self, piece: str) -> int | None: ...


class Stream(Protocol):
    """A reply in progress; after `cancel`, from any thread, the next chunk is the last one."""

    def __iter__(self) -> Iterator[Chunk]: ...
    def cancel(self) -> None: ...


class Engine(Protocol):
    """A model that answers prompts, and scores texts if `can_score` is true."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def context_length(self) -> int: ...
    @property
    def can_score(self) -> bool: ...
    def stream(
        self,
        prompt_ids: Sequence[int],
        params: "SamplingParams | None" = None,
        on_progress: OnProgress | None = None,
    ) -> Stream: ...
    def score(
        self,
        prompt_ids: Sequence[int],
        continuations: Sequence[Sequence[int]],
        shared: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Sequence[Score]: ...
    def close(self) -> None: ...
