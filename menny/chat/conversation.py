"""A conversation, and the one way from a user's text to a stored, streamed reply."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from menny.attachments import ATTACHMENTS_KEY, Attachment
from menny.chat.attached_files import counted
from menny.chat.facts import with_facts
from menny.chat.lore import call_up, with_constants
from menny.chat.memory import Summary
from menny.chat.note import note_piece
from menny.chat.prompt_builder import Context, Prompt, Usage
from menny.chat.recalled import SHARE, recall_pieces
from menny.chat.receipts import RECEIPT_KEY, apart, packed, receipt_of, sections_of
from menny.chat.reply import Reply, classifying, summary_writer
from menny.chat.rounds import Rounds
from menny.chat.seam import TOKEN_IDS_KEY, kept_ids
from menny.chat.settings import Instructions, ReplySettings
from menny.chat.stored_chat import StoredChat
from menny.chat.turn_context import CONTEXT_KEY, TurnContext, message_in_turn, pieces_in
from menny.chat.withheld import is_withheld
from menny.engine_protocols import Chunk, Engine, OnProgress
from menny.errors import MennyError, PromptError, PromptTooLongError, WithheldError
from menny.moderation.policy import MODERATION_KEY, WITHHELD, Moderation, ModerationResult
from menny.storage import MessageNode
from menny.text import is_blank, sanitize

FRAME = 20  # tokens for what is around each kind of text that a turn brings
KEEP_EVERY = 0.4  # seconds between two writes of a growing reply


class Chat(StoredChat):
    """A conversation with its replies. It owns no engine: the one that answers, and how, comes with every message."""

    def reply(
        self, text: str, engine: Engine, settings: ReplySettings, on_progress: OnProgress | None = None
    ) -> Iterator[Chunk]:
        """Send a text and stream the reply: `begin` and `answer` in one."""
        return self.answer(self.begin(text), engine, settings, on_progress)

    # Each of these makes a reply that has yet to be streamed; `persona` and `model` are the ids of its author.

    def begin(self, text: str, persona: str = "", model: str = "", attachments: Sequence[Attachment] = ()) -> Reply:
        """Add a user's text with its files at the end, and an empty reply to it. PromptError if there is neither."""
        path = self.entries
        return self._ask(path[-1].id if path else None, text, attachments, persona, model, instead="")

    def edit(self, question_id: str, text: str, persona: str = "", model: str = "") -> Reply:
        """Replace an earlier question by another with the same files, and keep it as an alternative."""
        question = self._store.entry(question_id)
        return self._ask(question.parent, text, question.attachments, persona, model, instead=question.id)

    def regenerate(self, entry_id: str, persona: str = "", model: str = "") -> Reply:
        """Answer a question, or the question of a reply, again; earlier replies stay as alternatives."""
        entry = self._store.entry(entry_id)
        _check_answers(entry)
        question_id, instead = (entry.id, "") if entry.role == "user" else (entry.parent or "", entry.id)
        self._return_home()
        added = self._keep(lambda store: store.ask_again(question_id, persona, model))
        return Reply(added.id, new=added.id, instead=instead)

    def resume(self, reply_id: str) -> Reply:
        """Continue a reply that was cut off."""
        entry = self._store.entry(reply_id)
        if entry.status == "growing":
            raise PromptError("This reply is still being written.")
        _check_answers(entry)
        if is_withheld(entry):
            raise PromptError("This reply was withheld: regenerate it instead.")
        self._return_home()
        entry = self._keep(lambda store: store.reopen(reply_id))
        return Reply(entry.id, entry.text, entry.thought, stats=entry.stats, kept_ids=entry.extra.get(TOKEN_IDS_KEY))

    def answer(
        self, reply: Reply, engine: Engine, settings: ReplySettings, on_progress: OnProgress | None = None
    ) -> Iterator[Chunk]:
        """Stream a reply of this conversation, store it as it grows, and conclude it."""
        with self.concluding(reply):
            yield from self.stream(reply, engine, settings, on_progress)

    @contextmanager
    def concluding(self, reply: Reply) -> Iterator[None]:
        """Store a reply as it ends; an error passes on.

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
        """Stream a reply within `concluding`, and raise its errors.

        One that may be blocked isn't stored before it is checked: whatever ends the process, nobody gets its text.
        """
        moderation, template = settings.moderation, settings.template
        result = moderation.unchecked("replies") if moderation else None
        is_held = result is not None and result.action == "block"
        if settings.beginning and reply.new and not (reply.text or reply.thought):
            reply.text = settings.beginning
            self._keep(lambda store: store.grow(reply.id, reply.text))
        answer_ids = kept_ids(reply.kept_ids, reply.text, engine.tokenizer)
        context = Context(engine, template, settings.params.max_tokens, answer_ids, settings.thinking)
        if self.is_on_disk:
            settings = replace(settings, params=replace(settings.params, keep_cache=True))
        rounds = Rounds(reply, engine, settings, context, on_progress)
        try:
            self._count_attachments(reply, engine, settings, context)
            if moderation:
                self._moderate_question(reply, moderation, engine, template, on_progress)
            prompt = self._prompt(reply, engine, context, settings, on_progress)
            due = 0.0
            for chunk in rounds.chunks(prompt):
                if not is_held and time.monotonic() >= due:
                    self._keep(lambda store: store.grow(reply.id, reply.text, reply.thought))
                    due = time.monotonic() + KEEP_EVERY
                yield chunk
        except (PromptTooLongError, WithheldError):
            raise
        except MennyError as error:
            reply.fail(str(error))
            raise
        finally:
            if moderation and reply.text:
                path, progress = self._store.path_to(reply.id), classifying(on_progress)
                question = path[-2].text if len(path) > 1 else ""
                reply.moderate(moderation.check("replies", reply.text, engine, template, progress, question))
            rounds.keep_ids()

    def _end(self, reply: Reply) -> None:
        extra: dict[str, Any] = {
            "usage": asdict(reply.usage) if reply.usage else None,
            "notice": reply.notice or None,
            RECEIPT_KEY: packed(replace(reply.receipt, cached=reply.cached_tokens)) if reply.receipt else None,
            MODERATION_KEY: reply.moderation.to_dict() if reply.moderation else None,
            TOKEN_IDS_KEY: (reply.kept_ids or None) if reply.finish_reason != "stop" else None,
        }
        self._keep(
            lambda store: store.finish(
                reply.id, reply.text, reply.finish_reason, reply.error, reply.stats, reply.thought, **extra
            )
        )

    @property
    def summary(self) -> Summary | None:
        """The latest summary of the first messages, for memories that use one."""
        return _summary_of(for_model(self.entries))

    def estimate_usage(self, engine: Engine, settings: ReplySettings) -> Usage:
        """Estimate how the next prompt will use the context. PromptTooLongError where nothing more can be asked."""
        shown = for_model(self.entries)
        instructions = self.instructions(engine, settings)
        messages = [*instructions.messages(), *map(message_in_turn, shown)]
        context = Context(engine, settings.template, settings.params.max_tokens, thinking=settings.thinking)
        usage = context.estimate_usage(messages, settings.memory, instructions.examples, _summary_of(shown))
        return apart(usage, instructions, shown[usage.unseen :], context.count_text)

    def _ask(
        self,
        parent: str | None,
        text: str,
        attachments: Sequence[Attachment],
        persona: str,
        model: str,
        instead: str,
    ) -> Reply:
        cleaned = sanitize(text)
        if is_blank(cleaned):
            if not attachments:
                raise PromptError("There is nothing to send: type a message first.")
            cleaned = ""
        self._return_home()
        extra = {ATTACHMENTS_KEY: [one.to_dict() for one in attachments]} if attachments else {}
        opening = None if self.entries else self._opening
        question, reply = self._keep(
            lambda store: store.ask(self.id, parent, cleaned, persona, model, self._new_settings, extra, opening)
        )
        opened = self._store.entry(question.parent).alternatives if opening and question.parent else ()
        return Reply(reply.id, typed=cleaned, new=question.id, opened=opened, instead=instead)

    def _moderate_question(
        self,
        reply: Reply,
        moderation: Moderation,
        engine: Engine,
        template: str | None,
        on_progress: OnProgress | None,
    ) -> None:
        """Check the question before it is sent, and mark the reply as unchecked until it is checked."""
        question = self._store.path_to(reply.id)[-2]
        progress = classifying(on_progress, reply)
        result = moderation.check("messages", question.message.content, engine, template, progress)
        if result and result.action == "block":
            raise WithheldError(f"This message wasn't sent: {result.sentence} Change it, or what Moderation blocks.")
        self._set_result(question.id, result)
        self._set_result(reply.id, moderation.unchecked("replies"))

    def _set_result(self, entry_id: str, result: ModerationResult | None) -> None:
        kept = {MODERATION_KEY: result.to_dict() if result else None}
        self._keep(lambda store: store.set_metadata(entry_id, **kept))

    def _take_back(self, reply: Reply) -> None:
        """Remove a refused question or reply from the conversation; one that was to be continued stays as it was."""
        for entry_id in filter(None, (reply.new, *reply.opened)):
            self.delete(entry_id)
        if reply.new:
            if reply.instead:
                self.choose(reply.instead)
            elif not self.entries:
                self._keep(lambda store: store.delete(self.id))

    def _prompt(
        self,
        reply: Reply,
        engine: Engine,
        context: Context,
        settings: ReplySettings,
        on_progress: OnProgress | None,
    ) -> Prompt:
        """Build a reply's prompt; a new summary is stored with the last message that it covers."""
        write = summary_writer(reply, engine, settings.params, on_progress)
        whole = self._store.path_to(reply.id)
        shown = for_model(whole, answering=reply.id)
        instructions = self.instructions(engine, settings)
        shown = self._with_context(shown, instructions, engine, settings, context, whole[-1].persona)
        messages = [*instructions.messages(), *map(message_in_turn, shown)]
        before = _summary_of(shown)
        prompt = context.compose(messages, settings.memory, instructions.examples, before, write)
        if prompt.summary and prompt.summary != before:
            last, text = shown[prompt.summary.covers - 1], prompt.summary.text
            self._keep(lambda store: store.set_metadata(last.id, summary=text))
        usage = apart(prompt.usage, instructions, shown[prompt.usage.unseen :], context.count_text)
        sections = sections_of(instructions, usage, context.count_text)
        reply.receipt = receipt_of(prompt.ids, engine.tokenizer, sections, whole)
        reply.usage, reply.notice = usage, prompt.notice
        return prompt

    def instructions(self, engine: Engine | None, settings: ReplySettings) -> Instructions:
        """The text before the conversation: guardrails and persona, constant lore, and what the persona remembers.

        Without an engine nothing can be counted, and all of it is there.
        """

        def count(text: str) -> int:
            return len(engine.tokenizer.encode(text)) if engine else 0

        length = engine.context_length if engine else 0
        instructions = with_constants(settings.instructions, settings.lore, self.id, count, length)
        return with_facts(instructions, settings.facts, settings.user, count, length)

    def _with_context(
        self,
        shown: Sequence[MessageNode],
        instructions: Instructions,
        engine: Engine,
        settings: ReplySettings,
        context: Context,
        persona: str,
    ) -> list[MessageNode]:
        """Find what the last question brings into its turn, unless it has been found before, and store it there."""
        entries, lore = list(shown), settings.lore
        at = max((place for place, entry in enumerate(entries) if entry.role == "user"), default=None)
        is_asked = lore.books or settings.memory.recalls or settings.note.strip()
        if at is None or CONTEXT_KEY in entries[at].extra or not is_asked:
            return entries
        question, path, system = entries[at], entries[: at + 1], instructions.messages()
        room = context.budget - context.count([*system, question.message])
        for_note = context.count_text(lore.fill(settings.note)) + FRAME if settings.note else 0
        for_note = for_note if for_note <= room else 0
        room -= for_note
        for_memory = min(engine.context_length // SHARE + FRAME, room) if settings.memory.recalls else 0
        unseen = context.count_unseen(
            [*system, *map(message_in_turn, path)],
            settings.memory,
            settings.instructions.examples,
            _summary_of(path),
            for_memory + for_note,
        )
        found = TurnContext()
        if lore.books:
            constant = sum(context.count_text(text) for kind, text in instructions.parts if kind == "lore")
            budget = min(lore.tokens(engine.context_length), constant + room - for_memory - FRAME)
            found = call_up(lore, self.id, path, context.count_text, budget, unseen)
        if settings.memory.recalls:
            others, there = persona if settings.memory.all_chats else "", pieces_in(path[unseen:])
            room = for_memory - FRAME
            memories = recall_pieces(self._store, self.id, path, unseen, others, engine.tokenizer, room, there)
            found = replace(found, pieces=(*memories, *found.pieces))
        note = settings.note if for_note else ""  # which gives way to a long question
        if piece := note_piece(note, settings.note_depth, path[unseen:-1], lore.fill):
            found = replace(found, pieces=(*found.pieces, piece))
        if found:
            kept = {CONTEXT_KEY: found.to_dict()}
            self._keep(lambda store: store.set_metadata(question.id, **kept))
            entries[at] = replace(question, extra={**question.extra, **kept})
        return entries

    def _count_attachments(self, reply: Reply, engine: Engine, settings: ReplySettings, context: Context) -> None:
        """Store the tokens of the question's files. PromptTooLongError, which names them, if they can't fit."""
        path = self._store.path_to(reply.id)
        question = next((entry for entry in reversed(path) if entry.role == "user"), None)
        if question is None or not question.attachments:
            return
        system = self.instructions(engine, settings).messages()
        files = counted(question.text, question.attachments, system, context)
        if files != list(question.attachments):
            kept = {ATTACHMENTS_KEY: [one.to_dict() for one in files]}
            self._keep(lambda store: store.set_metadata(question.id, **kept))


def for_model(entries: Sequence[MessageNode], answering: str = "") -> list[MessageNode]:
    """The messages for the model: no empty replies, and in place of a withheld one a note that it was withheld."""
    return [
        replace(entry, text=WITHHELD, thought="") if is_withheld(entry) and entry.id != answering else entry
        for entry in entries
        if entry.message.content or (entry.id == answering and (entry.thought or entry.extra.get(TOKEN_IDS_KEY)))
    ]


def _check_answers(entry: MessageNode) -> None:
    if entry.role == "assistant" and entry.parent is None:
        raise PromptError("This message begins the chat: there is no message that it answers.")


def _summary_of(entries: Sequence[MessageNode]) -> Summary | None:
    """The latest summary of this branch, stored with the last message that it covers."""
    kept = [
        Summary(str(entry.extra["summary"]), at + 1) for at, entry in enumerate(entries) if "summary" in entry.extra
    ]
    return kept[-1] if kept else None
