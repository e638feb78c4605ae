"""What the model does while nobody waits, on a thread of its own: it titles a chat, and notes facts of quiet ones."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from menny.chat import Chat, ReplySettings
from menny.chat.noting import loses_unnoted, note_chat
from menny.chat.titles import write_title
from menny.engine_protocols import Engine
from menny.errors import MennyError
from menny.models.loader import ModelSource
from menny.storage import ChatStore
from menny.ui.chat.remembering import remembers
from menny.ui.chat.reply_job import ReplyJob
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine

QUIET_SECONDS = 60.0  # without a reply in any chat

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Noting:
    """A chat to be noted from, for a persona, with the model that answered last."""

    chat: Chat
    persona: str
    source: ModelSource
    settings: ReplySettings


class QuietJob:
    """A thread that waits for a reply to end, and then for some quiet; `drop` ends it, as a reply begins.

    Where messages have left the chat's prompt that nothing was noted from, it doesn't wait for the quiet.

    `titled` is what the chat's title is written by, if one is to be written. `unnoted` are the chats that nothing was
    noted from since they were answered, by id; what is done leaves it.
    """

    def __init__(
        self,
        after: ReplyJob,
        titled: tuple[ModelSource, ReplySettings] | None,
        unnoted: dict[str, Noting],
        store: ChatStore | None,
        engines: SharedEngine,
    ) -> None:
        self._after = after
        self._titled = titled
        self._unnoted = unnoted
        self._store = store
        self._engines = engines
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="menny-quiet", daemon=True)

    def start(self) -> "QuietJob":
        self._thread.start()
        return self

    def drop(self) -> None:
        """End it soon, for a reply that waits for the engine."""
        self._dropped.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait for its end, at most this long."""
        self._thread.join(seconds)

    def _work(self) -> None:
        self._after.join()
        self._write_title()
        if self._unnoted and not self._dropped.wait(0 if self._is_late() else QUIET_SECONDS):
            self._note_all()

    def _is_late(self) -> bool:
        chat = self._after.chat
        return chat.id in self._unnoted and loses_unnoted(chat, self._after.reply.usage)

    def _write_title(self) -> None:
        reply = self._after.reply
        if self._titled is None or reply.is_cancelled or reply.error or reply.refusal:
            return
        source, settings = self._titled
        self._ask(source, lambda engine: write_title(self._after.chat, engine, settings, self._dropped.is_set))

    def _note_all(self) -> None:
        for chat_id, noting in list(self._unnoted.items()):
            is_done = self._note(noting)
            if self._dropped.is_set():
                return
            if is_done:
                self._unnoted.pop(chat_id, None)

    def _note(self, noting: Noting) -> bool:
        """Note from a chat; return False where its model isn't at hand at the moment."""
        chat, store = noting.chat, self._store
        if store is None or chat.is_deleted or not remembers(noting.persona):
            return True

        def note(engine: Engine) -> None:
            note_chat(chat, noting.persona, store.facts, engine, noting.settings, self._dropped.is_set)

        return self._ask(noting.source, note)

    def _ask(self, source: ModelSource, ask: Callable[[Engine], object]) -> bool:
        """Ask the loaded model for something; return False where it is another, or in use.

        What fails is given up: it is asked again after the chat's next reply.
        """
        engines = self._engines
        if self._dropped.is_set() or engines.is_lent or not engines.holds(source):
            return False
        try:
            with suppress(LoanCancelled), engines.borrow(source, lambda _: None, self._dropped.is_set) as engine:
                ask(engine)
        except MennyError:
            logger.info("What the model was asked in the quiet failed", exc_info=True)
        except Exception:
            logger.exception("What the model was asked in the quiet failed")
        return True
