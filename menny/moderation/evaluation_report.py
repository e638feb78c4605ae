"""The results of an evaluation, as text for a terminal and as a picture."""

from collections.abc import Sequence

from menny.moderation.categories import ACCEPTABLE
from menny.moderation.evaluation import Guarded, Point, Quality, Reflection
from menny.text import table

PAPER_REFLECTION = Quality(0.994, 0.956, 2 * 0.994 * 0.956 / (0.994 + 0.956))  # Mistral 7B, section 5.2
PAPER = "Mistral 7B in the paper, on its own set"

SIZE, MARGIN = 320, 48  # of the picture's square, and the room around it, in pixels
INK, LINE, GRID = "#2b2440", "#d9560b", "#d8d4e0"


def reflection_text(model: str, found: Reflection) -> str:
    """Quality, confusion table and time of an evaluation of self-reflection."""
    heads = ["is, found as", *found.labels]
    rows = [[label, *(str(found.confusion[label][other]) for other in found.labels)] for label in found.labels]
    lines = [
        f"{model} on {found.name}: {found.texts} texts, {found.seconds / found.texts:.2f} s each, "
        f"{found.accuracy:.0%} in the right category",
        "",
        table(
            [
                [f"finding what is {ACCEPTABLE}", "precision", "recall", "F1"],
                [model, *_quality_row(found.quality)],
                [PAPER, *_quality_row(PAPER_REFLECTION)],
            ]
        ),
        "",
        table([heads, *rows]),
    ]
    if cost := found.cost:
        lines += [
            "",
            f"A verdict over {cost.prompt_tokens} tokens takes {cost.verdict_seconds:.2f} s, "
            f"{cost.ratio:.2f}x one prefill of them.",
        ]
    return "\n".join(lines)


def _quality_row(quality: Quality) -> list[str]:
    return [percent(value) for value in (quality.precision, quality.recall, quality.f1)]


def guardrails_text(model: str, name: str, found: Sequence[Guarded]) -> str:
    """The share of declined prompts under each guardrail, by label."""
    labels = list(found[0].prompts)
    rows = [
        [
            one.guardrail,
            percent(one.unsafe_declined),
            percent(one.harmless_declined),
            *(f"{one.declined[label]}/{one.prompts[label]}" for label in labels),
        ]
        for one in found
    ]
    return "\n".join(
        [
            f"{model} on {name}: {sum(found[0].prompts.values())} prompts, of them declined",
            "",
            table([["guardrail", "unsafe", "harmless", *labels], *rows]),
            "",
            "Mistral 7B in the paper, with the guardrail mistral: 100% of its 175 unsafe prompts.",
        ]
    )


def percent(share: float | None) -> str:
    """A share in percent; a dash for None."""
    return "–" if share is None else f"{share:.1%}"


def curve_svg(title: str, points: Sequence[Point]) -> str:
    """A precision-recall curve as a picture that stands by itself."""
    whole = SIZE + 2 * MARGIN
    path = " ".join(f"{_x(point.recall):.1f},{_y(point.precision):.1f}" for point in points)
    dots = "".join(
        f'<circle cx="{_x(point.recall):.1f}" cy="{_y(point.precision):.1f}" r="2.5" fill="{LINE}">'
        f"<title>from {point.threshold:.3f} on: precision {point.precision:.3f}, recall {point.recall:.3f}</title>"
        "</circle>"
        for point in points
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" width="{whole}" height="{whole}" '
        f'role="img" font-family="sans-serif" font-size="12" fill="{INK}">\n'
        f"<title>{_escaped(title)}</title>\n"
        f'<rect width="{whole}" height="{whole}" fill="#ffffff"/>\n'
        f'<text x="{whole / 2}" y="24" text-anchor="middle" font-size="14">{_escaped(title)}</text>\n'
        f"{_grid()}\n"
        f'<text x="{whole / 2}" y="{whole - 8}" text-anchor="middle">recall</text>\n'
        f'<text x="14" y="{whole / 2}" text-anchor="middle" transform="rotate(-90 14 {whole / 2})">precision</text>\n'
        f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="2"/>\n{dots}\n</svg>\n'
    )


def _grid() -> str:
    lines = []
    for fifth in range(6):
        share = fifth / 5
        x, y = _x(share), _y(share)
        lines += [
            f'<path d="M{x} {_y(0)}V{_y(1)}M{_x(0)} {y}H{_x(1)}" stroke="{GRID}"/>',
            f'<text x="{x}" y="{_y(0) + 16}" text-anchor="middle">{share:g}</text>',
            f'<text x="{_x(0) - 6}" y="{y + 4}" text-anchor="end">{share:g}</text>',
        ]
    return "\n".join(lines)


def _x(recall: float) -> float:
    return MARGIN + SIZE * recall


def _y(precision: float) -> float:
    return MARGIN + SIZE * (1 - precision)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
