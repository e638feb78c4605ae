"""What of YAML is read, and the sentence for everything that isn't."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.config.yaml_reader import MAX_BYTES, PlainYamlError, parse, read


def test_every_key_and_item_keeps_its_line() -> None:
    document = parse("name: Menny\n\nparameters:\n  top_k: 3\nsuggestions:\n  - one\n  - two\n")

    assert document.data == {"name": "Menny", "parameters": {"top_k": 3}, "suggestions": ["one", "two"]}
    assert document.lines[("parameters", "top_k")] == 4
    assert document.lines[("suggestions", 1)] == 7


def test_plain_scalars_become_numbers_truths_and_nothing_and_dates_stay_text() -> None:
    document = parse("a: 3\nb: 1.5\nc: true\nd:\ne: 2024-02-30\nf: '3'\n")

    assert document.data == {"a": 3, "b": 1.5, "c": True, "d": None, "e": "2024-02-30", "f": "3"}


def test_keys_are_text_as_written_whatever_yaml_would_make_of_them() -> None:
    assert parse("on: 1\n3: 2\nno: 3\n").data == {"on": 1, "3": 2, "no": 3}


@pytest.mark.parametrize(
    "text",
    ["name: 👩‍💻 你好 שלום", "name: |\n  a\n  b\n", "---\nname: x\n...\n"],
)
def test_ordinary_files_are_read(text: str) -> None:
    assert "name" in parse(text).data


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: x\nother: &a [x]\nmore: *a\n", 2, "anchor &a"),
        ("name: *nobody\n", 1, "alias *nobody"),
        ("&a name: x\n", 1, "a key must be plain text"),
        ("name: !!python/object/apply:os.system [ls]\n", 1, "tag !!python/object/apply:os.system"),
        ("name: !!str 3\n", 1, "tag !!str"),
        ("name: x\nn: 1\nname: y\n", 3, "'name' stands here and on line 1"),
        ("? [a, b]\n: x\n", 1, "a key must be plain text"),
        ("name: x\n\tn: 3\n", 2, "a tab can't indent"),
        ("name:\n\t- x\n", 2, "a tab can't indent"),
        ("name: a: b\n", 1, "put quotes around text with a colon"),
        ("name: x\nother: 'a\nmore: b\n", 2, "the quote that opens here isn't closed"),
        ("name: [a\nb: c\n", 2, "isn't valid YAML"),
        ("name: x\n---\nname: y\n", 2, "a second document"),
        ("- a\n- b\n", 1, "keys with values"),
        ("just text\n", 1, "keys with values"),
        ("", 0, "empty"),
        ("# only a comment\n\n", 0, "empty"),
        ("~\n", 0, "empty"),
        ("name: x\nbad: a\0b\n", 2, "U+0000"),
        ('name: "a\\0b"\n', 1, "U+0000"),
        ('name: "\\ud800"\n', 1, "U+D800"),
        ("n: " + "9" * 5000, 1, "isn't a number"),
        ("x" * 101 + ": a", 1, "a key must be plain text"),
    ],
)
def test_everything_else_is_refused_by_line(text: str, line: int, words: str) -> None:
    with pytest.raises(PlainYamlError) as refused:
        parse(text)

    assert refused.value.line == line
    assert words in refused.value.text


@pytest.mark.parametrize(
    "text",
    [
        "name: " + "[" * 1000 + "]" * 1000,
        "{a: " * 1000,
        "- " * 1000,
        "".join("  " * depth + "a:\n" for depth in range(300)),
        "name: " + "[" * 100_000,
    ],
    ids=["brackets", "braces", "dashes", "indents", "unclosed"],
)
def test_deep_nesting_is_a_sentence_and_no_recursion_error(text: str) -> None:
    with pytest.raises(PlainYamlError, match="nested more than 20 levels"):
        parse(text)


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))

    with pytest.raises(PlainYamlError, match="anchor &a"):
        parse(bomb)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")

    assert read(tmp_path / "x.yaml") == "name: x\n"


def test_a_file_over_the_limit_is_refused_and_one_at_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"#" * MAX_BYTES)
    assert len(read(path)) == MAX_BYTES

    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(PlainYamlError, match="larger than 256 KiB"):
        read(path)


@pytest.mark.parametrize("raw", [b"name: x\nother: \xff\xfe", "name: x\nother: y".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.yaml").write_bytes(raw)

    with pytest.raises(PlainYamlError, match="UTF-8"):
        read(tmp_path / "x.yaml")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.yaml", tmp_path, tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(PlainYamlError, match=r"no such file|isn't a file|can't be read"):
            read(path)


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"\\ \n\t\r?,%@`~019.=<_xu\0\x85\u2028é😀", max_size=60))
def test_any_text_is_a_tree_or_a_sentence(text: str) -> None:
    try:
        found = parse(text).data
    except PlainYamlError as refused:
        found = {"line": refused.line, "text": refused.text}
    assert isinstance(found, dict)
