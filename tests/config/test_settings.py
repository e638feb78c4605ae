"""settings.yaml: read strictly, changed key by key with its comments kept, and used as far as it can be."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from menny.config.settings import (
    ModerationSettings,
    Settings,
    change_settings,
    load_settings,
    settings_file,
    usable_settings,
)
from menny.errors import ConfigError


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MENNY_HOME", str(tmp_path))
    return tmp_path / "settings.yaml"


def test_a_change_keeps_comments_and_other_keys(file: Path) -> None:
    file.write_text("# mine\nunload_after: 900  # a quarter of an hour\n\n# who answers\npersona: nora\n")
    change_settings(persona="penny", theme="dark")
    text = file.read_text()
    assert text.startswith("# mine\nunload_after: 900  # a quarter of an hour\n\n# who answers\npersona: penny\n")
    assert load_settings() == Settings(unload_after=900, persona="penny", theme="dark")
    change_settings(persona=None, theme=None, unload_after=None)
    assert load_settings() == Settings()


def test_an_action_is_set_beside_the_others_and_off_is_a_word(file: Path) -> None:
    change_settings(moderation={"messages": {"illegal": "block"}})
    change_settings(moderation={"replies": {"hateful": "warn"}})
    change_settings(moderation={"messages": {"hateful": "off"}})
    expected = ModerationSettings(messages={"illegal": "block", "hateful": "off"}, replies={"hateful": "warn"})
    assert load_settings().moderation == expected
    file.write_text("moderation:\n  messages:\n    illegal: off\n")
    assert load_settings().moderation.messages == {"illegal": "off"}


@pytest.mark.parametrize(
    ("text", "named"),
    [("guardrail: [\n", "line 2"), ("unload_after: soon\npersona: a\n", "unload_after"), ("colour: red\n", "colour")],
)
def test_a_broken_file_is_named_and_left_as_it_is(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_settings()
    with pytest.raises(ConfigError, match=named):
        change_settings(theme="dark")
    assert file.read_text() == text


def test_of_a_broken_file_the_keys_hold_that_can_be_used(file: Path) -> None:
    file.write_text("unload_after: soon\nmoderation: {messages: {illegal: block}}\nguardrail: llama-2\n")
    expected = Settings(guardrail="llama-2", moderation=ModerationSettings(messages={"illegal": "block"}))
    assert usable_settings() == expected
    file.write_text("guardrail: [\n")
    assert usable_settings() is None


def change_ten_times(key: str) -> None:
    for number in range(10):
        change_settings(moderation={"messages": {f"{key}{number}": "block"}})


def test_two_processes_lose_none_of_each_others_keys(file: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as both:
        list(both.map(change_ten_times, ("a", "b")))
    assert len(load_settings().moderation.messages) == 20
    assert settings_file() == file
