"""The commands that moderate: reflect, and evaluate with its guardrails and reflection."""

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from menny.cli.common import AsJson, Force, ModelName, json_text, open_engine
from menny.config.paths import CONFIGS
from menny.engine import SamplingParams
from menny.errors import ConfigError
from menny.moderation.classifier import ModerationFile, Moderator, load_moderation
from menny.moderation.evaluation import evaluate_guardrail, evaluate_reflection, load_set, verdict_cost
from menny.moderation.evaluation_report import curve_svg, guardrails_text, percent, reflection_text
from menny.moderation.guardrails import load_guardrails
from menny.text import table

SETS = CONFIGS / "evaluation"


def reflect(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A message, or a reply.")],
    model: ModelName = "smollm2",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Sort a text into acceptable or a category of configs/moderation.yaml, by what the model finds likeliest."""
    settings = _settings()
    with open_engine(model, force=force) as (engine, template):
        verdict = Moderator(settings, engine, template).classify(text)
    if as_json:
        typer.echo(json_text({"model": model, **asdict(verdict)}))
        return
    ranked = sorted(verdict.probabilities.items(), key=lambda one: -one[1])
    rows = [[settings.labels[name].name, percent(probability)] for name, probability in ranked]
    typer.echo(f"{settings.labels[verdict.category].name}\n\n{table(rows)}\n\n{verdict.seconds:.2f} s")


def evaluate() -> typer.Typer:
    """The commands below `menny evaluate`."""
    app = typer.Typer(help="Measure guardrails or self-reflection on a set of texts.", rich_markup_mode=None)
    app.command()(guardrails)
    app.command()(reflection)
    return app


def guardrails(
    texts: Annotated[Path, typer.Argument(metavar="SET.yaml", help="Prompts with labels.")] = SETS / "guardrails.yaml",
    model: ModelName = "smollm2",
    max_tokens: Annotated[int, typer.Option(min=1, help="How much of each reply is read.")] = 32,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """How often unsafe prompts, and harmless ones that look like them, are declined under each guardrail."""
    chosen = load_set(texts, list(_settings().labels))
    available, problems = load_guardrails(CONFIGS / "guardrails")
    if problems:
        raise ConfigError(str(problems[0]))
    params = SamplingParams(temperature=0, max_tokens=max_tokens)
    with open_engine(model, force=force) as (engine, template):
        found = [
            evaluate_guardrail(chosen, one, engine, params, template, _counter(f"under {one.id}")) for one in available
        ]
    told = {"model": model, "set": chosen.name, "guardrails": [asdict(one) for one in found]}
    typer.echo(json_text(told) if as_json else guardrails_text(model, chosen.name, found))


def reflection(
    texts: Annotated[Path, typer.Argument(metavar="SET.yaml", help="Texts with labels.")] = SETS / "reflection.yaml",
    model: ModelName = "smollm2",
    picture: Annotated[
        Path | None, typer.Option(help="Write the precision-recall curve here, as SVG.", dir_okay=False)
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """How well the model sorts a set by self-reflection: precision, recall, F1, and what was taken for what."""
    settings = _settings()
    chosen = load_set(texts, list(settings.labels))
    if picture is not None:
        _check_picture(picture)
    with open_engine(model, force=force) as (engine, template):
        moderator = Moderator(settings, engine, template)
        found = evaluate_reflection(chosen, moderator, _counter("judged"))
        one_token = SamplingParams(temperature=0, max_tokens=1)
        cost = verdict_cost([one.text for one in chosen.prompts], moderator, engine, one_token)
        found = replace(found, cost=cost)
    typer.echo(json_text({"model": model, **asdict(found)}) if as_json else reflection_text(model, found))
    if picture is not None:  # last: a disk that is full by now takes nothing else along
        picture.write_text(curve_svg(f"{model} on {chosen.name}", found.curve), encoding="utf-8")


def _settings() -> ModerationFile:
    return load_moderation(CONFIGS / "moderation.yaml")


def _check_picture(path: Path) -> None:
    """An evaluation takes minutes: what would keep its picture from being written is told before."""
    if path.suffix != ".svg":
        raise ConfigError(f"The picture is an SVG, so its name must end in .svg, not {path.name!r}.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent} to write the picture into.")


def _counter(doing: str) -> Callable[[int, int], None]:
    """Counts on a line of its own, for someone who watches."""

    def count(done: int, total: int) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r\033[K{done}/{total} {doing}", err=True, nl=done == total)

    return count
