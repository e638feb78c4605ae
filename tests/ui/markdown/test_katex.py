"""Formulas that KaTeX draws are told from those it would show in red."""

import pytest

from menny.ui.markdown.katex import is_drawable


@pytest.mark.parametrize(
    "formula",
    [
        "x",
        "x^2 + y_1 = z",
        r"\frac{a}{b} + \frac12",
        r"\sqrt[3]{x} \sqrt 2",
        r"\int_0^1 x\,dx",
        r"\sum\limits_{i=1}^{n} i",
        r"\lim_{x \to 0} \frac{\sin x}{x}",
        r"\left( \frac{a}{b} \right)",
        r"\left\{ x \middle| y \right.",
        r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
        r"\begin{cases} x & \text{if } x > 0 \\ 0 & \text{else} \end{cases}",
        r"\begin{array}{c|c} a & b \\[1em] c & d \end{array}",
        r"\mathbb{R}^n \to \mathbf{x} \cdot \vec{y}",
        r"f''(x) = f'^2",
        r"\text{größer als 5\%}",
        r"A^\top \bmod n \pmod{3}",
        r"\overset{a}{b} \underbrace{x}_{n} \operatorname*{argmax}_x",
        "\\alpha\n+ \\beta",
        r"\big( x \big) \Bigl[ y \Bigr]",
        "π ≈ 3",
    ],
)
def test_what_messages_use_is_drawable(formula: str) -> None:
    assert is_drawable(formula, display=False)
    assert is_drawable(formula, display=True)


@pytest.mark.parametrize(
    "formula",
    [r"\begin{align} a &= b \\ c &= d \end{align}", r"\begin{equation} x \end{equation}", r"x = 1 \tag{1}"],
)
def test_what_needs_lines_of_its_own_is_drawable_there_alone(formula: str) -> None:
    assert is_drawable(formula, display=True)
    assert not is_drawable(formula, display=False)


@pytest.mark.parametrize(
    "formula",
    [
        "",
        " ",
        "{",
        "}",
        "x^",
        "x^a^b",
        "x_a_b",
        "x^2'",
        r"\frac{a}",
        r"\foo",
        r"\left( x",
        r"x \right)",
        r"\left x \right)",
        r"\begin{matrix} a",
        r"\begin{matrix} a \end{pmatrix}",
        r"\begin{foo} a \end{foo}",
        r"\begin{array}{c} a & b \end{array}",
        "a & b",
        "a # b",
        "a $ b",
        "50% off",
        "x \\",
        r"\sqrt[3",
        r"\text{a_b}",
        r"\text{\foo}",
        r"x^\sum",
        "{" * 50 + "x" + "}" * 50,
        "x" * 5000,
    ],
)
def test_what_katex_cannot_read_is_not(formula: str) -> None:
    assert not is_drawable(formula, display=False)
    assert not is_drawable(formula, display=True)


@pytest.mark.parametrize(
    "formula",
    [
        r"\color{red} x",
        r"\textcolor{red}{x}",
        r"\colorbox{red}{x}",
        r"\red{x}",
        r"\includegraphics{http://e.invalid/u.png}",
        r"\href{http://e.invalid}{x}",
        r"\url{http://e.invalid}",
        r"\htmlStyle{color: red}{x}",
        r"\htmlClass{x}{y}",
        r"\rule{99em}{99em}",
        r"\kern99em x",
        r"\hspace{99em}",
        r"\raisebox{99em}{x}",
        r"\phantom{x}",
        r"\smash{x}",
        r"\llap{x}",
        r"\def\x{\x\x}\x",
        r"\newcommand{\x}{y}",
        r"\let\x=y",
        r"\Huge x",
        r"\verb|x|",
        r"\char`x",
    ],
)
def test_what_colours_hides_moves_or_loads_something_is_not(formula: str) -> None:
    assert not is_drawable(formula, display=False)
    assert not is_drawable(formula, display=True)
