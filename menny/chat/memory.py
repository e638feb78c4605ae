"""The memory of a conversation: a strategy selects the turns that the model sees, within a budget of tokens.

The system text and the last question are always seen. Where room is short, these leave in this order: the oldest
turns, the summary, the examples; after them the message is too long (PromptTooLongError).

The turns begin where those of the last prompt began, as often as possible: then the engine goes on from its cache. So
many turns leave at once, down to three quarters of the room, and the place of the cut follows from the messages alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from menny.engine_protocols import OPENING
from menny.errors import PromptError, PromptTooLongError
from menny.messages import Message

CountTokens = Callable[[Sequence[Message]], int]
Strategy = Literal["recent", "turns", "everything", "summary", "summary-and-turns", "retrieval"]

FILLED_AFTER_CUT = 3 / 4  # of the turns' room; the rest is for the turns to come
SUMMARY_SHARE = 6  # a summary may take a sixth of the budget
MOST_SUMMARY_TOKENS, LEAST_SUMMARY_TOKENS = 320, 48
RECALL = "What do you remember of our conversation so far?"


@dataclass(frozen=True, slots=True)
class Summary:
    """The model's summary of a conversation's first `covers` messages, system messages not counted."""

    text: str
    covers: int

    def recalled(self) -> tuple[Message, Message]:
        """The summary in a prompt: an answer of the model, so that it is neither an order nor the user's message."""
        return Message("user", RECALL), Message("assistant", self.text)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The tokens of a prompt by kind; examples and the template's own tokens count as system text."""

    system: int
    summary: int
    turns: int

    @property
    def total(self) -> int:
        return self.system + self.summary + self.turns


@dataclass(frozen=True, slots=True)
class SelectedMessages:
    """The messages for the model, in order.

    They lack the conversation's first `unseen` messages, of which a summary covers the first `summed`.
    """

    messages: list[Message]
    shares: TokenCounts
    unseen: int
    summed: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """A strategy; `turns` is the number of turns before the question, for strategies that name it.

    recent             as many of the last turns as fit
    turns              the last `turns` turns, or as many of them as fit
    everything         all turns; an error where they don't fit
    summary            as many as fit, and a summary of those before
    summary-and-turns  the last `turns` turns and up to as many before them, and a summary of those before
    retrieval          as many as fit, and before the question earlier messages that bear on it (recalled.py), with
                       `all_chats` also those of the persona's other chats
    """

    strategy: Strategy = "recent"
    turns: int = 6
    all_chats: bool = False

    @property
    def recalls(self) -> bool:
        """True if earlier messages are looked up for a question."""
        return self.strategy == "retrieval"

    @property
    def sums_up(self) -> bool:
        """True if turns that are no longer seen are summarized."""
        return self.strategy in ("summary", "summary-and-turns")

    @property
    def names_turns(self) -> bool:
        """True if the strategy uses the number of turns."""
        return self.strategy in ("turns", "summary-and-turns")

    def choose(
        self,
        messages: Sequence[Message],
        count_tokens: CountTokens,
        budget: int,
        examples: Sequence[Message] = (),
        summary: Summary | None = None,
    ) -> SelectedMessages:
        """Select the messages that the model sees, a prompt of at most `budget` tokens by `count_tokens`.

        It is called about twice log2(turns that fit) times. `examples` stand between the system text and the
        conversation, then the `summary`, where the strategy uses one. Raises PromptTooLongError where the system text
        and the last question don't fit by themselves, or where everything should fit and doesn't.
        """
        system = [message for message in messages if message.role == "system"]
        turns = _Turns.of([message for message in messages if message.role != "system"], count_tokens)
        if summary is not None and not (self.sums_up and 0 < summary.covers <= turns.starts[-1]):
            summary = None
        for pinned in [[*system, *examples], system] if examples else [system]:
            window = _Window(turns, pinned, self._first_turn(turns.last))
            first = self._first_seen(window, budget)
            if first is not None:
                return _select(window, first, budget, summary if first else None)
        raise self._too_long(_Window(turns, system, 0), budget)

    def _first_turn(self, last: int) -> int:
        """The first turn that the strategy would show, if there is room."""
        if self.strategy == "turns":
            return max(0, last - self.turns)
        if self.strategy == "summary-and-turns":
            step = max(1, self.turns)  # a step at once, so that not every reply waits for a new summary
            return max(0, last - self.turns) // step * step
        return 0

    def _first_seen(self, window: "_Window", budget: int) -> int | None:
        """The first turn that is seen; None where not even the last one fits beside the pinned messages."""
        if not window.fits(window.turns.last, budget):
            return None
        if self.strategy == "everything":
            return 0 if window.fits(0, budget) else None
        if not self.sums_up:
            return window.cut(budget)
        return 0 if window.earliest(budget) == 0 else window.cut(budget - summary_room(budget))

    def _too_long(self, window: "_Window", budget: int) -> PromptTooLongError:
        tokens = window.size(window.turns.last)
        if tokens > budget:
            sentence = (
                f"This message is {tokens - budget:,} tokens too long for the model: with the system text it takes "
                f"{tokens:,}, and there is room for {budget:,}. Shorten it and send it again."
            )
        else:
            tokens = window.size(0)
            sentence = (
                f"The whole conversation no longer fits: it takes {tokens:,} tokens, and there is room for {budget:,}. "
                "Choose a memory that drops the oldest turns, or begin a new chat."
            )
        return PromptTooLongError(sentence, tokens=tokens, limit=budget)


def summary_room(budget: int) -> int:
    """The tokens that are kept free for a summary and its frame; 0 where they would be too few."""
    room = min(MOST_SUMMARY_TOKENS, budget // SUMMARY_SHARE)
    return room if room >= LEAST_SUMMARY_TOKENS else 0


@dataclass(frozen=True)
class _Turns:
    """A conversation's messages, and the index of the first message of each turn."""

    messages: Sequence[Message]
    starts: Sequence[int]
    count_tokens: CountTokens

    @classmethod
    def of(cls, messages: Sequence[Message], count_tokens: CountTokens) -> "_Turns":
        """Divide messages into turns: each begins with the first of a row of user's messages."""
        if all(message.role != "user" for message in messages):
            raise PromptError("The conversation has no user message: add one for the model to answer.")
        questions = [index for index, message in enumerate(messages) if message.role == "user"]
        opens = [index for index in questions if index == 0 or messages[index - 1].role != "user"]
        # An assistant's message before them belongs to the first turn.
        return cls(messages, [0, *opens[1:]], count_tokens)

    @property
    def last(self) -> int:
        return len(self.starts) - 1


class _Window:
    """The turns from `first` on, beside pinned messages; each size is counted once."""

    def __init__(self, turns: _Turns, pinned: Sequence[Message], first: int) -> None:
        self.turns, self.pinned, self.first = turns, pinned, first
        self.size = cache(lambda turn: self.count(self.seen_from(turn)))

    def count(self, seen: Sequence[Message]) -> int:
        return self.turns.count_tokens(_after(self.pinned, seen))

    def seen_from(self, turn: int) -> Sequence[Message]:
        return self.turns.messages[self.turns.starts[turn] :]

    def fits(self, turn: int, budget: int) -> bool:
        return self.size(turn) <= budget

    def cut(self, budget: int) -> int:
        """The turn to begin with: the first one if all fit, else one that leaves some room.

        Of the possible turns it is the one whose number has the most factors of two: while the conversation grows, it
        stays the same as long as the possible turns are nearly the same.
        """
        earliest = self.earliest(budget)
        if earliest == self.first:
            return earliest
        empty = self.count([Message("user", "")])
        latest = self.earliest(empty + int((budget - empty) * FILLED_AFTER_CUT))
        chosen = _roundest(earliest, latest)
        return chosen if self.fits(chosen, budget) else earliest

    def earliest(self, budget: int) -> int:
        """The earliest turn from which all fit; the last turn, if none fits.

        It is found from the end, by doubling steps and then bisecting: turns far out of reach aren't counted.
        """
        low, high, step = self.first, self.turns.last, 1
        while high > low:
            probe = max(low, self.turns.last - step)
            if not self.fits(probe, budget):
                low = probe + 1
                break
            high, step = probe, step * 2
        while low < high:
            middle = (low + high) // 2
            if self.fits(middle, budget):
                high = middle
            else:
                low = middle + 1
        return high


def _after(pinned: Sequence[Message], seen: Sequence[Message]) -> list[Message]:
    """The conversation after what is pinned: a first message of the assistant's doesn't go on with an example."""
    follows_answer = bool(seen) and seen[0].role == "assistant" and any(one.role != "system" for one in pinned)
    return [*pinned, *([Message("user", OPENING)] if follows_answer else []), *seen]


def _roundest(low: int, high: int) -> int:
    """The number from `low` to `high` with the most factors of two: clear the lowest bits as long as possible."""
    while high and high & (high - 1) >= low:
        high &= high - 1
    return high


def _select(window: _Window, first: int, budget: int, summary: Summary | None) -> SelectedMessages:
    """The messages from that turn on, with the summary where the last question fits beside it."""
    recalled: Sequence[Message] = summary.recalled() if summary else ()
    if recalled:
        beside = _Window(window.turns, [*window.pinned, *recalled], first)
        if beside.fits(window.turns.last, budget):
            first = beside.earliest(budget)
        else:
            recalled = ()
    seen = window.seen_from(first)
    empty = Message("user", "")
    system = window.count([empty])
    in_summary = window.count([*recalled, empty]) - system if recalled else 0
    shares = TokenCounts(system, in_summary, window.count([*recalled, *seen]) - system - in_summary)
    return SelectedMessages(
        _after([*window.pinned, *recalled], seen),
        shares,
        unseen=window.turns.starts[first],
        summed=summary.covers if summary else 0,
    )
