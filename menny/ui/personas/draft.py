"""A persona while it is being written: what stands in the fields, what is wrong with it, and how it is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from pydantic import ValidationError

from menny.config.yaml_models import field_errors, from_data
from menny.errors import FileChangedError, MennyError
from menny.personas.persona import MemorySettings, Parameters, Persona, PersonaFile
from menny.text import sanitize
from menny.ui.personas.persona_store import free_name, keep, texts_of
from menny.ui.shared.options import read_options

TEXTS = ("name", "tagline", "system_prompt", "greeting")
NUMBERS = tuple(Parameters.model_fields)


@dataclass(slots=True, eq=False)
class Draft:
    """What the fields themselves don't hold."""

    persona_id: str = ""  # empty: somebody new
    base: str = ""  # the file whose comments are kept
    expected: str | None = None  # what the user's own file said when it was opened
    avatar: str | None = None
    picture: bytes | None = None  # a new avatar, kept when the persona is
    extensions: Mapping[str, Any] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)  # the numbers of the examples' fields
    problems: dict[str, str] = field(default_factory=dict)  # by field
    fault: str = ""  # what concerns no field


@dataclass(slots=True, eq=False)
class Desk:
    """What the page of personas keeps between two runs."""

    draft: Draft | None = None
    told: str = ""
    faults: list[str] = field(default_factory=list)
    undo: Callable[[], None] | None = None
    latest: str = ""  # whom a chat is offered with
    imports: int = 0  # how often files were taken in: each time, the field for them is a new one

    @classmethod
    def current(cls) -> "Desk":
        desk: Desk = st.session_state.setdefault("persona_desk", cls())
        return desk

    def tell(self, told: str = "", undo: Callable[[], None] | None = None, latest: str = "") -> None:
        """Say what was done, instead of what was said before."""
        self.told, self.undo, self.latest, self.faults = told, undo, latest, []


def key_of(name: str) -> str:
    """The key of a field."""
    return f"persona_{name}"


def open_new() -> None:
    """Begin somebody new."""
    _open(Draft(), PersonaFile.model_construct(name="", system_prompt=""))


def open_copy(persona: Persona) -> None:
    """Begin somebody new who is like another."""
    copy = persona.model_copy(update={"name": free_name(persona.name)})
    _open(Draft(base=_text_of(persona)[0], avatar=persona.avatar, extensions=persona.extensions), copy)


def open_existing(persona: Persona) -> None:
    """Change somebody; of a preset this makes one's own, which stands in for it."""
    base, expected = _text_of(persona)
    _open(Draft(persona.id, base, expected, persona.avatar, extensions=persona.extensions), persona)


def values(draft: Draft) -> dict[str, Any]:
    """What the fields say, as a persona's file would."""

    def of(name: str) -> Any:
        value = st.session_state.get(key_of(name))
        return sanitize(value) if isinstance(value, str) else value

    examples = [{who: of(f"{who}_{row}") or "" for who in ("user", "assistant")} for row in filled(draft)]
    return {
        **{name: of(name) or "" for name in TEXTS},
        "avatar": draft.avatar,
        "suggestions": [line.strip() for line in (of("suggestions") or "").splitlines() if line.strip()],
        "guardrails": of("guardrails") or [],
        "examples": examples,
        "parameters": {name: of(name) for name in NUMBERS},
        "memory": _memory(of("strategy"), of("turns")),
        "order": of("order"),
        "extensions": dict(draft.extensions),
    }


def filled(draft: Draft) -> list[int]:
    """The rows of examples that hold anything."""
    keys = {row: [key_of(f"{who}_{row}") for who in ("user", "assistant")] for row in draft.rows}
    return [row for row in draft.rows if any((st.session_state.get(key) or "").strip() for key in keys[row])]


def keep_draft() -> None:
    """Check and write what stands in the fields; where something is wrong they stay as they are, with the reason."""
    desk = Desk.current()
    draft = desk.draft
    if draft is None:
        return
    draft.problems, draft.fault = {}, ""
    try:
        persona = from_data(values(draft), PersonaFile)
    except ValidationError as error:
        rows = filled(draft)
        draft.problems = {_field_of(place, rows): text for place, text in reversed(field_errors(error, PersonaFile))}
        persona = None
    if twin := _twin(draft, st.session_state.get(key_of("name"), "")):
        draft.problems.setdefault("name", f"There is a {twin.name} already; choose another name.")
    if persona is None or draft.problems:
        return
    try:
        persona_id = keep(persona, draft.persona_id, draft.picture, draft.base, draft.expected)
    except FileChangedError as error:
        draft.base, draft.expected = texts_of(draft.persona_id)
        draft.fault = f"{error} Save again to put this in its place, or cancel to keep what is there."
    except MennyError as error:
        draft.fault = str(error)
    else:
        desk.draft = None
        desk.tell(f"{persona.name} is saved.", latest=persona_id)


def drop_draft() -> None:
    """Leave the editor; what stood in it can be brought back."""
    desk = Desk.current()
    draft, desk.draft = desk.draft, None
    if draft is None:
        return
    fields = {key: value for key, value in st.session_state.items() if str(key).startswith(key_of(""))}

    def bring_back() -> None:
        desk.draft = draft
        st.session_state.update(fields)

    desk.tell("The changes are left out.", undo=bring_back)


def _open(draft: Draft, persona: PersonaFile) -> None:
    desk = Desk.current()
    desk.tell()
    desk.draft = draft
    draft.rows = list(range(len(persona.examples)))
    state: dict[str, Any] = {name: getattr(persona, name) for name in (*TEXTS, "order")}
    state |= persona.parameters.model_dump()
    state |= {"suggestions": "\n".join(persona.suggestions), "guardrails": list(persona.guardrails)}
    state |= {"strategy": persona.memory.strategy, "turns": persona.memory.turns}
    for row, example in enumerate(persona.examples):
        state |= {f"user_{row}": example.user, f"assistant_{row}": example.assistant}
    st.session_state.update({key_of(name): value for name, value in state.items()})


def _text_of(persona: Persona) -> tuple[str, str | None]:
    try:
        return texts_of(persona.id)
    except MennyError:  # the file has gone since it was read; what it said is in the fields
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


def _field_of(place: tuple[str | int, ...], rows: Sequence[int]) -> str:
    """The field that a place in a persona's file is written in."""
    match place:
        case ("examples", int(index), str(who)):
            return f"{who}_{rows[index]}"
        case ("parameters", str(name)):
            return name
        case ("memory", *_):
            return "turns"
        case _:
            return str(place[0])
