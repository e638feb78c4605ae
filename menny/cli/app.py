"""The command line: all commands of `menny`, and the handling of their errors.

A wrong input prints one line, and exits with 2.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from menny import __version__
from menny.cli import chat, chats, get, models, moderation, page, personas, talk
from menny.cli.common import complain
from menny.cli.distributed import run_together
from menny.config.command import command
from menny.config.paths import keep_kernels
from menny.engine.distributed.ring import join
from menny.errors import MennyError

INTERRUPTED = 130  # by Ctrl-C: 128 and the number of its signal


def main() -> None:
    """Run a command; where mlx.launch has started it on several machines, run it on all of them together."""
    _make_streams_usable()
    keep_kernels()
    try:
        ring = join()
    except MennyError as error:
        sys.exit(complain(str(error), error.exit_code))
    if ring is not None:
        run_together(ring, _run)
    code = _run()
    if code == INTERRUPTED:  # a thread may be loading a model, for which an orderly exit would wait
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """Run a command, and print an error in one line, without a traceback. Returns the exit code."""
    try:
        code = make_app()(standalone_mode=False)
    except MennyError as error:
        return complain(str(error), error.exit_code)
    except typer.TyperException as error:
        sentence = error.format_message().rstrip(".")
        return complain(f"{sentence}{'' if sentence.endswith('?') else '.'} See `{command('--help')}`.", 2)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output is gone
        _drop_output()
        return 1
    except OSError as error:
        _drop_output()
        return complain(f"Something can't be read or written ({error}): free some space, or choose another place.", 2)
    return code if isinstance(code, int) else 0


def _make_streams_usable() -> None:
    """Open closed streams, whose numbers the next files would get, and replace characters that can't be encoded."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - as long as the process lives
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """Discard unwritten output, which Python would try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_app() -> typer.Typer:
    """All commands, in the order that the help lists them."""
    app = typer.Typer(
        name="menny",
        help="Menny: a private chatbot with a persona, on your own machine.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_menny)
    app.command()(page.run)
    app.command()(chat.chat)
    app.command()(talk.generate)
    app.command()(talk.demo)
    app.add_typer(chats.chats(), name="chats")
    app.add_typer(personas.personas(), name="personas")
    app.command()(models.models)
    app.command()(get.get)
    app.command(cls=models.RepeatedOption)(models.bench)
    app.command()(models.verify)
    app.command()(models.convert)
    app.command()(models.perplexity)
    app.command()(moderation.reflect)
    app.add_typer(moderation.evaluate(), name="evaluate")
    return app


def _menny(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version or context.invoked_subcommand is None:
        typer.echo(__version__ if version else context.get_help())
        raise typer.Exit
