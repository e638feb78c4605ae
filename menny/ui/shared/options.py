"""The personas, guardrails, models and moderation to choose from, and the errors in their files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from menny.config.paths import CONFIGS, home_error, models_folder, own_models_file
from menny.config.settings import Settings
from menny.config.yaml_models import comment_notices
from menny.errors import ConfigError
from menny.lorebooks.lorebook import Lorebook
from menny.lorebooks.own import OwnLorebooks, missing_books
from menny.models.catalogue import ModelSpec, here_first, load_catalogue
from menny.moderation.categories import ModerationFile, load_moderation
from menny.moderation.guardrails import Guardrail, load_guardrails
from menny.personas.persona import Persona, load_all, own_folder
from menny.personas.profiles import Profile, load_profiles, profiles_folder
from menny.ui.shared.app_settings import shared_settings

PLAIN = Persona(
    id="plain", name="Menny", tagline="Without a persona file", system_prompt="You are Menny, a helpful assistant."
)


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that the files offer; at least one persona, so that there is always one to talk to."""

    personas: Sequence[Persona]
    guardrails: Sequence[Guardrail]
    models: Sequence[ModelSpec]
    errors: Sequence[ConfigError]
    moderation: ModerationFile | None = None  # None: there is no such file, or it can't be used
    error: str = ""  # why nothing may be sent as the files are
    settings: Settings = field(default_factory=Settings)
    profiles: Sequence[Profile] = ()
    lorebooks: Mapping[str, Lorebook] = field(default_factory=dict)  # by id

    @property
    def default_persona(self) -> Persona:
        """The persona that new chats begin with."""
        return self.persona(self.settings.persona or "")

    @property
    def chat_models(self) -> Sequence[ModelSpec]:
        """The models that can chat."""
        return [spec for spec in self.models if not spec.is_judge]

    @property
    def judges(self) -> Sequence[ModelSpec]:
        """The models that judge texts."""
        return [spec for spec in self.models if spec.is_judge]

    def persona(self, persona_id: str) -> Persona:
        """The persona of that id; the first one where its file has gone."""
        return next((persona for persona in self.personas if persona.id == persona_id), self.personas[0])


def presets_folder() -> Path:
    """The folder of the personas that come with Menny."""
    return CONFIGS / "personas"


def read_options() -> Options:
    """Read the files, again only when one of them changed; models come and go, so they are looked for each time."""
    personas, guardrails, errors = _read_texts(CONFIGS, own_folder(), _fingerprint(CONFIGS, own_folder()))
    mine = profiles_folder()
    profiles, profile_errors = _read_profiles(mine, _fingerprint_of(_in(mine)))
    file = CONFIGS / "moderation.yaml"
    moderation, unreadable = _read_moderation(file, _fingerprint_of([file]))
    models, model_errors = load_catalogue(CONFIGS / "models.yaml", models_folder(), own_file=own_models_file())
    lorebooks, lore_errors = own_lorebooks().load()
    homeless = [ConfigError(home_error())] if home_error() else []
    error = f"Nothing can be sent, as the moderation settings can't be read: {unreadable}" if unreadable else ""
    settings = shared_settings()
    chosen = settings.now
    if settings.is_lost and not error:
        error = f"Nothing can be sent, as it isn't known what Moderation should block: {settings.error}"
    broken = [settings.error] if settings.error else []
    lore_errors = [*lore_errors, *_missing(personas, lorebooks)]
    errors = [*homeless, *broken, *errors, *profile_errors, *lore_errors]
    all_errors = [*errors, *([unreadable] if unreadable else comment_notices(file)), *model_errors]
    all_models, everybody = here_first(models), personas or [PLAIN]
    return Options(everybody, guardrails, all_models, all_errors, moderation, error, chosen, profiles, lorebooks)


@st.cache_resource(show_spinner=False)
def own_lorebooks() -> OwnLorebooks:
    """The user's own lorebooks, of which all tabs read the same."""
    return OwnLorebooks()


def _missing(personas: Sequence[Persona], lorebooks: Mapping[str, Lorebook]) -> list[ConfigError]:
    """A sentence for each lorebook that a persona names and that isn't there."""
    return [
        ConfigError(f"personas: {persona.name} names the lorebook '{book_id}', which isn't there or can't be read.")
        for persona in personas
        for book_id in missing_books(lorebooks, persona.lorebooks)
    ]


@st.cache_resource(show_spinner=False, max_entries=4)
def _read_texts(
    configs: Path, own: Path, fingerprint: tuple[object, ...]
) -> tuple[list[Persona], list[Guardrail], list[ConfigError]]:
    del fingerprint  # it is here to be part of the cache's key
    personas, persona_errors = load_all(configs / "personas", own)
    guardrails, guardrail_errors = load_guardrails(configs / "guardrails")
    return personas, guardrails, [*persona_errors, *guardrail_errors]


@st.cache_resource(show_spinner=False, max_entries=4)
def _read_profiles(folder: Path, fingerprint: tuple[object, ...]) -> tuple[list[Profile], list[ConfigError]]:
    del fingerprint
    return load_profiles(folder)


@st.cache_resource(show_spinner=False, max_entries=4)
def _read_moderation(path: Path, fingerprint: tuple[object, ...]) -> tuple[ModerationFile | None, ConfigError | None]:
    """Without the file there is no moderation; a file that can't be read must not be taken for that."""
    if not fingerprint:
        return None, None
    try:
        return load_moderation(path), None
    except ConfigError as error:
        return None, error


def _fingerprint(configs: Path, own: Path) -> tuple[object, ...]:
    return _fingerprint_of(
        [file for folder in (configs / "personas", configs / "guardrails", own) for file in _in(folder)]
    )


def _in(folder: Path) -> list[Path]:
    """The folder itself and what is in it; of one that can't be read, only itself."""
    try:
        return [folder, *sorted(folder.iterdir())]
    except OSError:
        return [folder]


def _fingerprint_of(files: Sequence[Path]) -> tuple[object, ...]:
    return tuple(stamp for path in files if (stamp := _stamp(path)))


def _stamp(path: Path) -> tuple[object, ...]:
    """A value that differs once a file has changed; empty where there is no file, or no longer."""
    try:
        stat = path.stat()
    except OSError:
        return (str(path),) if os.path.lexists(path) else ()
    return str(path), stat.st_mtime_ns, stat.st_size
