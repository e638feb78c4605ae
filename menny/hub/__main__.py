"""The process that gets a model: reads a job from its input, and writes how it goes, a line of JSON at a time.

It ends when its input does, so that it never outlives the program that wanted the model.
"""

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from menny.errors import MennyError
from menny.hub.fetch import Job, State, fetch
from menny.hub.words import explained

INTERVAL = 0.2  # seconds between two lines


def main() -> None:
    """Get the one model that the first line of input asks for."""
    asked = json.loads(sys.stdin.readline())
    job, state = Job(asked["repo"], asked["revision"], Path(asked["into"])), State()
    threading.Thread(target=_end_with_input, daemon=True).start()
    threading.Thread(target=_report, args=(state,), daemon=True).start()
    error = ""
    try:
        fetch(job, state)
    except MennyError as refused:
        error = str(refused)
    except Exception as failed:
        error = str(explained(failed, job.repo, job.revision))
    _write(state, error)
    os._exit(1 if error else 0)  # threads that wait for a silent server are not waited for


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _report(state: State) -> None:
    while True:
        _write(state)
        time.sleep(INTERVAL)


def _write(state: State, error: str = "") -> None:
    sys.stdout.write(json.dumps({**asdict(state), "error": error}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
