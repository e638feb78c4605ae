"""A conversation, and the way from a user's text to a stored, streamed reply."""

from menny.chat.conversation import Chat
from menny.chat.memory import Memory
from menny.chat.reply import Reply
from menny.chat.settings import Instructions, ReplySettings
from menny.chat.thinking import Thinking

__all__ = ["Chat", "Instructions", "Memory", "Reply", "ReplySettings", "Thinking"]
