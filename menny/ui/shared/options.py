"""What there is to choose from: personas, guardrails, models and moderation, and what is wrong with their files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from menny.config.paths import CONFIGS, models_folder, own_models_file
from menny.errors import ConfigError
from menny.models.catalogue import ModelSpec, load_catalogue
from menny.moderation.classifier import ModerationFile, load_moderation
from menny.moderation.guardrails import Guardrail, load_guardrails
from menny.personas.persona import Persona, load_all, own_folder

PLAIN = Persona(
    id="plain", name="Menny", tagline="Without a persona file", system_prompt="You are Menny, a helpful assistant."
)


@dataclass(frozen=True, slots=True)
class Library:
    """Everything that the files offer; at least one persona, so that there is always somebody to talk to."""

    personas: Sequence[Persona]
    guardrails: Sequence[Guardrail]
    models: Sequence[ModelSpec]
    problems: Sequence[ConfigError]
    moderation: ModerationFile | None = None  # None: there is none, or its file can't be used
    fault: str = ""  # why nothing may be sent as the files are

    def persona(self, persona_id: str) -> Persona:
        """The persona of that id; of one whose file has gone, the first there is."""
        return next((persona for persona in self.personas if persona.id == persona_id), self.personas[0])


def presets_folder() -> Path:
    """Where the personas that came along lie."""
    return CONFIGS / "personas"


def read_library() -> Library:
    """Read the files, again only when one of them changed; models come and go, so they are looked for each time."""
    personas, guardrails, problems = _read_texts(CONFIGS, own_folder(), _fingerprint(CONFIGS, own_folder()))
    moderation, faults = _read_moderation(CONFIGS / "moderation.yaml", _fingerprint_of([CONFIGS / "moderation.yaml"]))
    models, model_problems = load_catalogue(CONFIGS / "models.yaml", models_folder(), own_file=own_models_file())
    fault = f"What is to be blocked isn't known, so nothing is sent: {faults[0]}" if faults else ""
    return Library(personas or [PLAIN], guardrails, models, [*problems, *faults, *model_problems], moderation, fault)


@st.cache_resource(show_spinner=False, max_entries=4)
def _read_texts(
    configs: Path, own: Path, fingerprint: tuple[object, ...]
) -> tuple[list[Persona], list[Guardrail], list[ConfigError]]:
    del fingerprint  # it is here to be part of the cache's key
    personas, persona_problems = load_all(configs / "personas", own)
    guardrails, guardrail_problems = load_guardrails(configs / "guardrails")
    return personas, guardrails, [*persona_problems, *guardrail_problems]


@st.cache_resource(show_spinner=False, max_entries=4)
def _read_moderation(path: Path, fingerprint: tuple[object, ...]) -> tuple[ModerationFile | None, list[ConfigError]]:
    """Without the file there is no moderation; a file that can't be read must not be taken for that."""
    if not fingerprint:
        return None, []
    try:
        return load_moderation(path), []
    except ConfigError as problem:
        return None, [problem]


def _fingerprint(configs: Path, own: Path) -> tuple[object, ...]:
    return _fingerprint_of(sorted([*configs.glob("personas/*"), *configs.glob("guardrails/*"), *own.glob("*")]))


def _fingerprint_of(files: Sequence[Path]) -> tuple[object, ...]:
    return tuple(stamp for path in files if (stamp := _stamp(path)))


def _stamp(path: Path) -> tuple[object, ...]:
    """What is another when a file changed; nothing where there is none, or none any more."""
    try:
        stat = path.stat()
    except OSError:
        return (str(path),) if os.path.lexists(path) else ()
    return str(path), stat.st_mtime_ns, stat.st_size
