"""Writes a tiny model in every format that there is, from weights under the hub's names, one matrix an expert."""

import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from menny.engine import ModelArgs
from menny.engine.checkpoints.weight_names import HUB
from tests.engine.rope_files import rope_parameters
from tests.engine.tiny_models import Weights, interleave, write_folder, write_gguf

Arrays = Mapping[str, NDArray[Any]]

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage"}


def reference_weights(args: ModelArgs, weights: Arrays) -> dict[str, NDArray[Any]]:
    """The weights as the reference names and orders them."""
    renamed = {str(HUB.ours(name)): weight for name, weight in weights.items()}
    heads = {"wq": args.n_heads, "wk": args.n_kv_heads}
    return {
        name: interleave(weight, heads[name.split(".")[-2]]) if name.split(".")[-2] in heads else weight
        for name, weight in renamed.items()
    }


def stacked(args: ModelArgs, weights: Arrays) -> dict[str, Any]:
    """Hub weights with a layer's experts in one array, as MLX keeps them."""
    if args.moe is None:
        return dict(weights)
    arrays = {name: weight for name, weight in weights.items() if ".experts." not in name}
    for layer in range(args.n_layers):
        module = f"model.layers.{layer}.block_sparse_moe"
        for apart, together in (("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")):
            for kind in ("weight", "scales", "biases"):
                parts = [weights.get(f"{module}.experts.{e}.{apart}.{kind}") for e in range(args.moe.num_experts)]
                if parts[0] is not None:
                    arrays[f"{module}.switch_mlp.{together}.{kind}"] = np.stack(parts)
    return arrays


def reference_config(args: ModelArgs) -> dict[str, Any]:
    """What a params.json says, or a config.json of MLX's examples."""
    names = ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "norm_eps", "vocab_size")
    config = {name: getattr(args, name) for name in (*names, "rope_theta", "sliding_window")}
    if args.windowed_layers:
        config["sliding_window"] = [args.window_of(layer) for layer in range(args.n_layers)]
    if args.tie_word_embeddings:
        config["tie_word_embeddings"] = True
    return config | ({"moe": vars(args.moe)} if args.moe else {}) | reference_rope(args)


def reference_rope(args: ModelArgs) -> dict[str, Any]:
    """The scalings as a params.json has them; what it has no words for, in the hub's."""
    scaling, query = args.rope_scaling, args.query_scaling
    if scaling is None or scaling.rope_type != "yarn":
        return rope_parameters(args)
    original = {"original_max_position_embeddings": scaling.original_max_position_embeddings}
    yarn = {"factor": scaling.factor, "beta": scaling.beta_fast, "alpha": scaling.beta_slow, **original}
    yarn["apply_scale"] = scaling.attention_factor != 1
    return {"yarn": yarn} | ({"llama_4_scaling": {"beta": query.beta, **original}} if query else {})


def hub_apart(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    return write_folder(folder, args, weights, shards=2)


def hub_stacked(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    return write_folder(folder, args, stacked(args, weights))


def mlx_examples_npz(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    np.savez(of_examples(folder, args) / "weights.npz", **reference_weights(args, weights))
    return folder


def mlx_examples_npz_shards(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    for number, part in enumerate(halves(reference_weights(args, weights))):
        mx.savez(str(of_examples(folder, args) / f"weights.{number}.npz"), **{k: mx.array(w) for k, w in part.items()})
    return folder


def mlx_examples_safetensors(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    for number, part in enumerate(halves(reference_weights(args, weights))):
        arrays = {name: mx.array(weight) for name, weight in part.items()}
        mx.save_safetensors(str(of_examples(folder, args) / f"weights.{number:02}.safetensors"), arrays)
    return folder


def reference_safetensors(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    arrays = {name: mx.array(weight) for name, weight in reference_weights(args, weights).items()}
    mx.save_safetensors(str(of_reference(folder, args) / "consolidated.safetensors"), arrays)
    return folder


def reference_pth(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    write_pth(of_reference(folder, args) / "consolidated.00.pth", reference_weights(args, weights))
    return folder


def mixtral_first(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    """Mixtral's first files: several, with a layer's experts one below the other in one key that doesn't say weight."""
    arrays = {name: weight for name, weight in reference_weights(args, weights).items() if ".experts." not in name}
    arrays = {name.replace("feed_forward.gate", "block_sparse_moe.gate"): weight for name, weight in arrays.items()}
    for layer in range(args.n_layers if args.moe else 0):
        for w in ("w1", "w2", "w3"):
            module = f"model.layers.{layer}.block_sparse_moe.experts"
            parts = [weights[f"{module}.{expert}.{w}.weight"] for expert in range(args.moe.num_experts)]
            arrays[f"layers.{layer}.block_sparse_moe.{w}"] = np.concatenate([p.T if w == "w2" else p for p in parts])
    of_reference(folder, args)
    for number, part in enumerate(halves(arrays)):
        write_pth(folder / f"consolidated.{number:02}.pt", part)
    return folder


def gguf_stacked(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    folder.mkdir(exist_ok=True)
    write_gguf(folder / "m.gguf", args, weights)
    return folder / "m.gguf"


def gguf_apart(folder: Path, args: ModelArgs, weights: Weights) -> Path:
    folder.mkdir(exist_ok=True)
    write_gguf(folder / "m.gguf", args, weights, stacked=False)
    return folder / "m.gguf"


FORMATS: dict[str, Callable[[Path, ModelArgs, Weights], Path]] = {
    "hub": hub_apart,
    "hub, experts stacked": hub_stacked,
    "weights.npz": mlx_examples_npz,
    "weights.N.npz": mlx_examples_npz_shards,
    "weights.NN.safetensors": mlx_examples_safetensors,
    "consolidated.safetensors": reference_safetensors,
    "consolidated.00.pth": reference_pth,
    "consolidated.NN.pt": mixtral_first,
    "gguf": gguf_stacked,
    "gguf, experts apart": gguf_apart,
}


def of_examples(folder: Path, args: ModelArgs) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(reference_config(args) | {"model_type": "mistral"}))
    return folder


def of_reference(folder: Path, args: ModelArgs) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps(reference_config(args)))
    return folder


def halves(weights: Arrays) -> list[dict[str, NDArray[Any]]]:
    names = sorted(weights)
    return [{name: weights[name] for name in names[half::2]} for half in range(2)]


def write_pth(
    path: Path, arrays: Arrays, *, script: bytes | None = None, compress: bool = False, root: str = "m"
) -> None:
    """A checkpoint as torch.save lays it out, written without torch; uint16 arrays count as bfloat16."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr("m/data.pkl", state_dict(arrays) if script is None else script)
        archive.writestr("m/byteorder", "little")
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"m/data/{number}", np.ascontiguousarray(array).tobytes())
        archive.writestr("m/version", "3\n")


def state_dict(arrays: Arrays) -> bytes:
    """The pickle of a dict of tensors, each the whole of a storage of its own."""
    items = [text(key) + tensor(number, array.dtype, array.shape) for number, (key, array) in enumerate(arrays.items())]
    return b"\x80\x02}(" + b"".join(items) + b"u."


def tensor(
    number: int, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0
) -> bytes:
    """A call of _rebuild_tensor_v2 on a storage that persistent_load finds."""
    name = STORAGES["bfloat16" if dtype == np.uint16 else str(np.dtype(dtype))]
    size = int(np.prod(shape))
    if strides is None:
        strides = tuple(int(np.prod(shape[place + 1 :])) for place in range(len(shape)))
    storage = b"(" + text("storage") + glob("torch", name) + text(str(number)) + text("cpu") + whole(size) + b"tQ"
    hooks = glob("collections", "OrderedDict") + b")R"
    described = storage + whole(offset) + tuple_of(shape) + tuple_of(strides) + b"\x89" + hooks
    return glob("torch._utils", "_rebuild_tensor_v2") + b"(" + described + b"tR"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def tuple_of(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"
