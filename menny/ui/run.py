"""A reply under way, on a thread of its own: it goes on while the page is drawn anew, and ends when told to."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from menny.chat import RECENT, Brief, Chat, Params, Turn
from menny.errors import MennyError, PromptTooLongError
from menny.loading import Place
from menny.memory import Memory
from menny.ui.engines import LoanCancelled, SharedEngine

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


@dataclass(frozen=True, slots=True)
class Phase:
    """What a reply is doing: busy, loading, waiting, summing, prefill, writing."""

    name: str
    done: int = 0
    total: int = 0


class Run:
    """Borrows the engine and lets the chat answer one turn. Sessions look at it; only its own thread writes."""

    def __init__(self, conversation: Chat, turn: Turn, order: Order, engines: SharedEngine) -> None:
        self.turn = turn
        self.order = order
        self.phase = Phase("loading")
        self.refusal = ""
        self._chat = conversation
        self._engines = engines
        self._changed = threading.Event()
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
        self.turn.reply.cancel()

    def join(self) -> None:
        """Wait for the end."""
        self._over.wait()

    def wait(self, seconds: float) -> bool:
        """Sleep until something changed, or so long; tells whether something did."""
        changed = self._changed.wait(seconds)
        self._changed.clear()
        return changed

    def _answer(self) -> None:
        try:
            with self._engines.borrow(self.order.path, self._enter, self._cancelled.is_set) as engine:
                self._enter("prefill")
                order = self.order
                chunks = self._chat.answer(
                    self.turn, engine, order.params, order.brief, order.template, self._progress, order.memory
                )
                for _ in chunks:
                    self._enter("writing")
        except LoanCancelled:
            self.turn.reply.finish_reason = "cancelled"
        except PromptTooLongError as error:
            self.refusal = str(error)
        except MennyError as error:
            self.turn.reply.error = str(error)
        except Exception as error:
            logger.exception("A reply failed")
            self.turn.reply.error = f"Something went wrong inside Menny ({type(error).__name__}). Try again."
        finally:
            self._over.set()
            self._changed.set()

    def _enter(self, name: str) -> None:
        self.phase = Phase(name)
        self._changed.set()

    def _progress(self, progress: Any) -> None:
        if self.phase.name == "writing":  # a slow word: the engine says again what it did before the first
            return
        self.phase = Phase(progress.phase, progress.done, progress.total)
        self._changed.set()


def watch(run: Run, draw: Callable[[], None], interval: float = 0.04, heartbeat: float = 0.25) -> None:
    """Draw a run until it is over, at most every `interval` seconds; also when nothing changed, each `heartbeat`.

    The heartbeat is where Streamlit can stop a script that waits for a silent engine.
    """
    while not run.is_over:
        run.wait(heartbeat)
        draw()
        time.sleep(interval)
