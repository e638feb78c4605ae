"""Perplexity: how well a model predicts a text, and so the price of quantizing it, as one number.

It is exp of the mean of -log p(token | all before it): the number of equally likely tokens among which a choice would
be as uncertain.
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
    """A model's perplexity on a text. Those of models with different vocabularies can't be compared."""

    tokens: int
    perplexity: float
    weights_bytes: int  # in the files


def measure_perplexity(path: str | Path, text: str) -> Perplexity:
    """Measure the model at this path; of a text longer than its context, the beginning counts.

    Raises ModelError for a model that can't be loaded, and for a text of fewer than two tokens.
    """
    args, source = open_model(Path(path))
    tokens = _tokens(text, load_tokenizer(path))[: args.max_position_embeddings]
    if len(tokens) < 2:
        raise ModelError("The text has fewer than two tokens: take a longer one.")
    model = build_model(args, source)
    loss = cross_entropy(model, tokens)
    perplexity = math.exp(loss) if loss < math.log(sys.float_info.max) else loss + math.inf  # NaN stays NaN
    return Perplexity(len(tokens), perplexity, sum(source.sizes.values()))


def cross_entropy(model: Mistral, tokens: list[int]) -> float:
    """The mean of -log p over every token but the first."""
    cache, total = model.make_cache(), 0.0
    for start in range(0, len(tokens) - 1, CHUNK):
        piece = mx.array([tokens[start : start + CHUNK + 1]])
        logits, cache = model(piece[:, :-1], cache)  # [1, L, V]
        logits = logits.astype(mx.float32)
        chosen = mx.take_along_axis(logits, piece[:, 1:, None], axis=-1).squeeze(-1)
        total += float((mx.logsumexp(logits, axis=-1) - chosen).sum())
    return total / (len(tokens) - 1)


def read_text(path: Path) -> str:
    """Read a text file. Raises ModelError for one that is missing, empty or not text."""
    if not path.is_file() or not path.stat().st_size:
        raise ModelError(f"The text file {path} is missing or empty: choose another one.")
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not UTF-8 text: choose another file.") from error


def _tokens(text: str, tokenizer: Tokenizer) -> list[int]:
    return [*tokenizer.opening, *tokenizer.encode(text)]
