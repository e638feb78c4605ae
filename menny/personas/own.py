"""The user's own personas: written as files beside the presets, which are only read."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from menny.config.paths import CONFIGS, home
from menny.errors import ConfigError, MennyError
from menny.files import read_file
from menny.lorebooks.files import load_lorebook
from menny.lorebooks.lorebook import Lorebook
from menny.lorebooks.own import OwnLorebooks
from menny.personas.avatars import as_avatar, blank_avatar, keep_avatar
from menny.personas.files import find, new_id, put, read_archived, remove, save, text_of
from menny.personas.imports import Imported
from menny.personas.persona import Persona, PersonaFile, load_all, load_personas, own_folder


@dataclass(frozen=True, slots=True)
class OwnPersonas:
    """The user's own personas, beside the presets of a folder."""

    presets: Path = CONFIGS / "personas"

    def own_file(self, persona_id: str) -> Path | None:
        """Return the user's own file of a persona."""
        return find(own_folder(), persona_id)

    def preset_file(self, persona_id: str) -> Path | None:
        """Return the file of a persona that comes with Menny."""
        return find(self.presets, persona_id)

    def texts_of(self, persona_id: str) -> tuple[str, str | None]:
        """Return the text whose comments an edited persona keeps, and that of the user's own file or None."""
        if own := self.own_file(persona_id):
            text = text_of(own)
            return text, text
        preset = self.preset_file(persona_id)
        return (text_of(preset) if preset else ""), None

    def keep(
        self, persona: PersonaFile, persona_id: str, picture: bytes | None, base: str, expected: str | None
    ) -> str:
        """Write a persona of the user's own, with its new picture if there is one; return its id."""
        if picture is not None:
            persona = persona.model_copy(update={"avatar": keep_avatar(home() / "images", picture)})
        chosen = persona_id or new_id(persona.name, {one.id for one in self._all()} | self._file_names())
        save(own_folder(), chosen, persona, base, expected)
        return chosen

    def import_(self, imported: Imported) -> Persona:
        """Keep a persona from elsewhere, under a name that no other has, and its lorebook as a file of its own."""
        picture = None if imported.picture is None else as_avatar(imported.picture)
        name = self.free_name(imported.persona.name)
        book_ids = (OwnLorebooks().keep(imported.lorebook, name=name),) if imported.lorebook else ()
        persona = imported.persona.model_copy(update={"name": name, "lorebooks": book_ids})
        try:
            persona_id = self.keep(persona, "", picture, base="", expected=None)
        except MennyError:
            for book_id in book_ids:
                OwnLorebooks().delete(book_id)
            raise
        return next(one for one in self._all() if one.id == persona_id)

    def take_back(self, persona: Persona) -> None:
        """Delete a persona that was just imported, and the lorebook that came with it."""
        self.delete(persona.id)
        for book_id in persona.lorebooks:
            OwnLorebooks().delete(book_id)

    def free_name(self, name: str) -> str:
        """Return the name itself, or with a number where another persona has it."""
        taken = {one.name.casefold() for one in self._all()}
        tries = (name, *(f"{name[:55]} {number}" for number in range(2, 10_000)))
        return next(one for one in tries if one.casefold() not in taken)

    def delete(self, persona_id: str) -> Callable[[], None]:
        """Delete a persona of the user's own; the function that is returned puts it back."""
        path = self.own_file(persona_id)
        if path is None:
            raise ConfigError("This persona's file has already been deleted.")
        text = remove(path)
        return lambda: put(path, text)

    def to_archive(self) -> dict[str, bytes]:
        """Return the files of the user's own personas, and their pictures, by their names in an archive."""
        files: dict[str, bytes] = {}
        for persona in load_personas(own_folder())[0]:
            files[f"personas/{persona.id}.yaml"] = self.texts_of(persona.id)[0].encode()
            picture = persona.avatar_path(home())
            if persona.avatar and picture:
                files[persona.avatar] = read_file(picture)
        return files

    @contextmanager
    def from_archive(self, files: Mapping[str, bytes]) -> Iterator[list[str]]:
        """Put back the personas that aren't here; yields their ids.

        None is kept where one is broken or the block fails.
        """
        found = [read_archived(name, files, PersonaFile) for name in files if name.startswith("personas/")]
        kept: list[str] = []
        try:
            for persona_id, persona, text, picture in found:
                if self.own_file(persona_id) is None:
                    kept.append(self.keep(persona, persona_id, picture, base=text, expected=None))
            yield kept
        except MennyError:
            for persona_id in kept:
                self.delete(persona_id)
            raise

    def _all(self) -> list[Persona]:
        return load_all(self.presets)[0]

    def _file_names(self) -> set[str]:
        """Return the ids that are taken, also by files that can't be read."""
        folders = [folder for folder in (own_folder(), self.presets) if folder.is_dir()]
        return {path.stem for folder in folders for path in folder.iterdir()}


def books_of(persona: Persona) -> list[Lorebook]:
    """Return the persona's lorebooks, for a card. Raises ConfigError for one that isn't there or is broken."""
    own = OwnLorebooks()
    paths = [(book_id, own.path_of(book_id)) for book_id in persona.lorebooks]
    if gone := [book_id for book_id, path in paths if path is None]:
        raise ConfigError(
            f"{persona.name} names the lorebook '{gone[0]}', which isn't there: put it back, or take it out of the "
            "persona."
        )
    return [load_lorebook(path) for _, path in paths if path]


def picture_of(persona: Persona) -> bytes:
    """Return the avatar as a PNG, for a card."""
    path = persona.avatar_path()
    return as_avatar(read_file(path)) if path else blank_avatar()
