"""What a conversion takes of memory and disk, and what is left of one that fails or is killed: in a real process."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from menny.config.paths import PROJECT
from menny.engine import load_model
from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.errors import EngineError
from tests.engine.format_files import FORMATS
from tests.engine.tiny_models import random_weights, tiny_args

SHARD = 8 << 20

CONVERT = f"""
import json, os, resource, signal, sys
from menny.engine.checkpoints import convert
import mlx.core as mx
from menny.errors import MennyError
from tools.peak_memory import peak_memory

source, target, bits, fate = sys.argv[1:]
convert.SHARD_BYTES = {SHARD}

def on_progress(done, total):
    if fate == "kill" and done > total / 2:
        os.kill(os.getpid(), signal.SIGKILL)

if fate == "fill":
    resource.setrlimit(resource.RLIMIT_FSIZE, ({SHARD} // 2, {SHARD} // 2))
before = peak_memory()
try:
    convert.convert(source, target, convert.QuantizationConfig("float32", int(bits) or None), on_progress)
except MennyError as error:
    sys.exit(str(error))
grown = peak_memory() - before
print(json.dumps({{"arrays": mx.get_peak_memory(), "process": grown}}))
"""


def run(source: Path, target: Path, bits: int = 0, fate: str = "") -> "subprocess.CompletedProcess[str]":
    words: Sequence[str] = (sys.executable, "-c", CONVERT, str(source), str(target), str(bits), fate)
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of 96 MB, twelve times a shard, in some formats."""
    args = tiny_args(dim=256, n_layers=20, hidden_dim=1280, n_heads=8, head_dim=32, n_kv_heads=8)
    assert 4 * args.n_parameters > 11 * SHARD
    weights, folder = random_weights(args), tmp_path_factory.mktemp("large")
    kinds = {"hub": "hub", "npz": "weights.npz", "pth": "consolidated.00.pth", "gguf": "gguf"}
    return {name: FORMATS[kind](folder / name, args, weights) for name, kind in kinds.items()}


@pytest.mark.slow
@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("kind", ["hub", "npz", "pth", "gguf"])
def test_memory_holds_about_a_shard_and_not_the_model(
    large: dict[str, Path], tmp_path: Path, kind: str, bits: int
) -> None:
    ended = run(large[kind], tmp_path / "target", bits)
    assert ended.returncode == 0, ended.stderr
    peak = json.loads(ended.stdout)
    assert peak["arrays"] < 1.5 * SHARD
    assert peak["process"] < 5 * SHARD  # of numpy's buffers and the files' cache there is some more
    assert len(list((tmp_path / "target").glob("*.safetensors"))) >= (2 if bits else 11)


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_under_the_targets_name_and_the_next_clears_what_it_left(
    large: dict[str, Path], tmp_path: Path
) -> None:
    assert run(large["hub"], tmp_path / "target", fate="kill").returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".target.converting"]
    assert run(large["hub"], tmp_path / "target").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.slow
def test_a_file_that_can_grow_no_further_is_told_in_a_sentence_and_nothing_is_left(
    large: dict[str, Path], tmp_path: Path
) -> None:
    ended = run(large["hub"], tmp_path / "target", fate="fill")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{tmp_path / 'target'} can't be written (File too large)")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("numbers", "needed"), [(QuantizationConfig("float32"), 1.0), (QuantizationConfig("float16", 8), 0.266)]
)
def test_a_disk_with_too_little_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: QuantizationConfig, needed: float
) -> None:
    args = tiny_args(hidden_dim=128, n_heads=8)
    source = FORMATS["hub"](tmp_path / "source", args, random_weights(args))
    size = 4 * args.n_parameters * needed
    free = SimpleNamespace(free=int(0.9 * size))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: free)
    with pytest.raises(EngineError, match=r"too little room: .*target takes \d+\.\d kB, and \d+\.\d kB are free"):
        convert(source, tmp_path / "target", numbers)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    free.free = int(1.1 * size)
    convert(source, tmp_path / "target", numbers)
    load_model(tmp_path / "target")


@pytest.mark.parametrize(
    "numbers",
    [QuantizationConfig("float32"), QuantizationConfig("float16", 4), QuantizationConfig("bfloat16", 8, 32)],
    ids=str,
)
def test_the_room_that_is_asked_is_what_the_weights_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: QuantizationConfig
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        "menny.engine.checkpoints.convert._check_room", lambda folder, target, needed: asked.append(needed)
    )
    args = tiny_args(hidden_dim=128, n_heads=8)
    convert(FORMATS["hub"](tmp_path / "source", args, random_weights(args)), tmp_path / "target", numbers)
    written = (tmp_path / "target" / "model.safetensors").stat().st_size
    assert 0 < written - asked[0] < 8192  # the header
