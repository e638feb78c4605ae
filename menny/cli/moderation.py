"""The commands about moderation: reflect, and evaluate with its guardrails and reflection."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from menny.cli.common import AsJson, Force, ModelName, is_judge, json_text, open_engine
from menny.cli.status_line import show_count
from menny.config.paths import CONFIGS
from menny.engine import SamplingParams
from menny.errors import ConfigError
from menny.moderation.categories import ModerationFile, load_moderation
from menny.moderation.evaluation import evaluate_guardrail, evaluate_reflection, load_set, verdict_cost
from menny.moderation.evaluation_report import curve_svg, guardrails_text, percent, reflection_text
from menny.moderation.guardrails import load_guardrails
from menny.moderation.moderator_cache import make_moderator
from menny.text import table

SETS = CONFIGS / "evaluation"


def reflect(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A message or a reply.")],
    model: ModelName = "smollm2",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Classify a text as acceptable or by the categories of configs/moderation.yaml.

    A judge is asked about each category; any other model finds the likeliest label.
    """
    settings = _settings()
    with open_engine(model, force=force) as (engine, template):
        verdict = make_moderator(settings, engine, template, is_judge(model)).classify(text)
    if as_json:
        typer.echo(json_text({"model": model, **asdict(verdict)}))
        return
    ranked = sorted(verdict.probabilities.items(), key=lambda one: -one[1])
    rows = [[settings.labels[name].name, percent(probability)] for name, probability in ranked]
    typer.echo(f"{settings.labels[verdict.category].name}\n\n{table(rows)}\n\n{verdict.seconds:.2f} s")


def evaluate() -> typer.Typer:
    """The commands below `menny evaluate`."""
    app = typer.Typer(help="Evaluate guardrails or self-reflection on a set of texts.", rich_markup_mode=None)
    app.command()(guardrails)
    app.command()(reflection)
    return app


def guardrails(
    texts: Annotated[Path, typer.Argument(metavar="SET.yaml", help="Labelled prompts.")] = SETS / "guardrails.yaml",
    model: ModelName = "smollm2",
    max_tokens: Annotated[int, typer.Option(min=1, help="Length of each reply in tokens.")] = 32,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure how often unsafe prompts, and harmless ones that look like them, are declined under each guardrail."""
    chosen = load_set(texts, list(_settings().labels))
    available, errors = load_guardrails(CONFIGS / "guardrails")
    if errors:
        raise ConfigError(str(errors[0]))
    params = SamplingParams(temperature=0, max_tokens=max_tokens)
    with open_engine(model, force=force) as (engine, template):
        results = [
            evaluate_guardrail(
                chosen, one, engine, params, template, partial(show_count, what=f"prompts under {one.id}")
            )
            for one in available
        ]
    summary = {"model": model, "set": chosen.name, "guardrails": [asdict(one) for one in results]}
    typer.echo(json_text(summary) if as_json else guardrails_text(model, chosen.name, results))


def reflection(
    texts: Annotated[Path, typer.Argument(metavar="SET.yaml", help="Labelled texts.")] = SETS / "reflection.yaml",
    model: ModelName = "smollm2",
    picture: Annotated[
        Path | None, typer.Option(help="Write the precision-recall curve to this SVG file.", dir_okay=False)
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well the model classifies a set: precision, recall, F1 and the confusion of categories."""
    settings = _settings()
    chosen = load_set(texts, list(settings.labels))
    if picture is not None:
        _check_picture(picture)
    with open_engine(model, force=force) as (engine, template):
        moderator = make_moderator(settings, engine, template, is_judge(model))
        result = evaluate_reflection(chosen, moderator, partial(show_count, what="texts"))
        one_token = SamplingParams(temperature=0, max_tokens=1)
        cost = verdict_cost([one.text for one in chosen.prompts], moderator, engine, one_token)
        result = replace(result, cost=cost)
    typer.echo(json_text({"model": model, **asdict(result)}) if as_json else reflection_text(model, result))
    if picture is not None:  # last, so that a full disk loses nothing else
        picture.write_text(curve_svg(f"{model} on {chosen.name}", result.curve), encoding="utf-8")


def _settings() -> ModerationFile:
    return load_moderation(CONFIGS / "moderation.yaml")


def _check_picture(path: Path) -> None:
    """Check the path of a picture before an evaluation that takes minutes. Raises ConfigError."""
    if path.suffix != ".svg":
        raise ConfigError(f"The picture is an SVG, so its name must end in .svg, not {path.name!r}.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent} to write the picture into.")
