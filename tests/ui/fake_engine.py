"""An engine that says what a test wants: it stands at the seam where the page loads a model."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menny.errors import EngineError

ACCEPTABLE = "acceptable"
NEUTRAL = ("", "N/A", "The text.", "Hello.", "What is this?", "...")  # in configs/moderation.yaml


class Letters:
    """A vocabulary of Unicode characters, with two control tokens; prompts can be read back."""

    controls = ("<|im_start|>", "<|im_end|>")

    def encode(self, text: str) -> list[int]:
        return [ord(letter) + 2 for letter in text]

    def control_id(self, piece: str) -> int | None:
        return self.controls.index(piece) if piece in self.controls else None

    def read(self, ids: list[int]) -> str:
        return "".join(self.controls[i] if i < 2 else chr(i - 2) for i in ids)

    def decode(self, ids: list[int]) -> str:
        return self.read([i for i in ids if i > 1])


@dataclass(frozen=True)
class FakeChunk:
    text: str
    finish_reason: str | None = None
    token: int | None = 0
    prompt_tokens: int = 12
    cached_tokens: int = 0
    completion_tokens: int = 1
    prompt_tps: float = 200.0
    decode_tps: float = 18.0
    seconds_to_first_token: float = 0.4


@dataclass(frozen=True)
class FakeProgress:
    phase: str
    done: int
    total: int


class FakeStream:
    """Words, each after a pause; cancelled, its next chunk is its last."""

    def __init__(self, engine: "FakeEngine", words: Iterable[str], on_progress: Callable[[Any], None] | None) -> None:
        self.engine, self.words, self.on_progress = engine, words, on_progress
        self.cancelled = threading.Event()

    def __iter__(self) -> Iterator[FakeChunk]:
        while not self.engine.turn.acquire(timeout=0.1):
            if self.on_progress:
                self.on_progress(FakeProgress("waiting", 0, 1))
            if self.cancelled.is_set():
                yield FakeChunk("", "cancelled")
                return
        number = 0
        try:
            for number, word in enumerate(self.words, start=1):
                time.sleep(self.engine.pause)
                if self.cancelled.is_set():
                    yield FakeChunk("", "cancelled", completion_tokens=number)
                    return
                if word == "<fail>":
                    raise EngineError("The model gave no numbers: the reply ends here.")
                yield FakeChunk(word, completion_tokens=number)
            yield FakeChunk("", "stop", completion_tokens=number)
        finally:
            self.engine.turn.release()

    def cancel(self) -> None:
        self.cancelled.set()


@dataclass(frozen=True)
class FakeScore:
    per_token: float


@dataclass
class FakeEngine:
    """`answer` makes a reply's words from the prompt."""

    answer: Callable[[str], Iterable[str]]
    context_length: int = 4000
    can_score: bool = True
    pause: float = 0.0
    name: str = "fake"
    tokenizer: Letters = field(default_factory=Letters)
    turn: Any = field(default_factory=threading.Lock)
    prompts: list[str] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)
    closed: bool = False
    judge: Callable[[str], str] = lambda text: ACCEPTABLE  # tells a text's label, or "<fail>"
    judged: list[str] = field(default_factory=list)
    title: str = ""  # of any chat; none, and it keeps the one that it has

    def score(
        self,
        prompt_ids: list[int],
        continuations: list[list[int]],
        shared: int = 0,
        on_progress: Callable[[Any], None] | None = None,
    ) -> list[FakeScore]:
        text = quoted_in(self.tokenizer.read(prompt_ids))
        if text in NEUTRAL:
            return [FakeScore(-1.0) for _ in continuations]
        self.judged.append(text)
        time.sleep(self.pause)
        if on_progress:
            on_progress(FakeProgress("prefill", 0, len(prompt_ids)))
        label = self.judge(text)
        if label == "<fail>":
            raise EngineError("The model gave no numbers.")
        return [FakeScore(-0.5 if label in self.tokenizer.read(one) else -3.0) for one in continuations]

    def stream(
        self, prompt_ids: list[int], params: Any = None, on_progress: Callable[[Any], None] | None = None
    ) -> FakeStream:
        if (text := self.tokenizer.read(prompt_ids)).count("Write the title of this chat."):
            return FakeStream(self, [self.title] if self.title else [], on_progress)
        self.prompts.append(text)
        self.params.append(params)
        return FakeStream(self, self.answer(self.prompts[-1]), on_progress)

    def close(self) -> None:
        self.closed = True


def quoted_in(prompt: str) -> str:
    """The text that a reflection prompt of the chatml template holds, without its marks."""
    lines = last_question(prompt).split("\n")
    return "\n".join(line.removeprefix("> ") for line in lines if line.startswith("> "))


def last_question(prompt: str) -> str:
    """What the user said last, in a prompt of the chatml template."""
    return prompt.rsplit("<|im_start|>user\n", 1)[-1].split("<|im_end|>")[0]


def parrot(prompt: str) -> list[str]:
    """Say the question again, word by word."""
    return [word + " " for word in f"You said: {last_question(prompt)}".split(" ")]


def load_nothing(path: Path) -> FakeEngine:
    return FakeEngine(parrot)
