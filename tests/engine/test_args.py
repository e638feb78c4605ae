"""What a config says is what the model is; what it can't be is refused by file and key."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from menny.engine import ModelArgs
from menny.engine.args import MoEArgs, args_from_folder, args_from_gguf
from menny.engine.formats.gguf import read_gguf
from menny.errors import ModelError
from tests.engine.gguf_files import F32, STRING, U32, Tensor, array_entry, entry, gguf
from tests.engine.tiny_models import gguf_entries, hub_config, random_weights, tiny_args, write_gguf

MISTRAL_V1 = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 32000,
}


def folder_of(tmp_path: Path, config: Any) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def read(tmp_path: Path, **changes: Any) -> ModelArgs:
    """The args of Mistral 7B v0.1's config with changes; a change to ... takes the key away."""
    config = {key: value for key, value in (MISTRAL_V1 | changes).items() if value is not ...}
    return args_from_folder(folder_of(tmp_path, config))


def test_mistral_7b_v0_1_is_read_as_published(tmp_path):
    assert read(tmp_path) == ModelArgs(
        dim=4096,
        n_layers=32,
        head_dim=128,
        hidden_dim=14336,
        n_heads=32,
        n_kv_heads=8,
        norm_eps=1e-5,
        vocab_size=32000,
        rope_theta=10000.0,
        rope_traditional=False,
        sliding_window=4096,
        tie_word_embeddings=False,
        max_position_embeddings=32768,
    )
    assert read(tmp_path).n_parameters == 7_241_732_096


def test_later_versions_have_no_window_and_nemo_has_a_head_dim_of_its_own(tmp_path):
    v3 = read(tmp_path, sliding_window=None, rope_theta=1e6, vocab_size=32768)
    assert (v3.sliding_window, v3.rope_theta, v3.head_dim) == (None, 1e6, 128)
    nemo = read(tmp_path, sliding_window=..., hidden_size=5120, head_dim=128, num_hidden_layers=40)
    assert (nemo.sliding_window, nemo.head_dim, nemo.dim) == (None, 128, 5120)


def test_silence_means_what_it_means_to_other_readers_of_the_format(tmp_path):
    """transformers' MistralConfig and LlamaConfig: theta 10000, as many KV heads as heads, dim / heads, untied."""
    absent = dict.fromkeys(
        ["rope_theta", "num_key_value_heads", "tie_word_embeddings", "sliding_window", "model_type", "hidden_act"], ...
    )
    args = read(tmp_path, **absent, max_position_embeddings=...)
    assert (args.rope_theta, args.n_kv_heads, args.head_dim) == (10000.0, 32, 128)
    assert (args.tie_word_embeddings, args.rope_traditional, args.sliding_window) == (False, False, None)
    assert args.max_position_embeddings == 32768
    nulls = dict.fromkeys(["rope_theta", "num_key_value_heads", "tie_word_embeddings", "head_dim", "rope_scaling"])
    assert read(tmp_path, **nulls, model_type=None).n_kv_heads == 32


def test_a_window_told_layer_by_layer_is_the_one_that_all_have(tmp_path):
    assert read(tmp_path, sliding_window=[512, 512]).sliding_window == 512
    assert read(tmp_path, sliding_window=[None, None]).sliding_window is None


def test_mixtral_8x7b_is_read_as_published(tmp_path):
    sparse = {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    args = read(tmp_path, **sparse, sliding_window=None, rope_theta=...)
    assert (args.moe, args.rope_theta) == (MoEArgs(8, 2), 1e6)
    assert args.n_parameters == 46_702_792_704


REFERENCE_V1 = {
    "dim": 4096,
    "n_layers": 32,
    "head_dim": 128,
    "hidden_dim": 14336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "norm_eps": 1e-05,
    "sliding_window": 4096,
    "vocab_size": 32000,
}


@pytest.mark.parametrize("file", ["params.json", "config.json"])
def test_a_params_json_is_read_as_published_and_so_is_a_config_of_mlx_examples(tmp_path, file):
    def read_reference(**changes: Any) -> ModelArgs:
        config = {key: value for key, value in (REFERENCE_V1 | changes).items() if value is not ...}
        (tmp_path / file).write_text(json.dumps(config))
        return args_from_folder(tmp_path, original=True)

    v1 = read_reference()
    assert v1 == replace(read_v1_of_the_hub(tmp_path / "hub"), rope_traditional=True)
    assert read_reference(sliding_window=None).rope_theta == 1e6
    assert read_reference(sliding_window=...).rope_theta == 1e6
    assert read_reference(rope_theta=1e6).rope_theta == 1e6
    assert read_reference(rope_theta=1e6).sliding_window == 4096
    assert read_reference(model_type="mistral").moe is None
    assert read_reference(moe={"num_experts": 8, "num_experts_per_tok": 2}).moe == MoEArgs(8, 2)
    for wrong, what in (
        ({"moe": {"num_experts": 8}}, "missing: moe.num_experts_per_tok"),
        ({"moe": {"num_experts": 8, "num_experts_per_tok": 9}}, "moe.num_experts_per_tok is 9"),
        ({"moe": {"num_experts": 8, "num_experts_per_tok": 2, "num_shared_experts": 1}}, "moe.num_shared_experts"),
        ({"moe": 8}, "moe should be an object"),
        ({"dim": ...}, "missing: dim"),
        ({"yarn": {"factor": 4}}, "yarn.original_max_position_embeddings is missing"),
        ({"yarn": 4}, "yarn should be an object"),
        ({"llama_4_scaling": {"beta": 0.1}}, "llama_4_scaling.original_max_position_embeddings is missing"),
        ({"kv_lora_rank": 8}, "kv_lora_rank is set"),
    ):
        with pytest.raises(ModelError) as refused:
            read_reference(**wrong)
        assert what in str(refused.value)
        assert str(tmp_path / file) in str(refused.value)


def read_v1_of_the_hub(folder: Path) -> ModelArgs:
    folder.mkdir()
    return args_from_folder(folder_of(folder, MISTRAL_V1))


def test_a_theta_within_rope_parameters_counts(tmp_path):
    parameters = {"rope_theta": 1e6, "rope_type": "default"}
    assert read(tmp_path, rope_theta=..., rope_parameters=parameters).rope_theta == 1e6
    assert read(tmp_path, rope_theta=5e5, rope_parameters=parameters).rope_theta == 1e6  # as the hub's reader has it


def test_whole_numbers_may_be_written_as_fractions(tmp_path):
    args = read(tmp_path, hidden_size=4096.0)
    assert args.dim == 4096
    assert isinstance(args.dim, int)


REFUSED = {
    "another architecture": ({"model_type": "gpt2"}, "model_type 'gpt2'"),
    "another architecture and no type": ({"model_type": ..., "architectures": ["Qwen2ForCausalLM"]}, "'qwen2'"),
    "an architecture that isn't in a list": ({"model_type": ..., "architectures": 7}, "model_type '7'"),
    "rotations of a part": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    "rotations of a part, the newer name": ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary"),
    "an architecture that isn't a word": ({"model_type": ["mistral"]}, "model_type"),
    "experts without a number": ({"model_type": "mixtral"}, "missing: num_experts_per_tok, num_local_experts"),
    "no experts": ({"num_local_experts": 0, "num_experts_per_tok": 2}, "num_local_experts is 0, but must be from 1"),
    "more experts a token than there are": (
        {"num_local_experts": 4, "num_experts_per_tok": 5},
        "num_experts_per_tok is 5, but must be from 1 to 4",
    ),
    "windows that differ": ({"sliding_window": [4096, 512]}, "sliding_window names several windows"),
    "no windows": ({"sliding_window": []}, "sliding_window is a pattern of 0 layers"),
    "windows that don't repeat": (
        {"sliding_window": [4096, None, None]},
        "a pattern of 3 layers, which 32 layers can't",
    ),
    "a type of layer too few": ({"layer_types": ["full_attention"] * 31}, "for each of 32 layers"),
    "a type of layer from nowhere": ({"layer_types": ["linear_attention"] * 32}, "layer_types should say"),
    "layer types that are no list": ({"layer_types": "sliding_attention"}, "layer_types should say"),
    "a layer type that is no word": ({"layer_types": [["full_attention"]] * 32}, "layer_types should say"),
    "sliding layers and no window": (
        {"layer_types": ["sliding_attention", "full_attention"] * 16, "sliding_window": None},
        "sliding_window doesn't say how far",
    ),
    "a window of 0 in some layers": (
        {"layer_types": ["sliding_attention", "full_attention"] * 16, "sliding_window": 0},
        "sliding_window is 0",
    ),
    "another activation": ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
    "biases in attention": ({"attention_bias": True}, "attention_bias"),
    "biases in the feed-forward": ({"mlp_bias": True}, "mlp_bias"),
    "rotations by layer": ({"rope_parameters": {"full_attention": {"rope_theta": 5}}}, "differs from layer to layer"),
    "a key taken away": ({"hidden_size": ...}, "missing: hidden_size"),
    "keys taken away": ({"vocab_size": ..., "rms_norm_eps": None}, "missing: rms_norm_eps, vocab_size"),
    "a word for a number": ({"num_attention_heads": "32"}, "num_attention_heads should be a number, but is '32'"),
    "a truth for a number": ({"num_hidden_layers": True}, "num_hidden_layers should be a number, but is 'True'"),
    "a list for a number": ({"vocab_size": [32000]}, "vocab_size should be a number"),
    "a number that isn't one": ({"rms_norm_eps": float("nan")}, "rms_norm_eps should be a number"),
    "a number without end": ({"rope_theta": float("inf")}, "rope_theta should be a number"),
    "an impossibly large number": ({"hidden_size": 10**300}, "hidden_size should be a number"),
    "a fraction of a layer": ({"num_hidden_layers": 2.5}, "num_hidden_layers is 2.5, but must be a whole number"),
    "a fraction of a window": ({"sliding_window": 0.5}, "sliding_window is 0.5, but must be a whole number"),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers is 0, but must be from 1 to 1024"),
    "layers that would fill the memory": ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
    "a width that would": ({"intermediate_size": 10**11}, "intermediate_size is 100000000000"),
    "heads that would": ({"num_attention_heads": 1 << 20, "head_dim": 1 << 20, "num_key_value_heads": 1}, "heads of"),
    "a negative width": ({"hidden_size": -4096, "head_dim": 128}, "hidden_size is -4096"),
    "no heads": ({"num_attention_heads": 0}, "num_attention_heads 0 doesn't divide hidden_size"),
    "heads that don't divide": ({"num_attention_heads": 24}, "num_attention_heads 24 doesn't divide hidden_size 4096"),
    "KV heads that can't be shared": ({"num_key_value_heads": 5}, "32 heads can't share 5 KV heads"),
    "no KV heads": ({"num_key_value_heads": 0}, "num_key_value_heads is 0"),
    "an odd head_dim": ({"head_dim": 127}, "head_dim is 127"),
    "a window of nothing": ({"sliding_window": 0}, "sliding_window is 0"),
    "no context": ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
    "an epsilon of 0": ({"rms_norm_eps": 0}, "rms_norm_eps"),
    "a theta below 0": ({"rope_theta": -1.0}, "rope_theta"),
    "a word for a truth": ({"tie_word_embeddings": "false"}, "tie_word_embeddings should be true or false"),
}


@pytest.mark.parametrize(("changes", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_a_config_that_cant_be_computed_is_refused_by_file_and_key(tmp_path, changes, what):
    with pytest.raises(ModelError) as refused:
        read(tmp_path, **changes)
    assert what in str(refused.value)
    assert str(tmp_path / "config.json") in str(refused.value)


UNREADABLE = {
    "no JSON": b"{",
    "empty": b"",
    "a list": b"[1]",
    "a number": b"12",
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "nested beyond reason": b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a number of too many digits": b'{"hidden_size": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_config_that_cant_be_read_is_refused_by_name(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        args_from_folder(tmp_path)


def test_a_folder_without_a_config_or_with_a_folder_in_its_place_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        args_from_folder(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelError, match=r"config\.json can't be read"):
        args_from_folder(tmp_path)


def test_a_config_that_is_far_too_large_is_not_read(tmp_path):
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 30)  # takes no room on the disk
    with pytest.raises(ModelError, match=r"config\.json can't be used: it is larger than 4 MiB"):
        args_from_folder(tmp_path)


def read_keys(tmp_path: Path, *more: bytes, without: str = "") -> ModelArgs:
    """The args in a GGUF header of a tiny model, with keys added or one taken away."""
    keys = [key for key in gguf_entries(tiny_args()) if not without or without.encode() not in key]
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf([*keys, *more], [Tensor("token_embd.weight", (2, 7), 0, bytes(56))]))
    return args_from_gguf(read_gguf(path))


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"sliding_window": 5, "rope_theta": 1e6}])
def test_a_gguf_tells_the_args_it_was_written_with(tmp_path, changes):
    args = tiny_args(rope_traditional=True, norm_eps=2.0**-17, max_position_embeddings=99, **changes)
    write_gguf(tmp_path / "m.gguf", args, random_weights(args))
    assert args_from_gguf(read_gguf(tmp_path / "m.gguf")) == args


def test_a_gguf_that_keeps_silent_has_the_formats_defaults(tmp_path):
    assert read_keys(tmp_path, without="head_count_kv").n_kv_heads == 4
    assert read_keys(tmp_path, without="freq_base").rope_theta == 10000.0
    assert read_keys(tmp_path, without="context_length").max_position_embeddings == 32768
    assert read_keys(tmp_path, without="rope.dimension_count").head_dim == 8
    assert read_keys(tmp_path, entry("llama.attention.sliding_window", U32, 0)).sliding_window is None
    assert read_keys(tmp_path).vocab_size == 7  # the rows of the embeddings, whatever the metadata say


REFUSED_KEYS = {
    "another architecture": (("general.architecture",), [entry("general.architecture", STRING, "qwen2")], "'qwen2'"),
    "no architecture": (("general.architecture",), [], "architecture None"),
    "rotations of a part": (
        ("rope.dimension_count",),
        [entry("llama.rope.dimension_count", U32, 4)],
        "rope.dimension_count is 4",
    ),
    "a key missing": (("embedding_length",), [], "missing: llama.embedding_length"),
    "a list for a number": (
        ("head_count_kv",),
        [array_entry("llama.attention.head_count_kv", U32, [2, 2])],
        "llama.attention.head_count_kv should be a number",
    ),
    "layers that would fill the memory": (
        ("block_count",),
        [entry("llama.block_count", U32, 4_000_000_000)],
        "llama.block_count is 4000000000",
    ),
    "an epsilon that isn't a number": (
        ("rms_epsilon",),
        [entry("llama.attention.layer_norm_rms_epsilon", F32, float("nan"))],
        "layer_norm_rms_epsilon should be a number",
    ),
    "no context": (("context_length",), [entry("llama.context_length", U32, 0)], "llama.context_length is 0"),
}


@pytest.mark.parametrize(("without", "more", "what"), REFUSED_KEYS.values(), ids=REFUSED_KEYS.keys())
def test_a_gguf_that_cant_be_computed_is_refused_by_file_and_key(tmp_path, without, more, what):
    with pytest.raises(ModelError) as refused:
        read_keys(tmp_path, *more, without="".join(without))
    assert what in str(refused.value)
    assert str(tmp_path / "m.gguf") in str(refused.value)


def test_a_gguf_without_embeddings_is_refused(tmp_path):
    (tmp_path / "m.gguf").write_bytes(gguf(gguf_entries(tiny_args())))
    with pytest.raises(ModelError, match=r"token_embd\.weight is missing"):
        args_from_gguf(read_gguf(tmp_path / "m.gguf"))


def test_hub_and_gguf_describe_a_model_alike(tmp_path):
    args = tiny_args(sliding_window=16, norm_eps=2.0**-17)
    write_gguf(tmp_path / "m.gguf", args, random_weights(args))
    of_hub = args_from_folder(folder_of(tmp_path, hub_config(args)))
    of_gguf = args_from_gguf(read_gguf(tmp_path / "m.gguf"))
    assert of_hub == args
    assert (of_gguf.rope_traditional, of_hub.rope_traditional) == (True, False)
    assert {**vars(of_gguf), "rope_traditional": False} == vars(of_hub)
