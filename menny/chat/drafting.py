"""A draft of the user's next message, written by the model: one request, whose answer is sent only by the user."""

from collections.abc import Callable
from dataclasses import replace

from menny.chat.conversation import Chat, for_model
from menny.chat.facts import NAMELESS
from menny.chat.prompt_builder import Context
from menny.chat.settings import ReplySettings
from menny.chat.thinking import ThoughtSplitter
from menny.chat.turn_context import message_in_turn
from menny.engine_protocols import Engine, OnProgress
from menny.messages import Message
from menny.text import sanitize

MOST_TOKENS = 200
ASK = (
    "[Write the next message of {user} in this conversation, as {user} would write it to {persona}: in the first "
    "person, in the same language and manner as the messages of {user} above. Write the message only.]"
)


def draft_message(
    chat: Chat,
    persona: str,
    engine: Engine,
    settings: ReplySettings,
    is_cancelled: Callable[[], bool],
    on_progress: OnProgress | None = None,
) -> str:
    """Let the model draft the user's next message to a persona of that name; "" where it is cancelled on the way.

    Raises MennyError: PromptTooLongError where there is no room for it.
    """
    user = settings.user or NAMELESS
    context = Context(engine, settings.template, MOST_TOKENS)
    instructions = chat.instructions(engine, settings)
    ask = Message("user", ASK.format(user=user, persona=persona))
    messages = [*instructions.messages(), *map(message_in_turn, for_model(chat.entries)), ask]
    chosen = settings.memory.choose(messages, context.count, context.budget, instructions.examples).messages
    splitter = ThoughtSplitter(engine.tokenizer)
    stream = engine.stream(context.encode(chosen), replace(settings.params, max_tokens=MOST_TOKENS), on_progress)
    for chunk in stream:
        splitter.add(chunk, chunk.text)
        if is_cancelled():
            stream.cancel()
            return ""
    splitter.finish()
    return cleaned(splitter.text, settings.user)


def cleaned(text: str, user: str) -> str:
    """A draft without what models put around it: the user's name before it, and quotation marks."""
    draft = sanitize(text).strip()
    for name in filter(None, (user, "User", "You")):
        if draft.casefold().startswith(f"{name.casefold()}:"):
            draft = draft[len(name) + 1 :].strip()
    for opening, closing in ('""', "“”", "«»"):
        most = 2 if opening == closing else 1
        if len(draft) > 1 and draft[0] == opening and draft[-1] == closing and draft.count(opening) == most:
            draft = draft[1:-1].strip()
    return draft
