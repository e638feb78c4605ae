"""A persona while it is being written: the fields' values, their errors, and how it is saved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from pydantic import ValidationError

from menny.config.yaml_models import field_errors, from_data
from menny.errors import FileChangedError, MennyError
from menny.lorebooks.lorebook import LoreEntry
from menny.personas.cards import alternate_greetings
from menny.personas.persona import MemorySettings, Parameters, Persona, PersonaFile
from menny.text import sanitize
from menny.ui.personas.persona_store import own_personas
from menny.ui.shared.options import read_options

TEXTS = ("name", "tagline", "system_prompt", "greeting")
PERSONAS = "Personas"  # the tab that the page opens with
NUMBERS = tuple(Parameters.model_fields)


@dataclass(slots=True, eq=False)
class Draft:
    """The state of the editor that the fields themselves don't hold."""

    persona_id: str = ""  # empty: a new one
    base: str = ""  # the file whose comments are kept
    expected: str | None = None  # the text of the user's own file when it was opened
    avatar: str | None = None
    picture: bytes | None = None  # a new avatar, kept when the persona is
    extensions: Mapping[str, Any] = field(default_factory=dict)
    alternate_greetings: tuple[str, ...] | None = None  # as the file has them, for as long as no field of them changes
    others: tuple[str, ...] = ()  # the other greetings when it was opened, also those that its card brought
    other_rows: list[int] = field(default_factory=list)  # the numbers of their fields
    rows: list[int] = field(default_factory=list)  # the numbers of the examples' fields
    errors: dict[str, str] = field(default_factory=dict)  # by field
    error: str = ""  # one that concerns no field
    opened: Mapping[str, Any] = field(default_factory=dict)  # the fields' values when it was opened


@dataclass(slots=True, eq=False)
class OpenBook:
    """A lorebook that is open, and the entry of it that is being edited, if one is."""

    book_id: str
    place: int | None = None  # of the entry; its number of entries for a new one
    entry: LoreEntry | None = None  # as it was when it was opened; None for a new one
    errors: dict[str, str] = field(default_factory=dict)  # by field


@dataclass(slots=True, eq=False)
class Desk:
    """The state of the page of personas between two runs."""

    draft: Draft | None = None
    message: str = ""  # what was just done
    errors: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    undo: Callable[[], None] | None = None
    latest: str = ""  # the persona that a chat is offered with
    book: OpenBook | None = None  # a lorebook that is open
    shelf: str = PERSONAS  # the tab that is open
    imports: int = 0  # how often files were taken in: each time, the field for them is a new one

    @classmethod
    def current(cls) -> "Desk":
        desk: Desk = st.session_state.setdefault("persona_desk", cls())
        return desk

    def report(self, message: str = "", undo: Callable[[], None] | None = None, latest: str = "") -> None:
        """Show what was done, in place of everything that was shown before."""
        self.message, self.undo, self.latest = message, undo, latest
        self.errors, self.notices = [], []


def key_of(name: str) -> str:
    """The key of a field."""
    return f"persona_{name}"


def open_new() -> None:
    """Begin a new persona."""
    _open(Draft(), PersonaFile.model_construct(name="", system_prompt=""))


def open_copy(persona: Persona) -> None:
    """Begin a new persona as a copy of another."""
    copy = persona.model_copy(update={"name": own_personas().free_name(persona.name)})
    _open(Draft(base=_text_of(persona)[0], avatar=persona.avatar, **_kept(persona)), copy)


def open_existing(persona: Persona) -> None:
    """Open a persona; saving a preset makes an own one, which takes its place."""
    base, expected = _text_of(persona)
    _open(Draft(persona.id, base, expected, persona.avatar, **_kept(persona)), persona)


def _kept(persona: Persona) -> dict[str, Any]:
    """What the form has no fields for, and an edited persona keeps."""
    return {
        "extensions": persona.extensions,
        "alternate_greetings": persona.alternate_greetings,
        "others": tuple(map(sanitize, alternate_greetings(persona))),
    }


def values(draft: Draft) -> dict[str, Any]:
    """The fields' values, as a persona's file has them."""

    def of(name: str) -> Any:
        value = st.session_state.get(key_of(name))
        return sanitize(value) if isinstance(value, str) else value

    others = tuple(of(f"other_{row}") for row in filled_others(draft))
    examples = [{who: of(f"{who}_{row}") or "" for who in ("user", "assistant")} for row in filled(draft)]
    return {
        **{name: of(name) or "" for name in TEXTS},
        "avatar": draft.avatar,
        "suggestions": [line.strip() for line in (of("suggestions") or "").splitlines() if line.strip()],
        "guardrails": of("guardrails") or [],
        "lorebooks": of("lorebooks") or [],
        "examples": examples,
        "parameters": {name: of(name) for name in NUMBERS},
        "memory": _memory(of("strategy"), of("turns")),
        "thinking": of("thinking") or "auto",
        "order": of("order"),
        "extensions": dict(draft.extensions),
        "alternate_greetings": draft.alternate_greetings if others == draft.others else others,
    }


def filled(draft: Draft) -> list[int]:
    """The rows of examples that aren't empty."""
    keys = {row: [key_of(f"{who}_{row}") for who in ("user", "assistant")] for row in draft.rows}
    return [row for row in draft.rows if any((st.session_state.get(key) or "").strip() for key in keys[row])]


def filled_others(draft: Draft) -> list[int]:
    """The rows of other greetings that aren't empty."""
    return [row for row in draft.other_rows if (st.session_state.get(key_of(f"other_{row}")) or "").strip()]


def keep_draft() -> None:
    """Check and save the fields; where there is an error they stay as they are, with the error shown."""
    desk = Desk.current()
    draft = desk.draft
    if draft is None:
        return
    draft.errors, draft.error = {}, ""
    try:
        persona = from_data(values(draft), PersonaFile)
    except ValidationError as error:
        rows, others = filled(draft), filled_others(draft)
        draft.errors = {
            _field_of(place, rows, others): text for place, text in reversed(field_errors(error, PersonaFile))
        }
        persona = None
    if twin := _twin(draft, st.session_state.get(key_of("name"), "")):
        draft.errors.setdefault("name", f"There is already a persona called {twin.name}. Choose another name.")
    if persona is None or draft.errors:
        return
    try:
        persona_id = own_personas().keep(persona, draft.persona_id, draft.picture, draft.base, draft.expected)
    except FileChangedError as error:
        draft.base, draft.expected = own_personas().texts_of(draft.persona_id)
        draft.error = f"{error} Save again to put this in its place, or cancel to keep what is there."
    except MennyError as error:
        draft.error = str(error)
    else:
        desk.draft = None
        desk.report(f"{persona.name} was saved.", latest=persona_id)


def drop_draft() -> None:
    """Leave the editor; a draft that was changed can be brought back."""
    desk = Desk.current()
    draft, desk.draft = desk.draft, None
    if draft is None or (draft.picture is None and values(draft) == draft.opened):
        return
    fields = {key: value for key, value in st.session_state.items() if str(key).startswith(key_of(""))}

    def bring_back() -> None:
        desk.draft = draft
        st.session_state.update(fields)

    desk.report("Your changes were discarded.", undo=bring_back)


def _open(draft: Draft, persona: PersonaFile) -> None:
    desk = Desk.current()
    desk.report()
    desk.draft = draft
    draft.rows = list(range(len(persona.examples)))
    state: dict[str, Any] = {name: getattr(persona, name) for name in (*TEXTS, "thinking", "order")}
    state |= persona.parameters.model_dump()
    state |= {"suggestions": "\n".join(persona.suggestions), "guardrails": list(persona.guardrails)}
    state |= {"lorebooks": list(persona.lorebooks)}
    state |= {"strategy": persona.memory.strategy, "turns": persona.memory.turns}
    draft.other_rows = list(range(len(draft.others)))
    state |= {f"other_{row}": text for row, text in enumerate(draft.others)}
    for row, example in enumerate(persona.examples):
        state |= {f"user_{row}": example.user, f"assistant_{row}": example.assistant}
    st.session_state.update({key_of(name): value for name, value in state.items()})
    draft.opened = values(draft)


def _text_of(persona: Persona) -> tuple[str, str | None]:
    try:
        return own_personas().texts_of(persona.id)
    except MennyError:  # the file has gone since it was read; its content is in the fields
        return "", None


def _memory(strategy: Any, turns: Any) -> dict[str, Any]:
    """Turns only for the strategies that read them."""
    default = MemorySettings()
    chosen = strategy or default.strategy
    return {"strategy": chosen, "turns": turns if "turns" in chosen else default.turns}


def _twin(draft: Draft, name: str) -> Persona | None:
    folded = name.strip().casefold()
    everybody = read_options().personas
    return next((one for one in everybody if one.name.casefold() == folded and one.id != draft.persona_id), None)


def _field_of(place: tuple[str | int, ...], rows: Sequence[int], others: Sequence[int]) -> str:
    """The field that a place in a persona's file is written in."""
    match place:
        case ("examples", int(index), str(who)):
            return f"{who}_{rows[index]}"
        case ("alternate_greetings", int(index)):
            return f"other_{others[index]}"
        case ("parameters", str(name)):
            return name
        case ("memory", *_):
            return "turns"
        case _:
            return str(place[0])
