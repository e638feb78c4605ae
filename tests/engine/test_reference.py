"""The model that comes along says what mlx-lm makes of it: the same greedy tokens, the same logits."""

import ctypes
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model as load_peer

from menny.engine import Engine, Mistral, SamplingParams, Tokenizer, load_engine, load_model, load_tokenizer
from menny.messages import Message
from menny.prompts import encode_chat
from tools.make_reference_replies import N_TOKENS, PROMPTS, write_hub_folder

pytestmark = pytest.mark.slow

KEPT = json.loads((Path(__file__).parents[1] / "reference" / "smollm2_greedy.json").read_text())
TOLERANCE = 1e-3  # of the largest logit: quantized weights are multiplied with activations in 16-bit integers

TEXTS = {
    "prose": """It was on a dreary night of November that I beheld the accomplishment of my toils. With an anxiety that
almost amounted to agony, I collected the instruments of life around me, that I might infuse a spark of being into the
lifeless thing that lay at my feet. It was already one in the morning; the rain pattered dismally against the panes, and
my candle was nearly burnt out, when, by the glimmer of the half-extinguished light, I saw the dull yellow eye of the
creature open; it breathed hard, and a convulsive motion agitated its limbs. How can I describe my emotions at this
catastrophe, or how delineate the wretch whom with such infinite pains and care I had endeavoured to form? His limbs
were in proportion, and I had selected his features as beautiful. Beautiful! Great God! His yellow skin scarcely covered
the work of muscles and arteries beneath; his hair was of a lustrous black, and flowing; his teeth of a pearly
whiteness; but these luxuriances only formed a more horrid contrast with his watery eyes, that seemed almost of the same
colour as the dun-white sockets in which they were set, his shrivelled complexion and straight black lips.""",
    "code": Path(__file__).with_name("naive_model.py").read_text(),
    "a conversation": """<|im_start|>user\nIs it true that a day on Venus is longer than its year?<|im_end|>\n
<|im_start|>assistant\nYes! Venus turns around itself in about 243 days of ours, and around the Sun in 225.<|im_end|>\n
<|im_start|>user\nAnd does the Sun rise in the west there?<|im_end|>\n<|im_start|>assistant\n""",
    "many scripts": "Grüße aus Köln! 日本語のテキスト、中文文本，한국어. שלום עולם مرحبا بالعالم 🙂 ½ + ¼ = ¾\t\n 123 "
    * 3,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other take many times longer where other programs hold the cores."""
    process = ctypes.CDLL(None)
    if not hasattr(process, "openblas_set_num_threads"):
        yield
        return
    before = process.openblas_get_num_threads()
    process.openblas_set_num_threads(1)
    yield
    process.openblas_set_num_threads(before)


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Mistral:
    return load_model(smollm2_path)


@pytest.fixture(scope="module")
def tokenizer(smollm2_path: Path) -> Tokenizer:
    return load_tokenizer(smollm2_path)


@pytest.fixture(scope="module")
def hub_folder(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write_hub_folder(smollm2_path, tmp_path_factory.mktemp("hub"))
    yield folder
    (folder / "model.safetensors").unlink()  # half a gigabyte


@pytest.fixture(scope="module")
def peer(hub_folder: Path) -> Callable[[mx.array], mx.array]:
    return load_peer(hub_folder)[0]


@pytest.fixture(scope="module")
def engine(smollm2_path: Path) -> Iterator[Engine]:
    with load_engine(smollm2_path) as engine:
        yield engine


def test_the_kept_replies_are_of_this_model_and_these_prompts(smollm2_path, tokenizer):
    assert KEPT["model"]["sha256"] == hashlib.sha256(smollm2_path.read_bytes()).hexdigest()
    assert [kept["prompt"] for kept in KEPT["replies"]] == list(PROMPTS)
    assert {len(kept["ids"]) for kept in KEPT["replies"]} == {N_TOKENS}
    for kept in KEPT["replies"]:
        assert encode_chat([Message("user", kept["prompt"])], "chatml", tokenizer) == kept["prompt_ids"]


@pytest.mark.parametrize("kept", KEPT["replies"], ids=lambda kept: kept["prompt"][:20])
def test_greedy_tokens_are_mlx_lms(engine, kept: dict[str, Any]):
    chunks = list(engine.stream(kept["prompt_ids"], SamplingParams(temperature=0, max_tokens=N_TOKENS)))
    ids = [chunk.token for chunk in chunks]
    assert ids == kept["ids"][: len(ids)]
    assert len(ids) == N_TOKENS or ids[-1] in engine.tokenizer.eos_ids
    assert "".join(chunk.text for chunk in chunks) == engine.tokenizer.decode(ids)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_logits_agree_with_mlx_lms_on_the_same_weights(model, peer, tokenizer, text):
    ids = tokenizer.encode(text)[:256]
    assert len(ids) >= 60
    ours, theirs = (np.array(x, np.float32)[0] for x in (model(mx.array([ids]))[0], peer(mx.array([ids]))))
    assert np.abs(ours - theirs).max() < TOLERANCE * np.abs(theirs).max()
    assert (ours.argmax(axis=-1) == theirs.argmax(axis=-1)).mean() > 0.99


def test_chunks_and_single_tokens_give_the_logits_of_one_pass(model, tokenizer):
    ids = tokenizer.encode(TEXTS["prose"])[:96]
    whole = np.array(model(mx.array([ids]))[0][0])
    for sizes in ([50, 46], [64] + [1] * 32):
        cache, rows, start = model.make_cache(), [], 0
        for size in sizes:
            rows.append(np.array(model(mx.array([ids[start : start + size]]), cache)[0][0]))
            start += size
        assert np.abs(np.concatenate(rows) - whole).max() < TOLERANCE * np.abs(whole).max()


def test_the_same_weights_as_a_hub_folder_give_the_same_logits(model, hub_folder, tokenizer):
    ids = mx.array([tokenizer.encode(TEXTS["prose"])[:64]])
    ours, theirs = np.array(model(ids)[0]), np.array(load_model(hub_folder)(ids)[0])
    assert np.abs(ours - theirs).max() < TOLERANCE * np.abs(theirs).max()


def test_two_replies_at_once_are_each_whole_characters_and_what_their_tokens_decode_to(engine):
    """At this temperature bytes come in any order: emoji, halves of characters, other scripts."""
    prompt = encode_chat([Message("user", "日本語で 🙂🙃 をたくさん書いて")], "chatml", engine.tokenizer)
    streams = [engine.stream(prompt, SamplingParams(temperature=2.0, seed=s, max_tokens=16)) for s in (1, 2)]
    chunks = list(zip(*streams, strict=False))
    for reply in zip(*chunks, strict=True):
        ids = [chunk.token for chunk in reply]
        text = "".join(chunk.text for chunk in reply)
        assert text.encode() == engine.tokenizer.decode(ids).encode()
