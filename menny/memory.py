"""What the model still remembers: as many recent turns as its context holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from menny.errors import PromptError, PromptTooLongError
from menny.messages import Message

CountTokens = Callable[[Sequence[Message]], int]


@dataclass(frozen=True, slots=True)
class Fitted:
    """The messages that the model gets, in order, and how many of the oldest it doesn't."""

    messages: list[Message]
    dropped: int


def fit(
    messages: Sequence[Message], count_tokens: CountTokens, budget: int, examples: Sequence[Message] = ()
) -> Fitted:
    """Keep as many recent turns as `budget` tokens hold; the system text and the last user message always stay.

    `count_tokens` tells the length of a whole prompt, template included; it is asked about log2(turns) times.
    `examples` stand between the system text and the conversation and stay as well, unless the last user message
    doesn't fit beside them. Raises PromptTooLongError where system text and last user message don't fit by themselves.
    """
    system = [message for message in messages if message.role == "system"]
    said = [message for message in messages if message.role != "system"]
    starts = [index for index in range(len(said)) if _opens_turn(said, index)]
    if not starts:
        raise PromptError("The conversation has no message of the user's: add one for the model to answer.")

    def fits(pinned: Sequence[Message], start: int) -> bool:
        return count_tokens([*pinned, *said[start:]]) <= budget

    for pinned in [[*system, *examples], system] if examples else [system]:
        if fits(pinned, starts[-1]):
            start = _earliest_that_fits(pinned, starts, fits)
            return Fitted([*pinned, *said[start:]], dropped=start)
    raise _too_long(count_tokens([*system, *said[starts[-1] :]]), budget)


def _opens_turn(said: Sequence[Message], index: int) -> bool:
    """A turn opens with a user's message; several in a row are one turn's, as no reply stands between them."""
    return said[index].role == "user" and (index == 0 or said[index - 1].role != "user")


def _earliest_that_fits(
    pinned: Sequence[Message], starts: Sequence[int], fits: Callable[[Sequence[Message], int], bool]
) -> int:
    """Halve the range of starts: a longer rest never takes fewer tokens, and the last start is known to fit."""
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(pinned, starts[middle]):
            high = middle
        else:
            low = middle + 1
    return starts[low]


def _too_long(tokens: int, budget: int) -> PromptTooLongError:
    sentence = (
        f"This message is {tokens - budget:,} tokens too long for the model: with the system text it takes {tokens:,}, "
        f"and there is room for {budget:,}. Shorten it and send it again."
    )
    return PromptTooLongError(sentence, tokens=tokens, limit=budget)
