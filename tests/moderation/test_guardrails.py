"""Guardrails are a layer of their own: the app's are always in force, and none is lost in silence."""

from pathlib import Path

import pytest

from menny.config.paths import CONFIGS
from menny.errors import ConfigError
from menny.moderation.guardrails import Guardrail, combine, load_guardrails
from menny.personas import load_personas

PAPER = (
    "Always assist with care, respect, and truth. Respond with utmost utility yet securely. Avoid harmful, unethical, "
    "prejudiced, or negative content. Ensure replies promote fairness and positivity."
)


@pytest.fixture
def shipped() -> list[Guardrail]:
    guardrails, problems = load_guardrails(CONFIGS / "guardrails")
    assert problems == []
    return guardrails


def ids(guardrails: list[Guardrail]) -> list[str]:
    return [guardrail.id for guardrail in guardrails]


def test_the_shipped_ones_are_none_mistral_and_llama_2(shipped: list[Guardrail]) -> None:
    assert ids(shipped) == ["none", "mistral", "llama-2"]
    assert all(guardrail.about and guardrail.source for guardrail in shipped)


def test_the_texts_are_the_published_ones(shipped: list[Guardrail]) -> None:
    none, mistral, llama_2 = shipped

    assert none.text == ""
    assert mistral.text == PAPER
    assert llama_2.text.startswith(
        "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe."
    )
    assert llama_2.text.endswith("please don't share false information.")
    assert llama_2.text.count("\n\n") == 1


@pytest.mark.parametrize(
    ("app", "persona", "expected"),
    [
        ("mistral", (), ["mistral"]),
        ("mistral", ("none",), ["mistral"]),
        ("mistral", ("llama-2",), ["mistral", "llama-2"]),
        ("llama-2", ("mistral", "llama-2", "mistral"), ["llama-2", "mistral"]),
        ("none", (), []),
        ("none", ("none",), []),
        ("none", ("mistral",), ["mistral"]),
    ],
)
def test_a_persona_adds_to_the_apps_guardrail_and_takes_none_away(
    shipped: list[Guardrail], app: str, persona: tuple[str, ...], expected: list[str]
) -> None:
    assert ids(combine(app, persona, shipped)) == expected


def test_no_shipped_persona_can_lose_the_apps_guardrail(shipped: list[Guardrail]) -> None:
    for persona in load_personas(CONFIGS / "personas")[0]:
        assert combine("llama-2", persona.guardrails, shipped)[0].id == "llama-2"


@pytest.mark.parametrize(("app", "persona"), [("mistrl", ()), ("none", ("mistrl",)), ("mistral", ("Mistral",))])
def test_an_unknown_name_is_an_error_with_the_one_that_was_meant(
    shipped: list[Guardrail], app: str, persona: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match="did you mean 'mistral'"):
        combine(app, persona, shipped)


def test_an_unknown_name_like_no_other_gets_the_list(shipped: list[Guardrail]) -> None:
    with pytest.raises(ConfigError, match="choose one of: llama-2, mistral, none"):
        combine("zzz", (), shipped)
    with pytest.raises(ConfigError, match="none is available"):
        combine("zzz", (), [])


def test_a_guardrail_without_a_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: Mine\ntext: ' '\n")
    (tmp_path / "none.yaml").write_text("name: None at all\n")
    (tmp_path / "typo.yaml").write_text("name: Typo\ntxt: Be kind.\n")

    guardrails, problems = load_guardrails(tmp_path)

    assert ids(guardrails) == ["none"]
    assert "mine.yaml: 'text' is missing" in str(problems[0])
    assert "typo.yaml, line 2: unknown key 'txt'; did you mean 'text'?" in str(problems[1])


def test_a_users_own_guardrail_comes_after_the_shipped_ones_by_name(tmp_path: Path) -> None:
    for path in (CONFIGS / "guardrails").glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "b.yaml").write_text("name: Bee\ntext: Be a bee.\n")
    (tmp_path / "z.yaml").write_text("name: Ant\ntext: Be an ant.\n")

    assert ids(load_guardrails(tmp_path)[0]) == ["none", "mistral", "llama-2", "z", "b"]
