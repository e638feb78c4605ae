"""A message or a reply on its way: what was asked for, and what becomes of it where it is refused."""

from collections.abc import Callable
from dataclasses import dataclass

from menny.attachments import Attachment
from menny.chat import Reply

Opening = Callable[[str, str], Reply]  # (persona id, model id) → a reply that has yet to be written


@dataclass(frozen=True, slots=True)
class Sending:
    """A reply to be begun by `open`.

    `text` and `attachments` are the user's; `edits` is the question that they replace. `persona` and `model` answer
    in place of those that are chosen, if they are given; `queued` is the id of the message in the chat's queue.
    """

    open: Opening
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    edits: str = ""
    persona: str = ""
    model: str = ""
    queued: str = ""
