"""A conversion in the background, which can be watched, and cancelled without leaving anything behind."""

import logging
import threading
from pathlib import Path
from typing import Literal

from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.engine.memory import release_memory
from menny.errors import MennyError

log = logging.getLogger(__name__)


class _Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """The user cancelled the conversion."""


class Conversion:
    """A conversion of a model, which starts on a thread of its own when this is created."""

    def __init__(self, source: Path, target: Path, numbers: QuantizationConfig) -> None:
        self.source, self.target = source, target
        self.doing: Literal["converting", "done", "failed", "cancelled"] = "converting"
        self.share = 0.0  # of the numbers, done
        self.error = ""
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(numbers,), name="conversion", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """True once the conversion is done, failed or cancelled."""
        return self.doing != "converting"

    def cancel(self) -> None:
        """Cancel after the matrix that is being written; no file is left."""
        self._cancelled.set()

    def join(self) -> None:
        """Wait until the conversion is over."""
        self._thread.join()

    def _run(self, numbers: QuantizationConfig) -> None:
        try:
            convert(self.source, self.target, numbers, self._progress)
            self.doing = "done"
        except _Cancelled:
            self.doing = "cancelled"
        except MennyError as error:
            self.error, self.doing = str(error), "failed"
        except Exception as error:
            log.exception("A conversion failed")
            self.error, self.doing = f"The conversion failed ({type(error).__name__}): try it again.", "failed"
        finally:
            release_memory()

    def _progress(self, done: int, total: int) -> None:
        self.share = done / total
        if self._cancelled.is_set():
            raise _Cancelled
