"""How much memory a model takes: against sums by hand for the true configs, and against what was measured."""

import json
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import psutil
import pytest

import menny.engine.memory_plan
from menny.engine import (
    Machine,
    Mistral,
    ModelArgs,
    MoEArgs,
    load_engine,
    memory_plan,
    needs_at,
    needs_of,
    plan_for,
    this_machine,
)
from menny.engine.cpu.arrays import SCALE
from menny.engine.memory_plan import PROCESS
from menny.errors import EngineError, TooLargeError
from tests.engine.alone import prefill
from tests.engine.scripts import write_script
from tests.engine.tiny_models import random_weights, tiny_args, write_folder

GB = 10**9
MACHINE = Machine("metal", 1000 * GB)
MISTRAL = ModelArgs(4096, 32, 128, 14336, 32, 8, 1e-5, 32000, max_position_embeddings=32768)
ROLLING = ModelArgs(4096, 32, 128, 14336, 32, 8, 1e-5, 32000, sliding_window=4096, max_position_embeddings=32768)
MIXTRAL = ModelArgs(4096, 32, 128, 14336, 32, 8, 1e-5, 32000, 1e6, moe=MoEArgs(8, 2), max_position_embeddings=32768)

# Weights by hand, in numbers: embeddings and output, and 32 layers of attention, feed-forward, and norms.
TABLES = 2 * 32000 * 4096
ATTENTION = 2 * 4096 * 4096 + 2 * 4096 * 1024
DENSE = TABLES + 32 * (ATTENTION + 3 * 4096 * 14336)
SPARSE = TABLES + 32 * (ATTENTION + 8 * 3 * 4096 * 14336 + 8 * 4096)
# A token's keys and values: 32 layers of 8 heads of 128, twice, 2 bytes each.
TOKEN = 131072
BYTES_A_WEIGHT = {16: 2.0, 8: 1.0625, 4: 0.5625}  # groups of 64 have a scale and a bias of 2 bytes each


@pytest.mark.parametrize("bits", [16, 8, 4])
@pytest.mark.parametrize(("args", "numbers"), [(MISTRAL, DENSE), (MIXTRAL, SPARSE)], ids=["Mistral", "Mixtral"])
@pytest.mark.parametrize("context", [4096, 32768])
def test_the_estimate_is_the_sum_of_weights_and_cache(args: ModelArgs, numbers: int, bits: int, context: int) -> None:
    by_hand = numbers * BYTES_A_WEIGHT[bits] + context * TOKEN

    plan = needs_at(args, bits, MACHINE).plan(context)

    assert plan.total == pytest.approx(by_hand, rel=0.05)
    assert plan.weights == pytest.approx(numbers * BYTES_A_WEIGHT[bits], rel=0.001)
    assert plan.cache == context * TOKEN
    assert plan.fits


def test_a_window_bounds_the_cache() -> None:
    needs = needs_at(ROLLING, 4, MACHINE)

    assert needs.plan(32768).cache == needs.plan(4096).cache == 4096 * TOKEN
    assert needs.plan(1000).cache == 1024 * TOKEN  # grown in blocks of 256


def test_on_a_cpu_with_kernels_weights_are_as_in_the_file_and_quantized_models_keep_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_plan, "have_kernels", lambda: True)
    machine = Machine("cpu", 64 * GB)

    assert needs_at(MISTRAL, 4, machine).plan(4096).weights == pytest.approx(0.5625 * DENSE, rel=0.001)
    assert needs_at(MISTRAL, 16, machine).plan(4096).weights == pytest.approx(2 * DENSE, rel=0.001)
    assert needs_at(MISTRAL, 4, machine).plan(4096).cache == 4096 * TOKEN * (128 + SCALE) // 128
    assert needs_at(MISTRAL, 16, machine).plan(4096).cache == 2 * 4096 * TOKEN


def test_on_a_cpu_without_kernels_weights_are_float32_where_that_fits_and_packed_where_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_plan, "have_kernels", lambda: False)
    roomy, tight = Machine("cpu", 64 * GB), Machine("cpu", 16 * GB)

    assert needs_at(MISTRAL, 4, roomy).plan(4096).weights == pytest.approx(4 * DENSE, rel=0.001)
    assert needs_at(MISTRAL, 4, roomy).plan(4096).cache == 2 * 4096 * TOKEN
    assert needs_at(MISTRAL, 4, tight).plan(4096).weights == pytest.approx(0.625 * DENSE, rel=0.001)
    assert needs_at(MISTRAL, 16, tight).plan(4096).weights == pytest.approx(4 * DENSE, rel=0.001)


@pytest.mark.parametrize("kind", ["metal", "cpu"])
def test_without_a_wish_the_context_is_the_longest_that_fits(kind) -> None:
    plan = needs_at(MISTRAL, 4, Machine(kind, 8 * GB)).plan()

    assert plan.fits
    assert 2048 <= plan.context < 32768
    assert not needs_at(MISTRAL, 4, Machine(kind, 8 * GB)).plan(plan.context + 512).fits
    assert needs_at(MISTRAL, 4, MACHINE).plan().context == 32768
    assert not needs_at(MISTRAL, 4, Machine(kind, 4 * GB)).plan().fits


def test_files_tell_what_args_and_bits_tell(tmp_path: Path) -> None:
    args = tiny_args()
    write_folder(tmp_path, args, random_weights(args))

    assert needs_of(tmp_path, MACHINE).weights == 4 * args.n_parameters  # written in float32
    assert needs_of(tmp_path, this_machine()).at(512).cache > 0


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch):
    def give(nbytes: int) -> None:
        monkeypatch.setattr(menny.engine.memory_plan, "this_machine", lambda: Machine("cpu", nbytes))

    return give


def test_a_model_that_does_not_fit_is_refused_before_a_weight_is_read(tmp_path: Path, room) -> None:
    """The weights are a hole in a file that takes no room on the disk: reading them would fill the memory."""
    header = {}
    config = {"dim": 4096, "n_layers": 1, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32, "n_kv_heads": 8}
    config |= {"norm_eps": 1e-5, "vocab_size": 32000, "sliding_window": None}
    shapes = {"tok_embeddings": [32000, 4096], "output": [32000, 4096], "norm": [4096]}
    layer = {"attention.wq": [4096, 4096], "attention.wk": [1024, 4096], "attention.wv": [1024, 4096]}
    layer |= {"attention.wo": [4096, 4096], "feed_forward.w1": [14336, 4096], "feed_forward.w2": [4096, 14336]}
    layer |= {"feed_forward.w3": [14336, 4096], "attention_norm": [4096], "ffn_norm": [4096]}
    end = 0
    for name, shape in (shapes | {f"layers.0.{key}": value for key, value in layer.items()}).items():
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[f"{name}.weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with (tmp_path / "consolidated.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (tmp_path / "params.json").write_text(json.dumps(config))
    before = psutil.Process().memory_info().rss

    room(9 * GB // 10)
    with pytest.raises(
        TooLargeError, match=r"takes about 1\..* GB .* can give 900\.0 MB: it would fit with 8 bits"
    ) as no:
        load_engine(tmp_path)
    assert no.value.needed > no.value.room == 9 * GB // 10

    room(2 * GB)
    with pytest.raises(TooLargeError, match=r"context of 32,768 tokens .* it would fit with a context of [\d,]+ to"):
        plan_for(tmp_path, 1_000_000)
    assert psutil.Process().memory_info().rss - before < 50 << 20


def test_what_does_not_fit_can_be_forced(tmp_path: Path, room) -> None:
    write_script(tmp_path)
    room(1)

    with pytest.raises(TooLargeError, match="choose a smaller model"):
        load_engine(tmp_path)
    with load_engine(tmp_path, force=True) as engine:
        assert engine.context_length == 2048


def test_a_chosen_context_is_the_engines_own(tmp_path: Path) -> None:
    write_script(tmp_path)

    with load_engine(tmp_path, context_length=300) as engine:
        assert engine.context_length == 300
    with pytest.raises(EngineError, match="must be at least 1"):
        load_engine(tmp_path, context_length=0)


MEASURE = """
import json, sys, threading, time
import menny.engine as engine
import psutil
from pathlib import Path
path, context, process = Path(sys.argv[1]), int(sys.argv[2]), psutil.Process()
estimate, before, peak, done = engine.plan_for(path, context).total, process.memory_info().rss, 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.005)
watcher = threading.Thread(target=watch)
watcher.start()
with engine.load_engine(path, context_length=context) as loaded:
    prompt = loaded.tokenizer.encode("The cat sat on the mat. " * context)[: context - 4]
    list(loaded.stream(prompt, engine.SamplingParams(max_tokens=4)))
done = True
watcher.join()
print(json.dumps([estimate, peak - before]))
"""


@pytest.mark.slow
def test_the_estimate_is_near_what_is_measured(smollm2_path: Path) -> None:
    command = [sys.executable, "-c", MEASURE, str(smollm2_path), "2048"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    estimate, measured = json.loads(said.stdout)

    assert estimate == pytest.approx(measured, rel=0.15)


@pytest.mark.slow
def test_a_long_context_takes_what_the_estimate_tells() -> None:
    """By MLX's own count: two layers of the model that comes along, with a prompt as long as its context."""
    args = ModelArgs(576, 2, 64, 1536, 9, 3, 1e-5, 320, max_position_embeddings=4096)
    plan = needs_at(args, 16, Machine("cpu", 1000 * GB)).plan(4096)
    model = Mistral(args)
    mx.eval(model.parameters())
    before = mx.get_active_memory()
    mx.reset_peak_memory()

    for _ in prefill(model, mx.zeros(4096, mx.int32), model.make_cache()):
        pass

    assert plan.cache + plan.overhead - PROCESS == pytest.approx(mx.get_peak_memory() - before, rel=0.15)


@pytest.mark.parametrize("gigabytes", [1, 4, 8, 16, 64])
@pytest.mark.parametrize("context", [256, 4096, 32768])
def test_what_is_kept_of_recent_chats_stands_in_the_plan(gigabytes: int, context: int) -> None:
    plan = needs_at(MISTRAL, 4, Machine("cpu", gigabytes * GB)).at(context)

    assert plan.peak == plan.total + plan.kept
    assert plan.kept <= min(2 << 30, gigabytes * GB // 10)
    assert plan.kept <= plan.cache + max(0, plan.room - plan.total)


KEEP = MEASURE.replace("path, context).total", "path, context).peak").replace(
    "    list(loaded.stream(prompt, engine.SamplingParams(max_tokens=4)))",
    "    for number in range(4):\n"
    "        list(loaded.stream([number, *prompt], engine.SamplingParams(max_tokens=2)))",
)  # fmt: skip


@pytest.mark.slow
def test_many_recent_chats_take_no_more_than_the_plan_tells(smollm2_path: Path) -> None:
    command = [sys.executable, "-c", KEEP, str(smollm2_path), "512"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    peak, measured = json.loads(done.stdout)

    assert 0 < measured <= 1.1 * peak
