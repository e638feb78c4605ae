"""Where the keys of servers come from."""

import pytest

from menny.errors import ConfigError
from menny.models.credentials import keep_key, key_of

ADDRESS = "http://127.0.0.1:8000/v1"


def test_a_key_that_was_read_from_a_file_comes_without_the_files_last_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVERS_KEY", " sk-1234\n")
    assert key_of(ADDRESS, "SERVERS_KEY") == "sk-1234"


@pytest.mark.parametrize("value", ["", " \n"])
def test_a_variable_without_a_key_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SERVERS_KEY", value)
    with pytest.raises(ConfigError, match="needs the key in SERVERS_KEY, which isn't set"):
        key_of(ADDRESS, "SERVERS_KEY")


@pytest.mark.parametrize(
    "backend", ["nowhere.Keyring", "keyring.backends.fail.Keyring", "keyring.backends.null.Keyring"]
)
def test_a_keyring_that_keeps_nothing_or_is_set_up_badly_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    monkeypatch.setattr("keyring.core._keyring_backend", None)
    assert key_of(ADDRESS, None) is None
    with pytest.raises(ConfigError, match="has no keyring to keep the key in: put it into an environment variable"):
        keep_key(ADDRESS, "sk-1234")
