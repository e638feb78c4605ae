"""ReplySettings: everything that a reply is made by, chosen once and passed on whole."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from menny.chat.lore import Lore
from menny.chat.memory import Memory
from menny.chat.thinking import Thinking
from menny.messages import Message
from menny.moderation.policy import Moderation

if TYPE_CHECKING:
    from menny.engine import SamplingParams


@dataclass(frozen=True, slots=True)
class Instructions:
    """The text before a conversation: the system text, then examples of how to answer."""

    system_text: str = ""
    examples: tuple[Message, ...] = ()

    @classmethod
    def of(cls, guardrail_texts: Iterable[str], persona_text: str, examples: Iterable[Message] = ()) -> "Instructions":
        """Combine guardrails and a persona; the guardrails come first, and a persona can't take their place."""
        texts = [text.strip() for text in (*guardrail_texts, persona_text) if text.strip()]
        return cls("\n\n".join(texts), tuple(examples))

    def messages(self) -> list[Message]:
        """The system text as a message, if there is one."""
        return [Message("system", self.system_text)] if self.system_text else []


@dataclass(frozen=True, slots=True)
class ReplySettings:
    """The settings of a reply; without a template, the prompt's is guessed by the model's vocabulary."""

    params: "SamplingParams"
    instructions: Instructions = field(default_factory=Instructions)
    template: str | None = None
    memory: Memory = field(default_factory=Memory)
    moderation: Moderation | None = None  # None: nothing is moderated
    lore: Lore = field(default_factory=Lore)
    thinking: Thinking = field(default_factory=Thinking)
