"""The facts of a chat in the terminal: those that a persona knows at its beginning, and those noted until its end."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import typer

from menny.chat import Chat, Reply, ReplySettings
from menny.chat.facts import asked_to_remember
from menny.chat.noting import note_chat, settle_facts
from menny.cli.common import complain
from menny.config.settings import load_settings
from menny.engine_protocols import Engine
from menny.errors import MennyError
from menny.storage import ChatStore, Fact, Facts, store_file
from menny.text import sanitize

T = TypeVar("T")


class Remembering:
    """The memory of the personas across chats. `choice` is what was asked for; None: as the page has it set."""

    def __init__(self, choice: bool | None = None) -> None:
        self._choice = choice
        self._store: ChatStore | None = None
        self._noted: list[Fact] = []  # from the message that is being answered

    def close(self) -> None:
        """Close the store."""
        if self._store:
            self._store.close()

    def is_on(self, persona: str) -> bool:
        """Return whether a persona remembers."""
        return persona in load_settings().remembering if self._choice is None else self._choice

    def telling(self, chat: Chat, persona: str, settings: ReplySettings) -> ReplySettings:
        """Return the settings of a reply with what the persona knows in this chat."""
        facts = self._facts(persona, is_to_write=False)
        return replace(settings, facts=_trying(lambda: settle_facts(chat, persona, facts), ())) if facts else settings

    def note_asked(self, chat: Chat, persona: str, reply: Reply) -> None:
        """Note what a message asks to remember, as it stands."""
        fact = asked_to_remember(reply.typed)
        if fact and (facts := self._facts(persona)):
            none: list[Fact] = []
            self._noted = _trying(lambda: facts.add(persona, [fact], chat=chat.id, message=reply.new), none)

    def report(self, reply: Reply) -> None:
        """Say what was noted from a message once it is answered; forget it if the message was refused."""
        noted, self._noted = self._noted, []
        store = self._store
        if noted and store and reply.refusal:
            _trying(lambda: store.facts.forget_of(reply.new), None)
        else:
            _report(noted)

    def note_at_end(self, chat: Chat, persona: str, engine: Engine, settings: ReplySettings) -> None:
        """Let the model note the facts of a chat that ends. Ctrl-C skips it."""
        facts = self._facts(persona) if any(entry.role == "user" for entry in chat.entries) else None
        if facts is None:
            return
        typer.echo("(Noting what to remember. Ctrl-C skips it.)", err=True)
        none: list[Fact] = []
        try:
            _report(_trying(lambda: note_chat(chat, persona, facts, engine, settings, lambda: False), none))
        except KeyboardInterrupt:
            typer.echo("(Skipped.)", err=True)

    def _facts(self, persona: str, *, is_to_write: bool = True) -> Facts | None:
        """The facts in the user's store; None where the persona doesn't remember, or where there are none to read."""
        if not self.is_on(persona):
            return None
        if self._store is None and (is_to_write or os.path.lexists(store_file())):
            self._store = _trying(lambda: ChatStore(store_file()), None)
        return self._store.facts if self._store else None


def _trying(do: Callable[[], T], otherwise: T) -> T:
    """Do something with the store or the model; where that fails, say why, and the chat goes on."""
    try:
        return do()
    except MennyError as error:
        complain(str(error), error.exit_code)
        return otherwise


def _report(facts: list[Fact]) -> None:
    for fact in facts:
        typer.echo(f"(Remembered: {sanitize(fact.text)})\n", err=True)
