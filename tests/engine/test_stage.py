"""A model in stages: which machine holds which blocks, and that the stages one after the other are the whole."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from menny.engine import Mistral, MoEArgs, load_model
from menny.engine.checkpoints.checkpoint import open_model
from menny.engine.checkpoints.load import build_model
from menny.engine.stage import share_out
from tests.engine.format_files import FORMATS
from tests.engine.naive_model import logits_of
from tests.engine.tiny_models import quantize, random_weights, tiny_args, write_folder

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
SPARSE = MoEArgs(num_experts=4, num_experts_per_tok=2)


def stages_of(path: Path, n_stages: int) -> list[Mistral]:
    args, _ = open_model(path)
    return [build_model(args, open_model(path)[1], stage) for stage in share_out(args.n_layers, n_stages)]


def through(stages: list[Mistral], tokens: list[int]) -> mx.array:
    x = stages[0].tok_embeddings(mx.array([tokens]))
    for stage in stages:
        x = stage.hidden(x, stage.make_cache())
    return stages[-1].logits(x)[0]


def n_bytes(model: Mistral) -> int:
    return sum(weight.nbytes for _, weight in tree_flatten(model.parameters()))


@given(n_layers=st.integers(1, 99), n_stages=st.integers(1, 9))
def test_every_block_has_one_stage_and_the_stages_are_alike(n_layers: int, n_stages: int) -> None:
    if n_stages > n_layers:
        return
    stages = share_out(n_layers, n_stages)
    assert [block for stage in stages for block in range(stage.start, stage.stop)] == list(range(n_layers))
    sizes = [stage.stop - stage.start for stage in stages]
    assert min(sizes) >= max(1, max(sizes) - 1)
    assert sizes[-1] == min(sizes)


@pytest.mark.parametrize("n_stages", [1, 2, 3])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("moe", [None, SPARSE])
def test_the_stages_of_every_format_are_the_whole_model(
    kind: str, moe: MoEArgs | None, n_stages: int, tmp_path: Path
) -> None:
    args = tiny_args(n_layers=5, moe=moe)
    weights = random_weights(args)
    path = FORMATS[kind](tmp_path / "m", args, weights)
    whole = load_model(path)(mx.array([TOKENS]))[0][0]
    assert mx.array_equal(through(stages_of(path, n_stages), TOKENS), whole)


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"sliding_window": 4}])
def test_tied_and_windowed_stages_give_the_plain_computations_logits(changes: dict[str, Any], tmp_path: Path) -> None:
    args = tiny_args(n_layers=4, **changes)
    weights = random_weights(args)
    logits = through(stages_of(write_folder(tmp_path, args, weights), 3), TOKENS)
    assert mx.allclose(logits, mx.array(logits_of(args, weights, TOKENS)), atol=1e-4)


def test_a_stage_reads_its_own_weights_only(tmp_path: Path) -> None:
    args = tiny_args(n_layers=4)
    path = write_folder(tmp_path, args, random_weights(args))
    for number, stage in enumerate(share_out(4, 2)):
        _, source = open_model(path)
        fetch, asked = source.fetch, set[str]()
        source.fetch = lambda names, fetch=fetch, asked=asked: (asked.update(names), fetch(names))[1]  # type: ignore[misc]
        build_model(args, source, stage)
        layers = {name.split(".")[1] for name in asked if name.startswith("layers.")}
        assert layers == [{"0", "1"}, {"2", "3"}][number]
        assert {name for name in asked if not name.startswith("layers.")} == [
            {"tok_embeddings.weight"},
            {"norm.weight", "output.weight"},
        ][number]


def test_each_of_two_stages_holds_half_of_the_weights(tmp_path: Path) -> None:
    args = tiny_args(n_layers=4)
    path = write_folder(tmp_path, args, random_weights(args))
    whole = n_bytes(load_model(path))
    halves = [n_bytes(stage) for stage in stages_of(path, 2)]
    assert sum(halves) == whole
    assert max(halves) < 0.51 * whole


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_stages_stay_quantized_where_memory_is_short(
    bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = tiny_args(n_layers=3, hidden_dim=128, head_dim=16)
    path = write_folder(tmp_path, args, quantize(random_weights(args), 32, bits), quantization={"bits": bits})
    expanded = through(stages_of(path, 2), TOKENS)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 0}))
    stages = stages_of(path, 2)
    assert stages[1].packed["layers.0.attention.wqkv"].bits == bits
    assert mx.allclose(through(stages, TOKENS), expanded, atol=1e-3)
