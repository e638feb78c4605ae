"""A pass of the model, as a request asks for it.

A request is a coroutine: where it awaits a Pass it stops, until the scheduler has computed that pass, perhaps together
with those of other requests. So a reply reads as if it had the model to itself.

Legend of shapes: B batch, L tokens, V vocabulary.
"""

from collections.abc import Generator
from dataclasses import dataclass
from types import coroutine
from typing import TYPE_CHECKING

import mlx.core as mx

from menny.engine.cache import Cache

if TYPE_CHECKING:
    from menny.engine.model import Mistral

PREFILL_CHUNK = 256  # tokens a pass: enough to keep matrix products busy, few enough to be cancelled soon
FEW = 16  # tokens: passes of so few are computed together, longer ones by themselves


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """The request was cancelled: raised where it awaits a pass."""


@coroutine
def next_step() -> Generator[None, None, None]:
    """Await this to go on with the scheduler's next step."""
    yield


@dataclass(frozen=True, eq=False)
class Pass:
    """A pass over the tokens [B, L] that follow those in a cache.

    `await` it for the logits [B, L, V], or for None where they aren't wanted. Raises Cancelled.
    """

    tokens: mx.array
    cache: Cache
    wants_logits: bool = True

    def __await__(self) -> Generator["Pass", mx.array | None, mx.array | None]:
        return (yield self)

    @property
    def length(self) -> int:
        """The number of tokens of each sequence."""
        return self.tokens.shape[1]

    @property
    def is_light(self) -> bool:
        """True for a few tokens of one sequence, which may share a pass with those of others."""
        return self.tokens.shape[0] == 1 and self.length <= FEW

    def compute(self, model: "Mistral") -> mx.array | None:
        """Compute this pass by itself."""
        if self.wants_logits:
            return model(self.tokens, self.cache)[0]
        model.prefill(self.tokens, self.cache)
        return None
