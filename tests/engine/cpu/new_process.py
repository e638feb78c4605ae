"""A script in a process of its own, for what happens only once in a process: imports, libraries, compiling."""

import os
import subprocess
import sys

from menny.config.paths import PROJECT


def in_a_new_process(script: str, **environment: str) -> str:
    """What a script of Python prints, without the space about it; it must end well, and warn of nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
