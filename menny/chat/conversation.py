"""A conversation, and the one way from a user's text to a stored, streamed reply."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from menny.chat.memory import Memory, Summary
from menny.chat.prompt_builder import Context, Prompt, Usage, Write
from menny.chat.reply import Chunk, Engine, Judging, OnProgress, Params, Reply, Summing, seam_after
from menny.errors import EngineError, MennyError, PromptError, PromptTooLongError, StorageError, WithheldError
from menny.messages import Message
from menny.moderation.policy import NOTE, WITHHELD, Finding, Watch
from menny.storage import ChatStore, Conversation, Entry, Transcript, UnkeptError, new_id
from menny.text import clean, is_blank

__all__ = ["Brief", "Chat", "Chunk", "Engine", "Judging", "OnProgress", "Params", "Reply", "Summing"]

RECENT = Memory()
UNREADABLE = (-2, -2)  # the revision of what can't be read just now
READ_AGAIN = 2.0  # seconds until a store that couldn't be read is tried again: a locked one keeps who asks waiting
KEEP_EVERY = 0.4  # seconds between two writings of a growing reply

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Brief:
    """What the model is told before the conversation: the system text, then examples of how to answer."""

    system_text: str = ""
    examples: tuple[Message, ...] = ()

    @classmethod
    def of(cls, guardrail_texts: Iterable[str], persona_text: str, examples: Iterable[Message] = ()) -> "Brief":
        """The guardrails come first, and a persona can't take their place."""
        texts = [text.strip() for text in (*guardrail_texts, persona_text) if text.strip()]
        return cls("\n\n".join(texts), tuple(examples))

    def messages(self) -> list[Message]:
        """The system text as a message, if there is one."""
        return [Message("system", self.system_text)] if self.system_text else []


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
        self._seen: tuple[int | None, Sequence[Entry]] = (None, ())

    @property
    def entries(self) -> Sequence[Entry]:
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
        self,
        text: str,
        engine: Engine,
        params: Params,
        brief: Brief | None = None,
        template: str | None = None,
        on_progress: OnProgress | None = None,
        memory: Memory = RECENT,
        watch: Watch | None = None,
    ) -> Iterator[Chunk]:
        """Send a text and stream the reply: `begin` and `answer` in one."""
        return self.answer(self.begin(text), engine, params, brief, template, on_progress, memory, watch)

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
        return Reply(entry.id, entry.text, figures=entry.figures)

    def answer(
        self,
        reply: Reply,
        engine: Engine,
        params: Params,
        brief: Brief | None = None,
        template: str | None = None,
        on_progress: OnProgress | None = None,
        memory: Memory = RECENT,
        watch: Watch | None = None,
    ) -> Iterator[Chunk]:
        """Stream a reply of this conversation, keeping it as it grows; without a template, it is guessed.

        A message that doesn't fit (PromptTooLongError), or that the `watch` blocks (WithheldError), leaves the
        conversation again. Any other error ends the reply and is written in it; what was said until then stays, unless
        the watch blocks it.
        """
        try:
            self._watch_question(reply, watch, on_progress)
            context = Context(engine, template, params.max_tokens)
            write = _writer(reply, engine, params, on_progress)
            prompt = self._prompt(reply, context, memory, brief or Brief(), write)
            due = 0.0
            seam = seam_after(prompt.ids[-1], engine.tokenizer)
            for chunk in reply.follow(lambda: engine.stream(prompt.ids, params, on_progress), seam):
                if time.monotonic() >= due:
                    self._keep(lambda store: store.grow(reply.id, reply.text))
                    due = time.monotonic() + KEEP_EVERY
                yield chunk
        except (PromptTooLongError, WithheldError):
            self._take_back(reply)
            raise
        except MennyError as error:
            reply.error = str(error)
            raise
        finally:
            if watch and reply.text:
                reply.judged(watch.check("replies", reply.text, _judging(on_progress)))
            self.end(reply)

    def end(self, reply: Reply) -> None:
        """Keep a reply as it ended."""
        extra = {
            "usage": asdict(reply.usage) if reply.usage else None,
            "notice": reply.notice or None,
            NOTE: reply.finding.as_note() if reply.finding else None,
        }
        self._keep(
            lambda store: store.finish(reply.id, reply.text, reply.finish_reason, reply.error, reply.figures, **extra)
        )

    @property
    def summary(self) -> Summary | None:
        """What was written down of the first messages, for a memory that has a use for it."""
        return _summary_of(_said(self.entries))

    def foresee(self, context: Context, brief: Brief, memory: Memory) -> Usage:
        """How the next prompt will use a model's context. PromptTooLongError where nothing more can be asked."""
        said = _said(self.entries)
        messages = [*brief.messages(), *(entry.message for entry in said)]
        return context.foresee(messages, memory, brief.examples, _summary_of(said))

    def choose(self, entry_id: str) -> None:
        """Go on by another alternative."""
        self._keep(lambda store: store.choose(entry_id))

    def cut(self, entry_id: str) -> None:
        """Delete a message and all that follows it."""
        self._keep(lambda store: store.cut(entry_id))

    def mend(self, entry_id: str) -> None:
        """Bring back what was deleted with a message."""
        self._keep(lambda store: store.mend(entry_id))

    def keep_in(self, store: ChatStore) -> None:
        """Be kept in a store that couldn't be had before."""
        self._home = self._home or store
        self._return_home()

    def transcript(self) -> Transcript:
        """All that was said, with its alternatives."""
        return self._store.transcript(self.id)

    def _ask(self, parent: str | None, text: str, persona: str, model: str, instead: str) -> Reply:
        cleaned = clean(text)
        if is_blank(cleaned):
            raise PromptError("There is nothing to send: type a message first.")
        self._return_home()
        question, reply = self._keep(lambda store: store.ask(self.id, parent, cleaned, persona, model))
        return Reply(reply.id, typed=cleaned, new=question.id, instead=instead)

    def _watch_question(self, reply: Reply, watch: Watch | None, on_progress: OnProgress | None) -> None:
        """Have the question judged before it is sent, and see to it that no reply is taken for one that was judged."""
        if watch is None:
            return
        question = self._store.path_to(reply.id)[-2]
        finding = watch.check("messages", question.text, _judging(on_progress, reply))
        if finding and finding.action == "block":
            raise WithheldError(
                f"This message wasn't sent: {finding.sentence} Change it, or what is blocked under Moderation."
            )
        self._note(question.id, finding)
        self._note(reply.id, watch.unchecked("replies"))

    def _note(self, entry_id: str, finding: Finding | None) -> None:
        self._keep(lambda store: store.note(entry_id, **{NOTE: finding.as_note() if finding else None}))

    def _take_back(self, reply: Reply) -> None:
        """A refused question, or reply, is no part of the conversation; one that was to go on is as it was."""
        if reply.new:
            self._keep(lambda store: store.cut(reply.new))
            if reply.instead:
                self._keep(lambda store: store.choose(reply.instead))
            elif not self.entries:
                self._keep(lambda store: store.delete(self.id))

    def _prompt(self, reply: Reply, context: Context, memory: Memory, brief: Brief, write: Write) -> Prompt:
        """What the model gets for a reply; a new summary is kept beside the last message that it covers."""
        said = _said(self._store.path_to(reply.id), answering=reply.id)
        messages = [*brief.messages(), *(entry.message for entry in said)]
        prompt = context.compose(messages, memory, brief.examples, _summary_of(said), write)
        if prompt.summary and prompt.summary != _summary_of(said):
            last, text = said[prompt.summary.covers - 1], prompt.summary.text
            self._keep(lambda store: store.note(last.id, summary=text))
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


def _said(entries: Sequence[Entry], answering: str = "") -> list[Entry]:
    """What the model can be given: no reply without a word, and of a withheld one only that it was."""
    return [
        replace(entry, text=WITHHELD) if _is_withheld(entry) and entry.id != answering else entry
        for entry in entries
        if entry.text
    ]


def _check_answers(entry: Entry) -> None:
    if entry.role == "assistant" and entry.parent is None:
        raise PromptError("This reply answers no message: it stands first in a chat that was imported.")


def _is_withheld(entry: Entry) -> bool:
    """Whether a reply is blocked, or might be and nobody has judged it yet."""
    finding = Finding.of_note(entry.extra.get(NOTE))
    return entry.role == "assistant" and finding is not None and finding.action == "block"


def _judging(on_progress: OnProgress | None, stopped_by: Reply | None = None) -> OnProgress:
    """Tells that something is being judged; a reply that is cancelled meanwhile ends that."""

    def report(_: Any) -> None:
        if stopped_by is not None and stopped_by.is_cancelled:
            raise EngineError("It was stopped.")
        if on_progress:
            on_progress(Judging())

    return report


def _summary_of(said: Sequence[Entry]) -> Summary | None:
    """The latest summary of this branch: it stands beside the last message that it covers."""
    kept = [Summary(str(entry.extra["summary"]), at + 1) for at, entry in enumerate(said) if "summary" in entry.extra]
    return kept[-1] if kept else None


def _writer(reply: Reply, engine: Engine, params: Params, on_progress: OnProgress | None) -> Write:
    """Has a summary written before a reply; it ends with the reply when that is cancelled."""

    def write(ids: list[int], max_tokens: int) -> str:
        pieces: list[str] = []

        def report(progress: Any = None) -> None:
            is_waiting = progress is not None and progress.phase == "waiting"
            if on_progress:
                on_progress(progress if is_waiting else Summing(len(pieces), max_tokens))

        plain = replace(params, max_tokens=max_tokens, temperature=0.0)
        report()
        for chunk in reply.listen(lambda: engine.stream(ids, plain, report)):
            pieces.append(chunk.text)
            report()
        return "" if reply.is_cancelled else "".join(pieces)

    return write
