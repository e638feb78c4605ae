"""A conversation, and the one way from a user's text to a stored, streamed reply."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TypeVar

from menny.chat.memory import Summary
from menny.chat.prompt_builder import Context, Prompt, Usage
from menny.chat.reply import Reply, classifying, summary_writer
from menny.chat.seam import TOKEN_IDS_KEY, Seam, ids_to_keep, kept_ids
from menny.chat.settings import ReplySettings
from menny.engine_protocols import Chunk, Engine, OnProgress
from menny.errors import MennyError, PromptError, PromptTooLongError, StorageError, WithheldError
from menny.moderation.policy import MODERATION_KEY, WITHHELD, Moderation, ModerationResult
from menny.storage import ChatStore, Conversation, MessageNode, Transcript, UnkeptError, new_id
from menny.text import is_blank, sanitize

UNREADABLE = (-2, -2)  # the revision of what can't be read just now
READ_AGAIN = 2.0  # seconds until a store that couldn't be read is tried again: a locked one keeps who asks waiting
KEEP_EVERY = 0.4  # seconds between two writings of a growing reply

T = TypeVar("T")


class Chat:
    """A conversation. It owns no engine: the one that answers, and how, comes with every message.

    It is kept in a store, under its id, from its first message on; without a store, in memory. Where the store can't
    be written it goes on in memory as well, and `unkept` says so in a sentence, until it can be kept again. Where the
    store can't be read, what was seen last is what there is, and `unread` says why.
    """

    def __init__(self, store: ChatStore | None = None, chat_id: str = "") -> None:
        self.id = chat_id or new_id()
        self.unkept = self.unread = ""
        self._read_again = 0.0
        self._home = store
        self._store = store or ChatStore()
        self._seen: tuple[int | None, Sequence[MessageNode]] = (None, ())

    @property
    def entries(self) -> Sequence[MessageNode]:
        """The active path: what is shown, from the first message to the last."""
        revision, _ = self.revision
        if revision not in (self._seen[0], UNREADABLE[0]):
            self._seen = self._read(lambda store: (revision, store.path(self.id)), self._seen)
        return self._seen[1]

    @property
    def revision(self) -> tuple[int, int]:
        """Two numbers: the first is another when something changes in this chat, the second when the list does."""
        return self._read(lambda store: store.revision(self.id), UNREADABLE)

    def reply(
        self, text: str, engine: Engine, settings: ReplySettings, on_progress: OnProgress | None = None
    ) -> Iterator[Chunk]:
        """Send a text and stream the reply: `begin` and `answer` in one."""
        return self.answer(self.begin(text), engine, settings, on_progress)

    # Each of these makes a reply that has yet to be answered. `persona` and `model` are the ids of who gives it.

    def begin(self, text: str, persona: str = "", model: str = "") -> Reply:
        """Take a user's text in at the end, with a reply that has yet to come. PromptError if it is blank."""
        path = self.entries
        return self._ask(path[-1].id if path else None, text, persona, model, instead="")

    def edit(self, question_id: str, text: str, persona: str = "", model: str = "") -> Reply:
        """Ask something else in the place of an earlier question, which stays as an alternative."""
        question = self._store.entry(question_id)
        return self._ask(question.parent, text, persona, model, instead=question.id)

    def regenerate(self, entry_id: str, persona: str = "", model: str = "") -> Reply:
        """Have a question, or the one that a reply answers, answered once more; earlier replies are alternatives."""
        entry = self._store.entry(entry_id)
        _check_answers(entry)
        question_id, instead = (entry.id, "") if entry.role == "user" else (entry.parent or "", entry.id)
        self._return_home()
        added = self._keep(lambda store: store.ask_again(question_id, persona, model))
        return Reply(added.id, new=added.id, instead=instead)

    def resume(self, reply_id: str) -> Reply:
        """Go on with a reply that ended before its end."""
        entry = self._store.entry(reply_id)
        if entry.status == "growing":
            raise PromptError("This reply is still being written.")
        _check_answers(entry)
        if _is_withheld(entry):
            raise PromptError("This reply was withheld: have the message answered once more instead.")
        self._return_home()
        entry = self._keep(lambda store: store.reopen(reply_id))
        return Reply(entry.id, entry.text, stats=entry.stats, kept_ids=entry.extra.get(TOKEN_IDS_KEY))

    def answer(
        self, reply: Reply, engine: Engine, settings: ReplySettings, on_progress: OnProgress | None = None
    ) -> Iterator[Chunk]:
        """Stream a reply of this conversation, keeping it as it grows, and conclude it."""
        with self.concluding(reply):
            yield from self.stream(reply, engine, settings, on_progress)

    @contextmanager
    def concluding(self, reply: Reply) -> Iterator[None]:
        """Keep a reply as it ends, however that is; an error passes on.

        A message that doesn't fit (PromptTooLongError), or that moderation blocks (WithheldError), leaves the
        conversation again. Any other error ends the reply and is written in it; the text until then stays, unless
        moderation blocks it.
        """
        try:
            yield
        except (PromptTooLongError, WithheldError) as error:
            reply.refusal = str(error)
            self._take_back(reply)
            raise
        except MennyError as error:
            reply.fail(str(error))
            raise
        except Exception as error:
            reply.fail(f"Something went wrong inside Menny ({type(error).__name__}). Try again.")
            raise
        finally:
            reply.finish()
            self._end(reply)

    def stream(
        self, reply: Reply, engine: Engine, settings: ReplySettings, on_progress: OnProgress | None = None
    ) -> Iterator[Chunk]:
        """Stream a reply that somebody else concludes; raises as `concluding` has it."""
        moderation, template = settings.moderation, settings.template
        seam: Seam | None = None
        try:
            if moderation:
                self._moderate_question(reply, moderation, engine, template, on_progress)
            prompt = self._prompt(reply, engine, settings, on_progress)
            due = 0.0
            seam = Seam(engine.tokenizer, prompt.answer_ids)
            for chunk in reply.follow(lambda: engine.stream(prompt.ids, settings.params, on_progress), seam):
                if time.monotonic() >= due:
                    self._keep(lambda store: store.grow(reply.id, reply.text))
                    due = time.monotonic() + KEEP_EVERY
                yield chunk
        except (PromptTooLongError, WithheldError):
            raise
        except MennyError as error:
            reply.fail(str(error))
            raise
        finally:
            if moderation and reply.text:
                progress = classifying(on_progress)
                reply.moderate(moderation.check("replies", reply.text, engine, template, progress))
            if seam:
                reply.kept_ids = ids_to_keep(seam.ids, reply.text, engine.tokenizer)

    def _end(self, reply: Reply) -> None:
        extra = {
            "usage": asdict(reply.usage) if reply.usage else None,
            "notice": reply.notice or None,
            MODERATION_KEY: reply.moderation.to_dict() if reply.moderation else None,
            TOKEN_IDS_KEY: (reply.kept_ids or None) if reply.finish_reason != "stop" else None,
        }
        self._keep(
            lambda store: store.finish(reply.id, reply.text, reply.finish_reason, reply.error, reply.stats, **extra)
        )

    @property
    def summary(self) -> Summary | None:
        """What was written down of the first messages, for a memory that has a use for it."""
        return _summary_of(_said(self.entries))

    def estimate_usage(self, engine: Engine, settings: ReplySettings) -> Usage:
        """Estimate how the next prompt will use the context. PromptTooLongError where nothing more can be asked."""
        said = _said(self.entries)
        messages = [*settings.instructions.messages(), *(entry.message for entry in said)]
        context = Context(engine, settings.template, settings.params.max_tokens)
        return context.estimate_usage(messages, settings.memory, settings.instructions.examples, _summary_of(said))

    def choose(self, entry_id: str) -> None:
        """Go on by another alternative."""
        self._keep(lambda store: store.choose(entry_id))

    def is_within(self, entry_id: str, branch_id: str) -> bool:
        """Whether a message is `branch_id` or follows it, and so would be deleted with it."""
        unknown: list[MessageNode] = []
        return any(entry.id == branch_id for entry in self._read(lambda store: store.path_to(entry_id), unknown))

    def delete(self, entry_id: str) -> None:
        """Delete a message and all that follows it."""
        self._keep(lambda store: store.delete_branch(entry_id))

    def restore(self, entry_id: str) -> None:
        """Bring back what was deleted with a message."""
        self._keep(lambda store: store.restore_branch(entry_id))

    def keep_in(self, store: ChatStore) -> None:
        """Be kept in a store that couldn't be had before."""
        self._home = self._home or store
        self._return_home()

    def transcript(self) -> Transcript:
        """All that was said, with its alternatives."""
        return self._store.transcript(self.id)

    def _ask(self, parent: str | None, text: str, persona: str, model: str, instead: str) -> Reply:
        cleaned = sanitize(text)
        if is_blank(cleaned):
            raise PromptError("There is nothing to send: type a message first.")
        self._return_home()
        question, reply = self._keep(lambda store: store.ask(self.id, parent, cleaned, persona, model))
        return Reply(reply.id, typed=cleaned, new=question.id, instead=instead)

    def _moderate_question(
        self,
        reply: Reply,
        moderation: Moderation,
        engine: Engine,
        template: str | None,
        on_progress: OnProgress | None,
    ) -> None:
        """Check the question before it is sent, and see to it that no unchecked reply is taken for a checked one."""
        question = self._store.path_to(reply.id)[-2]
        progress = classifying(on_progress, reply)
        result = moderation.check("messages", question.text, engine, template, progress)
        if result and result.action == "block":
            raise WithheldError(
                f"This message wasn't sent: {result.sentence} Change it, or what is blocked under Moderation."
            )
        self._set_result(question.id, result)
        self._set_result(reply.id, moderation.unchecked("replies"))

    def _set_result(self, entry_id: str, result: ModerationResult | None) -> None:
        kept = {MODERATION_KEY: result.to_dict() if result else None}
        self._keep(lambda store: store.set_metadata(entry_id, **kept))

    def _take_back(self, reply: Reply) -> None:
        """A refused question, or reply, is no part of the conversation; one that was to go on is as it was."""
        if reply.new:
            self._keep(lambda store: store.delete_branch(reply.new))
            if reply.instead:
                self._keep(lambda store: store.choose(reply.instead))
            elif not self.entries:
                self._keep(lambda store: store.delete(self.id))

    def _prompt(self, reply: Reply, engine: Engine, settings: ReplySettings, on_progress: OnProgress | None) -> Prompt:
        """Build a reply's prompt; a new summary is kept beside the last message that it covers."""
        answer_ids = kept_ids(reply.kept_ids, reply.text, engine.tokenizer)
        context = Context(engine, settings.template, settings.params.max_tokens, answer_ids)
        write = summary_writer(reply, engine, settings.params, on_progress)
        instructions, said = settings.instructions, _said(self._store.path_to(reply.id), answering=reply.id)
        messages = [*instructions.messages(), *(entry.message for entry in said)]
        before = _summary_of(said)
        prompt = context.compose(messages, settings.memory, instructions.examples, before, write)
        if prompt.summary and prompt.summary != before:
            last, text = said[prompt.summary.covers - 1], prompt.summary.text
            self._keep(lambda store: store.set_metadata(last.id, summary=text))
        reply.usage, reply.notice = prompt.usage, prompt.notice
        return prompt

    def _read(self, look: Callable[[ChatStore], T], otherwise: T) -> T:
        """What there is in the store; where it can't be read, `otherwise`, and `unread` says why."""
        if time.monotonic() < self._read_again:
            return otherwise
        try:
            found, self.unread = look(self._store), ""
        except UnkeptError as error:
            found, self.unread = otherwise, str(error)
            self._read_again = time.monotonic() + READ_AGAIN
        return found

    def _keep(self, change: Callable[[ChatStore], T]) -> T:
        """Change the conversation where it is kept; where it can't be, go on in memory."""
        try:
            return change(self._store)
        except UnkeptError as error:
            if self._store is not self._home:
                raise
            self._leave_home(str(error))
            return change(self._store)

    def _leave_home(self, why: str) -> None:
        refuge = ChatStore()
        try:
            refuge.merge([self._store.transcript(self.id)])
        except StorageError:  # nothing was said yet, or it can't be read either: what was seen last is what there is
            if entries := tuple(self._seen[1]):
                conversation = Conversation(self.id, entries[0].text[:60])
                alone = tuple(replace(entry, alternatives=()) for entry in entries)
                refuge.merge([Transcript(conversation, alone, tuple(entry.id for entry in alone))])
        self._store, self._seen, self._read_again = refuge, (None, self._seen[1]), 0.0
        self.unkept = f"This chat isn't being kept at the moment. {why}"

    def _return_home(self) -> None:
        """Try to be kept again."""
        if self._home is None or self._store is self._home:
            return
        try:
            if self._store.conversation(self.id):
                self._home.merge([self._store.transcript(self.id)])
        except UnkeptError:
            return
        self._store, self._seen, self.unkept = self._home, (None, ()), ""


def _said(entries: Sequence[MessageNode], answering: str = "") -> list[MessageNode]:
    """What the model can be given: no reply without a word, and of a withheld one only that it was."""
    return [
        replace(entry, text=WITHHELD) if _is_withheld(entry) and entry.id != answering else entry
        for entry in entries
        if entry.text or (entry.id == answering and entry.extra.get(TOKEN_IDS_KEY))
    ]


def _check_answers(entry: MessageNode) -> None:
    if entry.role == "assistant" and entry.parent is None:
        raise PromptError("This reply answers no message: it stands first in a chat that was imported.")


def _is_withheld(entry: MessageNode) -> bool:
    """Whether a reply is blocked, or might be and nobody has judged it yet."""
    result = ModerationResult.from_dict(entry.extra.get(MODERATION_KEY))
    return entry.role == "assistant" and result is not None and result.action == "block"


def _summary_of(said: Sequence[MessageNode]) -> Summary | None:
    """The latest summary of this branch: it stands beside the last message that it covers."""
    kept = [Summary(str(entry.extra["summary"]), at + 1) for at, entry in enumerate(said) if "summary" in entry.extra]
    return kept[-1] if kept else None
