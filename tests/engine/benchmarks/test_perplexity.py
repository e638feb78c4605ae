"""Perplexity is what its definition says, however long the text; what can't be measured is told."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from menny.engine.benchmarks.perplexity import CHUNK, cross_entropy, measure_perplexity
from menny.errors import ModelError
from tests.cli.running import here
from tests.engine.naive_model import logits_of
from tests.engine.tiny_models import built, random_weights, scripted_weights, tiny_args, write_folder, write_vocabulary


def test_it_is_the_mean_surprise_of_every_token_but_the_first() -> None:
    args = tiny_args(sliding_window=9)
    weights = random_weights(args)
    tokens = np.random.default_rng(0).integers(0, args.vocab_size, 2 * CHUNK + 7).tolist()
    model = built(args, weights)
    for length in (2, 3, CHUNK, CHUNK + 1, CHUNK + 2, len(tokens)):
        logits = logits_of(args, weights, tokens[:length])[:-1]
        likely = np.exp(logits - logits.max(axis=-1, keepdims=True))
        share = likely[np.arange(length - 1), tokens[1:length]] / likely.sum(axis=-1)
        assert math.isclose(cross_entropy(model, tokens[:length]), -np.log(share).mean(), rel_tol=1e-4)


def test_a_model_that_knows_nothing_chooses_among_all_its_tokens(tmp_path: Path) -> None:
    args = tiny_args(dim=260, vocab_size=260)
    write_folder(tmp_path, args, scripted_weights(args, {}))
    write_vocabulary(tmp_path)
    measured = measure_perplexity(tmp_path, "Whatever is said here.")
    assert math.isclose(measured.perplexity, 260, rel_tol=1e-3)
    assert measured.weights_bytes == 4 * args.n_parameters
    with pytest.raises(ModelError, match="fewer than two tokens"):
        measure_perplexity(tmp_path, "W")


def test_a_surprise_beyond_all_numbers_is_infinite(tmp_path: Path) -> None:
    args = tiny_args(dim=260, vocab_size=260)
    weights = scripted_weights(args, {token: [0] for token in range(260)})  # each certain of what never comes
    write_folder(tmp_path, args, weights | {"lm_head.weight": 1000 * weights["lm_head.weight"]})
    write_vocabulary(tmp_path)
    assert measure_perplexity(tmp_path, "Whatever is said here.").perplexity == math.inf


@pytest.mark.slow
def test_the_command_tells_a_model_and_what_became_of_it_side_by_side(tmp_path: Path) -> None:
    args = tiny_args(dim=260, vocab_size=260)
    write_folder(tmp_path / "a", args, scripted_weights(args, {}))
    write_vocabulary(tmp_path / "a")
    (tmp_path / "text").write_text("Some words of some length.")
    names = [str(tmp_path / "a"), f"{tmp_path}/./a"]
    ended = here("perplexity", *names, "--text", str(tmp_path / "text"), "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert [one["model"] for one in told["models"]] == names
    assert "1.000x" in here("perplexity", *names, "--text", str(tmp_path / "text")).stdout
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfd")
    for text, said in (("bytes", "not UTF-8 text"), ("nowhere", "is missing")):
        ended = here("perplexity", names[0], "--text", str(tmp_path / text))
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
        assert said in ended.stderr
