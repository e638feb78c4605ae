"""An engine that finds likely what a test says: it stands at the seam where a moderator asks for scores."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from menny.errors import EngineError, MennyError
from tests.ui.fake_engine import FakeScore, Letters, quoted_in


@dataclass(eq=False)
class Judge:
    """`likes` tells from the quoted text which label is likeliest, or fails with a MennyError; "": all alike."""

    likes: Callable[[str], str | MennyError]
    context_length: int = 4000
    can_score: bool = True
    tokenizer: Letters = field(default_factory=Letters)
    prompts: list[str] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)

    def score(
        self, prompt_ids: list[int], continuations: list[list[int]], shared: int = 0, on_progress: Any = None
    ) -> list[FakeScore]:
        assert len(prompt_ids) + max(map(len, continuations)) <= self.context_length
        self.ids.append(prompt_ids)
        self.prompts.append(self.tokenizer.read(prompt_ids))
        self.labels = [self.tokenizer.read(label) for label in continuations]
        self.shared.append(shared)
        liked = self.likes(quoted_in(self.prompts[-1]))
        if isinstance(liked, MennyError):
            raise liked
        return [FakeScore(-0.5 if liked and liked in label else -3.0) for label in self.labels]


def failing(_: str) -> MennyError:
    """A judge that can't."""
    return EngineError("The model gave no numbers.")
