"""What every error has: a sentence of bounded length, and the file that it is about."""

import copy
import pickle
from pathlib import Path

import pytest

from menny.errors import LONGEST_ERROR, LONGEST_QUOTE, ConfigError, MennyError, ModelError, TooLargeError, quoted


@pytest.mark.parametrize("kind", [MennyError, ConfigError, ModelError])
def test_a_sentence_of_any_length_is_cut(kind: type[MennyError]) -> None:
    assert str(kind("short")) == "short"
    assert str(kind("a" * LONGEST_ERROR)) == "a" * LONGEST_ERROR
    assert str(kind("a" * 20_000_000)) == "a" * (LONGEST_ERROR - 1) + "…"
    assert len(str(TooLargeError("a" * 20_000_000, needed=2, room=1))) == LONGEST_ERROR


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("llama", "'llama'"),
        (None, "None"),
        (3, "3"),
        ([1, 2], "[1, 2]"),
        ("a" * 80, repr("a" * 80)),
        ("a" * 81, repr("a" * 79 + "…")),
        ("it's\n", '"it\'s\\n"'),
    ],
)
def test_a_value_is_quoted_as_python_writes_it(value: object, text: str) -> None:
    assert quoted(value) == text


LONG_VALUES = {
    "text": "\x00" * 10**7,
    "empty lists": [[[]] * 10**6],
    "many keys": {str(n): n for n in range(10**5)},
    "integer": 1 << 20000,
    "bytes": b"a" * 10**7,
    "text in lists": [["a" * 10**7]],
}


@pytest.mark.parametrize("value", LONG_VALUES.values(), ids=LONG_VALUES.keys())
def test_whatever_is_quoted_stays_short(value: object) -> None:
    assert len(quoted(value)) <= 4 * LONGEST_QUOTE + 2  # a control character takes four


def test_an_error_bears_the_file_that_it_is_about() -> None:
    error = ConfigError("models.yaml can't be read.", file=Path("models.yaml"))

    assert error.file == Path("models.yaml")
    assert ModelError("The disk is full.").file is None
    assert pickle.loads(pickle.dumps(error)).file == copy.copy(error).file == Path("models.yaml")
