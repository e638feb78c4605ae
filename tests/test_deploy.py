"""deploy/compose.yaml as Docker Compose and vLLM take it, and as docs/models.md connects to it."""

import re
from typing import Any

import pytest
import yaml

from menny.config.paths import PROJECT

COMPOSE = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
PAGE = (PROJECT / "docs" / "models.md").read_text(encoding="utf-8")

KEYS = {"image", "ports", "environment", "volumes", "entrypoint", "ipc", "restart", "profiles", "command", "deploy"}
OPTIONS = {  # of `vllm serve`, with what a value looks like; None: a switch
    "--served-model-name": r"[\w.-]+",
    "--max-model-len": r"\d+",
    "--gpu-memory-utilization": r"0\.\d+",
    "--tensor-parallel-size": r"\d+",
    "--enable-prefix-caching": None,
}


@pytest.fixture(params=COMPOSE["services"])
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][request.param]
    return found


def option(service: dict[str, Any], name: str) -> str | None:
    found = [one.partition("=")[2] for one in service["command"] if one.startswith(f"{name}=")]
    return found[0] if found else None


def test_a_service_says_what_compose_and_vllm_know(service: dict[str, Any]) -> None:
    assert set(service) == KEYS
    assert service["entrypoint"] == ["vllm", "serve"]
    model, *options = service["command"]
    assert re.fullmatch(r"mistralai/[\w.-]+", model)
    for one in options:
        name, equals, value = one.partition("=")
        pattern = OPTIONS[name]
        assert not equals if pattern is None else re.fullmatch(pattern, value)


def test_as_many_cards_are_asked_for_as_the_model_is_parted_over(service: dict[str, Any]) -> None:
    (cards,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (cards["driver"], cards["capabilities"]) == ("nvidia", ["gpu"])
    assert cards["count"] == int(option(service, "--tensor-parallel-size") or 1)


def test_it_is_reached_from_this_machine_only_and_with_a_key(service: dict[str, Any]) -> None:
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["environment"]["VLLM_API_KEY"].startswith("${VLLM_API_KEY:?")


def test_the_page_of_models_names_what_is_served() -> None:
    (served,) = re.findall(r"served: (\S+)", PAGE)
    assert served in {option(service, "--served-model-name") for service in COMPOSE["services"].values()}
    assert "server: http://127.0.0.1:8000/v1" in PAGE
    assert "key: VLLM_API_KEY" in PAGE
