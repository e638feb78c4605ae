"""How a model's blocks are shared out among machines: each holds a stage, a run of consecutive ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """The blocks from `start` to before `stop`. The first stage embeds tokens, the last tells logits."""

    start: int
    stop: int
    n_layers: int  # of the whole model

    @classmethod
    def whole(cls, n_layers: int) -> Self:
        """The only stage of a model on one machine."""
        return cls(0, n_layers, n_layers)

    @property
    def blocks(self) -> range:
        """Its blocks, as the whole model counts them."""
        return range(self.start, self.stop)

    @property
    def is_first(self) -> bool:
        """Whether it begins with token ids."""
        return self.start == 0

    @property
    def is_last(self) -> bool:
        """Whether it ends with logits."""
        return self.stop == self.n_layers

    def has(self, module: str, tied: bool) -> bool:
        """Whether a module of the whole model, by its name, belongs to this stage; `tied` embeddings are the output."""
        if module.startswith("layers."):
            return int(module.split(".")[1]) in self.blocks
        if module == "tok_embeddings":
            return self.is_first or (self.is_last and tied)
        return self.is_last

    def part_of(self, modules: Mapping[str, Shape], tied: bool) -> dict[str, Shape]:
        """Those of the whole model's modules that belong to this stage."""
        return {name: shape for name, shape in modules.items() if self.has(name, tied)}

    def local(self, name: str) -> str:
        """The name within this stage, whose blocks count from 0, of a module or weight of the whole model."""
        if not name.startswith("layers."):
            return name
        _, number, inner = name.split(".", 2)
        return f"layers.{int(number) - self.start}.{inner}"


def share_out(n_layers: int, n_stages: int) -> list[Stage]:
    """Stages as alike as can be; what is left over goes to those in the middle, which hold no vocabulary's table."""
    each, left = divmod(n_layers, n_stages)
    order = [*range(1, n_stages - 1), 0, n_stages - 1]
    larger = set(order[:left])
    stages, start = [], 0
    for number in range(n_stages):
        stop = start + each + (number in larger)
        stages.append(Stage(start, stop, n_layers))
        start = stop
    return stages
