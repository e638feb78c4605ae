"""The model that a machine should have: the largest that fits and is fast enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from menny.errors import ModelError
from menny.models.catalogue.specs import ModelSpec
from menny.text import size

if TYPE_CHECKING:
    from menny.engine import Plan
    from menny.models.catalogue.fit import MakePlan

USEFUL_CONTEXT = 8192  # tokens: a persona, and an evening's chat
READING_SPEED = 5.0  # tokens a second: slower than that one waits for every word
ENOUGH_BITS = 8  # with more, answers are hardly better and take twice as long


@dataclass(frozen=True)
class Recommendation:
    """A model, the memory that it takes with a useful context, and whether a larger one would be too slow here."""

    model: ModelSpec
    plan: "Plan"
    larger_is_slow: bool = False

    def __str__(self) -> str:
        """Say why it is this one."""
        memory = f"{size(self.plan.total)} of {size(self.plan.room)} with a chat of {self.plan.context:,} tokens"
        if self.larger_is_slow:
            return f"The strongest model that answers at reading speed on this processor: {memory}."
        return f"The strongest model that fits this machine: {memory}."


def recommend(
    specs: Sequence[ModelSpec], planner: "MakePlan", speed_of: Callable[[ModelSpec], float | None]
) -> Recommendation | None:
    """Return the model to recommend; None where none of the catalogue's fits.

    `speed_of` estimates tokens a second, None where that is no matter. The most parameters win, then the most bits up
    to those that are enough. Where all are slow, the fastest wins.
    """
    candidates = [spec for spec in specs if spec.recommend and (spec.bits or 0) <= ENOUGH_BITS]
    for context in (USEFUL_CONTEXT, None):  # rather a shorter one than nothing
        planned = [(spec, plan_or_none(planner, spec, context), speed_of(spec)) for spec in candidates]
        if fitting := [(spec, plan, speed) for spec, plan, speed in planned if plan and plan.fits]:
            break
    fast = [one for one in fitting if one[2] is None or one[2] >= READING_SPEED]
    if not fitting:
        return None
    if not fast:
        spec, plan, _ = max(fitting, key=lambda one: one[2] or 0.0)
        return Recommendation(spec, plan)
    spec, plan, _ = max(fast, key=lambda one: strength(one[0]))
    largest = max(strength(one[0]) for one in fitting)
    return Recommendation(spec, plan, larger_is_slow=largest[0] > strength(spec)[0])


def plan_or_none(planner: "MakePlan", spec: ModelSpec, context: int | None = None) -> "Plan | None":
    """Return a model's plan; None also for files that can't be a model's, which others must not suffer from."""
    try:
        return planner(spec, context, None)
    except ModelError:
        return None


def strength(spec: ModelSpec) -> tuple[int, int]:
    """Order models by the number of their weights, then by the bits of one."""
    shape = spec.shape
    if shape is None:
        return 0, spec.bits or 0
    width = 2 * shape.head_dim * (shape.n_heads + shape.n_kv_heads) + 3 * shape.hidden_dim
    return shape.n_layers * shape.dim * width, spec.bits or 0
