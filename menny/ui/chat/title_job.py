"""A chat's title, written by the model on a thread of its own while nobody waits for it."""

import logging
import threading
from contextlib import suppress

from menny.chat import ReplySettings
from menny.chat.titles import write_title
from menny.errors import MennyError
from menny.models.loader import ModelSource
from menny.ui.chat.reply_job import ReplyJob
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine

logger = logging.getLogger(__name__)


class TitleJob:
    """A thread that waits for a reply to end, and then lets the loaded model title its chat; `drop` ends it."""

    def __init__(self, after: ReplyJob, source: ModelSource, settings: ReplySettings, engines: SharedEngine) -> None:
        self._after = after
        self._source = source
        self._settings = settings
        self._engines = engines
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._write, name="menny-title", daemon=True)

    def start(self) -> "TitleJob":
        self._thread.start()
        return self

    def drop(self) -> None:
        """End it soon, for a reply that waits for the engine."""
        self._dropped.set()

    def _write(self) -> None:
        self._after.join()
        reply, engines = self._after.reply, self._engines
        is_answered = not (reply.is_cancelled or reply.error or reply.refusal)
        if not is_answered or self._dropped.is_set() or engines.is_lent or not engines.holds(self._source):
            return
        try:
            with (
                suppress(LoanCancelled),
                engines.borrow(self._source, lambda _: None, self._dropped.is_set) as engine,
            ):
                write_title(self._after.chat, engine, self._settings, self._dropped.is_set)
        except MennyError:  # the chat keeps the title that it has
            logger.info("A title couldn't be written", exc_info=True)
        except Exception:
            logger.exception("A title failed")
