"""The part of the protocol that one server understands, known from its program's name and from its refusals."""

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
NO_THOUGHT = {"chat_template_kwargs": {"enable_thinking": False}}
FLAGS = {"continue_final_message": True, "add_generation_prompt": False}
NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
DRAWING = ("top_p", "top_k", "min_p")  # mean nothing at temperature 0, where some servers refuse them
THINKING = ("reasoning_effort", "chat_template_kwargs")
OPTIONAL = ("stream_options", "seed", "stop", "temperature", *NEUTRAL, "repeat_penalty")
MISTRAL = {"seed": "random_seed", "stream_options": "", "repeat_penalty": ""}  # its names; what has none is left out
MOST_ATTEMPTS = 5

_UNKNOWN_FIELD = re.compile(
    r"unrecogni[sz]ed|unknown|unsupported|not supported|does not support|not permitted|not allowed|unexpected|extra"
    r"|deprecated|may only be",
    re.IGNORECASE,
)
_CONFLICT = re.compile(r"both|together|only one|one of|exclusive|greedy|in combination|conflict", re.IGNORECASE)
_TOO_MANY_STOPS = re.compile(
    r"\bstop\b.*(too (long|many)|at most|maximum|up to|no more than)", re.IGNORECASE | re.DOTALL
)
_ROLES = re.compile(r"alternat|system role|role.{0,40}(system|not supported)|system.{0,40}not supported", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """The fields, roles and ways to continue a reply that a server is known to take."""

    owner: str = ""  # of its models, as it lists them
    has_system_role: bool = True
    renamed: Mapping[str, str] = field(default_factory=dict)  # fields by our name; "" for one that is left out
    continuing: Continuing = "unknown"

    @classmethod
    def of(cls, owner: str) -> "Dialect":
        """Return the dialect of a program, by the owner that its models state."""
        known = next((name for name in CONTINUING if owner.startswith(name)), "")
        return cls(
            owner,
            renamed=dict(MISTRAL) if known == "mistralai" else {},
            continuing=CONTINUING.get(known, "unknown"),
        )

    @property
    def counts_tokens(self) -> bool:
        """True for a server with /tokenize."""
        return self.owner.startswith(("vllm", "llamacpp"))

    @property
    def scores(self) -> bool:
        """True for a server that gives the log-probabilities of a prompt's tokens."""
        return self.owner.startswith("vllm")

    def thinking_fields(self, thinking: bool | None) -> dict[str, Any]:
        """Return the fields that switch a model's thoughts on or off, in a server's own words; none that isn't known.

        A model that can't think may refuse them: they are left out then (`adapted`).
        """
        if thinking is None:
            return {}
        if self.owner.startswith(("vllm", "sglang", "aphrodite", "llamacpp")):
            return {"chat_template_kwargs": {"enable_thinking": True}} if thinking else dict(NO_THOUGHT)
        if self.owner.startswith(("mistralai", "openai", "system")):
            return {"reasoning_effort": "high" if thinking else "none"}
        return {}

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
        if asked := [name for name in THINKING if name in fields and name not in self.renamed]:  # the model can't
            return replace(self, renamed={**self.renamed, **dict.fromkeys(asked, "")})
        if "max_completion_tokens" in error.reason and "max_tokens" in fields and "max_tokens" not in self.renamed:
            return replace(self, renamed={**self.renamed, "max_tokens": "max_completion_tokens"})
        if "stop" in fields and "stop" not in self.renamed and _TOO_MANY_STOPS.search(error.reason):
            return replace(self, renamed={**self.renamed, "stop": ""})  # the engine finds them by itself
        if _UNKNOWN_FIELD.search(error.reason):
            named = [
                name
                for name in OPTIONAL
                if self.renamed.get(name, name) and re.search(rf"\b{self.renamed.get(name, name)}\b", error.reason)
            ]
            refused = [name for name in named if name in fields]
            if refused:
                return replace(self, renamed={**self.renamed, **dict.fromkeys(refused, "")})
        if _CONFLICT.search(error.reason):  # as of temperature and top_p: the temperature is what stays
            refused = [name for name in DRAWING if name in fields and re.search(rf"\b{name}\b", error.reason)]
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
    if params.temperature == 0:
        fields = {name: value for name, value in fields.items() if name not in DRAWING}
    if "repetition_penalty" in fields:
        fields["repeat_penalty"] = fields["repetition_penalty"]  # llama-server's word
    return fields
