"""The process that downloads a model: it reads a job from its input, and writes its progress, a line of JSON at a time.

It ends when its input does, so that it never outlives the program that wanted the model, and when nothing comes any
more: huggingface_hub would try again for minutes, silently.
"""

import json
import os
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import httpx2
from huggingface_hub import get_session, set_client_factory

from menny.errors import MennyError
from menny.models.hub.errors import describe_error, refuse_long_waits, silence
from menny.models.hub.fetch import Job, State, fetch, remove_leftovers

INTERVAL = 0.2  # seconds between two lines
PATIENCE = 60.0  # seconds that nothing may come or be checked


def main() -> None:
    """Download the one model that the first line of input names."""
    request = json.loads(sys.stdin.readline())
    job, state = Job(request["repo"], request["revision"], Path(request["into"]), request.get("file")), State()
    threading.Thread(target=_end_with_input, daemon=True).start()
    threading.Thread(target=_report, args=(job, state), daemon=True).start()
    hooks = {**get_session().event_hooks, "response": [refuse_long_waits]}
    set_client_factory(lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None))
    error = ""
    try:
        fetch(job, state)
    except MennyError as known:
        error = str(known)
    except Exception as failed:
        error = str(describe_error(failed, job.repo, job.revision))
    _write(state, error)
    os._exit(1 if error else 0)  # threads that wait for a silent server are not waited for


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def _report(job: Job, state: State) -> None:
    seen, since = replace(state), time.monotonic()
    while time.monotonic() - since < PATIENCE:
        _write(state)
        time.sleep(INTERVAL)
        if state != seen:
            seen, since = replace(state), time.monotonic()
    remove_leftovers(job)
    _write(state, silence(job.repo, PATIENCE))
    os._exit(1)


def _write(state: State, error: str = "") -> None:
    progress = asdict(state)
    del progress["alive"]
    sys.stdout.write(json.dumps({**progress, "error": error}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
