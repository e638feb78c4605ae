"""Titles written by the model: one short request, whose answer is a title only if it looks like one."""

import re
from collections.abc import Callable
from dataclasses import replace

from menny.chat.conversation import Chat
from menny.chat.settings import ReplySettings
from menny.engine_protocols import Engine
from menny.messages import Message
from menny.prompts import encode_chat, guess_template
from menny.storage import title_of
from menny.text import is_blank, sanitize

MOST_EXCHANGES = 3  # after which a chat keeps the title that it has
EXCERPT = 600  # characters of the question, and of the answer
MOST_TOKENS = 24
LONGEST, MOST_WORDS = 60, 8

EXAMPLE = ("How long do eggs boil?", "Six minutes for soft ones, ten for hard ones.", "Boiling eggs")

_LABEL = re.compile(r"^(?:title|chat title|topic)\s*[:\-–]\s*", re.IGNORECASE)
_WRAPPING = " \t\"'“”‘’«»`*_#>-–—.:;,"
_PHRASES = re.compile(
    r"^(?:sure|certainly|of course|here(?:'s| is)|okay|i |i'm|as an? )|\b(?:this chat|(?:good|perfect) title)\b",
    re.IGNORECASE,
)


def write_title(chat: Chat, engine: Engine, settings: ReplySettings, is_cancelled: Callable[[], bool]) -> None:
    """Let the model title a chat that has the title of its first question; what is no title changes nothing.

    Raises MennyError as the engine and the store do.
    """
    questions = [entry for entry in chat.entries if entry.role == "user"]
    last = chat.entries[-1] if chat.entries else None
    if not questions or len(questions) > MOST_EXCHANGES or last is None or last.role != "assistant" or not last.text:
        return
    before = title_of(questions[0].text)
    if not before or chat.title != before:
        return
    prompt = encode_chat(
        request(questions[0].text, last.text), settings.template or guess_template(engine.tokenizer), engine.tokenizer
    )
    if len(prompt) + MOST_TOKENS > engine.context_length:
        return
    stream = engine.stream(prompt, replace(settings.params, max_tokens=MOST_TOKENS, temperature=0.0))
    pieces: list[str] = []
    for chunk in stream:
        pieces.append(chunk.text)
        if is_cancelled():
            stream.cancel()
            return
    title = cleaned("".join(pieces))
    if title and title != EXAMPLE[-1]:  # of which the smallest models make a title for every greeting
        chat.retitle(title, before)


def request(question: str, answer: str) -> list[Message]:
    """The messages that ask for a title, after an example, without which small models write a sentence."""

    def asked(question: str, answer: str) -> Message:
        exchange = f"User: {question[:EXCERPT]}\n\nAssistant: {answer[:EXCERPT]}"
        return Message("user", f"{exchange}\n\nWrite the title of this chat.")

    return [
        Message("system", "You write titles of chats: two to six words that name the subject, and nothing else."),
        asked(*EXAMPLE[:2]),
        Message("assistant", EXAMPLE[-1]),
        asked(question, answer),
    ]


def cleaned(text: str) -> str:
    """The title in a model's answer; empty where it isn't one: no words, too many, or a sentence about itself."""
    line = next((line for line in sanitize(text).splitlines() if line.strip(_WRAPPING)), "")
    title = _LABEL.sub("", line.strip(_WRAPPING)).strip(_WRAPPING)
    words = title.split()
    title = " ".join(words)
    repeats = len(words) - len({word.strip(_WRAPPING).casefold() for word in words})
    is_title = 2 <= len(title) <= LONGEST and len(words) <= MOST_WORDS and not is_blank(title) and repeats < 3
    return "" if not is_title or _PHRASES.search(title) or title[0] in "[<{(" else title
