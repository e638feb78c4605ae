"""The commands that talk with a model: chat, generate and demo."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from menny.chat import Chat, Instructions, Reply, ReplySettings
from menny.chat.memory import Memory, Strategy
from menny.chat.prompt_builder import Context as PromptContext
from menny.chat.rounds import Rounds
from menny.chat.thinking import Choice
from menny.cli.common import (
    AsJson,
    Context,
    Force,
    ModelName,
    Seed,
    Threads,
    complain,
    is_judge,
    json_text,
    open_engine,
    thinking_of,
)
from menny.cli.input_lines import typed_lines
from menny.config.paths import CONFIGS
from menny.engine import SamplingParams
from menny.engine_protocols import Chunk, Engine, Progress
from menny.errors import MennyError, ModelError, PipelineError, PromptError
from menny.messages import Message
from menny.moderation.categories import load_moderation
from menny.moderation.guardrails import combine, load_guardrails
from menny.moderation.moderator_cache import ModeratorCache
from menny.moderation.policy import MODERATION_KEY, Moderation, ModerationResult, Policy
from menny.personas.persona import Persona, choose, load_all
from menny.prompts import encode_chat
from menny.storage import MessageNode
from menny.text import is_blank, sanitize

DEMO_PROMPTS = (
    "What is the capital of France?",
    "Explain in two sentences why the sky is blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
)
DEMO_TOKENS = 64

ThinkingOption = Annotated[
    Choice | None, typer.Option("--thinking", help="Whether the model thinks before it answers; auto: if it can.")
]


def chat(
    model: ModelName = "smollm2",
    persona: Annotated[str, typer.Option("--persona", "-p", help="The persona that answers, by id or name.")] = "menny",
    guardrail: Annotated[str, typer.Option(help="The app's guardrail; a persona can add others.")] = "mistral",
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature, instead of the persona's.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest reply in tokens, instead of the persona's.")] = None,
    seed: Seed = None,
    memory: Annotated[
        Strategy | None,
        typer.Option(help="What the model sees of a long chat, instead of the persona's."),
    ] = None,
    memory_turns: Annotated[
        int | None, typer.Option(min=0, max=1000, help="Turns to keep, for the memories turns and summary-and-turns.")
    ] = None,
    thinking: ThinkingOption = None,
    context: Context = None,
    force: Force = False,
    threads: Threads = None,
) -> None:
    """Chat with a persona. Ctrl-C stops a reply, /new begins a new chat, Ctrl-D or /bye ends."""
    if is_judge(model):
        raise ModelError(f"{model} judges texts and can't chat: choose another --model.")
    personas, _ = load_all()
    guardrails, _ = load_guardrails(CONFIGS / "guardrails")
    who = choose(persona, personas)
    texts = [one.text for one in combine(guardrail, who.guardrails, guardrails)]
    instructions = Instructions.of(texts, who.system_text(), who.example_messages())
    chosen = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    params = SamplingParams(
        **{**who.parameters.model_dump(), **{key: value for key, value in chosen.items() if value is not None}}
    )
    chosen_memory = _memory(who, memory, memory_turns)
    with open_engine(model, context, force, threads) as (engine, template):
        typer.echo(f"{who.name}: {who.greeting_text()}\n" if who.greeting else "")
        thoughts = thinking_of(model, thinking or who.thinking)
        settings = ReplySettings(params, instructions, template, chosen_memory, _moderation(), thinking=thoughts)
        conversation = Chat()
        for text in typed_lines():
            if text == "/new":
                conversation = Chat()
                typer.echo("A new chat.\n")
            elif text:
                _answer(conversation, text, who, engine, settings)


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
        raise PromptError("--raw has no place for --system: give one of them.")
    if raw and thinking is not None:
        raise PromptError("--raw has no place for --thinking: give one of them.")
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
        chunks = list(_echoed(stream, silent=as_json))
    if as_json:
        typer.echo(json_text({**_summary(model, chunks, reply), "stage_bytes": engine.stage_bytes}))


def demo(model: ModelName = "smollm2", context: Context = None, force: Force = False, threads: Threads = None) -> None:
    """Answer three fixed prompts greedily."""
    with open_engine(model, context, force, threads) as (engine, template):
        for prompt in DEMO_PROMPTS:
            typer.echo(f"> {prompt}")
            ids = encode_chat([Message("user", prompt)], template, engine.tokenizer)
            *_, last = _echoed(engine.stream(ids, SamplingParams(temperature=0, max_tokens=DEMO_TOKENS)), silent=False)
            typer.echo(
                f"  [{last.completion_tokens} tokens, {last.decode_tps:.1f} tokens/s, "
                f"{last.seconds_to_first_token:.2f} s to the first]\n"
            )


def _memory(who: Persona, strategy: Strategy | None, turns: int | None) -> Memory:
    """The memory of the persona, or of the options in its place."""
    chosen = Memory(strategy or who.memory.strategy, who.memory.turns if turns is None else turns, who.memory.all_chats)
    if turns is not None and not chosen.names_turns:
        raise PromptError("--memory-turns only works with --memory turns or summary-and-turns: add one of them.")
    return chosen


def _answer(conversation: Chat, text: str, who: Persona, engine: Engine, settings: ReplySettings) -> None:
    """Print one turn; after an error the chat goes on. A moderated reply is printed once it is checked."""
    moderation = settings.moderation
    is_held = moderation is not None and moderation.unchecked("replies") is not None
    typer.echo(f"{who.name}: ", nl=False)
    is_announced = False

    def announce_summary(progress: Progress) -> None:
        nonlocal is_announced
        if progress.phase == "summarizing" and not is_announced:
            typer.echo("(summarizing the conversation so far …) ", nl=False, err=True)
            is_announced = True

    chunks = conversation.reply(text, engine, settings, announce_summary)
    try:
        for _ in _echoed(chunks, silent=is_held):
            pass
        _print_results(conversation.entries[-2:], is_held)
    except KeyboardInterrupt:
        typer.echo(" [stopped]")
    except PipelineError:
        raise  # which ends all turns
    except MennyError as error:
        complain(str(error), error.exit_code)
    if conversation.entries and (notice := conversation.entries[-1].extra.get("notice")):
        typer.echo(f"({notice})", err=True)
    typer.echo()


def _moderation() -> Moderation | None:
    """Load the moderation of configs/moderation.yaml; None if there is no such file, or everything in it is off."""
    path = CONFIGS / "moderation.yaml"
    if not os.path.lexists(path):
        return None
    categories = load_moderation(path)
    return ModeratorCache().moderation(categories, Policy.of(categories))


def _print_results(turn: Sequence[MessageNode], is_held: bool) -> None:
    """Print a reply that was held back until it was checked, and the moderation of both messages."""
    if is_held:
        typer.echo(sanitize(turn[-1].text))
    for what, entry in zip(("This message", "This reply"), turn, strict=True):
        if result := ModerationResult.from_dict(entry.extra.get(MODERATION_KEY)):
            typer.echo(f"({what}: {result.sentence})", err=True)


def _echoed(chunks: Iterable[Any], *, silent: bool) -> Iterator[Any]:
    """Pass on chunks and print their text, unless `silent`, without control characters for the terminal.

    A thought is printed dimmed, and on standard error, so that a file or a pipe gets the answer only.
    """
    is_thinking = False
    for chunk in chunks:
        if not silent and (thought := getattr(chunk, "thought", "")):
            is_thinking = True
            typer.secho(sanitize(thought), nl=False, err=True, dim=True)
            sys.stderr.flush()
        if not silent and chunk.text:
            if is_thinking:
                typer.echo("\n", err=True)
                is_thinking = False
            typer.echo(sanitize(chunk.text), nl=False)
            sys.stdout.flush()
        yield chunk
    if not silent:
        typer.echo()


def _summary(model: str, chunks: list[Chunk], reply: Reply) -> dict[str, Any]:
    """The whole reply, with the statistics of its last chunk."""
    statistics = asdict(chunks[-1])
    for name in ("text", "thought", "token"):
        statistics.pop(name)
    text = reply.text if reply.is_over else "".join(chunk.text for chunk in chunks)
    tokens = [chunk.token for chunk in chunks if chunk.token is not None]
    return {"model": model, "text": text, "thought": reply.thought, "tokens": tokens, **statistics}
