"""ReplySettings: everything that a reply is made by, chosen once and passed on whole."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from menny.chat.lore import Lore
from menny.chat.memory import Memory
from menny.chat.note import DEPTH
from menny.chat.thinking import Thinking
from menny.messages import Message
from menny.moderation.policy import Moderation

if TYPE_CHECKING:
    from menny.engine import SamplingParams


@dataclass(frozen=True, slots=True)
class Instructions:
    """The text before a conversation: the system text, then examples of how to answer.

    `parts` are the kinds of text that the system text is made of, with each one's text, as a receipt names them.
    """

    system_text: str = ""
    examples: tuple[Message, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        guardrail_texts: Iterable[str],
        persona_text: str,
        examples: Iterable[Message] = (),
        about_user: str = "",
    ) -> "Instructions":
        """Combine guardrails, a persona, and what it is told about the user.

        The guardrails come first, and a persona can't take their place.
        """
        guardrails = "\n\n".join(text.strip() for text in guardrail_texts if text.strip())
        combined = cls("", tuple(examples)).adding("guardrails", guardrails).adding("persona", persona_text)
        return combined.adding("you", about_user)

    def adding(self, kind: str, text: str) -> "Instructions":
        """The instructions with another text after them, a blank line between; the same ones if it is blank."""
        if not text.strip():
            return self
        texts = [self.system_text, text.strip()] if self.system_text else [text.strip()]
        return replace(self, system_text="\n\n".join(texts), parts=(*self.parts, (kind, text.strip())))

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
    facts: tuple[str, ...] = ()  # what the persona remembers of the user, after everything else
    user: str = ""  # the user's name, where one was given
    note: str = ""  # the user's, for this chat
    note_depth: int = DEPTH  # turns
    beginning: str = ""  # of each new reply, which the model goes on with
    thinking: Thinking = field(default_factory=Thinking)
