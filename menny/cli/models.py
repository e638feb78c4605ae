"""The commands that look at models: models, bench, verify, convert and perplexity."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from menny.cli.common import AsJson, Context, Force, ModelName, Threads, catalogue, find_fitting, find_model, json_text
from menny.cli.tables import bench_text, fit_text, perplexity_text, verify_text
from menny.config.paths import CONFIGS
from menny.engine.benchmarks.bench import BenchSettings
from menny.engine.benchmarks.bench import bench as measure
from menny.engine.benchmarks.perplexity import measure_perplexity, read_text
from menny.engine.benchmarks.verify import verify as compare
from menny.engine.checkpoints.convert import QuantizationConfig
from menny.engine.checkpoints.convert import convert as rewrite
from menny.errors import ModelError
from menny.models.loader import Planner, a_mac, fit_of


def models(
    fit: Annotated[bool, typer.Option("--fit", help="How much memory each takes, by its context.")] = False,
    mac: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Tell it for a Mac with so many GB, not for this machine.")
    ] = None,
    context: Context = None,
) -> None:
    """List the catalogue: what is here, whether it fits into memory, and how to get what isn't here."""
    if fit and context is not None:
        raise ModelError("--fit tells of several contexts, so it has no place for --context: give one of them.")
    specs, problems = catalogue()
    planner = Planner(None if mac is None else a_mac(mac))
    if fit:
        typer.echo(fit_text(specs, planner))
    else:
        width = max((len(spec.id) for spec in specs), default=0)
        for spec in specs:
            here = spec.target()
            size = f"{spec.size_bytes / 1e9:.1f} GB" if spec.size_bytes else ""
            fitting = fit_of(spec, specs, planner, context)
            typer.echo(f"{'●' if here else '○'} {spec.id:<{width}}  {size:>8}  {spec.name}")
            for line in [str(fitting) if fitting else "", str(spec.path() or spec.how_to_get)]:
                if line:
                    typer.echo(f"  {'':<{width}}  {'':>8}  {line}")
    for problem in problems:
        typer.echo(f"menny: {problem}", err=True)


class Spreading(TyperCommand):
    """A command that takes `--concurrency 1 8` for `--concurrency 1 --concurrency 8`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that are left, as the base class says; each value gets its option first."""
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
    prompt_tokens: Annotated[int, typer.Option(help="Tokens of a prompt.")] = 512,
    new_tokens: Annotated[int, typer.Option(help="Tokens of a reply.")] = 128,
    concurrency: Annotated[list[int] | None, typer.Option(help="Requests sent at once; several numbers: each.")] = None,
    runs: Annotated[int, typer.Option(help="How often each measurement is made; medians are told.")] = 3,
    against: Annotated[str | None, typer.Option(help="Measure this by turns with ours: mlx-lm or llama.cpp.")] = None,
    force: Force = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast a model is on this machine, and how much memory it takes."""
    settings = BenchSettings(prompt_tokens, new_tokens, tuple(concurrency or (1,)), runs, against, threads)
    report = measure(find_fitting(model, force), settings, _tell)
    typer.echo(json_text({"model": model, **asdict(report)}) if as_json else bench_text(model, report))


def verify(
    model: ModelName = "smollm2",
    tolerance: Annotated[
        float | None, typer.Option(help="Of the largest logit. Default: 0.001, for 16-bit numbers 0.03.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="How many. Default: enough to pass the window.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Check that one pass, chunks, and token by token give the same logits; exit code 1 where they don't."""
    result = compare(find_fitting(model, force), tolerance, tokens)
    typer.echo(json_text({"model": model, **asdict(result)}) if as_json else verify_text(model, result))
    if not result.agrees:
        raise typer.Exit(1)


def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A catalogue id, a folder, or a .gguf file.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The folder to write; it mustn't be there yet.")],
    bits: Annotated[int | None, typer.Option(help="Quantize to 4 or 8 bits. Default: plain numbers.")] = None,
    group_size: Annotated[int, typer.Option(help="Numbers that share a scale: 32, 64 or 128.")] = 64,
    dtype: Annotated[str, typer.Option(help="Of plain numbers and scales: float16, bfloat16 or float32.")] = "float16",
) -> None:
    """Write a model as a folder of MLX safetensors, which mlx-lm reads too."""
    numbers, path = QuantizationConfig(dtype, bits, group_size), find_model(source)[1]
    with _progress_bar() as on_progress:
        rewrite(path, target, numbers, on_progress)
    typer.echo(f"{target} is written.")


def perplexity(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="The original, then what became of it.")],
    text: Annotated[
        Path, typer.Option(help="A text file. Default: one that comes along.", show_default=False)
    ] = CONFIGS / "perplexity.txt",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Tell how well models foretell a text: what quantizing one has cost it."""
    read = read_text(text)
    results = {name: measure_perplexity(find_fitting(name, force), read) for name in models}
    told = [{"model": name, **asdict(result)} for name, result in results.items()]
    typer.echo(json_text({"text": str(text), "models": told}) if as_json else perplexity_text(results))


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """What moves a bar to so much of so much, for someone who watches."""
    if not sys.stderr.isatty():
        yield None
        return
    with typer.progressbar(length=1000, file=sys.stderr) as bar:
        yield lambda done, total: bar.update(1000 * done // total - bar.pos)


def _tell(doing: str) -> None:
    """What a long command is doing, on a line that the next one overwrites, for someone who watches."""
    if sys.stderr.isatty():
        typer.echo(f"\r\033[K{doing}", err=True, nl=False)
