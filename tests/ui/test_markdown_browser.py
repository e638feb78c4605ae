"""What a real page makes of texts: those that others wrote are read as written, and nothing comes with them."""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from markdown_it.token import Token
from playwright.sync_api import Browser

from menny.ui.markdown.katex import is_drawable
from menny.ui.markdown.katex_commands import (
    ACCENTS,
    DELIMITERS,
    ENVIRONMENTS,
    FONTS,
    FRACTIONS,
    OPERATORS,
    STACKS,
    SYMBOLS,
    TEXTS,
    WITH_OPTION,
)
from menny.ui.markdown.parser import parse
from tests.ui.browsing import serve
from tests.ui.drawn_texts import FORMULA, SELECTED, TextPage, one_line

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def texts(browser: Browser, home: Path) -> Iterator[TextPage]:
    """A page that draws any texts; afterwards, it has asked for nothing elsewhere."""
    with serve("tests/ui/page_of_texts.py", home) as address:
        shown = TextPage(browser.new_page(), address, home)
        yield shown
        assert shown.asked_elsewhere == []


def check(texts: TextPage, expected: Sequence[tuple[str, str]], kind: str = "message") -> None:
    """Fail with the first text that is read otherwise, or brings something about."""
    for (written, visible), drawn in zip(expected, texts.draw([text for text, _ in expected], kind), strict=True):
        assert (drawn.line, drawn.unwanted) == (one_line(visible), {}), written


AS_WRITTEN = [
    "5~7 beds, 100~200 of them",
    "H~2~O and ~la~",
    "x <- 5, y -> 6, a <-> b, a <= b >= c ~= d -- e",
    "-> <- -- -> ---",
    "x://y:red[f]",
    "x://y![a](http://e.invalid/u.png)",
    "a [x](javascript:alert(1)) b",
    "a [x](/models) b [y](#z)",
    "![a](http://e.invalid/u.png) and ![b][c]",
    "todo:green tea",
    "nginx:latest at 10:30",
    ":rainbow :small :shimmer[a] :::x ::y[z]{a=b}",
    ":red[a] :blue-background[b] :green-badge[c] :color[d]{foreground=red} :help[e]",
    "a :::note b",
    ":material/home: :streamlit: :tada: :+1: :-1: ::tada:: :a:b:",
    "it costs $5 and $10, or $5-$10, $5/$6, $HOME/$USER",
    r"\foo x\,dx \int_0^1 C:\dir \d \% \"q\"",
    r"the end\[1\] of".replace(r"\[", "(").replace(r"\]", ")"),
    "<img src=http://e.invalid/h.png> <b>x</b> <script>y</script> <!-- z -->",
    "<mermaid> </p> <a href=x>",
    "[^1] and [^note]",
    "[^1]: note",
    "[note]: seen",
    "2 * 3 * 4 = 24, 5*6",
    "snake_case_name and x_ y_",
    "AT&T & co &unknown;",
    "a@b and @name",
    "#tag ##x",
    "1)\u00a0",
    "2026. A year",
    "مرحبا بالعالم، שלום",
    "👩‍👩‍👧 e\u0301 \u200bz",
    "$ 5 $ and $x",
    "$5 is more than 4$",
    "the variable $foo_bar$ and $PATH$",
    "$HOME/$USER, $A/$(B), ${a}/${b}, $a->b($c), (^$|^#$), US$5 or CA$6$",
    "价格$5和$10，$三百$",
    r"$\foo{x}$ and $\frac{1}$",
    r"\(\foo\)",
    r"$$\foo$$",
    r"\[\color{red}{x}\]",
    "$$\\foo\n\\bar$$",
    "$$ and $$",
    "((((( ]]]]] [[[[[ ))))) }{",
    "`",
    "a `b",
    "www.-- x",
    ":--> x",
    "!",
    "a\\",
]
AS_WRITTEN += ["\u00a0- no list", "\u30001. 中文", "\u2003> no quote", "\u00a0\u3000+ no list", "\u3000"]


def test_a_text_without_markdown_is_read_as_it_is_written(texts: TextPage) -> None:
    lists = {"2026. A year": "A year"}
    check(texts, [(text, lists.get(text, text)) for text in AS_WRITTEN])


READ_AS = [
    ("<https://example.org/page>", "https://example.org/page"),
    ("a <b@example.org> c", "a b@example.org c"),
    ("~~gone~~ and ~~~~gone~~~~", "gone and ~~~~gone~~~~"),
    (r"\*no emphasis\* \_at all\_ \\ \# \` \$", r"*no emphasis* _at all_ \ # ` $"),
    (r"\[sic\] and \(see above\)", "[sic] and (see above)"),
    ("&lt;b&gt; &#58;red&#91;x&#93; &#36;x&#36;", "<b> :red[x] $x$"),
    ("**a *b* c** and ***d***", "a b c and d"),
    ("*a\x85* **b\u3000**c **&nbsp;d\x1c** *e\v* ~~\ff~~", "a **b **c d *e * ~~ f~~"),
    ("**bold `a]` and `[` code**", "bold a] and [ code"),
    ("**[a `]` link](https://e.invalid)**", "a ] link"),
    ("`a`**`b`**`` c` ``", "abc`"),
    ("`:material/home:` and `:tada:` and `$x$`", ":material/home: and :tada: and $x$"),
    ("```py\nicon=':material/home:'\n```", "icon=':material/home:'"),
    ("- a\n\n  ```\n    :material/home:\n  ```", "a :material/home:"),
    ("1. ```mermaid\n   graph TD\n   ```", "graph TD"),
    ("```mermaid\ngraph TD\n```", "graph TD"),
    ("~~~mermaid-js\ngraph TD", "graph TD"),
    ("```math\nx^2\n```\n\n$y$", f"x^2 {FORMULA}"),
    ("| ` | ![x](http://e.invalid/u.png) ` |\n| --- | --- |", "` ![x](http://e.invalid/u.png) `"),
    ("| a | b |\n|:---:|---:|\n| `x\\|y` | :red[z] |", "a b x|y :red[z]"),
    ("| a |\n| --- |\n| `x\\\\|y` |", "a x\\|y"),
    ("| a | b |\n| --- | --- |\n| 1 | 2 | 3 | `4 | 5` |", "a b 1 2 | 3 | 4 | 5"),
    ("| a | b |\n| --- | --- |\n| 1 | `2 | 3` |\n| 4", "a b 1 2 | 3 4"),
    ("[^1]: note\n\n    ![x](http://e.invalid/u.png)", "[^1]: note ![x](http://e.invalid/u.png)"),
    ("a[^1]\n\n[^1]: note\n    more", "a[^1] [^1]: note more"),
    ("http://e.invalid/`:red[f]`", "http://e.invalid/:red[f]"),
    ("[a](https://e.invalid/?q=`:red[f]`)", "a"),
    ("[a][b]\n\n[b]: https://e.invalid 'title :red[x]'", "a"),
    ("[](https://e.invalid) [a]()", "[](https://e.invalid) [a]()"),
    ("- [ ] $$x$$ y\n- [ ] $z$", f"[ ] {FORMULA} y {FORMULA}"),
    ("- [ ] to do\n- [x] done\n- [y] no task", "to do done [y] no task"),
    ("> # T\n> - a\n>   1. b\n>\n>      c\n\n---\nd", "T a b c d"),
    ("- a\n\n    code\n+ b\n1) c\n2. d", "a code b c d"),
    ("- \n  - \n- [x]: https://e.invalid\n\na", "a"),
    ("Title\nof two lines\n===\n\n# :red[x] #", "Title of two lines :red[x]"),
    ("a\nb  \nc\\\nd", "a b c d"),
    ("::: note\ntext\n:::", "::: note text :::"),
    ("a \x00 :red[x]", "a \ufffd :red[x]"),
    ("含**「重点」**内容，*真。*她，~~删（除）。~~这个", "含「重点」内容，真。她，删（除）。这个"),
    ("**「A」**なので**「B」**、価格**$5**円", "「A」なので「B」、価格$5円"),
    ("> " * 36 + "deep " + "\n\n" + "- " * 18 + "deep", "deep deep"),
    ("> " * 60 + "deep", "> " * 60 + "deep"),
    ("**a _b " * 60 + "c" + "_ d**" * 60, "a b " * 60 + "c" + " d" * 60),
]


def test_markdown_is_read_as_it_is_meant(texts: TextPage) -> None:
    check(texts, READ_AS)


MATHS = [
    ("$$x^2$$", "∎"),
    ("so $$x^2$$ and \\[y\\] on", "so ∎ and ∎ on"),
    ("$$\n\\begin{align} a &= b \\\\ c &= d \\end{align}\n$$", "∎"),
    ("\\[\n- x = \\frac{1}{2}\n\\]\nthen", "∎ then"),
    (r"inline \(x\,dx\) and $n+1$ and $\alpha$, $x$.", "inline ∎ and ∎ and ∎, ∎."),
    (r"$\$5$ and \(5\$\)", "∎ and ∎"),
    ("$a$$b$", "$a$$b$"),
    (r"\(a\)\(b\)", "∎∎"),
    (r"\( x\ \)", "∎"),
    ("- a\n  - ```\n    code $x$\n    ```\n- b $y$", "a code $x$ b ∎"),
    ("````\n```\n$x$\n````\n\n$y$", "``` $x$ ∎"),
    ("| a |\n| --- |\n| \\(\\|x\\|\\) $\\frac{1}{2}$ |", "a ∎ ∎"),
    ("# about $x$ and \\[y\\]", "about ∎ and ∎"),
    ("> $$\n> x\n> $$", "∎"),
    ("1. $$x$$\n2. \\[\n   y\n   \\]", "∎ ∎"),
    ("**bold $x$ and \\([0,1)\\)**", "bold ∎ and ∎"),
    ("[link $x$](https://e.invalid)", "link ∎"),
    ("$5 and $x$", "$5 and ∎"),
    ("$E=mc^2$, $PV = nRT$, $F=ma$, $sin(x) < 1$, $f(x)$, $0$", "∎, ∎, ∎, ∎, ∎, ∎"),
    ("the $n$th of $k$s, 其中$x$是$y$。", "the ∎th of ∎s, 其中∎是∎。"),
    ('($x$), "$y$", *$z$* and **$a$**-b', '(∎), "∎", ∎ and ∎-b'),
    (r"\(\pi:material/x\) and $$\pi:material/b$$", "∎ and ∎"),
    (r"$\text{if } x > 0$", "∎"),
    ("```\n$x$\n```", "$x$"),
    ("`$x$`", "$x$"),
]


def test_formulas_are_drawn(texts: TextPage) -> None:
    check(texts, MATHS)


def test_katex_draws_whatever_is_given_to_it(texts: TextPage) -> None:
    bare = sorted(SYMBOLS | OPERATORS | ACCENTS | FONTS | FRACTIONS | STACKS | TEXTS | WITH_OPTION)
    forms = [rf"\{name}{end}" for name in bare for end in ("", "{a}{b}", "_a^b")]
    forms += [rf"x^\{name} y" for name in bare] + [rf"\left\{name} x \right." for name in sorted(DELIMITERS)]
    forms += [rf"\begin{{{name}}} a & b \\ c \end{{{name}}}" for name in ENVIRONMENTS]
    drawn_as = [rf"\({form}\)" for form in forms if is_drawable(form, display=False)]
    assert len(drawn_as) > len(forms) / 2
    lines = [" ".join(drawn_as[first : first + 20]) for first in range(0, len(drawn_as), 20)]
    check(texts, [(line, " ".join(FORMULA * len(line.split(r"\) \(")))) for line in lines])


def test_a_label_is_read_as_it_is_written_wherever_it_stands(texts: TextPage) -> None:
    written = [*AS_WRITTEN, *(text for text, _ in READ_AS + MATHS if "\x00" not in text)]
    for kind in ("caption", "error"):
        check(texts, [(text, text) for text in written], kind)
    one_line_each = [one_line(text) for text in written]
    check(texts, [(text, text) for text in one_line_each], "button")
    check(texts, [(text, f"{text} {text}") for text in one_line_each if text and not text.endswith("\\")], "strong")


def test_lists_tables_code_and_emphasis_are_drawn(texts: TextPage) -> None:
    quote, table, code, lists, tasks, emphasis = texts.draw(
        [
            "> a\n> > b",
            "| a | b |\n| :-: | --: |\n| 1 | 2 |",
            "```python\ndef f(): return 1\n```",
            "1. a\n   - b\n     - c\n2. d",
            "- [ ] a\n- [x] b",
            "**a** *b* ~~c~~ `d` [e](https://example.org/a_b)",
        ]
    )
    assert quote.tags.count("blockquote") == 2
    assert [table.tags.count(tag) for tag in ("table", "th", "td")] == [1, 2, 2]
    aligned = "[...document.querySelectorAll('th, td')].map(cell => getComputedStyle(cell).textAlign)"
    assert texts.page.evaluate(aligned) == ["center", "right"] * 2
    assert code.tags.count("pre") == 1
    assert texts.page.locator(".token.keyword, .hljs-keyword").count() > 0
    assert [lists.tags.count(tag) for tag in ("ol", "ul", "li", "p")] == [1, 2, 4, 0]
    assert tasks.tags.count("input") == 2
    assert [emphasis.tags.count(tag) for tag in ("strong", "em", "del", "code", "a")] == [1] * 5
    assert emphasis.links == ["https://example.org/a_b"]


def test_what_is_copied_has_no_letter_that_cannot_be_seen(texts: TextPage) -> None:
    written = ["nginx:latest :tada: a -> b http://x.invalid/ $5", "**a :red[b]** <- c", "`:material/x:` -- d"]
    texts.draw(written)
    selected = texts.page.evaluate(SELECTED)
    for text in written:
        assert text.replace("**", "").replace("`", "") in selected
    assert not re.search(r"[^\x20-\x7e\s]", selected)


PIECES = (
    """
![x](http://e.invalid/u.png)|![x][r]|:red[f]|:blue-background[b]|:small[s]|:rainbow[r]|:shimmer[s]|:red-badge[b]
:material/home:|:tada:|:+1:|:streamlit:|:help[x]|:color[c]{foreground=red}|::name[x]|$x^2$|$5|$$y$$|\\(z\\)|\\[w\\]|$|$$
x <- 5|->|<->|--|<=|~=|5~7|~a~|~~b~~|~|~~|~~~|`|``|```|[x] |[^1]|<img src=http://e.invalid/h.png>|<b>|</b>|<!-- c -->
<script>|<https://example.org/p>|https://example.org/a_b|http://e.invalid/`|www.example.org|a@b.co|x://y
[l](http://e.invalid/)|[l](javascript:x)|[l](/models)|[|]|(|)|](|![|*|**|***|_|__|*e*|**s**|***es***|_i_|\\|\\\\|\\*
\\,|\\:|&amp;|&#58;|&lt;|&nbsp;|&|word|two words|中文|「重点」|，|é|\u00a0|1)|+|-|#|=|!|:|::|@|^|{|}|"|'|  |.|,|100|http
https:|//|material/|'s| | | | | |$\\frac{a}{b}$|\\(\\foo\\)|$x_1|{a}^b$|language-mermaid
""".strip()
    .replace("\n", "|")
    .split("|")
)
LINES = [
    "\n",
    "\n\n",
    "\n    ",
    "\n> ",
    "\n- ",
    "\n1. ",
    "\n# ",
    "\n+ ",
    "\n***\n",
    "\n---\n",
    "\n===\n",
    "\n- [ ] ",
    "\t",
]
LINES += [
    "\n[^1]: note\n",
    "\n[r]: http://e.invalid/r.png\n",
    "\n| a | b |\n| --- | :-: |\n| 1 | `2` |\n",
    "|",
    "\n|---|---|\n",
]
LINES += [
    "```mermaid\ngraph TD\n```",
    "\n```py\nx = `1`\n```\n",
    "~~~mermaid\n",
    "\\\n",
    "  \n",
    "\n:::note\n",
    "\n\\[\n",
    "\n$$\n",
]
COUNT, AT_ONCE = 5000, 1000


def nasty(count: int) -> list[str]:
    """Texts of pieces that mean something to one parser or another, as they come."""
    choose = random.Random(22)
    every = PIECES + LINES
    return ["".join(choose.choices(every, k=choose.randint(1, 8))) for _ in range(count)]


def reading(tokens: Sequence[Token]) -> str:
    """What a text says, as our parser reads it."""
    parts = []
    for token in tokens:
        is_inline = token.type.startswith(("link", "em", "strong", "s_", "text"))
        own = FORMULA if token.type == "formula" else reading(token.children or []) or token.content
        parts.append(own if is_inline or token.type in ("formula", "code_inline") else f" {own} ")
    return "".join(parts)


def spaceless(text: str) -> str:
    """A text without white space, and without the boxes of tasks, which are drawn."""
    return re.sub(r"\s|\[[ xX]\]", "", text)


def test_no_text_brings_anything_about_and_each_says_what_it_says(texts: TextPage) -> None:
    every = nasty(COUNT)
    for first in range(0, COUNT, AT_ONCE):
        written = every[first : first + AT_ONCE]
        for text, drawn in zip(written, texts.draw(written), strict=True):
            tokens = parse(text)
            assert tokens is not None
            assert (spaceless(drawn.text), drawn.unwanted) == (spaceless(reading(tokens)), {}), text


PLAIN = (
    """
5~7|100~200|H~2~O|~la~|x <- 5|a -> b|a <-> b|--|<=|>=|~=|nginx:latest|todo:green|:rainbow|:small|:::x|::name|:red[f]
:material/home:|:tada:|:+1:|:streamlit:|10:30|C:\\dir|x\\,dx|$5|$10|<b>|</p>|<img src=x>|a_b|snake_case_name|#tag|@name
a@b|http://x.invalid/a_b|www.x.invalid|me@x.invalid|!|^1|{a}|(x)|a|b|+1|-1|=|&|AT&T|"q"|it's|%|é|中文|مرحبا|🙂|word|[sic]|[^1]|\\d
""".strip()
    .replace("\n", "|")
    .split("|")
)


def test_plain_texts_are_read_as_they_are_written_whatever_they_are_made_of(texts: TextPage) -> None:
    choose = random.Random(21)
    written = ["So " + " ".join(choose.choices(PLAIN, k=choose.randint(1, 12))) for _ in range(AT_ONCE)]
    check(texts, [(text, text) for text in written])
    check(texts, [(text, text) for text in written], "caption")


def test_a_growing_reply_never_shows_what_its_end_would_not(texts: TextPage) -> None:
    whole = (
        "See ![a](http://e.invalid/u.png) :red[b] **bold** <https://e.invalid>\n\n```mermaid\ngraph TD\n```\n"
        "| a | `b` |\n| --- | --- |\n| $x^2$ | ~~c~~ |\n\n\\[\n\\frac{1}{2}\n\\]\n\n1. ```py\n   :tada:\n   ```\n"
        "[^1]: d\n"
    )
    every = [whole[:length] for length in range(len(whole) + 1)]
    for text, drawn in zip(every, texts.draw(every, "growing"), strict=True):
        assert drawn.unwanted == {}, text
        assert drawn.text.count("▍") == 1, text
