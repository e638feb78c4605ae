"""An engine that finds likely what a test says: it stands at the seam where a moderator asks for scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from menny.errors import EngineError, MennyError


class Letters:
    """A vocabulary of Unicode characters, with two control tokens; prompts can be read back."""

    controls = ("<|im_start|>", "<|im_end|>")

    def encode(self, text: str) -> list[int]:
        return [ord(letter) + 2 for letter in text]

    def control_id(self, piece: str) -> int | None:
        return self.controls.index(piece) if piece in self.controls else None

    def read(self, ids: Sequence[int]) -> str:
        return "".join(self.controls[i] if i < 2 else chr(i - 2) for i in ids)


@dataclass(frozen=True)
class FixedScore:
    """A score that is what it is."""

    per_token: float


@dataclass(eq=False)
class Judge:
    """`likes` tells from the quoted text which label is likeliest, or fails with a MennyError; "": all alike."""

    likes: Callable[[str], str | MennyError]
    context_length: int = 4000
    tokenizer: Letters = field(default_factory=Letters)
    prompts: list[str] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)

    def score(
        self, prompt_ids: list[int], continuations: list[list[int]], shared: int = 0, on_progress: Any = None
    ) -> list[FixedScore]:
        assert len(prompt_ids) + max(map(len, continuations)) <= self.context_length
        self.ids.append(prompt_ids)
        self.prompts.append(self.tokenizer.read(prompt_ids))
        self.labels = [self.tokenizer.read(label) for label in continuations]
        self.shared.append(shared)
        liked = self.likes(quoted_in(self.prompts[-1]))
        if isinstance(liked, MennyError):
            raise liked
        return [FixedScore(-0.5 if liked and liked in label else -3.0) for label in self.labels]


def quoted_in(prompt: str) -> str:
    """The text that a reflection prompt of the chatml template holds, without its marks."""
    asked = prompt.split("<|im_start|>user\n")[1].split("<|im_end|>")[0]
    lines = asked.split("\n")
    return "\n".join(line.removeprefix("> ") for line in lines if line.startswith("> "))


def failing(_: str) -> MennyError:
    """A judge that can't."""
    return EngineError("The model gave no numbers.")
