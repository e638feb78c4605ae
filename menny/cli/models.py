"""The commands about models: models, bench, verify, convert and perplexity."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from menny.cli.common import (
    AsJson,
    Context,
    Force,
    ModelName,
    Threads,
    catalogue,
    complain,
    find_fitting,
    find_model,
    json_text,
)
from menny.cli.status_line import show_status
from menny.cli.tables import bench_text, fit_text, models_text, perplexity_text, verify_text
from menny.config.paths import CONFIGS
from menny.engine import PARALLEL
from menny.engine.benchmarks.bench import BenchSettings
from menny.engine.benchmarks.bench import bench as measure
from menny.engine.benchmarks.perplexity import measure_perplexity, read_text
from menny.engine.benchmarks.verify import verify as compare
from menny.engine.checkpoints.convert import QuantizationConfig
from menny.engine.checkpoints.convert import convert as rewrite
from menny.errors import ModelError
from menny.models.catalogue import recommend
from menny.models.loader import Planner, a_mac, fit_of


def models(
    fit: Annotated[bool, typer.Option("--fit", help="Show the memory that each model takes, by context.")] = False,
    mac: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Plan for a Mac with this many GB, not for this machine."),
    ] = None,
    context: Context = None,
) -> None:
    """List the models: which are here, which fit into memory, and how to get the others."""
    if fit and context is not None:
        raise ModelError("--fit shows several contexts, so it can't be combined with --context: give one of them.")
    specs, errors = catalogue()
    planner = Planner(None if mac is None else a_mac(mac))
    if fit:
        typer.echo(fit_text(specs, planner))
    else:
        fits = {spec.id: found for spec in specs if (found := fit_of(spec, specs, planner, context))}
        typer.echo(models_text(specs, fits, recommend(specs, planner, planner.speed_of)))
    for error in errors:
        complain(str(error), 2)


class RepeatedOption(TyperCommand):
    """A command that takes `--concurrency 1 8` for `--concurrency 1 --concurrency 8`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, then parse as the base class does."""
        spread: list[str] = []
        is_listing = False
        for word in args:
            is_option = word.startswith("-")
            if is_listing and not is_option and spread[-1] != "--concurrency":
                spread.append("--concurrency")
            is_listing = word.startswith("--concurrency") if is_option else is_listing
            spread.append(word)
        return super().parse_args(ctx, spread)


def bench(
    model: ModelName = "smollm2",
    prompt_tokens: Annotated[int, typer.Option(help="Length of the prompts in tokens.")] = 512,
    new_tokens: Annotated[int, typer.Option(help="Length of the replies in tokens.")] = 128,
    concurrency: Annotated[
        list[int] | None,
        typer.Option(help="Requests at once; several numbers in turn."),
    ] = None,
    runs: Annotated[int, typer.Option(help="Number of runs, of which the medians are shown.")] = 3,
    against: Annotated[
        str | None, typer.Option(help="A baseline to measure in alternation: mlx-lm or llama.cpp.")
    ] = None,
    force: Force = False,
    threads: Threads = None,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Requests that are answered at once; others wait.")] = (
        PARALLEL
    ),
    as_json: AsJson = False,
) -> None:
    """Measure how fast a model is on this machine, and how much memory it takes."""
    settings = BenchSettings(prompt_tokens, new_tokens, tuple(concurrency or (1,)), runs, against, threads, parallel)
    report = measure(find_fitting(model, force), settings, show_status)
    show_status("")
    typer.echo(json_text({"model": model, **asdict(report)}) if as_json else bench_text(model, report))


def verify(
    model: ModelName = "smollm2",
    tolerance: Annotated[
        float | None, typer.Option(help="As a share of the largest logit. Default: 0.001, for half precision 0.03.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="Default: enough tokens to pass the sliding window.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Check that one pass, chunks and single tokens give the same logits; exit code 1 if they don't."""
    result = compare(find_fitting(model, force), tolerance, tokens)
    typer.echo(json_text({"model": model, **asdict(result)}) if as_json else verify_text(model, result))
    if not result.agrees:
        raise typer.Exit(1)


def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A catalogue id, a folder or a .gguf file.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The folder to write, which mustn't exist yet.")],
    bits: Annotated[int | None, typer.Option(help="Quantize to 4 or 8 bits. Default: no quantization.")] = None,
    group_size: Annotated[int, typer.Option(help="Weights that share a scale: 32, 64 or 128.")] = 64,
    dtype: Annotated[str, typer.Option(help="Type of the numbers: float16, bfloat16 or float32.")] = "float16",
) -> None:
    """Convert a model to a folder of MLX safetensors, which mlx-lm reads too."""
    config, path = QuantizationConfig(dtype, bits, group_size), find_model(source)[1]
    with _progress_bar() as on_progress:
        rewrite(path, target, config, on_progress)
    typer.echo(f"The model is written to {target}")


def perplexity(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="The original model, then its conversions.")],
    text: Annotated[
        Path, typer.Option(help="A text file. Default: configs/perplexity.txt.", show_default=False)
    ] = CONFIGS / "perplexity.txt",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well models predict a text, and so what quantizing one costs."""
    content = read_text(text)
    results = {name: measure_perplexity(find_fitting(name, force), content) for name in models}
    listed = [{"model": name, **asdict(result)} for name, result in results.items()]
    typer.echo(json_text({"text": str(text), "models": listed}) if as_json else perplexity_text(results))


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on a terminal; yields the function that moves it to `done` of `total`."""
    if not sys.stderr.isatty():
        yield None
        return
    with typer.progressbar(length=1000, file=sys.stderr) as bar:
        yield lambda done, total: bar.update(1000 * done // total - bar.pos)
