"""The command that opens Menny in the browser: run."""

import subprocess
import sys
from typing import Annotated

import typer

from menny.config.paths import START


def run(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of this machine to serve the page at.")] = 8501,
) -> None:
    """Open Menny in the browser, as `streamlit run app.py` does. Ctrl-C ends it."""
    words = ["-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    ended = subprocess.run([sys.executable, *words], cwd=START, check=False)  # noqa: S603 - our own script
    raise typer.Exit(ended.returncode)
