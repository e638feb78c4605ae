"""Rotary scalings in configs: refused by file and key where the engine doesn't compute them, and written as read."""

import math
from pathlib import Path

import numpy as np
import pytest

from menny.engine.checkpoints.checkpoint import open_model
from menny.engine.rope import QueryScaling, RopeScaling
from menny.engine.rope_config import rope_from_hub, rope_from_params, rope_to_hub
from menny.errors import ModelError
from tests.engine.gguf_files import F32, STRING, Tensor, entry, gguf
from tests.engine.test_args import read, read_keys
from tests.engine.tiny_models import gguf_entries, tiny_args

REFUSED = {
    "a scaling that nobody knows": ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "of type 'dynamic'"),
    "a scaling, the newer name": ({"rope_scaling": {"rope_type": "longrope"}}, "rope_scaling of type 'longrope'"),
    "a scaling, the newest name": ({"rope_parameters": {"rope_type": "su"}}, "rope_parameters of type 'su'"),
    "a scaling that isn't a word": ({"rope_parameters": {"rope_type": ["yarn"]}}, "rope_type should be a word"),
    "a scaling of two types": ({"rope_scaling": {"rope_type": "yarn", "type": "linear"}}, "of type"),
    "a scaling of no type": ({"rope_scaling": {"factor": 2.0}}, "a factor but no rope_type"),
    "a scaling by a word": ({"rope_scaling": "linear"}, "rope_scaling should be an object"),
    "a linear scaling by nothing": ({"rope_scaling": {"rope_type": None, "type": "linear"}}, "factor is missing"),
    "a linear scaling by 0": ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor should be a number above 0"),
    "yarn without an original context": (
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
        "rope_parameters.original_max_position_embeddings is missing",
    ),
    "a Ministral 3 that says nothing of its rotations": ({"model_type": "ministral3"}, "rope_parameters is missing"),
    "llama3 whose bounds cross": (
        {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "original_max_position_embeddings": 8192,
                "low_freq_factor": 4.0,
                "high_freq_factor": 1.0,
            }
        },
        "high_freq_factor is 1, but must be above 4",
    ),
    "queries that grow by nothing known": (
        {"rope_parameters": {"rope_type": "default", "llama_4_scaling_beta": 0.1}},
        "original_max_position_embeddings is missing",
    ),
    "a nested config that isn't one": (
        {"model_type": "mistral3", "text_config": []},
        "text_config should be an object",
    ),
    "latent attention": ({"model_type": "mistral4"}, "model_type 'mistral4'"),
    "latent attention within": ({"text_config": {"model_type": "mistral4"}}, "model_type 'mistral4'"),
}


@pytest.mark.parametrize(("changes", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_a_scaling_that_cant_be_computed_is_refused_by_file_and_key(tmp_path, changes, what):
    with pytest.raises(ModelError) as refused:
        read(tmp_path, **changes)
    assert what in str(refused.value)
    assert str(tmp_path / "config.json") in str(refused.value)


def test_an_original_context_beside_the_scaling_counts(tmp_path):
    yarn = {"rope_type": "yarn", "factor": 4.0}
    for inside in ({}, {"original_max_position_embeddings": 64}):
        args = read(tmp_path, rope_scaling=yarn | inside, original_max_position_embeddings=4096)
        assert args.rope_scaling.original_max_position_embeddings == 4096


REFUSED_KEYS = {
    "a scaling that nobody knows": ([entry("llama.rope.scaling.type", STRING, "longrope")], "'longrope'"),
    "yarn without an original context": (
        [entry("llama.rope.scaling.type", STRING, "yarn"), entry("llama.rope.scaling.factor", F32, 4.0)],
        "llama.rope.scaling.original_context_length is missing",
    ),
    "a linear scaling below 0": ([entry("llama.rope.scale_linear", F32, -2.0)], "should be a number above 0"),
}


@pytest.mark.parametrize(("more", "what"), REFUSED_KEYS.values(), ids=REFUSED_KEYS.keys())
def test_a_gguf_whose_scaling_cant_be_computed_is_refused_by_file_and_key(tmp_path, more, what):
    with pytest.raises(ModelError) as refused:
        read_keys(tmp_path, *more)
    assert what in str(refused.value)
    assert str(tmp_path / "m.gguf") in str(refused.value)


SCALINGS = [
    RopeScaling("linear", 4.0),
    RopeScaling("llama3", 8.0, 8192, low_freq_factor=1.0, high_freq_factor=4.0),
    RopeScaling("yarn", 16.0, 16384, beta_fast=32.0, beta_slow=1.0, attention_factor=1.0),
    RopeScaling("yarn", 48.0, 8192, beta_fast=4.0, beta_slow=2.0, attention_factor=1.39, truncate=False),
    RopeScaling("table", table=(1.0, 2.0, 8.0)),
]


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: scaling.rope_type)
def test_a_scaling_that_is_written_is_read_again(scaling):
    query = QueryScaling(0.1, scaling.original_max_position_embeddings) if scaling.rope_type == "yarn" else None
    again = rope_from_hub({"rope_parameters": rope_to_hub(1e6, scaling, query)}, Path("config.json"))
    assert again == (scaling, query, 1e6)


def test_nothing_is_written_of_a_model_without_scalings():
    assert rope_to_hub(1e4, None, None) == {}


def test_ministrals_params_json_is_read_as_published():
    params = {
        "yarn": {"original_max_position_embeddings": 16384, "factor": 16, "apply_scale": False, "beta": 32, "alpha": 1},
        "llama_4_scaling": {"original_max_position_embeddings": 16384, "beta": 0.1},
    }
    rope = rope_from_params(params, Path("params.json"))
    assert rope == (RopeScaling("yarn", 16.0, 16384), QueryScaling(0.1, 16384), None)
    params["yarn"]["apply_scale"] = True
    scaling = rope_from_params(params, Path("params.json")).scaling
    assert scaling is not None
    assert scaling.attention_factor == pytest.approx(0.1 * math.log(16) + 1)


BROKEN_TABLES = {
    "a 0": ([1.0, 0.0, 1.0, 1.0], "numbers above 0"),
    "no number": ([1.0, float("nan"), 1.0, 1.0], "numbers above 0"),
    "too few": ([1.0, 2.0], "rope_freqs has 2 numbers"),
}


@pytest.mark.parametrize(("table", "what"), BROKEN_TABLES.values(), ids=BROKEN_TABLES.keys())
def test_a_table_of_divisors_that_cant_be_used_is_refused(tmp_path, table, what):
    args = tiny_args()
    divisors = np.array(table, np.float32)
    tensors = [
        Tensor("token_embd.weight", (args.dim, 259), 0, bytes(4 * 259 * args.dim)),
        Tensor("rope_freqs.weight", divisors.shape, 0, divisors.tobytes()),
    ]
    (tmp_path / "m.gguf").write_bytes(gguf(gguf_entries(args), tensors))
    with pytest.raises(ModelError, match=what):
        open_model(tmp_path / "m.gguf")
