"""Replies as they are printed in a terminal, and their moderation."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import typer

from menny.chat import Chat, Reply, ReplySettings
from menny.cli.common import complain
from menny.config.paths import CONFIGS
from menny.engine_protocols import Engine, Progress
from menny.errors import MennyError, PipelineError
from menny.moderation.categories import load_moderation
from menny.moderation.moderator_cache import ModeratorCache
from menny.moderation.policy import MODERATION_KEY, Moderation, ModerationResult, Policy
from menny.storage import MessageNode
from menny.text import sanitize


def print_reply(conversation: Chat, begin: Callable[[], Reply], name: str, engine: Engine, how: ReplySettings) -> None:
    """Print the reply that `begin` makes; after an error the chat goes on.

    A moderated reply is printed once it is checked.
    """
    is_held = how.moderation is not None and how.moderation.unchecked("replies") is not None
    typer.echo(f"{name}: ", nl=False)
    is_announced = False

    def announce_summary(progress: Progress) -> None:
        nonlocal is_announced
        if progress.phase == "summarizing" and not is_announced:
            typer.echo("(summarizing the conversation so far …) ", nl=False, err=True)
            is_announced = True

    try:
        for _ in echoed(conversation.answer(begin(), engine, how, announce_summary), silent=is_held):
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


def moderation_in_force() -> Moderation | None:
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


def echoed(chunks: Iterable[Any], *, silent: bool) -> Iterator[Any]:
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
