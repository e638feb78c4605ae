"""What others wrote is shown as written: nothing in it loads, draws or disguises anything; code stays to the letter.

What the page makes of it is tested in `test_markdown_browser.py`.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.ui.markdown.block_writer import MATHS_AHEAD
from menny.ui.safe_markdown import as_label, as_markdown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("costs $5 and $10", r"costs \$5 and \$10"),
        ("![a](u.png)", r"!\[a\](u.png)"),
        ("![a][ref]", r"!\[a\]\[ref\]"),
        ("[a link](http://x/y)", "[a link](<http&#58;//x/y>)"),
        ("[no link](/models)", r"\[no link\](/models)"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y>"),
        ('<a b="c">z</a>', r'\<a b="c">z\</a>'),
        (":red[text]", r"\:red\[text\]"),
        (":material/home:", r"\:material\/home\:"),
        (":tada:", r":color[\:]tada\:"),
        ("at 10:30 sharp", r"at 10\:30 sharp"),
        ("a -> b", r"a :color[\-]> b"),
        ("a <-> b", r"a :color[\<]:color[\-]> b"),
        (r"already \$5", r"already \$5"),
        ("**bold** and *soft*", ":color[**bold**] and :color[*soft*]"),
        ("a line\nof a poem\n\nand more", "a line\\\nof a poem\n\nand more"),
        ("a break\\\nof its own", "a break\\\nof its own"),
        (r"x\,dx", r"x\\,dx"),
        ("5~7 beds, 100~200", r"5\~7 beds, 100\~200"),
        ("[^1]: note", r"\[^1\]: note"),
    ],
)
def test_text_around_code_is_made_plain(written: str, shown: str) -> None:
    assert as_markdown(written).replace("\\>", ">") == shown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("含**「重点」**内容", "含:color[**「重点」**]内容"),
        *((f"**真{mark}**她", f":color[**真{mark}**]她") for mark in "，。、；：？！“”‘’（）【】《》—～…·-々"),
        ("これは**「重要」**な点", "これは:color[**「重要」**]な点"),
        ("**「A」**なので**「B」**", ":color[**「A」**]なので:color[**「B」**]"),
        ("**굵게(강조)**는", ":color[**굵게(강조)**]는"),
        ("这是*斜体（括号）。*句", "这是:color[*斜体（括号）。*]句"),
        ("~~删除（的）。~~这", ":color[~~删除（的）。~~]这"),
        ("含__「重点」__内", r"含\_\_「重点」\_\_内"),
        ("数 * 数 * 数", r"数 \* 数 \* 数"),
        ("**a.**b", r"\*\*a.\*\*b"),
    ],
)
def test_emphasis_needs_no_space_beside_scripts_without_spaces(written: str, shown: str) -> None:
    assert as_markdown(written) == shown


@pytest.mark.parametrize(
    "address",
    [
        "http://x/?a=$1",
        "https://example.org/a_b*c?d=e&copy=f",
        "https://en.wikipedia.org/wiki/Foo_(bar)",
        "http://[::1]:8501/x",
        "https://example.org/~home/%20",
    ],
)
@pytest.mark.parametrize("around", ["<{}>", "see {}.", "({}),", "**{}**", "{}"])
def test_an_address_is_a_link_as_a_whole(address: str, around: str) -> None:
    link = re.search(r"\]\(<(.*?)>\)", as_markdown(around.format(address)))
    assert link
    href = re.sub(r"&#(\d+);", lambda match: chr(int(match[1])), link[1])
    assert href.replace("%7E", "~") == address


LIVELY = "$x$ ![a](http://b/c) <b> :red[d] :tada: e -> f"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (f"```python\n{LIVELY}\n```", f"```python\n{LIVELY}\n```"),
        (f"~~~\n{LIVELY}\n~~~", f"```\n{LIVELY}\n```"),
        (f"- in a list\n  ```\n  {LIVELY}\n  ```", f"- in a list\n  ```\n  {LIVELY}\n  ```"),
        (f"> ```\n> {LIVELY}\n> ```", f"> ```\n> {LIVELY}\n> ```"),
        (f"    {LIVELY}", f"```\n{LIVELY}\n```"),
        (f"a span `{LIVELY}` here", f"a span `{LIVELY}` here"),
        (f"a span ``{LIVELY} ` `` here", f"a span ``{LIVELY} ` `` here"),
        (f"```\n{LIVELY}", f"```\n{LIVELY}\n```"),
        ("````\n```\n````", "````\n```\n````"),
        ("```\n\nan empty line first", "```\n\n\nan empty line first\n```"),  # the page takes one away
    ],
)
def test_code_stays_to_the_letter(code: str, shown: str) -> None:
    assert as_markdown(code) == shown


def test_a_backtick_alone_opens_no_code() -> None:
    assert as_markdown("one ` and $5") == r"one \` and \$5"
    assert as_markdown("``` not closed` $5 in a line of text") == r"\`\`\` not closed\` \$5 in a line of text"


def test_a_span_ends_with_its_paragraph() -> None:
    assert as_markdown("one ` tick\n\n$5 and ` another") == "one \\` tick\n\n\\$5 and \\` another"


@pytest.mark.parametrize(
    "name", ["mermaid", "Mermaid", "MERMAID x", "mermaid-js", "mermaid,x", "-language-mermaid", "mermaid{a}"]
)
@pytest.mark.parametrize("fence", ["```", "~~~~", "1. ```", "> ~~~", "- - ```"])
def test_a_diagram_is_shown_as_its_code(name: str, fence: str) -> None:
    shown = as_markdown(f"{fence}{name}\ngraph TD\n")
    assert "mermaid" not in shown.lower()
    assert "```" in shown


@pytest.mark.parametrize(
    ("name", "language"),
    [("c++", "cpp"), ("C#", "csharp"), ("math", "latex"), ("python title=x", "python"), ("{.py}", ""), ("", "")],
)
def test_a_language_is_one_that_the_page_colours(name: str, language: str) -> None:
    assert as_markdown(f"```{name}\nx\n```") == f"```{language}\nx\n```"


def test_a_label_shows_every_character() -> None:
    assert as_label("*a* [b](c) $5") == r"\*a\* \[b\]\(c\) \$5"
    assert r"127\.0\.0\.1\:8000" in as_label("http://127.0.0.1:8000/v1")
    assert as_label("todo:green tea: now") == r"todo\:green tea: now"
    assert as_label("a\n\n    b") == "a\\\nb"
    assert [as_label(text) for text in ("", " ", "\n", " a ", "\na\n")] == ["", " ", "  ", " a ", " a "]


@given(st.text(alphabet=" \n\t`~>-*#[](){}!<>$:\\abc/1.|", max_size=60))
def test_any_text_is_taken_whole_and_as_it_grows(written: str) -> None:
    for length in range(len(written) + 1):
        assert as_markdown(written[:length], cursor=" ▍").count("▍") == 1


@given(st.text(alphabet="!$[](): \nabc<>", max_size=60))
def test_outside_code_and_maths_no_dollar_or_picture_is_left_alone(written: str) -> None:
    shown = re.sub(
        r"(?ms)^```.*?^```$|(?<!\\)\$ .*? \$|^\$\$\n.*?\n\$\$$", "", as_markdown(written).removeprefix(MATHS_AHEAD)
    )
    assert "![" not in shown
    assert shown.count("$") == shown.count(r"\$")


@given(st.text(max_size=80))
def test_nothing_invisible_is_added(written: str) -> None:
    added = set(as_markdown(written) + as_label(written)) - set(written)
    assert not re.search(r"[^\x0a\x20-\x7e\ufffd]", "".join(added))


@pytest.mark.parametrize("nest", ["> ", "- ", "1. ", "> - "])
def test_what_nests_too_deep_is_shown_as_written(nest: str) -> None:
    assert as_markdown(nest * 100 + "deep").replace("\\", "") == nest * 100 + "deep"


@pytest.mark.parametrize(
    "evil",
    [
        "*a ",
        "[",
        "![",
        "`a",
        "$",
        "$$a",
        "\\(",
        "\\[",
        "~~",
        "> ",
        "<http://x)",
        "http://x)",
        "a@b.c",
        "|a|\n|-|\n",
        "**a*",
        "_a__",
        "&amp;",
        "www.x))",
        "\\[ a\n",
        "$$ a\n",
        "a@",
        "\\(\\text{",
        ":a",
        "- $$x$$\n",
        "x://",
        "ahttp://",
    ],
)
def test_a_long_text_of_one_mark_takes_no_time(evil: str) -> None:
    assert as_markdown(evil * 3000)


def test_half_a_character_does_not_break_the_page() -> None:
    assert as_markdown("a \ud83d b") == "a ? b"
    assert as_label("a \ud83d b") == r"a \? b"


def test_where_a_reply_grows_there_is_a_cursor_behind_its_last_word() -> None:
    assert as_markdown("a word", cursor=" ▍") == "a word ▍"
    assert as_markdown("- a\n- b", cursor=" ▍") == "- a\n- b ▍"
    assert as_markdown("> a", cursor=" ▍") == "> a ▍"
    assert as_markdown("```py\nx = 1", cursor=" ▍") == "```py\nx = 1 ▍\n```"
    assert as_markdown("| a |\n| - |\n| b |", cursor=" ▍").endswith("| b ▍ |")
    assert as_markdown("", cursor="▍") == "▍"
    assert as_markdown("$$x$$", cursor="▍").endswith("$$\nx\n$$\n\n▍")
