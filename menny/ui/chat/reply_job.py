"""A reply being written on a thread of its own, which goes on while pages are redrawn or closed."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from menny.chat import Chat, Reply, ReplySettings
from menny.engine_protocols import Phase, Progress
from menny.errors import MennyError
from menny.models.loader import ModelSource
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine

# Seconds. At 25 updates a second, on a CPU that is busy computing the reply, the browser had no time for anything else:
# after a reload in mid-reply the Stop button appeared only after several seconds.
DRAW_EVERY = 0.1

logger = logging.getLogger(__name__)


class ReplyJob:
    """A thread that borrows the engine and writes one reply. Tabs only read it."""

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
        """End the reply soon; its text so far is kept."""
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
        except MennyError:  # the reply holds it
            logger.info("A reply ended with an error", exc_info=True)
        except Exception:
            logger.exception("A reply failed")
        finally:
            self._over.set()

    def _enter(self, phase: Phase) -> None:
        self.progress = Progress(phase)

    def _report(self, progress: Progress) -> None:
        if self.progress.phase == "writing" and progress.phase != "classifying":
            return  # between slow tokens, the engine repeats its last report
        self.progress = progress


def watch(job: ReplyJob, draw: Callable[[], None], interval: float = DRAW_EVERY) -> None:
    """Call `draw` every `interval` seconds until the job is over."""
    while not job.is_over:
        draw()
        job.join(interval)
