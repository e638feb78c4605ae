"""A search of the hub, with sizes before any weights are fetched.

A process of its own asks (`search_process`), so that it can be ended at once, whatever the server does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from menny.config.paths import PROJECT
from menny.errors import ModelError

PATIENCE = 45.0  # seconds for a whole search


@dataclass(frozen=True)
class Choice:
    """A model to download of a repository: one of its .gguf models by its first file, or (None) the only one."""

    label: str  # the quantization, such as Q4_K_M or "4-bit"
    size: int  # bytes of all files
    file: str | None = None
    bits: int | None = None  # of a weight, by the config


@dataclass(frozen=True)
class Hit:
    """A repository that a search found, with what can be downloaded of it."""

    repo: str
    downloads: int  # in the last month
    choices: tuple[Choice, ...]
    config: Mapping[str, Any] = field(default_factory=dict)  # its config.json; empty for GGUF
    n_parameters: int = 0  # by the hub's reading of a GGUF; 0: not known


@dataclass(frozen=True)
class HubSearchResult:
    """The repositories that were found, and the number of those that Menny can't load or the hub doesn't show."""

    hits: tuple[Hit, ...]
    left_out: int


def search(words: str) -> HubSearchResult:
    """Search the hub. Raises ModelError with a sentence where it can't be reached or doesn't answer."""
    environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "menny.models.hub.search_process"],
            cwd=PROJECT,
            env=environment,
            input=json.dumps({"words": words}),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"The hub hasn't answered for {PATIENCE:.0f} seconds: try again later.") from None
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        raise ModelError(f"The search was ended from outside (code {ended.returncode}): try again.") from None
    if answer["error"]:
        raise ModelError(answer["error"])
    hits = (Hit(**{**one, "choices": tuple(Choice(**choice) for choice in one["choices"])}) for one in answer["hits"])
    return HubSearchResult(tuple(hits), answer["left_out"])
