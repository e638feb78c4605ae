"""The forms that Mistral's models have had since 2025: nested beside a vision tower, in FP8, and split GGUF files."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from menny.engine import Mistral, ModelArgs, SamplingParams, load_engine, load_model, load_tokenizer
from menny.engine.checkpoints.checkpoint import open_model
from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.errors import ModelError
from tests.engine.format_files import reference_config, reference_weights
from tests.engine.test_reference_logits import TOLERANCE, in_chunks, stored
from tests.engine.tiny_models import Weights, hub_config, quantize, write_folder, write_vocabulary
from tools.split_gguf import split

TOWERS = {
    "vision_tower.transformer.layers.0.attention.q_proj.weight": np.ones((4, 4), np.float32),
    "model.vision_tower.patch_conv.weight": np.ones((4, 3, 2, 2), np.float32),
    "multi_modal_projector.linear_1.weight": np.ones((4, 4), np.float32),
}
ORIGINAL_TOWERS = {
    "vision_encoder.transformer.layers.0.attention.wq.weight": np.ones((4, 4), np.float32),
    "vision_language_adapter.w_in.weight": np.ones((4, 4), np.float32),
    "patch_merger.merging_layer.weight": np.ones((4, 4), np.float32),
    "pre_mm_projector_norm.weight": np.ones(4, np.float32),
}
NAMES = ["ministral3", "ministral3_tied", "ministral3_window", "llama3"]


def OLDER(key: str) -> str:  # noqa: N802 - the two namings of nested weights
    return f"language_model.{key}"


def NEWER(key: str) -> str:  # noqa: N802
    return key if key == "lm_head.weight" else key.replace("model.", "model.language_model.", 1)


def nested_config(args: ModelArgs, **outer: Any) -> dict[str, Any]:
    text = hub_config(args)
    text["model_type"] = "ministral3" if args.query_scaling else text["model_type"]
    return {"model_type": "mistral3", "text_config": text, "vision_config": {"model_type": "pixtral"}, **outer}


def write_nested(folder: Path, args: ModelArgs, weights: Mapping[str, Any], rename: Callable[[str], str]) -> Path:
    renamed = {rename(key): weight for key, weight in weights.items()}
    write_folder(folder, args, renamed | TOWERS)
    (folder / "config.json").write_text(json.dumps(nested_config(args)))
    return folder


def write_original(folder: Path, args: ModelArgs, arrays: Mapping[str, mx.array]) -> Path:
    folder.mkdir(parents=True)
    config = {key: value for key, value in reference_config(args).items() if key != "tie_word_embeddings"}
    config |= {"tied_embeddings": args.tie_word_embeddings, "vision_encoder": {"hidden_size": 4}}
    (folder / "params.json").write_text(json.dumps(config))
    mx.save_safetensors(str(folder / "consolidated.safetensors"), dict(arrays))
    return folder


def check(model: Mistral, tokens: NDArray[Any], logits: NDArray[Any], tolerance: float = TOLERANCE) -> None:
    assert np.abs(np.array(model(mx.array(tokens))[0]) - logits).max() < tolerance
    for size in (1, 7, 16, 33):
        assert np.abs(in_chunks(model, tokens, size) - logits).max() < tolerance


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rename", [OLDER, NEWER], ids=["older", "newer"])
def test_a_model_beside_a_vision_tower_gives_the_logits_of_its_text_model(tmp_path, name, rename):
    args, weights, tokens, logits = stored(name, tmp_path)
    folder = write_nested(tmp_path / "m", args, weights, rename)
    assert open_model(folder)[1].has_vision
    check(load_model(folder), tokens, logits)


@pytest.mark.parametrize("name", NAMES)
def test_so_do_the_original_files(tmp_path, name):
    args, weights, tokens, logits = stored(name, tmp_path)
    arrays = {**reference_weights(args, weights), **ORIGINAL_TOWERS}
    folder = write_original(tmp_path / "m", args, {key: mx.array(array) for key, array in arrays.items()})
    assert open_model(folder)[1].has_vision
    check(load_model(folder), tokens, logits)


@pytest.mark.parametrize("where", ["text", "whole", "both"])
def test_tied_embeddings_are_believed_wherever_they_are_told(tmp_path, where):
    args, weights, tokens, logits = stored("ministral3_tied", tmp_path)
    folder = write_nested(tmp_path / "m", args, weights, NEWER)
    config = nested_config(args, tie_word_embeddings=where != "text")
    if where == "whole":
        del config["text_config"]["tie_word_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    check(load_model(folder), tokens, logits)


def test_an_output_of_its_own_counts_even_where_the_whole_is_said_to_be_tied(tmp_path):
    args, weights, tokens, logits = stored("ministral3", tmp_path)
    folder = write_nested(tmp_path / "m", args, weights, NEWER)
    (folder / "config.json").write_text(json.dumps(nested_config(args, tie_word_embeddings=True)))
    check(load_model(folder), tokens, logits)


@pytest.mark.parametrize("rename", [OLDER, NEWER], ids=["older", "newer"])
def test_mlx_folders_of_them_load_with_bits_that_differ_from_layer_to_layer(tmp_path, rename):
    args, weights, tokens, _ = stored("ministral3", tmp_path)
    eight = quantize(weights, 32, 8, lambda name: ".0." in name and name.endswith("proj.weight"))
    mixed = quantize(eight, 32, 4, lambda name: ".1." in name and name.endswith("proj.weight"))
    plain = load_model(write_folder(tmp_path / "plain", args, mixed))
    nested = load_model(write_nested(tmp_path / "nested", args, mixed, rename))
    assert mx.array_equal(plain(mx.array(tokens))[0], nested(mx.array(tokens))[0])


# FP8


def fp8(weights: Weights, only: Callable[[str], bool]) -> tuple[dict[str, mx.array], Weights]:
    """Arrays as FP8 files have them, by hub names, and the numbers that they stand for."""
    arrays, meant = {}, {}
    for name, weight in weights.items():
        if not only(name):
            arrays[name], meant[name] = mx.array(weight), weight
            continue
        scale = float(np.abs(weight).max()) / 448
        bytes_ = mx.to_fp8(mx.array(weight / scale))
        arrays[name] = bytes_
        stem = name.removesuffix(".weight")
        arrays[f"{stem}.weight_scale_inv"] = mx.array(scale, mx.float32)
        arrays[f"{stem}.activation_scale"] = mx.array(0.5, mx.float32)
        meant[name] = np.array(mx.from_fp8(bytes_, mx.float32)) * np.float32(scale)
    return arrays, meant


def write_f8_safetensors(path: Path, arrays: Mapping[str, mx.array]) -> None:
    """As MLX doesn't: bytes are called F8_E4M3."""
    header: dict[str, Any] = {}
    data = b""
    for name, array in arrays.items():
        numbers = np.array(array)
        kind = {"uint8": "F8_E4M3", "float32": "F32"}[str(numbers.dtype)]
        header[name] = {"dtype": kind, "shape": numbers.shape, "data_offsets": [len(data), len(data) + numbers.nbytes]}
        data += numbers.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def is_matrix(name: str) -> bool:
    return name.endswith("proj.weight")


def write_fp8(folder: Path, args: ModelArgs, arrays: Mapping[str, mx.array]) -> Path:
    folder.mkdir(parents=True)
    config = nested_config(args, quantization_config={"quant_method": "fp8", "activation_scheme": "static"})
    (folder / "config.json").write_text(json.dumps(config))
    write_f8_safetensors(folder / "model.safetensors", {NEWER(key): array for key, array in arrays.items()})
    return folder


@pytest.mark.parametrize("name", ["ministral3", "ministral3_tied"])
def test_fp8_files_give_the_logits_of_the_numbers_that_they_stand_for(tmp_path, name):
    args, weights, tokens, _ = stored(name, tmp_path)
    arrays, meant = fp8(weights, is_matrix)
    model = load_model(write_fp8(tmp_path / "fp8", args, arrays))
    plain = load_model(write_folder(tmp_path / "plain", args, meant))
    assert np.abs(np.array(model(mx.array(tokens))[0]) - np.array(plain(mx.array(tokens))[0])).max() < TOLERANCE


CONVERSIONS = [(QuantizationConfig("bfloat16"), 0.1), (QuantizationConfig("float32", 8, 32), 0.2)]


@pytest.mark.parametrize(("numbers", "tolerance"), CONVERSIONS)
def test_fp8_files_are_converted(tmp_path, numbers, tolerance):
    args, weights, tokens, _ = stored("ministral3", tmp_path)
    arrays, _ = fp8(weights, is_matrix)
    folder = write_fp8(tmp_path / "fp8", args, arrays)
    write_vocabulary(folder)
    convert(folder, tmp_path / "made", numbers)
    logits = np.array(load_model(folder)(mx.array(tokens))[0])
    again = load_model(tmp_path / "made")
    assert np.abs(np.array(again(mx.array(tokens))[0]) - logits).max() < tolerance
    assert again.args.query_scaling == args.query_scaling
    assert not open_model(tmp_path / "made")[1].has_vision


Q = "layers.0.self_attn.q_proj"
BROKEN_FP8 = {
    "no scale": (
        lambda a: a.pop(f"model.{Q}.weight_scale_inv"),
        f"{Q}.weight is FP8, but its weight_scale_inv is missing",
    ),
    "a scale a block": (lambda a: a.update({f"model.{Q}.weight_scale_inv": mx.ones((2, 2))}), "has the shape"),
    "a scale of 0": (lambda a: a.update({f"model.{Q}.weight_scale_inv": mx.array(0.0)}), "is 0.0, but a scale must be"),
    "a scale of NaN": (lambda a: a.update({f"model.{Q}.weight_scale_inv": mx.array(float("nan"))}), "must be above 0"),
}


@pytest.mark.parametrize(("damage", "what"), BROKEN_FP8.values(), ids=BROKEN_FP8.keys())
def test_an_fp8_scale_that_cant_be_used_is_named(tmp_path, damage, what):
    args, weights, _, _ = stored("ministral3", tmp_path)
    arrays, _ = fp8(weights, is_matrix)
    damage(arrays)
    folder = write_fp8(tmp_path / "fp8", args, arrays)
    with pytest.raises(ModelError) as refused:
        load_model(folder)
    assert what in str(refused.value)
    assert "model.safetensors" in str(refused.value)


# Split GGUF files


@pytest.fixture(scope="module")
def parts(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return split(smollm2_path, tmp_path_factory.mktemp("split"), 3)


@pytest.mark.slow
def test_the_model_that_comes_along_cut_into_three_says_the_same(parts: list[Path], smollm2_path: Path) -> None:
    def ids(path: Path) -> list[int | None]:
        with load_engine(path) as engine:
            prompt = engine.tokenizer.encode("The capital of France is")
            return [chunk.token for chunk in engine.stream(prompt, SamplingParams(temperature=0, max_tokens=12))]

    whole = ids(smollm2_path)
    assert len(parts) == 3
    assert [ids(path) for path in (parts[0].parent, parts[2])] == [whole] * 2
    assert load_tokenizer(parts[1]).encode("Bonjour") == load_tokenizer(smollm2_path).encode("Bonjour")


def damaged(parts: list[Path], folder: Path) -> list[Path]:
    """Links to the parts, which a test may take away or rename."""
    for part in parts:
        (folder / part.name).symlink_to(part)
    return [folder / part.name for part in parts]


def test_a_part_that_is_missing_is_named(parts: list[Path], tmp_path: Path) -> None:
    here = damaged(parts, tmp_path)
    here[1].unlink()
    for path in (tmp_path, here[0], here[2]):
        with pytest.raises(ModelError, match=r"-00002-of-00003\.gguf is missing: the model is split into 3 files"):
            open_model(path)


def test_parts_that_are_exchanged_or_renamed_are_refused(parts: list[Path], tmp_path: Path) -> None:
    here = damaged(parts, tmp_path)
    here[1].unlink()
    here[1].symlink_to(parts[2])
    with pytest.raises(ModelError, match=r"says that it is file 3 of 3, not 2 of 3"):
        open_model(here[0])
    alone = tmp_path / "alone.gguf"
    alone.symlink_to(parts[0])
    with pytest.raises(ModelError, match=r"is file 1 of 3: give it back a name such as"):
        open_model(alone)
