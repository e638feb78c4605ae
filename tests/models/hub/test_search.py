"""A search of the hub, by the real huggingface_hub in a process of its own, from a server on this machine."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from menny.errors import ModelError
from menny.models.hub import search
from menny.models.loader import Planner, a_mac, find_models
from tests.models.hub.fake_hub import FakeHub, serving

pytestmark = pytest.mark.slow

REPO = "somebody/Little-GGUF"
GGUF = {"architecture": "llama", "total": 135_000_000, "context_length": 8192}
PARTS = [f"little-Q8_0-0000{number}-of-00002.gguf" for number in (1, 2)]
FILES = {
    "little-Q4_K_M.gguf": b"x" * 5000,
    "little-IQ2_XS.gguf": b"x" * 3000,
    "little-UD-Q3_K_XL.gguf": b"x" * 3000,
    "little-F16-00001-of-00003.gguf": b"x" * 9000,  # and no other part
    "mmproj-little-F16.gguf": b"x" * 700,
    "README.md": b"#",
    **dict.fromkeys(PARTS, b"x" * 6000),
}
BERT = {"id": "somebody/Bert", "downloads": 3, "tags": [], "config": {"model_type": "bert", "architectures": ["B"]}}
CONFIG = {
    "model_type": "mistral3",
    "text_config": {
        "model_type": "ministral3",
        "hidden_size": 3072,
        "num_hidden_layers": 26,
        "intermediate_size": 9216,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rms_norm_eps": 1e-5,
        "vocab_size": 131072,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "tie_word_embeddings": True,
    "quantization": {"bits": 8, "group_size": 64},
}


def found(repo: str, **told: Any) -> dict[str, Any]:
    return {"id": repo, "downloads": 12, "tags": [], **told}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(FakeHub(REPO, dict(FILES), found=[found(REPO, gguf=GGUF), BERT])) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def test_gguf_files_are_choices_and_nothing_of_them_is_fetched(hub: FakeHub) -> None:
    result = search("little")
    (hit,) = result.hits
    assert result.left_out == 1  # another kind of model
    assert (hit.repo, hit.downloads, hit.n_parameters) == (REPO, 12, 135_000_000)
    assert [(one.label, one.size, one.file) for one in hit.choices] == [
        ("Q4_K_M", 5000, "little-Q4_K_M.gguf"),
        ("Q8_0", 12000, PARTS[0]),
    ]
    assert hub.sent == 0


def test_a_config_tells_the_fit_before_weights_are_fetched(hub: FakeHub) -> None:
    hub.repo = "somebody/Little-8bit"
    hub.files = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": os.urandom(9000)}
    gptq = {"model_type": "mistral", "quantization_config": {"quant_method": "gptq", "bits": 4}}
    hub.found = [found(hub.repo, config={"model_type": "mistral3"}), found("somebody/GPTQ", config=gptq)]

    (one,), left_out = find_models("little", Planner(a_mac(8)))
    (choice,) = one.hit.choices
    assert (choice.label, choice.file, choice.size) == ("8-bit", None, 9000 + len(json.dumps(CONFIG)))
    assert one.plans[0].fits
    assert one.plans[0].weights == pytest.approx(3.64e9, rel=0.01)
    assert left_out == 1
    assert hub.got("model.safetensors") == 0

    config = CONFIG["text_config"] | {"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}  # type: ignore[operator]
    hub.files["config.json"] = json.dumps(CONFIG | {"text_config": config}).encode()
    assert find_models("little", Planner(a_mac(8))) == ([], 2)  # the engine wouldn't compute it


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"status": 503, "refuses": "/api/models"}, "can't be searched at the moment (HTTP 503): try again later"),
        ({"status": 401, "refuses": "/api/models"}, "doesn't accept the token"),
        ({"status": 429, "refuses": "/api/models", "headers": {"Retry-After": "3600"}}, "too many requests"),
        ({"portal": True}, "doesn't answer as the hub does"),
    ],
)
def test_a_fault_is_one_sentence(hub: FakeHub, behaviour: dict[str, Any], words: str) -> None:
    for name, value in behaviour.items():
        setattr(hub, name, value)
    with pytest.raises(ModelError) as refused:
        search("little")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_offline_and_without_a_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="Menny is offline"):
        search("little")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"no connection to 127\.0\.0\.1:9, so it can't be searched"):
        search("little")
