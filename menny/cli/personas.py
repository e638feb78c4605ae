"""The commands about personas: personas list, import and export."""

from typing import Annotated

import typer

from menny.cli.common import AsJson, json_text
from menny.cli.files import FileIn, FileOut, Overwrite, check_target, meant, read_given, write_given
from menny.config.command import command
from menny.errors import ConfigError
from menny.personas import cards
from menny.personas.imports import MAX_FILE, read_import
from menny.personas.own import OwnPersonas, books_of, picture_of
from menny.personas.persona import Persona, load_all
from menny.text import sanitize

PersonaId = Annotated[
    str, typer.Argument(metavar="ID", help="The persona's id, or as much of its beginning as is unique.")
]
ENDINGS = (".yaml", ".png", ".json", ".charx")


def personas() -> typer.Typer:
    """The commands below `menny personas`."""
    app = typer.Typer(help="List, import and export personas.", rich_markup_mode=None)
    app.command("list")(list_)
    app.command("import")(import_)
    app.command()(export)
    return app


def list_(as_json: AsJson = False) -> None:
    """List the personas."""
    found, errors = load_all()
    own = OwnPersonas()
    if as_json:
        listed = [
            {"id": one.id, "name": one.name, "tagline": one.tagline, "own": own.own_file(one.id) is not None}
            for one in found
        ]
        typer.echo(json_text({"personas": listed, "problems": [str(error) for error in errors]}))
        return
    width = max((len(one.id) for one in found), default=0)
    for one in found:
        mark = "  (yours)" if own.own_file(one.id) else ""
        typer.echo(
            sanitize(
                f"{one.id:{width}}  {one.name}: {one.tagline}{mark}"
                if one.tagline
                else f"{one.id:{width}}  {one.name}{mark}"
            )
        )
    for error in errors:
        typer.echo(f"({sanitize(str(error))})", err=True)


def import_(file: FileIn, as_json: AsJson = False) -> None:
    """Import a persona: a character card (PNG, WebP, JSON or .charx), YAML, or an Ollama Modelfile."""
    found = read_import(file.name, read_given(file, MAX_FILE))
    persona = OwnPersonas().import_(found)
    if as_json:
        typer.echo(
            json_text(
                {
                    "id": persona.id,
                    "name": persona.name,
                    "lorebooks": list(persona.lorebooks),
                    "left_out": list(found.notices),
                }
            )
        )
        return
    talk = command("chat", "--persona", persona.id)
    typer.echo(sanitize(f"Imported: {persona.name}. Talk to it with: {talk}"))
    for notice in found.notices:
        typer.echo(f"({sanitize(notice)})", err=True)


def export(
    persona_id: PersonaId,
    file: FileOut,
    card_version: Annotated[int, typer.Option(min=2, max=3, help="Version of the card in a .png or .json.")] = 3,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a persona to a file: .yaml for another Menny, or a character card as .png, .json or .charx."""
    target = check_target(file, ENDINGS, overwrite)
    known = load_all()[0]
    chosen = meant(persona_id, [one.id for one in known], "persona", command("personas", "list"), ConfigError)
    persona = next(one for one in known if one.id == chosen)
    write_given(target, _content(persona, target.suffix.lower(), card_version))
    if as_json:
        typer.echo(json_text({"persona": persona.id, "file": str(target)}))
    else:
        typer.echo(sanitize(f"{persona.name} is in {target}."))


def _content(persona: Persona, ending: str, card_version: int) -> bytes:
    version: cards.Version = 2 if card_version == 2 else 3
    if ending == ".png":
        return cards.as_png(persona, version, picture_of(persona), books_of(persona))
    if ending == ".json":
        return cards.as_json(persona, version, books_of(persona))
    if ending == ".charx":
        return cards.as_charx(persona, picture_of(persona), books_of(persona))
    return OwnPersonas().texts_of(persona.id)[0].encode()
