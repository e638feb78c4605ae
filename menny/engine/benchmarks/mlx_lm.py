"""mlx-lm as the baseline of a benchmark: its own generation loop, on weights that Menny's engine exported for it."""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx

from menny.engine.benchmarks.baseline import Generate
from menny.engine.checkpoints.export import export_folder
from menny.engine.checkpoints.load import load_model
from menny.errors import EngineError


class MlxLm:
    """mlx-lm, where it is installed. Raises EngineError where it isn't."""

    name = "mlx-lm"

    def __init__(self) -> None:
        try:
            from mlx_lm.generate import generate_step  # noqa: PLC0415 - optional
            from mlx_lm.utils import load_model  # noqa: PLC0415
        except ImportError as error:
            raise EngineError(f"{self.name} can't be imported ({error}): pip install {self.name}") from error
        self.version = version(self.name)
        self._generate_step: Any = generate_step
        self._load_model: Any = load_model

    def load(self, path: Path, folder: Path, threads: int | None) -> Generate:  # noqa: ARG002 - OpenBLAS has its own
        """Export the model and load it, as a function that yields greedy tokens and ignores the end of turn.

        It computes with the OpenBLAS that this process has put under MLX, on a CPU in float32, where it is fastest.
        """
        try:
            export_folder(load_model(path, pack=False), folder)
        except OSError as error:
            raise EngineError(f"The weights can't be exported for mlx-lm ({error}): free some disk space.") from error
        model, _ = self._load_model(folder)

        def generate(prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
            for token, _ in self._generate_step(mx.array(list(prompt)), model, max_tokens=new_tokens):
                yield int(token)

        return generate
