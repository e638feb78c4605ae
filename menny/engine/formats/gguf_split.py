"""GGUF files that llama.cpp's gguf-split has cut into several: the metadata is in the first, the tensors in all."""

from dataclasses import replace
from pathlib import Path

from menny.engine.formats.gguf import GGUFFile, read_gguf
from menny.errors import ModelError
from menny.model_files import gguf_parts

NUMBER, COUNT, TENSORS = "split.no", "split.count", "split.tensors.count"


def read_gguf_parts(path: Path) -> tuple[GGUFFile, list[GGUFFile]]:
    """Read the headers of a GGUF by any of its files: one header with all tensors, and each file's own.

    Raises ModelError for a part that is missing or belongs to another model.
    """
    parts = [read_gguf(part) for part in gguf_parts(path)]
    first, count = parts[0], len(parts)
    for number, part in enumerate(parts):
        if part.metadata.get(COUNT, 1) != count or part.metadata.get(NUMBER, 0) != number:
            raise _stray(part, number, count)
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    listed, found = first.metadata.get(TENSORS, len(tensors)), sum(len(part.tensors) for part in parts)
    if found != len(tensors) or listed != found:
        raise ModelError(
            f"{first.path} and the files that belong to it hold {found} tensors, not the {listed} that it lists: "
            "get all of them again.",
            file=first.path,
        )
    return replace(first, tensors=tensors), parts


def _stray(part: GGUFFile, number: int, count: int) -> ModelError:
    own_number, own_count = part.metadata.get(NUMBER, 0), part.metadata.get(COUNT, 1)
    if not isinstance(own_number, int) or not isinstance(own_count, int):
        return ModelError(f"{part.path}: {NUMBER} and {COUNT} should be numbers: get the file again.", file=part.path)
    if count == 1:
        sentence = f"is file {own_number + 1} of {own_count}: give it back a name such as NAME-00001-of-00003.gguf"
        return ModelError(f"{part.path} {sentence}, and put the others beside it.", file=part.path)
    return ModelError(
        f"{part.path} says that it is file {own_number + 1} of {own_count}, not {number + 1} of {count}: "
        "it belongs to another model, or has another's name.",
        file=part.path,
    )
