"""Where the keys of servers come from."""

import pytest

from menny.errors import ConfigError
from menny.secrets import key_of


def test_a_key_that_was_read_from_a_file_comes_without_the_files_last_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVERS_KEY", " sk-1234\n")
    assert key_of("http://127.0.0.1:8000/v1", "SERVERS_KEY") == "sk-1234"


@pytest.mark.parametrize("value", ["", " \n"])
def test_a_variable_without_a_key_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SERVERS_KEY", value)
    with pytest.raises(ConfigError, match="wants the key in SERVERS_KEY, which isn't set"):
        key_of("http://127.0.0.1:8000/v1", "SERVERS_KEY")
