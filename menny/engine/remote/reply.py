"""A reply as a server streams it: the text and the thought of its events, and how it ends."""

from typing import Any

from menny.engine.remote.errors import (
    EMPTY,
    FILTERED,
    NO_TEXT,
    ONLY_THOUGHTS,
    ONLY_TOOLS,
    TOO_MUCH,
    reason_of,
    reported,
)
from menny.engine.remote.events import DONE
from menny.engine_protocols import FinishReason
from menny.errors import EngineError

LETTERS_A_TOKEN = 200  # more than any token has: a server that sends more doesn't end its reply
LENGTH_REASONS = ("length", "max_tokens", "model_length")
# The beginnings of these words: Gemini adds what its filter found
FILTER_REASONS = ("content_filter", "safety", "recitation", "prohibited_content", "blocklist", "sensitive", "refusal")
FAILED_REASONS = ("error", "abort", "insufficient_system_resource", "network_error")


class ReplyReader:
    """Takes in the events of one reply. Texts come out whole: half a character waits for its other half.

    `thought` is what the last event added to the model's thought, where the server tells it apart from the answer.
    """

    def __init__(self, address: str, key: str | None, max_tokens: int) -> None:
        self.usage: dict[str, Any] = {}
        self.reason = ""  # why it ended, in the server's own word
        self.is_done = False  # nothing more will come
        self._address, self._key = address, key
        self._letters_left = LETTERS_A_TOKEN * (max_tokens + 100)
        self._half = Half()
        self._half_thought = Half()
        self.thought = ""
        self._has_text = self._has_thoughts = self._has_tools = False

    @property
    def is_complete(self) -> bool:
        """True once the server has ended the reply."""
        return self.is_done or bool(self.reason)

    def take(self, event: Any) -> str:
        """Return the text that an event adds. Raises EngineError for an error, and for what can't be a reply."""
        self.thought = ""
        if event == DONE:
            self.is_done = True
            return ""
        if not isinstance(event, dict):
            return ""
        self._check(event)
        usage, choices = event.get("usage"), event.get("choices")
        if isinstance(usage, dict):
            self.usage = usage
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            self.is_done = self.is_done or bool(self.reason and usage)
            return ""
        text = self._half.joined(self._text(choice))
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason not in ("", "null", "None"):
            self.reason = reason.lower()
        self._has_text = self._has_text or bool(text.strip())
        return text

    def rest(self) -> str:
        """Return half a character whose other half never came, marked as such."""
        return self._half.rest()

    def end(self, *, may_be_empty: bool) -> FinishReason:
        """Return how the reply ended. Raises EngineError where that is no end to leave a user with."""
        if self.reason.startswith(FILTER_REASONS):
            raise EngineError(FILTERED.format(address=self._address))
        if self.reason in FAILED_REASONS:
            raise reported(f"finish_reason {self.reason}", self._address, self._key)
        if not self._has_text and not may_be_empty:
            sentence = ONLY_TOOLS if self._has_tools else ONLY_THOUGHTS if self._has_thoughts else EMPTY
            raise EngineError(sentence.format(address=self._address))
        return "length" if self.reason in LENGTH_REASONS else "stop"

    def _check(self, event: dict[str, Any]) -> None:
        is_error = event.get("error") or event.get("object") == "error" or event.get("type") == "error"
        if is_error or ("detail" in event and "choices" not in event):
            raise reported(reason_of(event), self._address, self._key)

    def _text(self, choice: dict[str, Any]) -> str:
        """Return the text of a choice: of a chat's stream, of a whole answer, or of a completion."""
        message = choice.get("delta") or ({} if self._has_text else choice.get("message"))  # some repeat the whole
        self.is_done = self.is_done or (bool(choice.get("message")) and not choice.get("delta"))
        if not isinstance(message, dict):
            message = {"content": choice.get("text")}
        self._has_tools = self._has_tools or bool(message.get("tool_calls") or message.get("function_call"))
        apart = message.get("reasoning_content") or message.get("reasoning")
        thoughts = [apart] if isinstance(apart, str) else []
        text = self._of_content(message.get("content"), thoughts) or self._of_content(message.get("refusal"), thoughts)
        self._has_thoughts = self._has_thoughts or bool(apart or thoughts)
        self.thought = self._half_thought.joined("".join(thoughts))
        self._letters_left -= len(text) + sum(map(len, thoughts))
        if self._letters_left < 0:
            raise EngineError(TOO_MUCH.format(address=self._address))
        return text

    def _of_content(self, content: Any, thoughts: list[str]) -> str:
        """Return a content's text: the content itself, or those of its parts that are texts; add the thoughts in it."""
        if content is None:
            return ""
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise EngineError(NO_TEXT.format(address=self._address))
        texts = []
        for part in content:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, dict) and part.get("type") in (None, "text", "output_text"):
                texts.append(self._of_content(part.get("text"), thoughts))
            elif isinstance(part, dict):
                self._has_thoughts = self._has_thoughts or part.get("type") in ("thinking", "reasoning")
                if part.get("type") in ("thinking", "reasoning"):
                    thoughts.append(self._of_content(part.get(part["type"]) or part.get("text"), thoughts))
            else:
                raise EngineError(NO_TEXT.format(address=self._address))
        return "".join(texts)


class Half:
    """Joins halves of characters: one that ends a text waits for the next text."""

    def __init__(self) -> None:
        self._half = ""

    def joined(self, text: str) -> str:
        """Return a text as it can be kept and shown; any half that stays alone is marked."""
        if not text:
            return ""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return joined.encode(errors="replace").decode()

    def rest(self) -> str:
        """Return half a character whose other half never came, marked as such."""
        half, self._half = self._half, ""
        return "?" if half else ""
