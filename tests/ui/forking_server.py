"""Servers that start at once: what Menny is made of is imported once, and each server is a fork of that process.

Each line of its input is JSON: the server's entry, environment, log and port. It starts that server and prints its
process id. At the end of its input, it ends with all of its servers.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping

from streamlit.web import cli

import menny.ui.page  # noqa: F401 - what every fork has at hand


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a server that has ended leaves nothing to wait for
    for line in sys.stdin:
        server = os.fork()
        if server == 0:
            run(**json.loads(line))
        print(server, flush=True)
    os.killpg(0, signal.SIGKILL)


def run(entry: str, environment: Mapping[str, str], log: str, port: int) -> None:
    """Run Streamlit as a new process with this environment would; its output goes to the log."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, opened in ((0, nothing), (1, output), (2, output)):
        os.dup2(opened, number)
    cli.main(["run", entry, f"--server.port={port}", "--server.headless=true"])


if __name__ == "__main__":
    main()
