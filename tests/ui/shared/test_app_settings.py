"""The settings of the app while their file is broken: what can be used holds, and what isn't known isn't guessed."""

from pathlib import Path

import pytest

from menny.config.settings import settings_file
from menny.ui.shared.app_settings import AppSettings
from menny.ui.shared.options import read_options

GOOD = "moderation: {replies: {hateful: block}}\n"
BROKEN = "moderation: {replies: {hateful: block}\n"


@pytest.fixture
def file() -> Path:
    settings_file().parent.mkdir(parents=True, exist_ok=True)
    return settings_file()


def test_a_broken_key_leaves_the_others_in_force(file: Path) -> None:
    file.write_text(GOOD + "parallel: many\n", encoding="utf-8")
    settings = AppSettings(file)
    assert settings.now.moderation.replies == {"hateful": "block"}
    assert settings.error
    assert not settings.is_lost


def test_a_file_that_breaks_later_leaves_what_was_read_in_force(file: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    settings = AppSettings(file)
    assert settings.now.moderation.replies == {"hateful": "block"}
    file.write_text(BROKEN + "# longer", encoding="utf-8")
    assert settings.now.moderation.replies == {"hateful": "block"}
    assert settings.error
    assert not settings.is_lost


def test_nothing_is_sent_where_it_is_not_known_what_was_to_be_blocked(file: Path) -> None:
    file.write_text(BROKEN, encoding="utf-8")
    settings = AppSettings(file)
    assert settings.now.moderation.replies == {}
    assert settings.is_lost
    assert "isn't known what Moderation should block: menny/settings.yaml, line" in read_options().error
    file.write_text(GOOD + "\n", encoding="utf-8")
    assert settings.now.moderation.replies == {"hateful": "block"}
    assert not settings.is_lost
    assert read_options().error == ""
