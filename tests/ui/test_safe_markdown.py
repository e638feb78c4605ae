"""What others wrote is shown as written: nothing in it loads, draws or disguises anything; code stays to the letter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.ui.safe_markdown import JOINER, as_label, as_markdown


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("costs $5 and $10", r"costs \$5 and \$10"),
        ("![a](http://x/y.png)", r"\!\[a](http://x/y.png)"),
        ("![a][ref]", r"\!\[a][ref]"),
        ("[a link](http://x/y)", "[a link](http://x/y)"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y>"),
        ('<a b="http://x/y">z</a>', r'\<a b="http://x/y">z</a>'),
        ('f("http://x/y")</b>', 'f("http://x/y")</b>'),
        (":red[text]", rf"\:{JOINER}red[text]"),
        (":material/home:", rf"\:{JOINER}material/home:"),
        (":tada:", rf"\:{JOINER}tada:"),
        ("at 10:30 sharp", "at 10:30 sharp"),
        ("a -> b", f"a -{JOINER}> b"),
        (r"already \$5", r"already \$5"),
        ("http://x/?a=$1", "http://x/?a=%241"),
        ("**bold** and *soft*", "**bold** and *soft*"),
        ("a line\nof a poem\n\nand more", "a line  \nof a poem\n\nand more"),
        ("a break\\\nof its own", "a break\\\nof its own"),
    ],
)
def test_text_around_code_is_made_plain(written: str, shown: str) -> None:
    assert as_markdown(written) == shown


LIVELY = "$x$ ![a](http://b/c) <b> :red[d] :tada: e -> f"


@pytest.mark.parametrize(
    "code",
    [
        f"```python\n{LIVELY}\n```",
        f"~~~\n{LIVELY}\n~~~",
        f"- in a list\n  ```\n  {LIVELY}\n  ```",
        f"> ```\n> {LIVELY}\n> ```",
        f"    {LIVELY}",
        f"a span `{LIVELY}` here",
        f"a span ``{LIVELY} ` `` here",
        f"```\n{LIVELY}",
    ],
)
def test_code_stays_to_the_letter(code: str) -> None:
    assert as_markdown(code) == code


def test_a_backtick_alone_opens_no_code() -> None:
    assert as_markdown("one ` and $5") == r"one ` and \$5"
    assert as_markdown("``` not closed` $5 in a line of text") != "``` not closed` $5 in a line of text"


def test_a_span_ends_with_its_paragraph() -> None:
    assert as_markdown("one ` tick\n\n$5 and ` another") == "one ` tick\n\n\\$5 and ` another"


def test_a_diagram_is_shown_as_its_code() -> None:
    assert as_markdown("```mermaid\ngraph TD\n```") == "```text\ngraph TD\n```"


def test_a_label_shows_every_character() -> None:
    assert as_label("*a* [b](c) $5") == r"\*a\* \[b\]\(c\) \$5"
    assert r"127\.0\.0\.1\:8000" in as_label("http://127.0.0.1:8000/v1")


@given(st.text(alphabet=" \n\t`~>-*#[](){}!<>$:\\abc/1.|", max_size=60))
def test_any_text_is_taken_and_keeps_its_lines(written: str) -> None:
    assert as_markdown(written).count("\n") == written.count("\n")


@given(st.text(alphabet="!$[](): \nabc<>", max_size=60).filter(lambda text: "    " not in text))
def test_outside_code_no_dollar_or_picture_is_left_alone(written: str) -> None:
    shown = as_markdown(written)
    assert "![" not in shown
    assert shown.count("$") == shown.count(r"\$")
