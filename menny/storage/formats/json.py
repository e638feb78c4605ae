"""A chat as a JSON document: an export of everything that is kept of it, checked strictly by the import."""

import json
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationError

from menny.config.yaml_models import StrictModel
from menny.engine_protocols import FinishReason
from menny.errors import StorageError
from menny.storage.rows import title_given, title_of
from menny.storage.values import Conversation, MessageNode, ReplyStats, Transcript

FORMAT, VERSION = "menny-chat", 2  # 2: with settings and thoughts; documents of 1 are read too
MOST_MESSAGES = 100_000
MOST_CHARACTERS = 2_000_000

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{22}$")]
Time = Annotated[float, Field(ge=0, le=1e11)]
Amount = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Name = Annotated[str, Field(max_length=4000)]


class FiguresDocument(StrictModel):
    prompt_tokens: Annotated[int, Field(ge=0)] = 0
    completion_tokens: Annotated[int, Field(ge=0)] = 0
    decode_tps: Amount = 0.0
    seconds_to_first_token: Amount = 0.0
    thought_tokens: Annotated[int, Field(ge=0)] = 0
    thought_seconds: Amount = 0.0


class MessageDocument(StrictModel):
    id: Id
    parent: Id | None
    role: Literal["user", "assistant"]
    text: Text
    status: Literal["whole", "interrupted"] = "whole"
    finish_reason: FinishReason | None = None
    error: Name = ""
    persona: Name = ""
    model: Name = ""
    figures: FiguresDocument = FiguresDocument()
    created: Time
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    thought: Text = ""


class ChatDocument(StrictModel):
    format: Literal["menny-chat"]
    version: Literal[1, 2]
    id: Id
    title: Name
    pinned: bool = False
    created: Time
    updated: Time
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    messages: Annotated[list[MessageDocument], Field(min_length=1, max_length=MOST_MESSAGES)]
    active: list[Id]


def as_json(transcript: Transcript) -> str:
    """Return the document of a chat; a reply that is being written is in it as interrupted."""
    conversation, document = transcript.conversation, {}
    for key in ("id", "title", "pinned", "created", "updated", "settings"):
        document[key] = getattr(conversation, key)
    messages = [_without_alternatives(entry) for entry in transcript.entries]
    whole = {"format": FORMAT, "version": VERSION, **document, "messages": messages, "active": transcript.active}
    return json.dumps(whole, ensure_ascii=False, indent=1)


def _without_alternatives(entry: MessageNode) -> dict[str, object]:
    fields = asdict(entry)
    del fields["alternatives"]
    fields["figures"] = fields.pop("stats")  # the name that the format has
    return {**fields, "status": "interrupted" if entry.status == "growing" else entry.status}


def from_json(data: bytes | str) -> Transcript:
    """Read a chat from its document. Raises StorageError, with what is wrong, where it isn't one."""
    try:
        document = ChatDocument.model_validate_json(data)
    except ValidationError as error:
        raise StorageError(_explain(error)) from None
    entries = tuple(_entry(message) for message in document.messages)
    title = title_given(document.title) or title_of(entries[0].text)
    conversation = Conversation(
        document.id, title, document.pinned, document.created, document.updated, settings=document.settings
    )
    return checked(Transcript(conversation, entries, tuple(document.active)))


def checked(transcript: Transcript) -> Transcript:
    """Return the transcript if it is a tree: every message once, after its parent, and a path that leads down.

    Raises StorageError otherwise.
    """
    known: set[str] = set()
    for entry in transcript.entries:
        if entry.id in known:
            raise StorageError("a message is in it twice")
        if entry.parent is not None and entry.parent not in known:
            raise StorageError("a message answers one that isn't in it, or that comes later")
        known.add(entry.id)
    parents = {entry.id: entry.parent for entry in transcript.entries}
    above: str | None = None
    for entry_id in transcript.active:
        if entry_id not in parents or parents[entry_id] != above:
            raise StorageError("its active path isn't one")
        above = entry_id
    return transcript


def _entry(message: MessageDocument) -> MessageNode:
    return MessageNode(
        id=message.id,
        parent=message.parent,
        role=message.role,
        text=message.text,
        status=message.status,
        finish_reason=message.finish_reason,
        error=message.error,
        persona=message.persona,
        model=message.model,
        stats=ReplyStats(**message.figures.model_dump()),
        created=message.created,
        extra=message.extra,
        thought=message.thought,
    )


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return "it isn't valid JSON, or it is cut off"
    if first["loc"] == ("version",) and type(first["input"]) is int and first["input"] > VERSION:
        return "it was written by a newer Menny; update this one"
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"'{where}' is missing"
    return f"'{where}' is wrong ({first['msg'][:1].lower()}{first['msg'][1:]})"
