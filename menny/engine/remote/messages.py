"""The messages of a prompt as servers take them: roles alternate, and the user speaks first.

Hugging Face's templates of Mistral's models, and of others, raise an error for anything else. A reply that was stopped
before its first word leaves two questions in a row, an imported chat or a greeting begins with an answer.
"""

from collections.abc import Sequence
from itertools import groupby

from menny.engine.remote.byte_tokenizer import Spelled
from menny.engine_protocols import OPENING

BLANK_LINE = "\n\n"


def alternating(messages: Sequence[Spelled]) -> list[Spelled]:
    """Return the same conversation with at most one system message, which is the first, and roles that alternate.

    Neighbours of one role become one message, a blank line between their texts; blank ones are left out. Before an
    answer that opens the conversation stands a question that only says so.
    """
    written = [message for message in messages if message["content"].strip()]
    system = BLANK_LINE.join(message["content"] for message in written if message["role"] == "system")
    spoken = [message for message in written if message["role"] != "system"]
    joined: list[Spelled] = [
        {"role": role, "content": BLANK_LINE.join(message["content"] for message in group)}
        for role, group in groupby(spoken, key=lambda message: message["role"])
    ]
    if not joined or joined[0]["role"] == "assistant":
        joined.insert(0, {"role": "user", "content": OPENING})
    return [{"role": "system", "content": system}, *joined] if system else joined


def without_system(messages: Sequence[Spelled]) -> list[Spelled]:
    """Return alternating messages with the system text in the first question: some templates have no system role."""
    if messages[0]["role"] != "system":
        return list(messages)
    system, question, *rest = messages
    return [{"role": "user", "content": system["content"] + BLANK_LINE + question["content"]}, *rest]
