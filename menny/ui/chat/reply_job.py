"""A reply under way, on a thread of its own: it goes on while pages are drawn anew or closed, and ends when told to."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from menny.chat.conversation import RECENT, Brief, Chat, Params, Reply
from menny.chat.memory import Memory
from menny.errors import MennyError, PromptTooLongError, WithheldError
from menny.models.loader import Place
from menny.ui.shared.moderators import Moderation
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine

# Seconds. Drawn 25 times a second on a busy machine, as a CPU is that computes a reply, the browser gets to nothing
# else: after a reload in mid-reply the Stop button came only after several seconds.
DRAW_EVERY = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What a reply is made with."""

    model_name: str
    path: Place
    template: str | None
    brief: Brief
    params: Params
    memory: Memory = RECENT
    moderation: Moderation | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """What a reply is doing: busy, loading, waiting, summing, judging, prefill, writing."""

    name: str
    done: int = 0
    total: int = 0


class Run:
    """Borrows the engine and has a reply of a chat answered. Sessions look at it; only its own thread writes."""

    def __init__(self, chat: Chat, reply: Reply, order: Order, engines: SharedEngine) -> None:
        self.chat = chat
        self.reply = reply
        self.order = order
        self.phase = Phase("loading")
        self.refusal = ""
        self._engines = engines
        self._over = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._answer, name="menny-reply", daemon=True)

    def start(self) -> "Run":
        self._thread.start()
        return self

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def cancel(self) -> None:
        """End the reply soon; what was said stays."""
        self._cancelled.set()
        self.reply.cancel()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end, at most so long."""
        self._over.wait(seconds)

    def _answer(self) -> None:
        try:
            with self._engines.borrow(self.order.path, self._enter, self._cancelled.is_set) as engine:
                self._enter("prefill")
                order = self.order
                watch = order.moderation.watch(engine, order.template) if order.moderation else None
                chunks = self.chat.answer(
                    self.reply, engine, order.params, order.brief, order.template, self._progress, order.memory, watch
                )
                for _ in chunks:
                    self._enter("writing")
        except LoanCancelled:
            self.reply.finish_reason = "cancelled"
        except (PromptTooLongError, WithheldError) as error:
            self.refusal = str(error)
        except MennyError as error:
            self.reply.error = str(error)
        except Exception as error:
            logger.exception("A reply failed")
            self.reply.error = f"Something went wrong inside Menny ({type(error).__name__}). Try again."
        finally:
            self._end()

    def _end(self) -> None:
        try:
            self.chat.end(self.reply)
        except MennyError:
            logger.exception("The end of a reply isn't kept")
        finally:
            self._over.set()

    def _enter(self, name: str) -> None:
        self.phase = Phase(name)

    def _progress(self, progress: Any) -> None:
        if self.phase.name == "writing" and progress.phase != "judging":
            return  # a slow word: the engine says again what it did before the first
        self.phase = Phase(progress.phase, progress.done, progress.total)


def watch(run: Run, draw: Callable[[], None], interval: float = DRAW_EVERY) -> None:
    """Draw a run every `interval` seconds until it is over, whoever else watches it."""
    while not run.is_over:
        draw()
        run.join(interval)
