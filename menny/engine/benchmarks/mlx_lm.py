"""mlx-lm as the baseline of a benchmark: its own generation loop, on weights that Menny's engine exported for it."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx

from menny.engine.cpu.blas import openblas_alone
from menny.errors import EngineError

BASELINES = ("mlx-lm",)

Generate = Callable[[Sequence[int], int], Iterator[int]]  # (prompt ids, number of new tokens) → the new tokens


class Baseline:
    """mlx-lm, where it is installed. Raises EngineError where it isn't, and for another name."""

    def __init__(self, name: str) -> None:
        if name not in BASELINES:
            raise EngineError(f"The benchmark knows no baseline {name!r}: choose {', '.join(BASELINES)}.")
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
        """Load the model in a hub-style folder, as a function that yields greedy tokens and ignores the end of turn.

        It computes with the same OpenBLAS as the engine, but without the engine's own kernel for products of one row.
        """
        model, _ = self._load_model(folder)

        def generate(prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
            with openblas_alone():
                for token, _ in self._generate_step(mx.array(list(prompt)), model, max_tokens=new_tokens):
                    yield int(token)

        return generate
