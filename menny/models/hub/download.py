"""Downloads as their owner sees them: begun, watched, cancelled. A process of its own does the work, so that it can be
ended at once, whatever the server does, and a chat doesn't notice it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from menny.config.paths import PROJECT
from menny.errors import ModelError
from menny.models.hub.fetch import Job, remove_leftovers

SPEED_SECONDS = 10.0  # seconds over which a speed is measured


@dataclass(frozen=True)
class DownloadProgress:
    """A download's progress."""

    doing: Literal["listing", "getting", "done", "failed", "cancelled"] = "listing"
    files: int = 0
    files_done: int = 0
    size: int = 0  # bytes of all files
    done: int = 0  # of them here
    speed: float = 0.0  # bytes a second
    error: str = ""

    @property
    def is_over(self) -> bool:
        """True once nothing more will happen."""
        return self.doing in ("done", "failed", "cancelled")

    @property
    def seconds_left(self) -> float | None:
        """An estimate by the speed of the last seconds; None before there is one."""
        return (self.size - self.done) / self.speed if self.speed > 0 else None


class Download:
    """Downloads one model in the background, from its making on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._progress = DownloadProgress()
        self._samples: deque[tuple[float, int]] = deque()
        self._changed = threading.Condition()
        self._is_cancelled = False
        environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "menny.models.hub"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        request = {"repo": job.repo, "revision": job.revision, "into": os.path.abspath(job.into), "file": job.file}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, name=f"download {job.repo}", daemon=True)
        self._reader.start()

    @property
    def progress(self) -> DownloadProgress:
        """The progress at this moment."""
        return self._progress

    @property
    def _is_ending(self) -> bool:
        return self._is_cancelled or self._progress.is_over

    def wait(self, seconds: float | None = None) -> DownloadProgress:
        """Sleep until something changes, at most for the given time."""
        with self._changed:
            if not self._progress.is_over:
                self._changed.wait(seconds)
        return self._progress

    def cancel(self) -> None:
        """End it at once. Finished files stay, and the next download goes on from them; unfinished ones are deleted."""
        with self._changed:
            if self._is_ending:
                return
            self._is_cancelled = True
        self._process.kill()
        self._reader.join()
        try:
            remove_leftovers(self.job)
        finally:
            with self._changed:  # told when nothing of it is left, so that another may begin
                self._progress = replace(self._progress, doing="cancelled")
                self._changed.notify_all()

    def result(self) -> None:
        """Wait for the end; raises ModelError where it isn't a whole model."""
        while not self._progress.is_over:
            self.wait()
        self._reader.join()
        if self._progress.doing == "failed":
            raise ModelError(self._progress.error)

    def _read(self) -> None:
        """The process's lines, until its end."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process:  # closes the pipes, and waits for its end
            for line in self._process.stdout:
                self._take(json.loads(line))
        code = self._process.returncode
        with self._changed:
            if not self._is_ending:
                ended = f"The download of {self.job.repo} was ended from outside (code {code})"
                error = f"{ended}: start it again, and it goes on."
                self._progress = replace(self._progress, doing="failed", error=error)
            self._changed.notify_all()

    def _take(self, values: dict[str, object]) -> None:
        now = time.monotonic()
        with self._changed:
            if self._is_ending:
                return
            error = str(values.pop("error"))
            progress = replace(self._progress, **values, error=error)  # type: ignore[arg-type]
            self._samples.append((now, progress.done))
            while now - self._samples[0][0] > SPEED_SECONDS:
                self._samples.popleft()
            (then, before), passed = self._samples[0], now - self._samples[0][0]
            speed = max(0.0, (progress.done - before) / passed) if passed > 0.5 and then else 0.0
            self._progress = replace(progress, speed=speed, doing="failed" if error else progress.doing)
            self._changed.notify_all()
