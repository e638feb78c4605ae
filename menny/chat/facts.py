"""Memory across chats: lasting facts about the user, noted after a chat, for the persona to know in the next one.

Only two ways lead into it: the user types “Remember that …”, or the model lists facts in a request of its own, made
when a chat has gone quiet. What a card or a message says of itself is never a fact.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from menny.chat.prompt_builder import Context
from menny.chat.settings import Instructions, ReplySettings
from menny.chat.thinking import ThoughtSplitter
from menny.engine_protocols import Engine
from menny.messages import Message
from menny.storage import Fact, MessageNode

MOST_NEW = 3  # facts of one request
MOST_TOKENS = 120  # of its answer
SHARE = 20  # at most a twentieth of the context goes to facts in a new chat
NAMELESS = "the user"
HEADING = "What you remember about {name}:"
ASK = (
    "List lasting facts that {name} has told about {name}, or that were agreed, in the conversation above: at most "
    "{most}, one a line, each beginning with a hyphen, such as “- {name} has a cat called Biscuit.” Leave out what is "
    "passing, what is invented in a story, and what is in this list already:\n{known}\nIf there is nothing, write: none"
)

_REMEMBER = re.compile(
    r"(?:(?:please|hey|also|and|so|oh|ok|okay)[,]?\s+)*(?:remember|note|don['’]t forget)\s*"
    r"(?:that\b|this:|:|,)\s*(?P<fact>.+)",
    re.IGNORECASE | re.DOTALL,
)
_BULLET = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+(?P<fact>.+)$")
_NOTHING = re.compile(
    r"\W*(?:there (?:is|are|was|were) )?(?:none|n/a|empty|nothing(?: (?:new|else|more|lasting|to \w+))*"
    r"|no(?: \w+){0,3} facts?\b.{0,40})\W*",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"[^.!]*\?[?!]*")


def asked_to_remember(text: str) -> str:
    """The fact in a message such as “Remember that I'm allergic to nuts.”, as it stands there; "" in any other.

    A question, such as “Remember that day in Rome?”, tells nothing.
    """
    found = _REMEMBER.fullmatch(text.strip())
    fact = found["fact"].strip() if found else ""
    return "" if _QUESTION.fullmatch(fact) else fact


def with_facts(
    instructions: Instructions, facts: Sequence[str], name: str, count: Callable[[str], int], context_length: int
) -> Instructions:
    """The instructions with what the persona remembers after them: the latest facts that fit, in their order."""
    budget, chosen = context_length // SHARE, list[str]()
    for fact in reversed(facts):
        budget -= count(f"- {fact}\n")
        if budget < 0:
            break
        chosen.insert(0, fact)
    return instructions.adding("memory", written(chosen, name))


def written(facts: Sequence[str], name: str) -> str:
    """Facts as the model reads them; "" where there are none."""
    lines = [f"- {fact}" for fact in facts]
    return "\n".join([HEADING.format(name=name or NAMELESS), *lines]) if facts else ""


def note_facts(
    engine: Engine,
    settings: ReplySettings,
    path: Sequence[MessageNode],
    known: Sequence[Fact],
    name: str,
    is_cancelled: Callable[[], bool],
) -> list[str]:
    """Have the model list the facts of these messages, in one request; empty where it is cancelled on the way.

    Of a message that is too long by itself there are none. Raises EngineError.
    """
    context = Context(engine, settings.template, MOST_TOKENS)
    messages = [*(entry.message for entry in path), _ask(known, name)]
    if context.count(messages) > context.budget:
        return []
    params = replace(settings.params, max_tokens=MOST_TOKENS, temperature=0.0, seed=None, stop=(), background=True)
    splitter = ThoughtSplitter(engine.tokenizer)
    stream = engine.stream(context.encode(messages), params)
    for chunk in stream:
        splitter.add(chunk, chunk.text)
        if is_cancelled():
            stream.cancel()
            return []
    splitter.finish()
    return listed_facts(splitter.text, known)


def first_that_fit(
    engine: Engine, settings: ReplySettings, path: Sequence[MessageNode], known: Sequence[Fact], name: str
) -> Sequence[MessageNode]:
    """The first of these messages that fit into one request for facts; at least one of them."""
    context, ask = Context(engine, settings.template, MOST_TOKENS), _ask(known, name)
    messages = [entry.message for entry in path]
    low, high = 1, len(messages)
    while low < high:
        middle = (low + high + 1) // 2
        if context.count([*messages[:middle], ask]) <= context.budget:
            low = middle
        else:
            high = middle - 1
    return path[:low]


def _ask(known: Sequence[Fact], name: str) -> Message:
    listed = "\n".join(f"- {fact.text}" for fact in known[-20:]) or "- (empty)"
    return Message("user", ASK.format(name=name or NAMELESS, most=MOST_NEW, known=listed))


def listed_facts(answer: str, known: Sequence[Fact]) -> list[str]:
    """The facts in a model's answer: its lines with a hyphen or a number, but for those that are known."""
    there = {fact.text.casefold().rstrip(".") for fact in known}
    found = [match["fact"].strip() for line in answer.splitlines() if (match := _BULLET.match(line))]
    facts = [fact for fact in found if not _NOTHING.fullmatch(fact) and fact.casefold().rstrip(".") not in there]
    return list(dict.fromkeys(facts))[:MOST_NEW]
