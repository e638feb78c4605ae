"""mlx-lm's own server, on the model that comes along: a real OpenAI-compatible one for tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from menny.config.paths import PROJECT

SERVE = "import menny.engine; from mlx_lm.server import main; main()"  # ours first: it brings a fast BLAS


@contextmanager
def mlx_lm_serving(model: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Its address and process, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", SERVE, "--model", str(model), "--port", str(port), "--log-level", "ERROR"]
    cache = model.parent / "hub"
    cache.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=model.parent
    ) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1/models", process)
            yield f"http://127.0.0.1:{port}/v1", process
        finally:
            process.kill()


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(f"mlx-lm's server ended by itself with {process.returncode}")
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    pytest.fail("mlx-lm's server doesn't answer")
