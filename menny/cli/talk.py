"""The commands that ask a model once: generate and demo."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from menny.chat import Reply, ReplySettings
from menny.chat.prompt_builder import Context as PromptContext
from menny.chat.rounds import Rounds
from menny.cli.chat import ThinkingOption
from menny.cli.common import (
    AsJson,
    Context,
    Force,
    ModelName,
    Seed,
    Threads,
    json_text,
    open_engine,
    thinking_of,
)
from menny.cli.replies import echoed
from menny.engine import SamplingParams
from menny.engine_protocols import Chunk
from menny.errors import PromptError
from menny.messages import Message
from menny.prompts import encode_chat
from menny.text import is_blank

DEMO_PROMPTS = (
    "What is the capital of France?",
    "Explain in two sentences why the sky is blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
)
DEMO_TOKENS = 64


def generate(
    prompt: Annotated[str, typer.Option(help="The prompt.")],
    model: ModelName = "smollm2",
    system: Annotated[str | None, typer.Option(help="A system text.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the prompt as plain text, without a template.")] = False,
    max_tokens: Annotated[int, typer.Option(help="Longest reply in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(help="Sampling temperature; 0: the most likely token.")] = 0.7,
    seed: Seed = None,
    thinking: ThinkingOption = None,
    context: Context = None,
    force: Force = False,
    threads: Threads = None,
    lookup: Annotated[
        bool, typer.Option("--lookup/--no-lookup", help="Speculative decoding by prompt lookup; the reply is the same.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Answer one prompt."""
    if raw and system is not None:
        raise PromptError("--raw can't be combined with --system: give one of them.")
    if raw and thinking is not None:
        raise PromptError("--raw can't be combined with --thinking: give one of them.")
    if not raw and is_blank(prompt):
        raise PromptError("There is nothing to send: give --prompt a text.")
    params = SamplingParams(temperature=temperature, max_tokens=max_tokens, seed=seed, lookup=lookup)
    with open_engine(model, context, force, threads) as (engine, template):
        tokenizer, reply = engine.tokenizer, Reply("")
        if raw:
            stream: Iterable[Chunk] = engine.stream([*tokenizer.opening, *tokenizer.encode(prompt)], params)
        else:
            settings = ReplySettings(params, template=template, thinking=thinking_of(model, thinking or "auto"))
            instructions = [] if system is None else [Message("system", system)]
            room = PromptContext(engine, template, max_tokens, thinking=settings.thinking)
            asked = room.prompt_of([*instructions, Message("user", prompt)])
            stream = Rounds(reply, engine, settings, room, None).chunks(asked)
        chunks = list(echoed(stream, silent=as_json))
    if as_json:
        typer.echo(json_text({**_summary(model, chunks, reply), "stage_bytes": engine.stage_bytes}))


def demo(model: ModelName = "smollm2", context: Context = None, force: Force = False, threads: Threads = None) -> None:
    """Answer three fixed prompts greedily."""
    with open_engine(model, context, force, threads) as (engine, template):
        for prompt in DEMO_PROMPTS:
            typer.echo(f"> {prompt}")
            ids = encode_chat([Message("user", prompt)], template, engine.tokenizer)
            *_, last = echoed(engine.stream(ids, SamplingParams(temperature=0, max_tokens=DEMO_TOKENS)), silent=False)
            typer.echo(
                f"  [{last.completion_tokens} tokens, {last.decode_tps:.1f} tokens/s, "
                f"{last.seconds_to_first_token:.2f} s to the first]\n"
            )


def _summary(model: str, chunks: list[Chunk], reply: Reply) -> dict[str, Any]:
    """The whole reply, with the statistics of its last chunk."""
    statistics = asdict(chunks[-1])
    for name in ("text", "thought", "token"):
        statistics.pop(name)
    text = reply.text if reply.is_over else "".join(chunk.text for chunk in chunks)
    tokens = [chunk.token for chunk in chunks if chunk.token is not None]
    return {"model": model, "text": text, "thought": reply.thought, "tokens": tokens, **statistics}
