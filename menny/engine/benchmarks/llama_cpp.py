"""llama.cpp to be measured against: its Python package, on the same .gguf file and as many threads."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from menny.engine.benchmarks.baseline import Generate
from menny.engine.cpu.pool import default_threads
from menny.errors import EngineError

CONTEXT = 8192  # tokens that it makes room for


class LlamaCpp:
    """llama.cpp by its package llama-cpp-python, where that is installed. Raises EngineError where it isn't."""

    name = "llama.cpp"

    def __init__(self) -> None:
        try:
            import llama_cpp  # noqa: PLC0415 - optional
        except ImportError as error:
            raise EngineError(f"{self.name} can't be imported ({error}): pip install llama-cpp-python") from error
        self.version = str(llama_cpp.__version__)
        self._llama: Any = llama_cpp.Llama

    def load(self, path: Path, folder: Path, threads: int | None) -> Generate:  # noqa: ARG002 - it writes nothing
        """The model of a .gguf file; raises EngineError for any other."""
        if path.suffix != ".gguf":
            raise EngineError(f"{path.name} can't be measured against {self.name}, which reads .gguf files only.")
        threads = threads or default_threads()
        model = self._llama(str(path), n_ctx=CONTEXT, n_threads=threads, n_threads_batch=threads, verbose=False)

        def generate(prompt: Sequence[int], new_tokens: int) -> Iterator[int]:
            model.reset()
            model.eval(list(prompt))
            for _ in range(new_tokens):
                token = int(model.sample(temp=0.0, repeat_penalty=1.0))
                yield token
                model.eval([token])

        return generate
