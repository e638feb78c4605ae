"""What one server understands of the protocol: by the program that it is, and by what it has refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from menny.engine.remote.byte_tokenizer import Spelled
from menny.engine.remote.errors import RefusedError
from menny.engine.remote.messages import without_system
from menny.engine.sampling import SamplingParams

# How a reply is continued: by vLLM's two flags, Mistral's `prefix`, llama-server's template, or not at all
Continuing = Literal["flags", "prefix", "template", "impossible", "unknown"]

CONTINUING: dict[str, Continuing] = {
    "vllm": "flags",
    "sglang": "flags",
    "aphrodite": "flags",
    "mistralai": "prefix",
    "llamacpp": "template",
    "openai": "impossible",
    "system": "impossible",  # OpenAI too
}
FLAGS = {"continue_final_message": True, "add_generation_prompt": False}
NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
OPTIONAL = ("stream_options", "seed", "stop", "temperature", *NEUTRAL, "repeat_penalty")
MISTRAL = {"seed": "random_seed", "stream_options": "", "repeat_penalty": ""}  # its names; what has none is left out
MOST_ATTEMPTS = 5

_UNKNOWN_FIELD = re.compile(
    r"unrecogni[sz]ed|unknown|unsupported|not supported|does not support|not permitted|not allowed|unexpected|extra",
    re.IGNORECASE,
)
_ROLES = re.compile(r"alternat|system role|role.{0,40}(system|not supported)|system.{0,40}not supported", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """What is known of a server so far."""

    owner: str = ""  # of its models, as it lists them
    has_system_role: bool = True
    renamed: Mapping[str, str] = field(default_factory=dict)  # fields by our name; "" for one that is left out
    continuing: Continuing = "unknown"

    @classmethod
    def of(cls, owner: str) -> "Dialect":
        """Return what the program is known for."""
        known = next((name for name in CONTINUING if owner.startswith(name)), "")
        return cls(
            owner,
            renamed=dict(MISTRAL) if known == "mistralai" else {},
            continuing=CONTINUING.get(known, "unknown"),
        )

    @property
    def counts_tokens(self) -> bool:
        """Whether the server has /tokenize."""
        return self.owner.startswith(("vllm", "llamacpp"))

    @property
    def scores(self) -> bool:
        """Whether the server tells the likelihoods of a prompt's tokens."""
        return self.owner.startswith("vllm")

    def body(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return a request in the server's own words."""
        named = {self.renamed.get(name, name): value for name, value in fields.items()}
        named.pop("", None)
        if not self.has_system_role and "messages" in named:
            named["messages"] = without_system(named["messages"])
        return named

    def adapted(self, error: RefusedError, fields: dict[str, Any]) -> "Dialect | None":
        """Return what a refusal teaches: a field that the server doesn't know, or a role. None where it is nothing."""
        if error.status not in (400, 404, 422, 500):
            return None
        messages: Sequence[Spelled] = fields.get("messages", ())
        if self.has_system_role and messages and messages[0]["role"] == "system" and _ROLES.search(error.reason):
            return replace(self, has_system_role=False)
        if "max_completion_tokens" in error.reason and "max_tokens" in fields and "max_tokens" not in self.renamed:
            return replace(self, renamed={**self.renamed, "max_tokens": "max_completion_tokens"})
        if _UNKNOWN_FIELD.search(error.reason):
            named = [
                name
                for name in OPTIONAL
                if self.renamed.get(name, name) and re.search(rf"\b{self.renamed.get(name, name)}\b", error.reason)
            ]
            refused = [name for name in named if name in fields]
            if refused:
                return replace(self, renamed={**self.renamed, **dict.fromkeys(refused, "")})
        return None


def sampling_fields(params: SamplingParams) -> dict[str, Any]:
    """Return sampling in the protocol's words; what is neutral isn't sent, as not every server knows all of it."""
    fields: dict[str, Any] = {"temperature": params.temperature, "max_tokens": params.max_tokens}
    if params.seed is not None:
        fields["seed"] = params.seed
    if params.stop:
        fields["stop"] = list(params.stop)
    fields |= {name: getattr(params, name) for name, neutral in NEUTRAL.items() if getattr(params, name) != neutral}
    if "repetition_penalty" in fields:
        fields["repeat_penalty"] = fields["repetition_penalty"]  # llama-server's word
    return fields
