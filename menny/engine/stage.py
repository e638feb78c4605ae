"""Stages of a model that several machines share: each machine holds consecutive blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """The blocks from `start` to before `stop`. The first stage embeds tokens, the last computes logits."""

    start: int
    stop: int
    n_layers: int  # of the whole model

    @classmethod
    def whole(cls, n_layers: int) -> Self:
        """The stage of a model on a single machine."""
        return cls(0, n_layers, n_layers)

    @property
    def blocks(self) -> range:
        """The blocks by their numbers in the whole model."""
        return range(self.start, self.stop)

    @property
    def is_first(self) -> bool:
        """True if this stage begins with token ids."""
        return self.start == 0

    @property
    def is_last(self) -> bool:
        """True if this stage ends with logits."""
        return self.stop == self.n_layers

    def has(self, module: str, tied: bool) -> bool:
        """True if this module of the whole model belongs to this stage; `tied` embeddings are the output too."""
        if module.startswith("layers."):
            return int(module.split(".")[1]) in self.blocks
        if module == "tok_embeddings":
            return self.is_first or (self.is_last and tied)
        return self.is_last

    def part_of(self, modules: Mapping[str, Shape], tied: bool) -> dict[str, Shape]:
        """The modules of the whole model that belong to this stage."""
        return {name: shape for name, shape in modules.items() if self.has(name, tied)}

    def local(self, name: str) -> str:
        """The name of a module or weight of the whole model within this stage, whose blocks count from 0."""
        if not name.startswith("layers."):
            return name
        _, number, inner = name.split(".", 2)
        return f"layers.{int(number) - self.start}.{inner}"


def share_out(n_layers: int, n_stages: int) -> list[Stage]:
    """Divide the blocks as evenly as possible; the middle stages, which hold no embeddings, get the rest."""
    each, rest = divmod(n_layers, n_stages)
    order = [*range(1, n_stages - 1), 0, n_stages - 1]
    larger = set(order[:rest])
    stages, start = [], 0
    for number in range(n_stages):
        stop = start + each + (number in larger)
        stages.append(Stage(start, stop, n_layers))
        start = stop
    return stages
