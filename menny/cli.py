"""The command line: chat, generate, demo, models, bench, verify and convert.

A wrong input gets one line, and exit code 2.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from menny import __version__
from menny.catalogue import ModelSpec, load_catalogue, resolve
from menny.chat import Brief, Chat
from menny.config import CONFIGS, models_folder
from menny.engine import Chunk, Engine, SamplingParams, load_engine
from menny.engine.bench import Settings
from menny.engine.bench import bench as measure
from menny.engine.convert import Numbers
from menny.engine.convert import convert as rewrite
from menny.engine.verify import verify as compare
from menny.errors import MennyError, ModelError, PromptError
from menny.guardrails import combine, load_guardrails
from menny.messages import Message
from menny.personas import Persona, choose, load_personas
from menny.prompts import encode_chat, guess_template
from menny.reports import bench_text, verify_text

DEMO_PROMPTS = (
    "What is the capital of France?",
    "Explain in two sentences why the sky is blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
)
DEMO_TOKENS = 64

app = typer.Typer(
    name="menny",
    help="Menny: a private chatbot with a persona, on your own machine.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Option("--model", "-m", help="A catalogue id, a folder, or a .gguf file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same reply.")]


@app.command()
def chat(
    model: Model = "smollm2",
    persona: Annotated[str, typer.Option("--persona", "-p", help="Who answers: a file in configs/personas.")] = "menny",
    guardrail: Annotated[str, typer.Option(help="The app's guardrail; a persona can add to it.")] = "mistral",
    temperature: Annotated[float | None, typer.Option(help="Instead of the persona's own.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Instead of the persona's own.")] = None,
    seed: Seed = None,
) -> None:
    """Talk with a persona in the terminal. Ctrl-C stops a reply, Ctrl-D ends the chat, /new begins another."""
    personas, _ = load_personas(CONFIGS / "personas")
    guardrails, _ = load_guardrails(CONFIGS / "guardrails")
    who = choose(persona, personas)
    texts = [one.text for one in combine(guardrail, who.guardrails, guardrails)]
    brief = Brief.of(texts, who.system_text(), who.example_messages())
    chosen = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    params = SamplingParams(
        **{**who.parameters.model_dump(), **{key: value for key, value in chosen.items() if value is not None}}
    )
    with _engine(model) as (engine, template):
        typer.echo(f"{who.name}: {who.greeting_text()}\n" if who.greeting else "")
        conversation = Chat()
        for text in _typed_lines():
            if text == "/new":
                conversation = Chat()
                typer.echo("A new chat.\n")
            elif text:
                _answer(conversation, text, who, engine, params, brief, template)


@app.command()
def generate(
    prompt: Annotated[str, typer.Option(help="What to answer.")],
    model: Model = "smollm2",
    system: Annotated[str | None, typer.Option(help="What the model is told about itself.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without a prompt template.")] = False,
    max_tokens: Annotated[int, typer.Option(help="The longest reply, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token; higher: freer.")] = 0.7,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Answer one prompt."""
    if raw and system is not None:
        raise PromptError("--raw has no place for --system: give one of them.")
    params = SamplingParams(temperature=temperature, max_tokens=max_tokens, seed=seed)
    with _engine(model) as (engine, template):
        tokenizer = engine.tokenizer
        if raw:
            start = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
            ids = [*start, *tokenizer.encode(prompt)]
        else:
            told = [] if system is None else [Message("system", system)]
            ids = encode_chat([*told, Message("user", prompt)], template, tokenizer)
        chunks = list(_echoed(engine.stream(ids, params), silent=as_json))
    if as_json:
        typer.echo(json.dumps(_summary(model, chunks), ensure_ascii=False))


@app.command()
def demo(model: Model = "smollm2") -> None:
    """Answer three fixed prompts, always taking the likeliest token."""
    with _engine(model) as (engine, template):
        for prompt in DEMO_PROMPTS:
            typer.echo(f"> {prompt}")
            ids = encode_chat([Message("user", prompt)], template, engine.tokenizer)
            *_, last = _echoed(engine.stream(ids, SamplingParams(temperature=0, max_tokens=DEMO_TOKENS)), silent=False)
            typer.echo(
                f"  [{last.completion_tokens} tokens, {last.decode_tps:.1f} tokens/s, "
                f"{last.seconds_to_first_token:.2f} s to the first]\n"
            )


@app.command()
def models() -> None:
    """List the catalogue: what is here, and how to get what isn't."""
    specs, problems = _catalogue()
    width = max((len(spec.id) for spec in specs), default=0)
    for spec in specs:
        size = f"{spec.size_bytes / 1e9:.1f} GB" if spec.size_bytes else ""
        here = spec.path()
        typer.echo(f"{'●' if here else '○'} {spec.id:<{width}}  {size:>8}  {spec.name}")
        typer.echo(f"  {'':<{width}}  {'':>8}  {here or spec.how_to_get}")
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


@app.command(cls=Spreading)
def bench(
    model: Model = "smollm2",
    prompt_tokens: Annotated[int, typer.Option(help="Tokens of a prompt.")] = 512,
    new_tokens: Annotated[int, typer.Option(help="Tokens of a reply.")] = 128,
    concurrency: Annotated[list[int] | None, typer.Option(help="Requests sent at once; several numbers: each.")] = None,
    runs: Annotated[int, typer.Option(help="How often each measurement is made; medians are told.")] = 3,
    against: Annotated[str | None, typer.Option(help="Measure this by turns with ours: mlx-lm.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast a model is on this machine, and how much memory it takes."""
    settings = Settings(prompt_tokens, new_tokens, tuple(concurrency or (1,)), runs, against)
    report = measure(_path(model)[1], settings, _tell)
    typer.echo(json.dumps({"model": model, **asdict(report)}) if as_json else bench_text(model, report))


@app.command()
def verify(
    model: Model = "smollm2",
    tolerance: Annotated[
        float | None, typer.Option(help="Of the largest logit. Default: 0.001, for 16-bit numbers 0.03.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="How many. Default: enough to pass the window.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check that one pass, chunks, and token by token give the same logits; exit code 1 where they don't."""
    result = compare(_path(model)[1], tolerance, tokens)
    typer.echo(json.dumps({"model": model, **asdict(result)}) if as_json else verify_text(model, result))
    if not result.agrees:
        raise typer.Exit(1)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A catalogue id, a folder, or a .gguf file.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The folder to write; it mustn't be there yet.")],
    bits: Annotated[int | None, typer.Option(help="Quantize to 4 or 8 bits. Default: plain numbers.")] = None,
    group_size: Annotated[int, typer.Option(help="Numbers that share a scale: 32, 64 or 128.")] = 64,
    dtype: Annotated[str, typer.Option(help="Of plain numbers and scales: float16, bfloat16 or float32.")] = "float16",
) -> None:
    """Write a model as a folder of MLX safetensors, which mlx-lm reads too."""
    numbers, path = Numbers(dtype, bits, group_size), _path(source)[1]
    with _progress_bar() as on_progress:
        rewrite(path, target, numbers, on_progress)
    typer.echo(f"{target} is written.")


@app.callback(invoke_without_command=True)
def _menny(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version or context.invoked_subcommand is None:
        typer.echo(__version__ if version else context.get_help())
        raise typer.Exit


def main() -> None:
    """Run a command; tell what is wrong in one line, without a traceback."""
    try:
        code = app(standalone_mode=False)
    except MennyError as error:
        sys.exit(_complain(str(error), error.exit_code))
    except typer.TyperException as error:
        sentence = error.format_message().rstrip(".")
        sys.exit(_complain(f"{sentence}: `python -m menny --help` tells what can be said.", 2))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(sentence: str, code: int) -> int:
    typer.echo("menny: " + " ".join(sentence.split()), err=True)
    return code


def _catalogue() -> tuple[list[ModelSpec], list[Any]]:
    specs, problems = load_catalogue(CONFIGS / "models.yaml", models_folder())
    return specs, list(problems)


def _path(name: str) -> tuple[ModelSpec, Path]:
    """A model's entry, and where it lies on this machine."""
    spec = resolve(name, _catalogue()[0])
    path = spec.path()
    if path is None:
        raise ModelError(f"{spec.name} is not on this machine. Get it by: {spec.how_to_get}")
    return spec, path


@contextmanager
def _engine(name: str) -> Iterator[tuple[Engine, str]]:
    """The engine of a model, with the template that its prompts take."""
    spec, path = _path(name)
    with load_engine(path) as engine:
        yield engine, spec.template or guess_template(engine.tokenizer)


def _typed_lines() -> Iterator[str]:
    while True:
        try:
            yield input("You: ").strip()
        except KeyboardInterrupt:
            typer.echo()
        except EOFError:
            typer.echo()
            return


def _answer(
    conversation: Chat, text: str, who: Persona, engine: Engine, params: SamplingParams, brief: Brief, template: str
) -> None:
    """One turn; an error is told, and the chat goes on."""
    typer.echo(f"{who.name}: ", nl=False)
    try:
        for _ in _echoed(conversation.reply(text, engine, params, brief, template), silent=False):
            pass
    except KeyboardInterrupt:
        typer.echo(" [stopped]")
    except MennyError as error:
        _complain(str(error), error.exit_code)
    typer.echo()


def _echoed(chunks: Iterable[Any], *, silent: bool) -> Iterator[Any]:
    """Pass the chunks on, printing their text as it comes unless `silent`."""
    for chunk in chunks:
        if not silent:
            typer.echo(chunk.text, nl=False)
            sys.stdout.flush()
        yield chunk
    if not silent:
        typer.echo()


def _summary(model: str, chunks: list[Chunk]) -> dict[str, Any]:
    """The reply whole, and the figures of its last chunk."""
    figures = asdict(chunks[-1])
    for name in ("text", "token"):
        figures.pop(name)
    tokens = [chunk.token for chunk in chunks if chunk.token is not None]
    return {"model": model, "text": "".join(chunk.text for chunk in chunks), "tokens": tokens, **figures}


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
