"""The commands about chats: chats list, search, show, export and import."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from menny.cli.common import AsJson, json_text
from menny.cli.files import (
    OPTIONS_AS_IDS,
    SHORT_ID,
    FileIn,
    FileOut,
    Overwrite,
    check_target,
    meant,
    read_given,
    write_given,
)
from menny.config.command import command
from menny.errors import StorageError
from menny.lorebooks.own import OwnLorebooks
from menny.personas.own import OwnPersonas
from menny.personas.persona import load_all
from menny.personas.profile_files import profiles_from_archive
from menny.storage import ChatStore, Conversation, Transcript, as_markdown, facts_of_files, store_file, unpack
from menny.storage import as_json as json_document
from menny.storage.formats.archive import MOST_BYTES
from menny.text import sanitize

ChatId = Annotated[str, typer.Argument(metavar="ID", help="The chat's id, or as much of its beginning as is unique.")]
ENDINGS = (".json", ".md")
MOST_FOUND = 30


def chats() -> typer.Typer:
    """The commands below `menny chats`."""
    app = typer.Typer(help="List, search, show, export and import chats.", rich_markup_mode=None)
    app.command("list")(list_)
    app.command()(search)
    app.command(context_settings=OPTIONS_AS_IDS)(show)
    app.command(context_settings=OPTIONS_AS_IDS)(export)
    app.command("import")(import_)
    return app


def list_(as_json: AsJson = False) -> None:
    """List the chats: the pinned ones first, then the latest."""
    with _store() as store:
        found = store.conversations()
    if as_json:
        typer.echo(json_text({"chats": [_described(one) for one in found]}))
        return
    typer.echo("\n".join(map(_row, found)) if found else "There are no chats yet.")


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words; all of them have to be in it.")],
    as_json: AsJson = False,
) -> None:
    """Find the chats that hold these words, or words that begin so."""
    with _store() as store:
        found = store.search(text, MOST_FOUND)
    if as_json:
        excerpts = [(one, "".join(piece for piece, _ in one.excerpt)) for one in found]
        results = [
            {**_described(one.conversation), "message": one.entry, "excerpt": excerpt} for one, excerpt in excerpts
        ]
        typer.echo(json_text({"text": text, "chats": results}))
        return
    for one in found:
        typer.echo(_row(one.conversation))
        if one.entry is not None:
            typer.echo(f"{'':{SHORT_ID}}  {_one_line(''.join(piece for piece, _ in one.excerpt))}")
    if not found:
        typer.echo(f"No chat contains “{_one_line(text)}”.")


def show(chat_id: ChatId, as_json: AsJson = False) -> None:
    """Print a chat: its messages as they are shown, or with --json everything, all versions included."""
    transcript = _transcript(chat_id)
    typer.echo(_document(transcript) if as_json else sanitize(_markdown(transcript)), nl=as_json)


def export(chat_id: ChatId, file: FileOut, overwrite: Overwrite = False, as_json: AsJson = False) -> None:
    """Write a chat to a file: .md to read, or .json with all versions, which Menny can import again."""
    target = check_target(file, ENDINGS, overwrite)
    transcript = _transcript(chat_id)
    is_markdown = target.suffix.lower() == ".md"
    write_given(target, _markdown(transcript).encode() if is_markdown else json_document(transcript).encode())
    if as_json:
        typer.echo(json_text({"chat": transcript.conversation.id, "file": str(target)}))
    else:
        typer.echo(f"“{_one_line(transcript.conversation.title)}” is in {target}.")


def import_(file: FileIn, as_json: AsJson = False) -> None:
    """Import chats: Menny's JSON or archive, ChatGPT's export, SillyTavern's .jsonl."""
    unpacked = unpack(file.name, read_given(file, MOST_BYTES))
    facts = facts_of_files(unpacked.files)
    with (
        _store(is_to_write=True) as store,
        OwnPersonas().from_archive(unpacked.files) as personas,
        OwnLorebooks().from_archive(unpacked.files) as lorebooks,
        profiles_from_archive(unpacked.files) as profiles,
    ):
        added = store.merge(unpacked.transcripts)
        remembered = store.facts.merge(facts)
    if as_json:
        ids = [transcript.conversation.id for transcript in unpacked.transcripts]
        result: dict[str, Any] = {"chats": ids, "new_messages": added, "personas": personas, "lorebooks": lorebooks}
        typer.echo(json_text({**result, "profiles": profiles, "facts": remembered, "left_out": list(unpacked.notices)}))
    else:
        typer.echo(sanitize(unpacked.report(added, len(personas), len(lorebooks), len(profiles), remembered)))


def _document(transcript: Transcript) -> str:
    """A chat's JSON document in one line."""
    return json_text(json.loads(json_document(transcript)))


def _markdown(transcript: Transcript) -> str:
    return as_markdown(transcript, {persona.id: persona.name for persona in load_all()[0]})


@contextmanager
def _store(*, is_to_write: bool = False) -> Iterator[ChatStore]:
    """Open the user's store; one that isn't there is only made to write into it."""
    file = store_file()
    store = ChatStore(file if is_to_write or os.path.lexists(file) else None)
    try:
        if store.notice:
            typer.echo(f"({store.notice})", err=True)
        yield store
    finally:
        store.close()


def _transcript(given: str) -> Transcript:
    with _store() as store:
        ids = [one.id for one in store.conversations()]
        return store.transcript(meant(given, ids, "chat", command("chats", "list"), StorageError))


def _described(one: Conversation) -> dict[str, Any]:
    values = asdict(one)
    return {name: values[name] for name in ("id", "title", "pinned", "created", "updated")}


def _row(one: Conversation) -> str:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.updated))
    return f"{one.id[:SHORT_ID]}  {day}  {'★ ' if one.pinned else ''}{_one_line(one.title)}"


def _one_line(text: str) -> str:
    return " ".join(sanitize(text).split())
