"""The fit of a model: the memory it takes of what this machine can give, and what would fit in its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from menny.models.catalogue.recommend import USEFUL_CONTEXT, plan_or_none, strength
from menny.models.catalogue.specs import ModelSpec
from menny.text import size

if TYPE_CHECKING:
    from menny.engine import Plan

    # (model, context in tokens or None: the longest that fits, bits a weight or None: its own) → None: not known
    MakePlan = Callable[[ModelSpec, int | None, int | None], Plan | None]

BITS = (8, 4)


@dataclass(frozen=True)
class Fit:
    """A model's memory plan, and what would fit instead if it doesn't: ways of loading it, or other models."""

    plan: "Plan"
    instead: tuple[str, ...] = ()
    useful: "Plan | None" = None  # with a context that most chats fit into, where longer ones fit too

    @property
    def fits(self) -> bool:
        """True where the machine can give as much."""
        return self.plan.fits

    @property
    def share(self) -> float:
        """The share of the machine's memory; above 1 if the model doesn't fit."""
        plan = self.useful or self.plan
        return plan.total / max(1, plan.room)

    @property
    def in_short(self) -> str:
        """The same as the line below, for a card: the memory of a usual chat, and the longest context."""
        if self.useful is None:
            return str(self)
        usual = (
            f"Fits: {size(self.useful.total)} of {size(self.useful.room)} with a chat of {self.useful.context:,} tokens"
        )
        return f"{usual}; up to {self.plan.context:,}."

    def __str__(self) -> str:
        """Return one line: the memory it takes of what there is, and what would fit."""
        plan = self.plan
        context = f"with a context of {plan.context:,} tokens"
        if self.fits:
            kept = f", and up to {size(plan.kept)} more for recent chats" if plan.kept else ""
            return f"Fits {context}: {size(plan.total)} of {size(plan.room)}{kept}."
        taken = f"Needs {size(plan.total)} {context}, and this machine can give {size(plan.room)}"
        return f"{taken}. What would fit: {', or '.join(self.instead)}." if self.instead else f"{taken}."


def will_it_fit(
    spec: ModelSpec, planner: "MakePlan", others: Sequence[ModelSpec] = (), context: int | None = None
) -> Fit | None:
    """Return whether a model fits with this context, or with the longest that does; None where its size isn't known.

    Where it doesn't fit, a shorter context, fewer bits, and the best of the `others` that fits are named.
    """
    plan = planner(spec, context, None)
    if plan is None:
        return None
    if plan.fits:
        useful = planner(spec, USEFUL_CONTEXT, None) if context is None and plan.context > USEFUL_CONTEXT else None
        return Fit(plan, useful=useful)
    instead = []
    shorter = planner(spec, None, None)
    if shorter and shorter.fits:
        instead.append(f"a context of {shorter.context:,} tokens")
    instead += _with_fewer_bits(spec, planner, others)
    if not instead:
        instead += _strongest(others, planner)
    return Fit(plan, tuple(instead))


def _with_fewer_bits(spec: ModelSpec, planner: "MakePlan", others: Sequence[ModelSpec]) -> list[str]:
    """The same model in the catalogue with fewer bits a weight, else its conversion."""
    for bits in BITS:
        plan = planner(spec, None, bits)
        if plan and plan.fits and bits < (spec.bits or 16):
            kind = (spec.shape, spec.family, spec.version, bits)
            same = [o.name for o in others if spec.shape and (o.shape, o.family, o.version, o.bits) == kind]
            return same[:1] or [f"the same converted to {bits} bits"]
    return []


def _strongest(others: Sequence[ModelSpec], planner: "MakePlan") -> list[str]:
    """The strongest of the others that fits, rather one that may be recommended."""
    chatting = [other for other in others if not other.is_judge]
    fitting = [other for other in chatting if (plan := plan_or_none(planner, other)) and plan.fits]
    return [max(fitting, key=lambda other: (other.recommend, strength(other))).name] if fitting else []
