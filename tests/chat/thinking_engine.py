"""An engine that thinks before it answers, in the tokens of a real vocabulary, and goes on from wherever it was."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from menny.engine.tokenizers.tokenizer import Tokenizer
from menny.engine_protocols import Chunk
from menny.errors import EngineError
from tests.prompts.conversations import tokenizer_of

THOUGHT = "Let me see. The user wants a number, and 17 is one. But is it prime? It is: 2, 3 and 5 don't divide it."
ANSWER = "Seventeen. It is prime, and nobody can take that from it."


class ThoughtStream:
    """Tokens, each after a pause; cancelled, its next chunk is its last."""

    def __init__(self, engine: "ThinkingEngine", prompt: int, ids: list[int], most: int) -> None:
        self.engine, self.prompt, self.ids, self.most = engine, prompt, ids, most
        self.cancelled = threading.Event()

    def __iter__(self) -> Iterator[Chunk]:
        decoder = self.engine.tokenizer.decoder()
        for number, token in enumerate(self.ids, start=1):
            time.sleep(self.engine.pause)
            if number == self.engine.fails_after:
                raise EngineError("The model gave no numbers: the reply ends here.")
            is_end = token in self.engine.tokenizer.eos_ids
            reason = "stop" if is_end else "cancelled" if self.cancelled.is_set() else None
            reason = reason or ("length" if number == self.most else None)
            text = "" if is_end else decoder.add(token)
            yield Chunk(text, token, reason, self.prompt, 0, number, 100.0, 20.0, 0.1)
            if reason:
                return

    def cancel(self) -> None:
        self.cancelled.set()


@dataclass
class ThinkingEngine:
    """Thinks by tokens over a vocabulary that has them, else in the text; only where `thinks` is true of a prompt."""

    template: str = "mistral-v7-tekken"
    thought: str = THOUGHT
    answer: str = ANSWER
    context_length: int = 4000
    can_score: bool = False
    pause: float = 0.0
    fails_after: int = 0
    thinks: Any = lambda prompt: True
    prompts: list[list[int]] = field(default_factory=list)
    streams: list[ThoughtStream] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)

    @property
    def tokenizer(self) -> Tokenizer:
        return tokenizer_of(self.template)

    def whole(self) -> list[int]:
        """A reply's ids."""
        vocabulary = self.tokenizer
        opens, closes = vocabulary.control_id("[THINK]"), vocabulary.control_id("[/THINK]")
        end = min(vocabulary.eos_ids)
        if opens is None or closes is None:
            return [*vocabulary.encode(f"<think>\n{self.thought}\n</think>\n\n{self.answer}"), end]
        return [opens, *vocabulary.encode(self.thought), closes, *vocabulary.encode(self.answer), end]

    def stream(self, prompt_ids: list[int], params: Any = None, on_progress: Any = None) -> ThoughtStream:
        del on_progress
        self.prompts.append(list(prompt_ids))
        self.params.append(params)
        ids = self._rest(list(prompt_ids))
        self.streams.append(ThoughtStream(self, len(prompt_ids), ids, params.max_tokens if params else 100))
        return self.streams[-1]

    def _rest(self, prompt: list[int]) -> list[int]:
        """What is left of the reply after what the prompt has of it."""
        end_of_question = self.tokenizer.control_id("[/INST]")
        begun = prompt[len(prompt) - prompt[::-1].index(end_of_question) :]
        closes, end = self.tokenizer.control_id("[/THINK]"), min(self.tokenizer.eos_ids)
        answer = [*self.tokenizer.encode(self.answer), end]
        if closes is None:
            return self._rest_of_text(begun)
        if closes in begun:
            return answer[len(begun) - begun.index(closes) - 1 :]
        if not begun and not self.thinks(prompt):
            return answer
        return self.whole()[len(begun) :]

    def _rest_of_text(self, begun: list[int]) -> list[int]:
        vocabulary, end = self.tokenizer, min(self.tokenizer.eos_ids)
        thought, closer, _ = vocabulary.decode(begun).partition("</think>")
        if not closer:
            return self.whole()[len(begun) :]
        before = vocabulary.encode(f"{thought}</think>\n\n")
        return [*vocabulary.encode(self.answer), end][len(begun) - len(before) :]

    def close(self) -> None:
        pass
