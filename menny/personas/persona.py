"""Personas: characters to talk to, read from one YAML file each."""

import json
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from menny.config.paths import CONFIGS, PROJECT, home
from menny.config.yaml_models import Line, StrictModel, Text, load_folder, load_yaml, yaml_files
from menny.errors import ConfigError
from menny.files import file_name
from menny.messages import Message, Role
from menny.personas.macros import THE_USER, YOU, Draws, expand
from menny.text import close_matches, is_blank

IMAGES = "images"
PICTURE_TYPES = (".png", ".jpg", ".jpeg", ".webp")
MAX_GREETINGS = 100  # besides the usual one
MAX_EXAMPLES = 16
MAX_EXAMPLE = 4000  # characters of a question or an answer
MAX_EXTENSIONS = 128 * 1024  # bytes of JSON
MAX_EXTENSION_DEPTH = 16
MAX_GREETING = 8000  # characters


class Parameters(StrictModel):
    """The sampling of a reply; names and meanings are those of the engine's SamplingParams."""

    temperature: float = Field(
        default=0.7, ge=0, le=2, description="0 always takes the likeliest token; higher is freer."
    )
    max_tokens: int = Field(default=256, ge=1, le=32768, description="A reply's greatest length, in tokens.")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Choose among the likeliest tokens of this total probability."
    )
    top_k: int = Field(default=0, ge=0, le=1000, description="Choose among this many tokens; 0 is all of them.")
    min_p: float = Field(
        default=0.0, ge=0, le=1, description="Drop tokens less likely than this share of the likeliest."
    )
    repetition_penalty: float = Field(
        default=1.0, ge=0.5, le=2, description="Above 1, recent tokens become less likely."
    )


class Example(StrictModel):
    """An exchange that shows the persona's voice; the model reads it as if it had happened."""

    user: Text = Field(min_length=1, max_length=MAX_EXAMPLE)
    assistant: Text = Field(min_length=1, max_length=MAX_EXAMPLE)

    def turns(self) -> Sequence[tuple[Role, str]]:
        return ("user", self.user), ("assistant", self.assistant)


class MemorySettings(StrictModel):
    """The part of a long conversation that the model sees (`menny.chat.memory`)."""

    strategy: Literal["recent", "turns", "everything", "summary", "summary-and-turns", "retrieval"] = Field(
        default="recent",
        description="As many recent turns as fit; the last few; everything, or an error; the recent turns or the last "
        "few after a summary, which the model writes, of those before; the recent turns and earlier messages that bear "
        "on the question.",
    )
    turns: int = Field(
        default=6, ge=0, le=1000, description="How many turns before the question those that name turns keep."
    )

    all_chats: bool = Field(
        default=False, description="Whether retrieval also looks into the persona's other chats; only it reads this."
    )

    @model_validator(mode="after")
    def _turns_are_read(self) -> "MemorySettings":
        if self.turns != 6 and self.strategy not in ("turns", "summary-and-turns"):
            raise ValueError("has 'turns', which only the strategies 'turns' and 'summary-and-turns' read; remove it")
        if self.all_chats and self.strategy != "retrieval":
            raise ValueError("has 'all_chats', which only the strategy 'retrieval' reads; remove it")
        return self


class PersonaFile(StrictModel):
    """A persona's YAML file. In every text {{user}} and {{char}} stand for the two names, beside other macros."""

    name: Line = Field(min_length=1, max_length=60, description="The name on the card and above the replies.")
    tagline: Line = Field(default="", max_length=80, description="One line that says what to expect.")
    avatar: str | None = Field(
        default=None,
        max_length=200,
        description="A picture within images/, of Menny's own folder or the project's.",
        json_schema_extra={"pattern": r"^images/.+\.(png|jpe?g|webp)$"},
    )
    system_prompt: Text = Field(min_length=1, max_length=32000, description="The persona's instructions to the model.")
    greeting: Text = Field(
        default="", max_length=MAX_GREETING, description="The first message of a chat, which the model sees too."
    )
    alternate_greetings: tuple[Annotated[Text, Field(min_length=1, max_length=MAX_GREETING)], ...] | None = Field(
        default=None,
        max_length=MAX_GREETINGS,
        description="Other first messages to choose from; without the key, those of the card that it came from.",
    )
    suggestions: tuple[Annotated[Line, Field(min_length=1, max_length=100)], ...] = Field(
        default=(), max_length=8, description="First questions to click on."
    )
    guardrails: tuple[Annotated[Line, Field(min_length=1, max_length=60)], ...] = Field(
        default=(), max_length=8, description="Added to those the app enforces, never instead of them."
    )
    examples: tuple[Example, ...] = Field(
        default=(), max_length=MAX_EXAMPLES, description="Exchanges that show the voice."
    )
    parameters: Parameters = Field(default=Parameters(), description="How replies are sampled.")
    memory: MemorySettings = Field(default=MemorySettings(), description="What of a long conversation is seen.")
    thinking: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether the model thinks before it answers; auto lets reasoning models think, and no others.",
    )
    lorebooks: tuple[Annotated[Line, Field(min_length=1, max_length=100)], ...] = Field(
        default=(), max_length=100, description="Lorebooks, by the names of their files without the ending."
    )
    order: int = Field(
        default=100, ge=1, le=1000, description="The place among the cards: small numbers first, then by name."
    )
    extensions: dict[str, JsonValue] = Field(
        default={}, description="What other programs keep here, such as an imported card. Menny shows and keeps it."
    )

    @field_validator("name")
    @classmethod
    def _visible(cls, name: str) -> str:
        if is_blank(name):
            raise ValueError("must have a character that can be seen")
        return name

    @field_validator("thinking", mode="before")
    @classmethod
    def _plain_on_and_off(cls, thinking: object) -> object:
        """Take on and off as they stand in YAML without quotes, where they may be read as yes and no."""
        return {True: "on", False: "off"}[thinking] if isinstance(thinking, bool) else thinking

    @field_validator("extensions")
    @classmethod
    def _within_bounds(cls, extensions: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if (size := len(json.dumps(extensions, ensure_ascii=False).encode())) > MAX_EXTENSIONS:
            raise ValueError(f"must take at most {MAX_EXTENSIONS // 1024} KiB; it takes {size // 1024}")
        if _depth(extensions) > MAX_EXTENSION_DEPTH:
            raise ValueError(f"must be nested at most {MAX_EXTENSION_DEPTH} levels deep")
        return extensions

    @field_validator("avatar")
    @classmethod
    def _within_images(cls, avatar: str | None) -> str | None:
        return within_images(avatar)


class Persona(PersonaFile):
    """A persona that can be chosen; `id` is its file's name without the ending."""

    id: str

    def system_text(self, user: str = "", draws: Draws | None = None) -> str:
        """The system prompt, its macros expanded; without a name, the user is “the user”."""
        return self._filled(self.system_prompt, user or THE_USER, draws, "system")

    def greeting_text(self, user: str = "", greeting: str | None = None, draws: Draws | None = None) -> str:
        """The greeting, or another in its place, its macros expanded: the first message of a chat."""
        return self._filled(self.greeting if greeting is None else greeting, user or YOU, draws, "greeting")

    def example_messages(self, user: str = "", draws: Draws | None = None) -> list[Message]:
        """The example exchanges as messages that stand before the conversation."""
        messages: list[Message] = []
        for number, example in enumerate(self.examples):
            for role, text in example.turns():
                messages.append(Message(role, self._filled(text, user or YOU, draws, f"example {number}")))
        return messages

    def lore_text(self, text: str, user: str = "", draws: Draws | None = None) -> str:
        """A key or the content of a lorebook's entry, its macros expanded."""
        return self._filled(text, user or THE_USER, draws, "lore")

    def avatar_path(self, root: Path | None = None) -> Path | None:
        """The avatar's file; None where there isn't one."""
        return picture_path(self.avatar, root)

    def _filled(self, text: str, user: str, draws: Draws | None, place: str) -> str:
        return expand(text, {"user": user, "char": self.name}, draws, place)


def within_images(picture: str | None) -> str | None:
    """Check the name of a picture in a file: one within images/. Raises ValueError."""
    if picture is None:
        return None
    path = PurePosixPath(picture)
    inside = path.parts[:1] == (IMAGES,) and len(path.parts) > 1 and ".." not in path.parts
    if not inside or "\\" in picture or path.suffix.lower() not in PICTURE_TYPES:
        raise ValueError(f"must be a picture within {IMAGES}/, such as {IMAGES}/menny-avatar.png")
    return picture


def picture_path(picture: str | None, root: Path | None = None) -> Path | None:
    """A picture's file by its name in a persona's or profile's file, by default the user's own before the project's.

    None where there isn't one, or where a link leads out of the images folder.
    """
    for folder in (home(), PROJECT) if root is None else (root,):
        path = os.path.realpath(folder / (picture or ""))
        if Path(path).is_relative_to(os.path.realpath(folder / IMAGES)) and os.path.isfile(path):
            return Path(path)
    return None


def load_personas(folder: Path | str, root: Path | None = None) -> tuple[list[Persona], list[ConfigError]]:
    """Every persona of a folder, in the order of their cards, and the errors of the rest.

    A broken file is an error and no persona; a persona without its picture is an error and a persona.
    """
    loaded, errors = load_folder(folder, _load_persona)
    by_name: dict[str, Path] = {}
    personas: list[Persona] = []
    for path, persona in loaded.items():
        twin = by_name.setdefault(folded(persona.name), path)
        if twin is not path:
            errors.append(ConfigError(f"{file_name(path)}: {twin.name} has the name '{persona.name}' too; change one."))
            continue
        personas.append(persona)
        if persona.avatar and persona.avatar_path(root) is None:
            errors.append(ConfigError(f"{file_name(path)}: there is no picture {persona.avatar}; add it."))
    return _in_order(personas), errors


def folded(name: str) -> str:
    """The form in which names are compared: without case, and accents in one spelling."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def own_folder() -> Path:
    """The folder for the user's own personas, which needn't be there."""
    return home() / "personas"


def load_all(presets: Path = CONFIGS / "personas", own: Path | None = None) -> tuple[list[Persona], list[ConfigError]]:
    """The user's own personas and the presets; an own one takes the place of a preset of the same id or name."""
    personas, errors = load_personas(presets)
    folder = own or own_folder()
    try:
        if not yaml_files(folder):
            return personas, errors
    except FileNotFoundError:
        return personas, errors
    except OSError as error:
        unreadable = ConfigError(f"{file_name(folder)}: the folder can't be read ({error.strerror}).")
        return personas, [*errors, *([unreadable] if os.path.lexists(folder) else [])]
    mine, more_errors = load_personas(folder)
    ids, names = {persona.id for persona in mine}, {folded(persona.name) for persona in mine}
    kept = [persona for persona in personas if persona.id not in ids and folded(persona.name) not in names]
    return _in_order([*kept, *mine]), [*errors, *more_errors]


def _in_order(personas: Sequence[Persona]) -> list[Persona]:
    return sorted(personas, key=lambda persona: (persona.order, persona.name.casefold()))


def choose(name: str, personas: Sequence[Persona]) -> Persona:
    """The persona of this id or name; raises ConfigError that lists similar ones."""
    for persona in personas:
        if name.strip().casefold() in (persona.id.casefold(), persona.name.casefold()):
            return persona
    ids = [persona.id for persona in personas]
    if close := close_matches(name, ids, 3):
        raise ConfigError(f"There is no persona '{name}'; did you mean {' or '.join(close)}?")
    raise ConfigError(f"There is no persona '{name}': choose one of {', '.join(ids) or 'none, as none could be read'}.")


def _depth(value: JsonValue) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _load_persona(path: Path) -> Persona:
    found = load_yaml(path, PersonaFile)
    return Persona(id=path.stem, **{name: getattr(found, name) for name in PersonaFile.model_fields})
