"""The files of a question: their tokens, and the error where they don't fit the model's context."""

from collections.abc import Sequence
from dataclasses import replace

from menny.attachments import Attachment, framed
from menny.chat.prompt_builder import Context
from menny.errors import PromptTooLongError
from menny.messages import Message


def counted(
    text: str, attachments: Sequence[Attachment], system: Sequence[Message], context: Context
) -> list[Attachment]:
    """Return a question's files with their tokens.

    Raises PromptTooLongError, with the numbers, where they don't fit beside the system text and the question.
    """
    files = [replace(one, tokens=context.count_text(one.text)) for one in attachments]
    total = sum(one.tokens or 0 for one in files)
    empty = framed(text, [replace(one, text="") for one in files])
    free = context.budget - context.count([*system, Message("user", empty)])
    if total > free > 0:
        raise PromptTooLongError(_too_long(files, total, free), tokens=total, limit=free)
    return files


def _too_long(files: Sequence[Attachment], total: int, free: int) -> str:
    are_free = "token is free" if free == 1 else "are free"
    if len(files) == 1:
        return f"{files[0].name} has {total:,} tokens; {free:,} {are_free}. Attach a shorter part of it."
    each = ", ".join(f"{one.name} ({one.tokens:,})" for one in files)
    return f"The files have {total:,} tokens together; {free:,} {are_free}. Attach fewer, or shorter parts: {each}."
