"""mlx-lm as a peer to be measured against: its own generation loop, on weights that this engine wrote for it."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx

from menny.errors import EngineError

PEERS = ("mlx-lm",)

Generate = Callable[[Sequence[int], int], Iterator[int]]  # prompt ids, how many new ones → the new ones


class Baseline:
    """mlx-lm, where it is installed. Raises EngineError where it isn't, or for another name."""

    def __init__(self, name: str) -> None:
        if name not in PEERS:
            raise EngineError(f"There is nothing to measure against by the name {name!r}: only {', '.join(PEERS)}.")
        try:
            from mlx_lm.generate import generate_step  # noqa: PLC0415 - optional
            from mlx_lm.utils import load_model  # noqa: PLC0415
        except ImportError as error:
            raise EngineError(f"{name} can't be imported ({error}): pip install {name}") from error
        self.name = name
        self.version = version(name)
        self._generate_step: Any = generate_step
        self._load_model: Any = load_model

    def load(self, folder: Path) -> Generate:
        """The model in a hub-style folder, as a function that yields greedy tokens, never stopping by itself.

        It computes with OpenBLAS, which this process has put under MLX.
        """
        model, _ = self._load_model(folder)

        def generate(prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
            for token, _ in self._generate_step(mx.array(list(prompt)), model, max_tokens=new_tokens):
                yield int(token)

        return generate
