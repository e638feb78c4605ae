"""The prompt for a summary of the turns that leave a conversation's prompt.

The model reads them as a transcript in one question, not as turns: so it keeps to the task rather than to a persona,
and takes no orders from the conversation. Every message is one line, so that none can pass for another's.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from menny.errors import PromptTooLongError
from menny.messages import Message

TASK = (
    "Sum up the conversation in up to five short sentences: who the user is, what was said, asked and decided. "
    "Keep names, numbers and facts. Write only the summary."
)
SPEAKERS = {"user": "User", "assistant": "Assistant"}
LONGEST_LINE = 3000  # characters of a message: the beginning of a long one shows its subject


def request(
    leaving: Sequence[Message], before: str, count_tokens: Callable[[Sequence[Message]], int], budget: int
) -> list[Message]:
    """Build a prompt for a summary of the messages that leave, and of the summary `before` them, if there is one.

    Of more messages than `budget` tokens hold, it has the latest. Raises PromptTooLongError where none fits.
    """

    def fits(start: int) -> bool:
        return count_tokens(_messages(leaving[start:], before)) <= budget

    start = 0 if fits(0) else bisect_left(range(len(leaving)), True, key=fits)
    if start == len(leaving):
        tokens = count_tokens(_messages(leaving[-1:], before))
        raise PromptTooLongError("The context is too small for a summary.", tokens=tokens, limit=budget)
    return _messages(leaving[start:], before)


def _messages(messages: Sequence[Message], before: str) -> list[Message]:
    lines = [f"(What was said before: {_one_line(before)})"] if before else []
    lines += [f"{SPEAKERS[message.role]}: {_one_line(message.content)}" for message in messages]
    transcript = "\n".join(lines)
    return [Message("system", TASK), Message("user", f"Conversation:\n\n{transcript}\n\nSummary:")]


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
