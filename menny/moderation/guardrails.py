"""Guardrails: rules for every persona, read from one YAML file each; a layer that no persona can switch off."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from menny.config.yaml_models import Line, StrictModel, Text, load_folder, load_yaml
from menny.errors import ConfigError
from menny.files import file_name
from menny.text import close_matches

NONE = "none"


class GuardrailFile(StrictModel):
    """A guardrail's YAML file."""

    name: Line = Field(min_length=1, max_length=40, description="The name in the sidebar.")
    about: Line = Field(default="", max_length=200, description="One line on its effect on the replies.")
    text: Text = Field(
        default="",
        max_length=8000,
        description="The instructions; only the guardrail `none` may leave them out.",
    )
    source: Line = Field(default="", max_length=300, description="Where the text comes from.")
    order: int = Field(
        default=100, ge=1, le=1000, description="The place in the list: small numbers first, then by name."
    )


class Guardrail(GuardrailFile):
    """A guardrail that can be chosen; `id` is its file's name without the ending."""

    id: str


def load_guardrails(folder: Path | str) -> tuple[list[Guardrail], list[ConfigError]]:
    """Every guardrail of a folder, in the sidebar's order, and the errors of the rest."""
    loaded, errors = load_folder(folder, _load_guardrail)
    return sorted(loaded.values(), key=lambda guardrail: (guardrail.order, guardrail.name.casefold())), errors


def combine(app_id: str, persona_ids: Sequence[str], available: Sequence[Guardrail]) -> list[Guardrail]:
    """The guardrails in force: the app's first, then those the persona adds; it can take none away.

    `none` adds nothing. A name that isn't available raises ConfigError: a guardrail is never left out in silence.
    """
    by_id = {guardrail.id: guardrail for guardrail in available}
    chosen: dict[str, Guardrail] = {}
    for name in (app_id, *persona_ids):
        if name == NONE:
            continue
        if name not in by_id:
            raise ConfigError(_unknown(name, sorted(by_id)))
        chosen.setdefault(name, by_id[name])
    return list(chosen.values())


def _unknown(name: str, known: list[str]) -> str:
    if close := close_matches(name, known):
        return f"There is no guardrail '{name}'; did you mean '{close[0]}'?"
    return f"There is no guardrail '{name}'; choose one of: {', '.join(known) or 'none is available'}."


def _load_guardrail(path: Path) -> Guardrail:
    found = load_yaml(path, GuardrailFile)
    if not found.text and path.stem != NONE:
        raise ConfigError(f"{file_name(path)}: 'text' is missing; a guardrail without a text guards nothing.")
    return Guardrail(id=path.stem, **{name: getattr(found, name) for name in GuardrailFile.model_fields})
