"""The home that MENNY_HOME names: usable, or a sentence on why it isn't, and nothing that breaks."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from menny.config.paths import NOWHERE, PROJECT, home, home_error, remove_unfinished_files
from menny.config.settings import Settings, change_settings, load_settings
from menny.errors import MennyError, StorageError
from menny.models.catalogue import add_entry
from menny.personas.files import find
from menny.personas.persona import load_all, own_folder
from menny.storage import ChatStore, store_file

UNUSABLE = {
    "a name too long": ("/tmp/" + "x" * 300, "longer than this system allows"),
    "a path too long": ("/tmp" + ("/" + "y" * 200) * 30, "longer than this system allows"),
    "a path with no room below": ("/tmp" + ("/" + "y" * 99) * 40, "longer than this system allows"),
    "not UTF-8": (os.fsdecode(b"/tmp/menny-\xff\xfe"), "isn't UTF-8"),
    "a file": (str(PROJECT / "README.md"), "isn't a folder"),
    "a device": ("/dev/null", "isn't a folder"),
    "below a file": (str(PROJECT / "README.md" / "home"), ""),
    "nowhere": ("/proc/menny", ""),
}


@pytest.fixture(params=UNUSABLE)
def sentence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set a MENNY_HOME that can't be used; returns what is said of it."""
    chosen, said = UNUSABLE[request.param]
    monkeypatch.setenv("MENNY_HOME", chosen)
    return said


def test_a_home_that_cannot_be_used_is_a_sentence_and_reading_finds_nothing(sentence: str) -> None:
    assert sentence in home_error()
    assert len(home_error()) < 400
    home_error().encode()
    assert home() == NOWHERE or str(home()) == os.environ["MENNY_HOME"]
    remove_unfinished_files()
    assert load_settings() == Settings()
    personas, errors = load_all()
    assert len(personas) >= 7
    assert errors == []
    for attempt in (
        lambda: change_settings(unload_after=60),
        lambda: add_entry(home() / "models.yaml", id="a", name="A", path="a"),
        lambda: ChatStore(store_file()),
    ):
        with pytest.raises(MennyError, match="can't be"):
            attempt()


def test_the_page_says_why_and_goes_on(sentence: str) -> None:
    st.cache_resource.clear()  # the chats of the test before
    page = AppTest.from_file(str(PROJECT / "menny" / "ui" / "page.py"), default_timeout=60).run()
    assert not page.exception
    shown = [warning.value.replace("\\", "") for warning in page.warning]
    assert any("Chats aren't being saved at the moment" in one and sentence in one for one in shown)
    assert page.chat_input


def test_a_home_that_can_be_made_is_no_error_and_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENNY_HOME", str(tmp_path / "new" / "home 小雪"))
    assert home_error() == ""
    change_settings(unload_after=60)
    assert load_settings() == Settings(unload_after=60)
    assert stat.S_IMODE(home().stat().st_mode) == 0o700
    assert own_folder() == tmp_path / "new" / "home 小雪" / "personas"


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that may not be entered: root gives its rights up for as long as the test looks at it."""
    folder = tmp_path / "locked" / "home"
    (folder / "personas").mkdir(parents=True)
    folder.chmod(0o000)
    monkeypatch.setenv("MENNY_HOME", str(folder))
    user = os.geteuid()
    if user == 0:
        for above in (tmp_path, *tmp_path.parents[:-2]):
            above.chmod(above.stat().st_mode | 0o011)  # nobody passes through
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


def test_a_home_that_may_not_be_entered_is_a_sentence_and_breaks_nothing(locked: Path) -> None:
    assert f"MENNY_HOME is {locked}, which Menny isn't allowed to read" in home_error()
    assert load_settings() == Settings()
    assert find(own_folder(), "ada") is None
    remove_unfinished_files()
    with pytest.raises(StorageError, match="Permission denied"):
        ChatStore(store_file())


def test_what_a_killed_process_left_goes_from_every_folder_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENNY_HOME", str(tmp_path))
    for folder in ("", "personas", "profiles", "lorebooks", "images"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / ".menny-x.tmp").write_bytes(b"half")
        (tmp_path / folder / "whole.yaml").write_bytes(b"whole")
    remove_unfinished_files()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"whole.yaml"}
