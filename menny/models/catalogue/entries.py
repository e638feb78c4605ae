"""The entries of models.yaml, and of a user's own file of the same form: models, their sources, and their shapes."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from menny.config.yaml_models import Line, StrictModel
from menny.models.catalogue.places import is_address, is_repo

TemplateName = Literal[
    "mistral-v1",
    "mistral-v3",
    "mistral-v3-tekken",
    "mistral-v7",
    "mistral-v7-tekken",
    "mistral-v15",
    "llama-2",
    "chatml",
]


def _matching(pattern: str, wanted: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {wanted}")
        return text

    return AfterValidator(check)


def _repository(text: str) -> str:
    if not is_repo(text):
        raise ValueError("must be a repository of the hub, such as owner/name")
    return text


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("must be an address such as http://127.0.0.1:8000/v1")
    return text


Id = Annotated[str, _matching(r"[a-z0-9][a-z0-9._-]{0,59}", "small letters, digits, dots and dashes")]
Package = Annotated[str, _matching(r"[A-Za-z_]\w*", "the name of a Python package")]
FileName = Annotated[str, _matching(r"[\w-][\w.-]*", "a file's name, without a folder")]
Repo = Annotated[str, AfterValidator(_repository)]


EnvironmentVariable = Annotated[str, _matching(r"[A-Za-z_]\w*", "the name of an environment variable")]
Address = Annotated[str, AfterValidator(_address)]
Count = Annotated[int, Field(ge=1, le=1 << 24)]


class Shape(StrictModel):
    """A model's dimensions, in the engine's names: they tell how much memory it takes before it is here."""

    dim: Count
    n_layers: Count
    head_dim: Count
    hidden_dim: Count
    n_heads: Count
    n_kv_heads: Count
    vocab_size: Count
    sliding_window: Count | None = None
    tie_word_embeddings: bool = Field(default=False, description="The output projection is the embedding table.")
    num_experts: Count | None = Field(default=None, description="Of a mixture of experts.")
    num_experts_per_tok: Count | None = Field(default=None, description="The experts that a token goes through.")


class ModelEntry(StrictModel):
    """A model of models.yaml: its description, and its one source."""

    id: Id = Field(description="What --model takes; also the folder's name within the models folder.")
    name: Line = Field(min_length=1, max_length=80, description="The name in the sidebar.")
    family: Line | None = Field(default=None, max_length=60, description="Models of one family share a card.")
    size: Line | None = Field(default=None, max_length=20, description="Which size of the family, such as 8B.")
    version: Line | None = Field(default=None, max_length=40, description="Which version, such as Instruct or v0.3.")
    recommend: bool = Field(default=False, description="Recommended where it is the largest such model that fits.")
    template: TemplateName | None = Field(
        default=None, description="The prompt template; guessed where left out. v7-tekken is that of v11 and v13 too."
    )
    licence: Line = Field(default="", max_length=80, description="The weights' licence.")
    context_length: int | None = Field(
        default=None, ge=1, le=1 << 32, description="The greatest number of tokens it attends to."
    )
    size_bytes: int | None = Field(default=None, ge=1, le=1 << 60, description="About how large the download is.")
    good_for: Line = Field(default="", max_length=200, description="One line on what it is good for.")
    package: Package | None = Field(default=None, description="A Python package that carries the model.")
    file: FileName | None = Field(
        default=None, description="The model's file within the package, or which .gguf of the repository."
    )
    repo: Repo | None = Field(default=None, description="A repository of the hub.")
    revision: Line | None = Field(default=None, description="The repository's commit; its main branch if left out.")
    path: Line | None = Field(default=None, description="A folder or .gguf; relative to the models folder.")
    server: Address | None = Field(default=None, description="An OpenAI-compatible server, with its /v1.")
    served: Line | None = Field(default=None, description="The server's name of the model; its first if left out.")
    key: EnvironmentVariable | None = Field(default=None, description="The variable that holds the server's key.")
    thinks: bool | None = Field(
        default=None, description="Whether it was trained to think before it answers; known by its name if left out."
    )
    shape: Line | None = Field(default=None, description="One of 'shapes'; where it isn't known, nothing fits or not.")
    bits: Literal[4, 8, 16] | None = Field(default=None, description="Of a weight.")
    judge: Literal["shieldstral"] | None = Field(
        default=None, description="The form of the questions to a model that judges texts and doesn't chat."
    )

    @model_validator(mode="after")
    def _one_source(self) -> "ModelEntry":
        if [self.package, self.repo, self.path, self.server].count(None) != 3:
            raise ValueError("needs one source: 'package' with 'file', or 'repo', or 'path', or 'server'")
        if (self.package is not None and self.file is None) or (self.file and not (self.package or self.repo)):
            raise ValueError("needs 'package' and 'file' together")
        if self.repo and self.file and not self.file.lower().endswith(".gguf"):
            raise ValueError("has a 'file' that isn't a .gguf file of its 'repo'")
        if self.revision is not None and self.repo is None:
            raise ValueError("has a 'revision' without a 'repo'")
        if self.server is None and (self.served or self.key):
            raise ValueError("has a 'served' or a 'key' without a 'server'")
        if (self.shape is None) != (self.bits is None):
            raise ValueError("needs 'shape' and 'bits' together")
        if self.family is None and (self.size or self.version):
            raise ValueError("has a 'size' or a 'version' without a 'family'")
        return self


class CatalogueFile(StrictModel):
    """The content of models.yaml."""

    models: tuple[ModelEntry, ...] = Field(description="The models, in the sidebar's order.")
    shapes: dict[str, Shape] = Field(default_factory=dict, description="Dimensions that several models share, by name.")

    @model_validator(mode="after")
    def _ids_differ(self) -> "CatalogueFile":
        ids = [entry.id for entry in self.models]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"the id '{twice[0]}' is listed twice under 'models'; change one")
        if unknown := sorted({entry.shape for entry in self.models if entry.shape} - self.shapes.keys()):
            raise ValueError(f"the shape '{unknown[0]}' isn't listed under 'shapes'")
        return self
