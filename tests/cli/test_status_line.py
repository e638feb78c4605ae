"""The status line of long commands: on a terminal one line that is overwritten, elsewhere nothing."""

import io

import pytest

from menny.cli.status_line import ERASE_LINE, show_count, show_status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    show_status("loading the model")
    for done in range(3):
        show_count(done, 2, "texts")
    return stream.getvalue()


def test_on_a_terminal_each_state_takes_the_place_of_the_last_one_and_none_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = shown(monkeypatch, Terminal()).split(ERASE_LINE)
    assert lines == ["", "loading the model", "0 of 2 texts", "1 of 2 texts", ""]


def test_elsewhere_no_state_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ""
