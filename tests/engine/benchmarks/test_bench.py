"""A bench counts what it should, whatever its speeds are."""

import sys
from pathlib import Path
from typing import Any

import pytest

from menny.engine import Mistral
from menny.engine.args import MoEArgs
from menny.engine.benchmarks import bandwidth
from menny.engine.benchmarks.bandwidth import bytes_per_token, measure_bandwidth, weights_bytes
from menny.engine.benchmarks.bench import BenchSettings, Together, bench
from menny.engine.benchmarks.timing import Timing
from menny.errors import EngineError
from tests.engine.scripts import CONTROLS
from tests.engine.tiny_models import built, random_weights, tiny_args, write_folder, write_vocabulary

QUICK: dict[str, Any] = {"prompt_tokens": 16, "new_tokens": 4, "runs": 1}


@pytest.fixture(autouse=True)
def small_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "FLOATS", 1 << 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    args = tiny_args(vocab_size=262, max_position_embeddings=64)
    folder = write_folder(tmp_path_factory.mktemp("bench") / "tiny", args, random_weights(args))
    write_vocabulary(folder, *CONTROLS)
    return folder


def test_every_concurrency_is_measured_in_the_order_asked(folder: Path) -> None:
    told: list[str] = []
    report = bench(folder, BenchSettings(**QUICK, concurrency=(3, 1)), told.append)
    assert [one.concurrency for one in report.speeds] == [3, 1]
    for one in report.speeds:
        assert 0 < one.seconds_to_first_token <= one.slowest_first_token
        assert min(one.prefill_tps, one.decode_tps, one.total_tps, one.bandwidth_share) > 0
    assert report.peak_memory >= report.weights_bytes > 0
    assert report.resident_memory > report.weights_bytes
    assert report.against is None
    assert "run 1 of 1, 3 at once" in told


def test_the_sum_of_several_counts_what_came_while_all_were_written() -> None:
    def reply(*times: float) -> Timing:
        return Timing(1.0, 2.0, tuple(range(len(times))), 1.0, times)

    replies = [reply(1, 2, 3, 4, 5), reply(2.5, 3, 3.5, 4, 4.5, 6)]
    assert Together(5.0, replies, 0).decode_sum_tps == 7 / 2.5  # from 2.5, when the second begins, to 5
    assert Together(5.0, replies[:1], 0).decode_sum_tps == 1
    assert Together(5.0, [reply(1, 2), reply(3, 4)], 0).decode_sum_tps is None


def test_mlx_lm_says_the_same_on_the_same_weights(folder: Path) -> None:
    report = bench(folder, BenchSettings(**QUICK | {"runs": 2}, against="mlx-lm"))
    assert report.against is not None
    assert report.against.name == "mlx-lm"
    assert report.against.same_tokens == 1
    assert min(report.against.prefill_ratio, report.against.decode_ratio) > 0


def test_one_new_token_has_no_speed_of_decoding(folder: Path) -> None:
    report = bench(folder, BenchSettings(**QUICK | {"new_tokens": 1}, against="mlx-lm"))
    assert (report.speeds[0].decode_tps, report.speeds[0].decode_sum_tps) == (0, None)
    assert report.against is not None


def test_what_the_context_does_not_hold_is_refused(folder: Path) -> None:
    with pytest.raises(EngineError, match="60 prompt tokens and 5 new ones"):
        bench(folder, BenchSettings(prompt_tokens=60, new_tokens=5))


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"prompt_tokens": -1}, {"concurrency": ()}, {"concurrency": (1, 999)}])
def test_settings_that_measure_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=next(iter(wrong))):
        BenchSettings(**wrong)


def test_without_mlx_lm_a_sentence_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlx_lm.generate", None)
    with pytest.raises(EngineError, match="pip install mlx-lm"):
        bench(folder, BenchSettings(**QUICK, against="mlx-lm"))


@pytest.mark.parametrize(("tied", "window", "seen"), [(True, None, 100), (False, None, 100), (False, 16, 16)])
def test_a_token_reads_every_weight_but_an_embedding_table_of_its_own(
    tied: bool, window: int | None, seen: int
) -> None:
    args = tiny_args(tie_word_embeddings=tied, sliding_window=window)
    model = built(args, random_weights(args))
    assert weights_bytes(model) == 4 * args.n_parameters
    table = 0 if tied else args.vocab_size * args.dim
    cached = args.n_layers * 2 * args.n_kv_heads * args.head_dim * seen
    assert bytes_per_token(model, 100) == 4 * (args.n_parameters - table + cached)


def test_of_the_experts_a_token_reads_only_those_that_it_goes_through() -> None:
    sparse = Mistral(tiny_args(moe=MoEArgs(num_experts=4, num_experts_per_tok=1)))
    dense = Mistral(tiny_args())
    gates = 4 * sparse.args.n_layers * sparse.args.dim * 4
    assert bytes_per_token(sparse, 9) == bytes_per_token(dense, 9) + gates


def test_the_bandwidth_is_measured_on_this_machine() -> None:
    assert measure_bandwidth() > 1e6
