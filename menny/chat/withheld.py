"""Replies that moderation withholds: neither a reader nor a model gets their text."""

from menny.moderation.policy import MODERATION_KEY, ModerationResult
from menny.storage import MessageNode


def is_withheld(entry: MessageNode) -> bool:
    """True if a reply is blocked, or might be and wasn't checked yet."""
    result = ModerationResult.from_dict(entry.extra.get(MODERATION_KEY))
    has_answer = bool(entry.text) or not entry.thought  # a thought alone isn't judged
    return entry.role == "assistant" and result is not None and result.action == "block" and has_answer
