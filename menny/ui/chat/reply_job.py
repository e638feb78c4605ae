"""A reply under way, on a thread of its own: it goes on while pages are drawn anew or closed, and ends when told to."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from menny.chat import Chat, Reply, ReplySettings
from menny.engine_protocols import Phase, Progress
from menny.errors import MennyError
from menny.models.loader import ModelSource
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine

# Seconds. Drawn 25 times a second on a busy machine, as a CPU is that computes a reply, the browser gets to nothing
# else: after a reload in mid-reply the Stop button came only after several seconds.
DRAW_EVERY = 0.1

logger = logging.getLogger(__name__)


class ReplyJob:
    """Borrows the engine and has a reply of a chat answered. Sessions look at it; only its own thread writes."""

    def __init__(
        self,
        chat: Chat,
        reply: Reply,
        model_name: str,
        source: ModelSource,
        settings: ReplySettings,
        engines: SharedEngine,
    ) -> None:
        self.chat = chat
        self.reply = reply
        self.model_name = model_name
        self.progress = Progress("loading")
        self._source = source
        self._settings = settings
        self._engines = engines
        self._over = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._answer, name="menny-reply", daemon=True)

    def start(self) -> "ReplyJob":
        self._thread.start()
        return self

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def cancel(self) -> None:
        """End the reply soon; what was written stays."""
        self._cancelled.set()
        self.reply.cancel()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end, at most this long."""
        self._over.wait(seconds)

    def _answer(self) -> None:
        try:
            with (
                self.chat.concluding(self.reply),
                suppress(LoanCancelled),  # then the reply is cancelled too
                self._engines.borrow(self._source, self._enter, self._cancelled.is_set) as engine,
            ):
                if self._cancelled.is_set():  # while the model was loading
                    return
                self._enter("prefill")
                for _ in self.chat.stream(self.reply, engine, self._settings, self._report):
                    self._enter("writing")
        except MennyError:  # which stands in the reply
            logger.info("A reply ended with an error", exc_info=True)
        except Exception:
            logger.exception("A reply failed")
        finally:
            self._over.set()

    def _enter(self, phase: Phase) -> None:
        self.progress = Progress(phase)

    def _report(self, progress: Progress) -> None:
        if self.progress.phase == "writing" and progress.phase != "classifying":
            return  # a slow word: the engine repeats what it did before the first
        self.progress = progress


def watch(job: ReplyJob, draw: Callable[[], None], interval: float = DRAW_EVERY) -> None:
    """Draw a job every `interval` seconds until it is over, whoever else watches it."""
    while not job.is_over:
        draw()
        job.join(interval)
