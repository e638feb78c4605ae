"""A server that is started and killed many times: what it is made of is imported once, and each start is a fork.

Run with the entry as its word. For each port that it reads, it starts a server there and prints its process id; once
that has ended, it prints "over".
"""

import os
import sys

from streamlit.web import cli

import tests.ui.page_with_fake_engine  # noqa: F401 - what every fork has at hand


def main(entry: str) -> None:
    for port in sys.stdin:
        server = os.fork()
        if server == 0:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the server says goes into the log
            cli.main(["run", entry, f"--server.port={port.strip()}", "--server.headless=true"])
        print(server, flush=True)
        os.waitpid(server, 0)
        print("over", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
