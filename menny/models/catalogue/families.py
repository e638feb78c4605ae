"""Families of models that differ in size, version or bits, sorted into sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from menny.models.catalogue.fit import Fit
from menny.models.catalogue.recommend import ENOUGH_BITS, strength
from menny.models.catalogue.specs import ModelSpec

CHOICES = ("size", "version", "bits")  # what a family's models may differ in, by the names of a spec's fields


@dataclass(frozen=True)
class Family:
    """Models of one family in the catalogue's order; a model without one is a family by itself."""

    name: str
    models: tuple[ModelSpec, ...]

    def options(self, choice: str, like: ModelSpec) -> list[str | int]:
        """The values of a choice among the models that agree with one in the choices before this."""
        before = CHOICES[: CHOICES.index(choice)]
        agreeing = [one for one in self.models if all(getattr(one, name) == getattr(like, name) for name in before)]
        values = dict.fromkeys(getattr(one, choice) for one in agreeing)
        return sorted((value for value in values if value is not None), key=_by_number)

    def nearest(self, like: ModelSpec, choice: str, value: str | int) -> ModelSpec:
        """The model with this value that agrees with another in as many of the other choices as possible."""
        others = [name for name in CHOICES if name != choice]
        having = [one for one in self.models if getattr(one, choice) == value] or [like]
        return max(having, key=lambda one: [getattr(one, name) == getattr(like, name) for name in others])

    def first_choice(self, fits: Mapping[str, Fit], recommended: ModelSpec | None) -> ModelSpec:
        """The model to show first: the recommended one, one that is here, the strongest that fits, or the smallest."""
        if recommended in self.models:
            return recommended
        if here := [one for one in self.models if one.target() is not None]:
            return here[0]
        fitting = [one for one in self.models if one.id in fits and fits[one.id].fits]
        usual = [one for one in fitting if (one.bits or 0) <= ENOUGH_BITS and one.version == self.models[0].version]
        return max(usual or fitting or self.models[:1], key=strength)


@dataclass(frozen=True)
class Sections:
    """The families in the order that they are shown in; each is in one section."""

    recommended: Family | None
    yours: Sequence[Family]  # here, or the user's own
    fitting: Sequence[Family]
    too_large: Sequence[Family]


def sections(specs: Sequence[ModelSpec], fits: Mapping[str, Fit], recommended: ModelSpec | None) -> Sections:
    """Sort the families of these models by what is here and what fits; what isn't known to be too large may fit."""
    first: Family | None = None
    yours, fitting, too_large = list[Family](), list[Family](), list[Family]()
    for family in families(specs):
        if recommended in family.models:
            first = family
        elif any(one.target() is not None or one.is_own for one in family.models):
            yours.append(family)
        elif all(one.id in fits and not fits[one.id].fits for one in family.models):
            too_large.append(family)
        else:
            fitting.append(family)
    return Sections(first, yours, fitting, too_large)


def families(specs: Sequence[ModelSpec]) -> list[Family]:
    """The families, each at the place of its first model."""
    grouped: dict[str, list[ModelSpec]] = {}
    for spec in specs:
        grouped.setdefault(f"family {spec.family}" if spec.family else f"model {spec.id}", []).append(spec)
    return [Family(models[0].family or models[0].name, tuple(models)) for models in grouped.values()]


def _by_number(value: str | int) -> tuple[float, str]:
    """8 before 16, and 8B before 14B; texts without a number come in their own order."""
    digits = "".join(c for c in str(value) if c.isdigit() or c == ".").strip(".")
    return (float(digits) if digits.count(".") < 2 and digits else 0.0, str(value))
