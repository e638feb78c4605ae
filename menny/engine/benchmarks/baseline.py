"""What a model can be measured against on this machine: another program's own generation loop."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

Generate = Callable[[Sequence[int], int], Iterator[int]]  # prompt ids, how many new ones → the new ones


class Baseline(Protocol):
    """A program to measure against. Making one raises EngineError where the program isn't installed."""

    name: str
    version: str

    def load(self, path: Path, folder: Path, threads: int | None) -> Generate:
        """The model at this path, as a function that yields greedy tokens, never stopping by itself.

        What has to be written for it goes into the folder. Raises EngineError for a model that it can't load.
        """
