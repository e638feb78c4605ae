"""How well a model foretells a text: what quantizing it costs, in one number.

Perplexity is exp of the mean of -log p(token | all before it): among so many tokens, all alike, a model that is as
uncertain would have to choose.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from menny.engine.checkpoints.checkpoint import open_model
from menny.engine.checkpoints.load import build_model
from menny.engine.formats.small_files import read_bytes
from menny.engine.model import Mistral
from menny.engine.tokenizers.tokenizer import Tokenizer, load_tokenizer
from menny.errors import ModelError

CHUNK = 256  # tokens whose logits are held at once


@dataclass(frozen=True)
class Perplexity:
    """What one model makes of a text. Perplexities of models with different vocabularies can't be compared."""

    tokens: int
    perplexity: float
    weights_bytes: int  # in the files


def measure_perplexity(path: str | Path, text: str) -> Perplexity:
    """The model's at this path; of a text longer than its context, the beginning counts.

    Raises ModelError for what can't be loaded, and for a text of fewer than two tokens.
    """
    args, source = open_model(Path(path))
    tokens = _tokens(text, load_tokenizer(path))[: args.max_position_embeddings]
    if len(tokens) < 2:
        raise ModelError("The text has fewer than two tokens: take a longer one.")
    model = build_model(args, source)
    surprise = cross_entropy(model, tokens)
    perplexity = math.exp(surprise) if surprise < math.log(sys.float_info.max) else surprise + math.inf  # NaN stays NaN
    return Perplexity(len(tokens), perplexity, sum(source.sizes.values()))


def cross_entropy(model: Mistral, tokens: list[int]) -> float:
    """The mean of -log p of every token but the first."""
    cache, total = model.make_cache(), 0.0
    for start in range(0, len(tokens) - 1, CHUNK):
        piece = mx.array([tokens[start : start + CHUNK + 1]])
        logits, cache = model(piece[:, :-1], cache)  # [1, L, V]
        logits = logits.astype(mx.float32)
        chosen = mx.take_along_axis(logits, piece[:, 1:, None], axis=-1).squeeze(-1)
        total += float((mx.logsumexp(logits, axis=-1) - chosen).sum())
    return total / (len(tokens) - 1)


def read_text(path: Path) -> str:
    """A text file's text; ModelError where it is none."""
    if not path.is_file() or not path.stat().st_size:
        raise ModelError(f"The text {path} is missing or empty: choose another one.")
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not a text in UTF-8: choose another one.") from error


def _tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    return [*tokenizer.opening, *tokenizer.encode(text)]
