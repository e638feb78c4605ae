"""Will it fit: what a model takes of the memory that this machine can give, and what would fit in its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from menny.models.catalogue.specs import ModelSpec
from menny.text import size

BITS = (8, 4)


class Plan(Protocol):
    """How a model lies in memory with a context of so many tokens (`menny.engine.Plan`)."""

    @property
    def context(self) -> int: ...
    @property
    def weights(self) -> int: ...
    @property
    def cache(self) -> int: ...
    @property
    def overhead(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def kept(self) -> int: ...
    @property
    def room(self) -> int: ...
    @property
    def fits(self) -> bool: ...


class Planner(Protocol):
    """Says how a model would lie in memory with this context, or with the longest that fits; None: it isn't known."""

    def __call__(self, spec: ModelSpec, context: int | None = None, bits: int | None = None) -> Plan | None: ...


@dataclass(frozen=True)
class Fit:
    """A model's plan, and what would fit instead where it doesn't: ways of loading it, then other models' names."""

    plan: Plan
    instead: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the machine can give as much."""
        return self.plan.fits

    @property
    def share(self) -> float:
        """Of what the machine can give; above 1 where it doesn't fit."""
        return self.plan.total / max(1, self.plan.room)

    def __str__(self) -> str:
        """One line: what it takes of what there is, and what would fit."""
        plan = self.plan
        context = f"with a context of {plan.context:,} tokens"
        if self.fits:
            kept = f", and up to {size(plan.kept)} more for recent chats" if plan.kept else ""
            return f"Fits {context}: {size(plan.total)} of {size(plan.room)}{kept}."
        taken = f"Needs {size(plan.total)} {context}, and this machine can give {size(plan.room)}"
        return f"{taken}. What would fit: {', or '.join(self.instead)}." if self.instead else f"{taken}."


def will_it_fit(
    spec: ModelSpec, planner: Planner, others: Sequence[ModelSpec] = (), context: int | None = None
) -> Fit | None:
    """Whether a model fits with this context, or with the longest that does; None where nobody knows its size.

    Where it doesn't fit, a shorter context, fewer bits, and the best of the `others` that fits are told.
    """
    plan = planner(spec, context)
    if plan is None or plan.fits:
        return None if plan is None else Fit(plan)
    instead = []
    shorter = planner(spec)
    if shorter and shorter.fits:
        instead.append(f"a context of {shorter.context:,} tokens")
    instead += _with_fewer_bits(spec, planner, others)
    if not instead:
        instead += _largest(others, lambda other: planner(other))
    return Fit(plan, tuple(instead))


def _with_fewer_bits(spec: ModelSpec, planner: Planner, others: Sequence[ModelSpec]) -> list[str]:
    """The same model in the catalogue with fewer bits a weight, else what converting it would bring."""
    for bits in BITS:
        plan = planner(spec, None, bits)
        if plan and plan.fits and bits < (spec.bits or 16):
            same = [one.name for one in others if spec.shape and one.shape == spec.shape and one.bits == bits]
            return same[:1] or [f"the same converted to {bits} bits"]
    return []


def _largest(others: Sequence[ModelSpec], planner: Callable[[ModelSpec], Plan | None]) -> list[str]:
    fitting = [(plan.weights, other.name) for other in others if (plan := planner(other)) and plan.fits]
    return [max(fitting)[1]] if fitting else []
