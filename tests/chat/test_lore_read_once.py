"""Lore and the engine's cache: in a chat of thirty turns, a turn reads what is new, by a real engine."""

import itertools
import shutil
from pathlib import Path

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.chat.lore import Lore
from menny.chat.receipts import read_receipt
from menny.chat.turn_context import TurnContext
from menny.engine import SamplingParams, load_engine
from menny.lorebooks import Lorebook, LoreEntry
from tests.engine.tiny_models import random_weights, tiny_args, write_folder
from tests.prompts.conversations import VOCABULARIES, VOCABULARY

ENTRIES = [LoreEntry(content=f"Place {n} lies by the sea of Eldoria.", keys=(f"place{n}",)) for n in range(50)]
LAW = LoreEntry(content="Magic is weak here.", constant=True)
LORE = Lore({"world": Lorebook(name="World", entries=(*ENTRIES, LAW))})


def model_for(template: str, smollm2_path: Path, folder: Path) -> Path:
    """The model that comes along, or a tiny one with the vocabulary of a template."""
    if template == "chatml":
        return smollm2_path
    args = tiny_args(vocab_size=32_768 if template == "mistral-v7" else 32_000, dim=32, hidden_dim=32)
    write_folder(folder, args, random_weights(args), max_position_embeddings=8192)
    shutil.copy(VOCABULARIES / VOCABULARY[template], folder / "tokenizer.model")
    return folder


@pytest.mark.parametrize("template", ["mistral-v1", "mistral-v7", "chatml"])
def test_thirty_turns_with_fifty_entries_read_each_turn_once(template: str, smollm2_path: Path, tmp_path: Path) -> None:
    params = SamplingParams(max_tokens=3, temperature=0.0)
    how = ReplySettings(params, Instructions("You are Nora."), template, lore=LORE)
    chat = Chat()
    with load_engine(model_for(template, smollm2_path, tmp_path), context_length=4096) as engine:
        for turn in range(30):
            text = f"Tell me of place{turn}." if turn < 20 else "And then?"
            for _ in chat.answer(chat.begin(text), engine, how):
                pass
    fired = [len(TurnContext.read(entry.extra).pieces) for entry in chat.entries if entry.role == "user"]
    assert fired == [1] * 20 + [0] * 10
    receipts = [read_receipt(entry, chat.entries) for entry in chat.entries if entry.role == "assistant"]
    for before, after in itertools.pairwise(receipts):
        assert before
        assert after
        assert after.text.startswith(before.text)
        assert after.cached >= before.tokens - 1
