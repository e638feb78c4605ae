"""The categories of configs/moderation.yaml, with the words that moderators ask a model about them."""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from menny.config.settings import Action
from menny.config.yaml_models import Line, StrictModel, Text, load_yaml

ACCEPTABLE = "acceptable"
JUDGE_INSTRUCTION = (
    "You are a safety moderator reviewing messages to an AI assistant and its replies across these categories: "
    "{categories}. Apply a moderate tolerance threshold."
)
LIST = "{categories}"  # where the instruction lists them


class LabelFile(StrictModel):
    """A label in configs/moderation.yaml."""

    name: Line = Field(min_length=1, max_length=40, description="The name on the page.")
    description: Line = Field(min_length=1, max_length=300, description="What belongs here, in words for the model.")
    label: Line = Field(
        min_length=1, max_length=100, description="The answer whose likelihood counts; best a short sentence."
    )


class CategoryFile(LabelFile):
    """A category of texts that may be filtered out."""

    id: Line = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40, description="A short word, as sets of texts use it.")
    question: Line | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="The yes/no question that a judge is asked. Default: made of the description.",
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=(
            "The probability from which a text counts as this. "
            "Default: where no other label is likelier; for a judge, above 0.5."
        ),
    )
    messages: Action = Field(
        default="off", description="The action for a message of this kind; the page can change it."
    )
    replies: Action = Field(default="off", description="The action for a reply of this kind; the page can change it.")

    @property
    def query(self) -> str:
        """The yes/no question that a judge is asked about a text."""
        return self.question or f"Does this content contain or ask for {self.description.rstrip('.?!')}?"


class ModerationFile(StrictModel):
    """The content of configs/moderation.yaml."""

    instruction: Text = Field(
        min_length=1,
        max_length=4000,
        description=f"The instructions; {LIST} stands for the list of categories.",
    )
    question: Line = Field(min_length=1, max_length=300, description="The question to the model below the text.")
    acceptable: LabelFile = Field(description="The label of every text that belongs to no category.")
    categories: tuple[CategoryFile, ...] = Field(min_length=1, max_length=30, description="The others.")
    judge_instruction: Text = Field(
        default=JUDGE_INSTRUCTION,
        min_length=1,
        max_length=1000,
        description=f"The instruction to a judge, with how strict to be; {LIST} stands for the categories' names.",
    )
    neutral: tuple[Text, ...] = Field(
        default=(),
        max_length=20,
        description="Texts that say nothing: the model's scores of these are subtracted from those of others.",
    )

    @field_validator("instruction")
    @classmethod
    def _lists_the_categories(cls, instruction: str) -> str:
        if instruction.count(LIST) != 1:
            raise ValueError(f"must hold {LIST} once, where the categories are to be listed")
        return instruction

    @model_validator(mode="after")
    def _no_two_alike(self) -> "ModerationFile":
        seen: dict[tuple[str, str], int] = {}
        for place, one in enumerate([self.acceptable, *self.categories]):
            word = one.id if isinstance(one, CategoryFile) else ACCEPTABLE
            for key, value in (("id", word), ("name", one.name), ("label", one.label)):
                other = seen.setdefault((key, value.casefold()), place)
                if other != place:
                    first = f"item {other}" if other else "'acceptable'"
                    raise ValueError(f"'categories' item {place} has the same {key} as {first}: {value!r}; change one")
        return self

    @property
    def names(self) -> dict[str, str]:
        """The label's names for readers, by id."""
        return {word: one.name for word, one in self.labels.items()}

    @property
    def labels(self) -> dict[str, LabelFile]:
        """Every label by its id; `acceptable` is the first."""
        return {ACCEPTABLE: self.acceptable, **{category.id: category for category in self.categories}}


def load_moderation(path: Path | str) -> ModerationFile:
    """Read the categories; raises ConfigError that names the file, the line and the key."""
    return load_yaml(path, ModerationFile)
