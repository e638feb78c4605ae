"""What of YAML is read, and the sentence for everything that isn't."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.config.paths import CONFIGS
from menny.config.yaml_reader import MAX_BYTES, PlainYamlError, parse, read, texts_cut_by_comments


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
        ('name: x\nother: "\\U00110000"\n', 2, "a number is too large"),
        ('name: "\\UFFFFFFFF"\n', 1, "a number is too large"),
        (f"%YAML {'9' * 5000}.1\n---\nname: x\n", 1, "a number is too large"),
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


@pytest.mark.parametrize(
    "number",
    [
        "0x" + "f" * 3572,
        "-0x" + "f" * 300,
        "0b" + "1" * 20_000,
        "0" + "7" * 20_000,
        "1" + ":59" * 10_000,
        "9" * 310,
        "9_" * 5000 + "9",
        "-" + "9" * 4301,
    ],
    ids=lambda number: number[:5],
)
@pytest.mark.parametrize("place", ["n: {}\n", "a:\n  n: {}\n", "a: [1, {}]\n", "a: {{b: {}}}\n"])
def test_a_number_longer_than_json_takes_is_a_sentence_wherever_it_stands(number: str, place: str) -> None:
    with pytest.raises(PlainYamlError, match=r"isn't a number that can be used") as refused:
        parse(place.format(number))
    assert refused.value.line == place.count("\n")
    assert len(refused.value.text) < 100


def test_numbers_that_json_can_say_are_read_in_every_base() -> None:
    document = parse("a: 0x1F\nb: 0b101\nc: 017\nd: 1:30\ne: 1_000\nf: -18446744073709551616\n")
    assert document.data == {"a": 31, "b": 5, "c": 15, "d": 90, "e": 1000, "f": -(2**64)}


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("{{user}}, hello", 'text that begins with { needs quotes around all of it: "{{user}}, hello"'),
        ("{{user}}", 'text that begins with { needs quotes around all of it: "{{user}}"'),
        ("{user} hello", 'text that begins with { needs quotes around all of it: "{user} hello"'),
        ("[OOC] hello", 'text that begins with [ needs quotes around all of it: "[OOC] hello"'),
        ("[moss, /s?/i]", "in a list between [ and ], put quotes around each text that has one of : ? { } [ ] # in it"),
        ("[{{user}}, x]", "text with {{ and }} needs quotes around all of it"),
        ("*smiles* hello", 'text that begins with * needs quotes around all of it: "*smiles* hello"'),
        ("*smiles at you*", "put quotes around text that begins with *"),
        ("&c. and so on", 'text that begins with & needs quotes around all of it: "&c. and so on"'),
        ("&c and so on", "put quotes around text that begins with &"),
        ("!Hello", "put quotes around text that begins with !"),
        ("@you, hello", 'text that begins with @ needs quotes around all of it: "@you, hello"'),
        ("`code`", 'text that begins with ` needs quotes around all of it: "`code`"'),
        ("%5 off", 'text that begins with % needs quotes around all of it: "%5 off"'),
        ("> Hello", 'text that begins with > needs quotes around all of it: "> Hello"'),
        ("| Hello", 'text that begins with | needs quotes around all of it: "| Hello"'),
        ("- Hello", 'text that begins with - needs quotes around all of it: "- Hello"'),
        ('"Hi" she said', 'text that begins with " needs quotes around all of it: \'"Hi" she said\''),
        ("'Hi' she said", "text that begins with ' needs quotes around all of it: \"'Hi' she said\""),
        ("Hello: you", "put quotes around text with a colon"),
    ],
)
@pytest.mark.parametrize("place", ["name: x\ngreeting: {}\n", "name: x\nl:\n  - {}\n", "name: x\nm:\n  k: {}\n"])
def test_text_that_wants_quotes_is_told_so(value: str, advice: str, place: str) -> None:
    if value == "- Hello" and "- {}" in place:
        return  # a list in a list
    if value == "Hello: you" and "- {}" in place:
        return  # a mapping in a list
    text = place.replace("{}", value)
    with pytest.raises(PlainYamlError) as refused:
        parse(text)
    assert advice in refused.value.text
    assert refused.value.line == text.count("\n")
    assert "tab" not in refused.value.text
    assert "plain text" not in refused.value.text


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("greeting:\thello\n", 1, "a tab stands after the colon"),
        ("a: 1\nl:\n  -\thello\n", 3, "a tab stands after the dash"),
        ("a: {b:\tc}\n", 1, "a tab stands after the colon"),
        ("a: b\n\tc: d\n", 2, "a tab can't indent"),
    ],
)
def test_a_tab_is_named_by_where_it_stands(text: str, line: int, words: str) -> None:
    with pytest.raises(PlainYamlError, match=words) as refused:
        parse(text)
    assert refused.value.line == line


def test_a_text_that_a_comment_cuts_short_is_noticed_and_a_comment_is_not() -> None:
    text = (
        "a: Number #1\nb: Number # 1\nc: 'Number' #1\nd: 'Number #1'\ne: 7 #1\nf: |\n  Number #1\n"
        "g: [x #2\n  ]\nh: one\n  two #3 #4\n#i: x\nj: C#7\nk: yes #1\nl: C #\nm: F # \n#\nn: x # a\n  #\n"
    )
    assert texts_cut_by_comments(text) == [(1, "#1"), (8, "#2"), (11, "#3 #4"), (15, "#"), (16, "#")]
    assert texts_cut_by_comments("a: b #1\nc: 'd") == []
    for path in CONFIGS.rglob("*.yaml"):
        assert texts_cut_by_comments(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("kind", "words"), [("folder", "a folder"), ("pipe", "a named pipe"), ("device", "a device")])
def test_what_is_not_a_file_is_named_and_not_waited_for(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "x.yaml"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("/dev/zero")
    with pytest.raises(PlainYamlError, match=f"isn't a file but {words}"):
        read(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("greeting: {{user}}, hello", "needs quotes around all of it"),
        ("greeting: a: b", "a colon stands where none can"),
        ("greeting: 'a", "the quote that opens here isn't closed"),
        ("? [a]", "a key must be plain text"),
        ("{{user}}: b", "needs quotes around all of it"),
        ("greeting: @home", "text that begins with @"),
    ],
)
def test_an_error_bears_its_line_whatever_ends_the_lines_before(end: str, last: str, words: str) -> None:
    with pytest.raises(PlainYamlError, match=words) as raised:
        parse(f"name: 'x'{end}{end}{end}{last}")

    assert raised.value.line in (4, 5)  # 5: what is missing is missed at the end


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028"])
def test_a_text_that_a_comment_cuts_ends_with_its_line(end: str) -> None:
    assert texts_cut_by_comments(f"name: Number #1{end}other: x") == [(1, "#1")]


def test_an_emoji_in_two_escapes_is_one_character_as_in_json() -> None:
    assert parse(r'name: "Caf\u00e9 \ud83d\ude00"').data == {"name": "Café 😀"}
    with pytest.raises(PlainYamlError, match=r"U\+DE00 isn't allowed"):
        parse(r'name: "\ude00\ud83d"')


def test_comments_are_looked_for_in_what_cannot_be_read_too() -> None:
    assert texts_cut_by_comments('name: Number #1\nother: "\\U00110000"\n') == []
