"""The status line of long commands: a line of standard error that each call overwrites, for terminals only."""

import sys

import typer

ERASE_LINE = "\r\033[K"


def show_status(text: str) -> None:
    """Show the state of a command in place of the last one; "" clears the line."""
    if sys.stderr.isatty():
        typer.echo(f"{ERASE_LINE}{text}", err=True, nl=False)


def show_count(done: int, total: int, what: str) -> None:
    """Show `done` of `total`; the line is cleared at the end."""
    show_status(f"{done} of {total} {what}" if done < total else "")
