"""What convert writes is the same model, here and in mlx-lm; what it can't write leaves nothing behind."""

import errno
import fcntl
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.utils import load_model as load_in_mlx_lm

from menny.engine import ModelArgs, MoEArgs, load_model, load_tokenizer
from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.errors import EngineError, ModelError
from tests.engine.format_files import FORMATS
from tests.engine.tiny_models import quantize, random_weights, tiny_args, write_folder, write_gguf, write_vocabulary
from tests.engine.tokenizers.vocabulary_files import V3

TOKENS = mx.array([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]])
EXACT = QuantizationConfig("float32")
SPARSE = {"moe": MoEArgs(4, 2), "n_heads": 8}


def even(**changes: Any) -> ModelArgs:
    """A model whose widths are multiples of 64, with a vocabulary that has all bytes."""
    return tiny_args(**{"hidden_dim": 128, "n_heads": 8, "vocab_size": 260, **changes})


def difference(ours: mx.array, theirs: mx.array) -> float:
    return float(np.abs(np.array(ours) - np.array(theirs)).max())


def integers(logits: mx.array) -> float:
    """How far logits may be off where quantized weights are multiplied with activations in 16-bit integers."""
    return 1e-4 * float(mx.abs(logits).max())


def peer_logits(folder: Path) -> mx.array:
    """mlx-lm's logits, computed in float32, as ours are on a CPU."""
    model, _ = load_in_mlx_lm(folder)
    model.set_dtype(mx.float32)
    return model(TOKENS)


def tensors(folder: Path) -> dict[str, mx.array]:
    found: dict[str, mx.array] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        loaded = mx.load(str(file))
        assert isinstance(loaded, dict)
        found |= loaded
    return found


def tiny(folder: Path, args: ModelArgs | None = None, **config: Any) -> Path:
    args = args or even()
    return write_folder(folder, args, random_weights(args), **config)


@pytest.mark.parametrize("changes", [{}, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_comes_out_as_the_model_that_went_in(tmp_path: Path, form: str, changes: dict[str, Any]) -> None:
    args = even(**changes)
    source = FORMATS[form](tmp_path / "source", args, random_weights(args))
    convert(source, tmp_path / "target", EXACT)
    expected = load_model(source)(TOKENS)[0]
    assert difference(expected, load_model(tmp_path / "target")(TOKENS)[0]) < 1e-4
    assert difference(expected, peer_logits(tmp_path / "target")) < 1e-4
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("changes", [{}, SPARSE, {"tie_word_embeddings": True}], ids=["dense", "sparse", "tied"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_quantized_model_has_the_same_logits_here_and_in_mlx_lm(
    tmp_path: Path, bits: int, dtype: str, changes: dict[str, Any]
) -> None:
    args = even(**changes)
    source = FORMATS["consolidated.safetensors"](tmp_path / "source", args, random_weights(args))
    convert(source, tmp_path / "target", QuantizationConfig(dtype, bits))
    logits = load_model(tmp_path / "target")(TOKENS)[0]
    assert difference(logits, peer_logits(tmp_path / "target")) < integers(logits)
    written = tensors(tmp_path / "target")
    assert written["lm_head.weight" if not args.tie_word_embeddings else "model.embed_tokens.weight"].dtype == mx.uint32
    assert written["model.norm.weight"].dtype == getattr(mx, dtype)
    assert {weight.dtype for name, weight in written.items() if "scales" in name} == {getattr(mx, dtype)}
    assert not any("gate.scales" in name for name in written)
    config = json.loads((tmp_path / "target" / "config.json").read_text())
    assert config["quantization"] == {"group_size": 64, "bits": bits}
    if bits == 8 and not args.moe:  # at a near tie, a gate chooses another expert
        exact = load_model(source)(TOKENS)[0]
        assert difference(logits, exact) < 0.1 * float(mx.abs(exact).max())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_plain_numbers_get_the_type_that_was_asked(tmp_path: Path, dtype: str) -> None:
    convert(tiny(tmp_path / "source"), tmp_path / "target", QuantizationConfig(dtype))
    assert {weight.dtype for weight in tensors(tmp_path / "target").values()} == {getattr(mx, dtype)}
    expected = load_model(tmp_path / "source")(TOKENS)[0]
    assert difference(expected, load_model(tmp_path / "target")(TOKENS)[0]) < 0.05 * float(mx.abs(expected).max())


def quantized(folder: Path, args: ModelArgs, group_size: int, bits: int) -> Path:
    weights = quantize(random_weights(args), group_size, bits, only=lambda name: ".gate." not in name)
    return write_folder(folder, args, weights, quantization={"group_size": group_size, "bits": bits})


@pytest.mark.parametrize("changes", [{}, SPARSE], ids=["dense", "sparse"])
def test_a_quantized_source_stays_to_the_bit_or_is_expanded_or_quantized_anew(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    source = quantized(tmp_path / "source", even(**changes), 64, 8)
    expected = load_model(source)(TOKENS)[0]
    for name, numbers in {"kept": QuantizationConfig("float32", 8), "expanded": EXACT}.items():
        convert(source, tmp_path / name, numbers)
        assert difference(expected, load_model(tmp_path / name)(TOKENS)[0]) < integers(expected)
    assert tensors(tmp_path / "expanded")["lm_head.weight"].dtype == mx.float32
    kept, before = tensors(tmp_path / "kept"), tensors(source)
    assert mx.array_equal(kept["lm_head.weight"], before["lm_head.weight"])
    convert(source, tmp_path / "anew", QuantizationConfig("float32", 4, 32))
    assert tensors(tmp_path / "anew")["lm_head.scales"].shape == (260, 2)
    assert difference(load_model(tmp_path / "anew")(TOKENS)[0], peer_logits(tmp_path / "anew")) < integers(expected)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "F16", "BF16"])
def test_a_ggufs_blocks_are_read_and_its_rows_put_in_the_hubs_order(tmp_path: Path, kind: str) -> None:
    args = even()
    write_gguf(tmp_path / "m.gguf", args, random_weights(args), kind)
    convert(tmp_path / "m.gguf", tmp_path / "target", EXACT)
    expected = load_model(tmp_path / "m.gguf")(TOKENS)[0]
    assert difference(expected, peer_logits(tmp_path / "target")) < integers(expected)


def test_shards_are_written_one_by_one_and_indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menny.engine.checkpoints.convert.SHARD_BYTES", 100_000)
    args = even(**SPARSE)
    source = FORMATS["consolidated.00.pth"](tmp_path / "source", args, random_weights(args))
    convert(source, tmp_path / "target", EXACT)
    files = sorted(path.name for path in (tmp_path / "target").glob("*.safetensors"))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    index = json.loads((tmp_path / "target" / "model.safetensors.index.json").read_text())
    assert sorted(set(index["weight_map"].values())) == files
    assert index["metadata"]["total_size"] == sum(weight.nbytes for weight in tensors(tmp_path / "target").values())
    logits = load_model(source)(TOKENS)[0]
    assert difference(logits, load_model(tmp_path / "target")(TOKENS)[0]) < 1e-4
    assert difference(logits, peer_logits(tmp_path / "target")) < 1e-4


def test_progress_rises_to_the_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    convert(tiny(tmp_path / "source"), tmp_path / "target", EXACT, lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert len(told) > 10


def test_a_window_and_the_ids_that_a_config_names_go_along(tmp_path: Path) -> None:
    ids = {"bos_token_id": 1, "eos_token_id": [2, 258], "pad_token_id": "none"}
    convert(tiny(tmp_path / "source", even(sliding_window=5), **ids), tmp_path / "target", EXACT)
    config = json.loads((tmp_path / "target" / "config.json").read_text())
    assert (config["sliding_window"], config["bos_token_id"], config["eos_token_id"]) == (5, 1, [2, 258])
    assert "pad_token_id" not in config
    expected = load_model(tmp_path / "source")(TOKENS)[0]
    assert difference(expected, load_model(tmp_path / "target")(TOKENS)[0]) < 1e-4


def test_the_vocabulary_goes_along_and_nothing_that_could_run(tmp_path: Path) -> None:
    source = tiny(tmp_path / "source", even(vocab_size=261))
    write_vocabulary(source, "<s>", "</s>")
    (source / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    (source / "modeling.py").write_text("1 / 0")
    shutil.copyfile(V3, source / "other.model.v3")
    convert(source, tmp_path / "target", EXACT)
    names = {path.name for path in (tmp_path / "target").iterdir()}
    carried = {"tokenizer.json", "tokenizer_config.json", "other.model.v3"}
    assert names == {"config.json", "model.safetensors"} | carried
    assert load_tokenizer(tmp_path / "target").eos_ids == load_tokenizer(source).eos_ids


def test_a_source_that_is_quantized_in_part_by_experts_is_stacked(tmp_path: Path) -> None:
    args = even(**SPARSE)
    weights = quantize(random_weights(args), 32, 4, only=lambda name: ".experts.1." in name)
    source = write_folder(tmp_path / "source", args, weights, quantization={"group_size": 32, "bits": 4})
    convert(source, tmp_path / "target", QuantizationConfig("float32", 8, 32))
    logits = load_model(tmp_path / "target")(TOKENS)[0]
    assert difference(logits, peer_logits(tmp_path / "target")) < integers(logits)


@pytest.mark.parametrize(("hidden_dim", "advice"), [(96, "take --group-size 32"), (80, "leave out --bits")])
def test_a_width_that_groups_dont_divide_is_refused_before_anything_is_written(
    tmp_path: Path, hidden_dim: int, advice: str
) -> None:
    source = tiny(tmp_path / "source", even(hidden_dim=hidden_dim))
    with pytest.raises(ModelError, match=f"down_proj.weight is {hidden_dim} wide.*groups of 64.*{advice}"):
        convert(source, tmp_path / "deep" / "target", QuantizationConfig(bits=4))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    "wrong", [{"bits": 3}, {"bits": 0}, {"group_size": 48, "bits": 4}, {"group_size": 0}, {"dtype": "int8"}]
)
def test_numbers_that_mlx_lacks_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=next(iter(wrong))):
        QuantizationConfig(**wrong)


@pytest.mark.parametrize("there", ["file", "folder", "link", "source"])
def test_a_target_that_is_there_is_left_as_it_is(tmp_path: Path, there: str) -> None:
    source, target = tiny(tmp_path / "source"), tmp_path / there
    if there == "file":
        target.write_text("mine")
    elif there == "folder":
        target.mkdir()
    elif there == "link":
        target.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EngineError, match="already exists"):
        convert(source, target, EXACT)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = tiny(tmp_path / "source")
    monkeypatch.setattr("os.fsync", fill)
    with pytest.raises(EngineError, match=r"The disk is full: .*target is not written"):
        convert(source, tmp_path / "target", EXACT)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_place_that_cant_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="can't be written"):
        convert(tiny(tmp_path / "source"), tmp_path / "file" / "target", EXACT)


def test_what_a_killed_conversion_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / ".target.converting"
    left.mkdir()
    (left / "shard-1").write_bytes(b"half")
    convert(tiny(tmp_path / "source"), tmp_path / "target", EXACT)
    assert not left.exists()
    assert not (tmp_path / "target" / "shard-1").exists()


def test_a_conversion_that_is_under_way_is_not_disturbed(tmp_path: Path) -> None:
    busy = tmp_path / ".target.converting"
    busy.mkdir()
    (busy / "shard-1").write_bytes(b"half")
    handle = os.open(busy, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another conversion"):
            convert(tiny(tmp_path / "source"), tmp_path / "target", EXACT)
    finally:
        os.close(handle)
    assert (busy / "shard-1").exists()


def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(tiny(tmp_path / "source"), tmp_path / "target", EXACT, interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e30])
def test_numbers_that_a_type_cant_hold_are_told_by_their_key(tmp_path: Path, number: float) -> None:
    weights = random_weights(even())
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = number
    source = write_folder(tmp_path / "source", even(), weights)
    with pytest.raises(ModelError, match=r"model.layers.1.mlp.up_proj.weight has numbers.*float16"):
        convert(source, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def spoiled(source: Path, how: str) -> None:
    file = source / "model.safetensors"
    if how == "no config":
        (source / "config.json").unlink()
    elif how == "cut short":
        file.write_bytes(file.read_bytes()[:-1000])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "another model's config":
        tiny(source, even(dim=128))
        shutil.copyfile(source / "model.safetensors", file.with_name("m"))
        tiny(source)
        os.replace(file.with_name("m"), file)
    else:
        weights = dict(tensors(source))
        weights.pop("model.norm.weight")
        mx.eval(weights)
        mx.save_safetensors(str(file), weights | ({"model.norm.bias": mx.ones(3)} if how == "extra" else {}))


@pytest.mark.parametrize("how", ["no config", "cut short", "empty", "missing", "extra", "another model's config"])
def test_a_broken_source_is_a_model_error_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    source = tiny(tmp_path / "source")
    spoiled(source, how)
    with pytest.raises(ModelError):
        convert(source, tmp_path / "target", EXACT)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_source_that_isnt_there_or_is_no_model_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("not a model")
    for source in (tmp_path / "nowhere", tmp_path / "nowhere.gguf", tmp_path / "text.gguf", tmp_path):
        with pytest.raises(ModelError):
            convert(source, tmp_path / "target", EXACT)
    assert [path.name for path in tmp_path.iterdir()] == ["text.gguf"]
