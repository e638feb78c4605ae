"""A converted GGUF keeps its vocabulary; and the model that comes along, its logits, here and in mlx-lm."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load as load_in_mlx_lm

from menny.config.paths import PROJECT
from menny.engine import Mistral, load_model, load_tokenizer
from menny.engine.benchmarks.perplexity import Perplexity, measure_perplexity
from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.engine.formats.gguf import read_gguf
from menny.engine.tokenizers.gguf import vocabulary_files
from tests.engine.tokenizers.vocabulary_files import TEXTS, V1, V3, sentencepiece_as_gguf

TEXT = (PROJECT / "configs" / "perplexity.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", [V1, V3], ids=["v1", "v3"])
def test_a_sentencepiece_vocabulary_has_equal_ids_as_a_file(tmp_path: Path, path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(sentencepiece_as_gguf(path))
    for name, data in vocabulary_files(read_gguf(tmp_path / "m.gguf")).items():
        (tmp_path / name).write_bytes(data)
    before, after = load_tokenizer(tmp_path / "m.gguf"), load_tokenizer(tmp_path)
    for text in TEXTS:
        assert after.encode(text) == before.encode(text)
        assert after.decode(after.encode(text)) == before.decode(before.encode(text))
    assert (after.bos_id, after.eos_ids, after.opening) == (before.bos_id, before.eos_ids, before.opening)


@pytest.mark.slow
def test_a_byte_level_vocabulary_has_equal_ids_here_and_in_mlx_lm(smollm2_path: Path, tmp_path: Path) -> None:
    convert(smollm2_path, tmp_path / "target", QuantizationConfig(bits=4))
    before, after = load_tokenizer(smollm2_path), load_tokenizer(tmp_path / "target")
    assert [after.encode(text) for text in TEXTS] == [before.encode(text) for text in TEXTS]
    assert (after.bos_id, after.eos_ids, after.opening) == (before.bos_id, before.eos_ids, before.opening)
    _, peer = load_in_mlx_lm(str(tmp_path / "target"))
    assert peer.eos_token_ids == set(before.eos_ids)
    plain = [text for text in TEXTS if "forged" not in text]  # there, a text can name a control token
    assert [peer.encode(text, add_special_tokens=False) for text in plain] == [before.encode(text) for text in plain]


@pytest.fixture(scope="module")
def original(smollm2_path: Path) -> Perplexity:
    return measure_perplexity(smollm2_path, TEXT)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "group_size", "worse"), [(8, 64, 1.02), (4, 64, 1.7), (4, 32, 1.2)])
def test_the_model_that_comes_along_says_the_same_here_and_in_mlx_lm_and_with_its_weights_expanded(
    smollm2_path: Path, tmp_path: Path, original: Perplexity, bits: int, group_size: int, worse: float
) -> None:
    convert(smollm2_path, tmp_path / "target", QuantizationConfig("float16", bits, group_size))
    ids = load_tokenizer(smollm2_path).encode(TEXT)[:24]
    model = load_model(tmp_path / "target")
    peer, _ = load_in_mlx_lm(str(tmp_path / "target"))
    peer.set_dtype(mx.float32)  # as our numbers are on a CPU
    theirs = np.array(peer(mx.array([ids])))
    assert np.abs(np.array(model(mx.array([ids]))[0]) - theirs).max() < 1e-3 * np.abs(theirs).max()
    said = greedy(model, ids, 64)
    assert likeliest(load_model(tmp_path / "target", pack=False), ids + said)[len(ids) - 1 : -1] == said
    converted = measure_perplexity(tmp_path / "target", TEXT)
    assert converted.perplexity < worse * original.perplexity
    assert converted.tokens == original.tokens > 400


def greedy(model: Mistral, ids: list[int], n_tokens: int) -> list[int]:
    """The likeliest tokens after these, one a pass."""
    cache, found, new = model.make_cache(), [], ids
    while len(found) < n_tokens:
        logits, _ = model(mx.array([new]), cache)
        new = [int(mx.argmax(logits[0, -1]).item())]
        found += new
    return found


def likeliest(model: Mistral, ids: list[int]) -> list[int]:
    """What each of these tokens would be followed by: of what a model said greedily, by the tokens that do follow."""
    found: list[int] = mx.argmax(model(mx.array([ids]))[0][0], axis=-1).tolist()
    return found
