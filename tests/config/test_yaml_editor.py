"""YAML files are edited where they changed, and every comment stays with what it is about."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from menny.config.yaml_editor import edit_yaml, write_yaml
from menny.config.yaml_reader import parse

MODELS = """\
# my models
models:
  # the first
  - id: a  # short
    name: A
    path: /a
  # the second
  - id: b
    name: B  # for the GPU
    path: /b

  # the third
  - id: c
    name: C
    path: /c
# shapes come last
shapes:
    mistral: {dim: 4096}   # indented by four
"""
ORDER = ("models", "shapes")


def entries(text: str = MODELS) -> list[dict[str, Any]]:
    return list(parse(text).data["models"])


def test_an_entry_that_is_removed_takes_no_other_entrys_comment_with_it() -> None:
    a, _, c = entries()
    text = edit_yaml(MODELS, {"models": [a, c]}, ORDER)
    assert text is not None
    assert parse(text).data == {**parse(MODELS).data, "models": [a, c]}
    start, end = MODELS.index("  # the second"), MODELS.index("\n  # the third")
    assert text == MODELS[:start] + MODELS[end:]


def test_an_entry_that_is_added_changed_or_moved_leaves_the_others_as_they_are() -> None:
    a, b, c = entries()
    d = {"id": "d", "name": "on", "path": "x: y"}
    for changed in ([a, b, c, d], [d, a, b, c], [a, {**b, "name": "B2"}, c], [c, a, b], [a, b, c, a | {"id": "e"}]):
        text = edit_yaml(MODELS, {"models": changed}, ORDER)
        assert text is not None
        assert parse(text).data["models"] == changed
        assert text.startswith("# my models\nmodels:\n")
        assert text.endswith(MODELS[MODELS.index("shapes:") :])
        if c in changed:
            assert "\n  # the third\n  - id: c\n    name: C\n    path: /c\n" in text


def test_items_at_the_margin_stay_there() -> None:
    text = "models:\n# one\n- id: a\n# two\n- id: b  # b\n  name: |\n    x\n    # no comment\n"
    a, b = entries(text)
    assert edit_yaml(text, {"models": [b, {"id": "c", "n": {"x": [1]}}]}, ORDER) == (
        "models:\n# two\n- id: b  # b\n  name: |\n    x\n    # no comment\n- id: c\n  n:\n    x:\n      - 1\n"
    )
    assert edit_yaml(text, {"models": [a]}, ORDER) == "models:\n# one\n- id: a\n"


def test_a_key_is_added_in_its_place_and_removed_with_its_lines_only() -> None:
    without = edit_yaml(MODELS, {"models": None}, ORDER)
    assert without == "# my models\n" + MODELS[MODELS.index("# shapes") :]
    again = edit_yaml(without or "", {"models": entries()}, ORDER)
    assert again is not None
    assert list(parse(again).data) == ["models", "shapes"]


@pytest.mark.parametrize("text", ["{models: []}\n", "models: [\n", "- a\n", "", "models: []; shapes: {}\nx: *a\n"])
def test_what_cannot_be_edited_key_by_key_is_none(text: str) -> None:
    assert edit_yaml(text, {"models": []}, ORDER) is None


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["on", "~", "1e3", "0x10", "7:30", "a: b", "#", "- x", "l\n  m\n n", "\n", " "])
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "on", "x y"]), inner, max_size=3),
    max_leaves=8,
)
TREES = st.lists(VALUES, max_size=4)


@given(TREES, TREES)
def test_whatever_a_list_was_it_becomes_what_it_should_be(before: list[Any], after: list[Any]) -> None:
    text = "# head\n" + write_yaml({"models": before}) + "# tail\n"
    assert parse(text).data == {"models": before}
    edited = edit_yaml(text, {"models": after}, ORDER)
    assert edited is not None
    assert parse(edited).data == {"models": after}
    assert edited.startswith("# head\n")
    assert edited.endswith("# tail\n")
    assert yaml.safe_load(edited) is not None
