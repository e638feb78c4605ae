"""Commands of `menny`, in a process of their own as their users meet them, or in this one, which starts at once."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from menny.cli import app
from menny.config.paths import PROJECT

Ended = subprocess.CompletedProcess[str]


def in_a_process(*words: str, typed: str = "", **environment: str) -> Ended:
    command, env = [sys.executable, "-m", "menny", *words], os.environ | environment
    return subprocess.run(
        command, cwd=PROJECT, env=env, input=typed, capture_output=True, text=True, check=False, timeout=300
    )


def here(*words: str) -> Ended:
    """What the same command prints, and its exit code; the log goes where pytest has it."""
    out, err, entry = io.StringIO(), io.StringIO(), str(PROJECT / "menny" / "__main__.py")
    with mock.patch.object(sys, "argv", [entry, *words]), redirect_stdout(out), redirect_stderr(err):
        code = app._run()
    return Ended(words, code, out.getvalue(), err.getvalue())
