"""The command line: every command of `python -m menny`, and what becomes of an error.

A wrong input gets one line, and exit code 2.
"""

import sys
from typing import Annotated

import typer

from menny import __version__
from menny.commands import get, models, moderate, talk
from menny.commands.shared import complain
from menny.commands.together import run_together
from menny.engine.ring import join
from menny.errors import MennyError


def main() -> None:
    """Run a command; where mlx.launch has started it on several machines, run it on all of them together."""
    try:
        ring = join()
    except MennyError as error:
        sys.exit(complain(str(error), error.exit_code))
    sys.exit(_run() if ring is None else run_together(ring, _run))


def _run() -> int:
    """Run a command; tell what is wrong in one line, without a traceback. Returns the exit code."""
    try:
        code = make_app()(standalone_mode=False)
    except MennyError as error:
        return complain(str(error), error.exit_code)
    except typer.TyperException as error:
        sentence = error.format_message().rstrip(".")
        return complain(f"{sentence}: `python -m menny --help` tells what can be said.", 2)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 1
    return code if isinstance(code, int) else 0


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
    app.command()(talk.chat)
    app.command()(talk.generate)
    app.command()(talk.demo)
    app.command()(models.models)
    app.command()(get.get)
    app.command(cls=models.Spreading)(models.bench)
    app.command()(models.verify)
    app.command()(models.convert)
    app.command()(models.perplexity)
    app.command()(moderate.reflect)
    app.add_typer(moderate.evaluate(), name="evaluate")
    return app


def _menny(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version or context.invoked_subcommand is None:
        typer.echo(__version__ if version else context.get_help())
        raise typer.Exit
