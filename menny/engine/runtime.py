"""Runtime and RequestControl: what requests share in the engine's thread, and the callbacks of each request."""

from collections.abc import Callable
from dataclasses import dataclass, field

from menny.engine.model import Mistral
from menny.engine.pass_costs import PassCosts
from menny.engine.prefix_cache import PrefixCache
from menny.engine.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Runtime:
    """A loaded model with all that outlives a request."""

    model: Mistral
    tokenizer: Tokenizer
    prefix_cache: PrefixCache = field(default_factory=lambda: PrefixCache(0))
    pass_costs: PassCosts = field(default_factory=PassCosts)

    @property
    def vocab_size(self) -> int:
        """The number of tokens. A model's output may be padded beyond it."""
        return self.tokenizer.vocab_size


def _ignore(_: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class RequestControl:
    """The callbacks of a request: `on_prefill` gets the number of prompt tokens that are computed, after each chunk;
    `is_cancelled` is called after each pass of the model."""

    on_prefill: Callable[[int], None] = _ignore
    is_cancelled: Callable[[], bool] = _never
