"""Files from elsewhere as personas: cards, text-generation-webui's YAML, Ollama's Modelfiles, and our own YAML."""

import json
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from menny.config.yaml_reader import FILE_ENDINGS, MAX_BYTES, PlainYamlError, parse, texts_cut_by_comments
from menny.errors import ConfigError
from menny.lorebooks.lorebook import Lorebook
from menny.personas.avatars import as_avatar
from menny.personas.card_books import without_book
from menny.personas.card_fields import cleaned, exchanges, joined, marked, shortened
from menny.personas.card_files import card_in_json, picture_in_json, read_card_file, why_unreadable
from menny.personas.cards import MAX_PROMPT, checked, fitting_examples, fitting_text, read_card
from menny.personas.files import render
from menny.personas.persona import MAX_EXTENSIONS, MAX_GREETING, PersonaFile
from menny.text import sanitize

MAX_FILE = 64 * 1024 * 1024  # a .charx brings its pictures
NOT_TO_BE_SET = ("guardrails", "lorebooks", "avatar", "order")  # the user's own business, whatever a file says

WEBUI = "text-generation-webui"
WEBUI_KEYS = {  # what each of our values is called there, in the order of its versions
    "name": ("name", "bot", "char_name"),
    "context": ("context", "char_persona"),
    "greeting": ("greeting", "char_greeting"),
    "scenario": ("world_scenario",),
    "dialogue": ("example_dialogue",),
}

READABLE = "pictures and zips with a character card, JSON, YAML, and Modelfiles"

INSTRUCTIONS = (
    "from",
    "parameter",
    "template",
    "system",
    "adapter",
    "license",
    "message",
    "requires",
    "renderer",
    "parser",
)
PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "num_predict": "max_tokens",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """A persona from a file, its picture and lorebook, and a sentence for everything that was left out."""

    persona: PersonaFile
    picture: bytes | None = None
    notices: tuple[str, ...] = ()
    lorebook: Lorebook | None = None


def read_import(name: str, data: bytes) -> Imported:
    """The character in a file. Raises ConfigError, in one sentence that names the file, where there isn't one."""
    notices: list[str] = []
    try:
        if len(data) > MAX_FILE:
            raise ConfigError(f"it is larger than {MAX_FILE // 1024**2} MB")
        if file := read_card_file(data):
            notices += file.notices
            (persona, book), picture = _from_cards(file.cards, name, notices), file.picture
        else:
            persona, book, picture = _from_text(name, data, notices)
    except ConfigError as error:
        sentence = str(error).rstrip(".")
        raise ConfigError(f"{shortened(name, 60) or 'The file'} couldn't be imported: {sentence}.") from None
    if picture is not None and not _is_usable(picture):
        picture = None
        notices.append("its picture was left out, as it can't be used")
    return Imported(persona, picture, tuple(f"{persona.name}: {notice}." for notice in dict.fromkeys(notices)), book)


def _is_usable(picture: bytes) -> bool:
    try:
        as_avatar(picture)
    except ConfigError:
        return False
    return True


def _from_cards(cards: Sequence[bytes], file_name: str, notices: list[str]) -> tuple[PersonaFile, Lorebook | None]:
    """The first of a file's cards that can be read."""
    errors: list[ConfigError] = []
    for data in cards:
        try:
            found = _from_card(card_in_json(data), file_name, notices)
        except ConfigError as error:
            errors.append(error)
        else:
            if errors:
                notices.append("the newer of its two cards can't be read, so the older one was taken")
            return found
    raise errors[0]


def _from_card(card: Mapping[str, Any], file_name: str, notices: list[str]) -> tuple[PersonaFile, Lorebook | None]:
    """A card's character, of which so much is kept that it fits a persona's file, and its lorebook."""
    of_book: list[str] = []
    card, book = without_book(card, _name_of(file_name), of_book)
    for share in (1, 2, 4, 8, 0):
        persona, found = read_card(card, _name_of(file_name), MAX_EXTENSIONS // share if share else 0)
        if len(render(persona).encode()) <= MAX_BYTES:
            break
    else:
        persona = persona.model_copy(update={"examples": ()})
        found.append("its example exchanges were left out, as there isn't room for them")
    notices += [*found, *of_book]
    return persona, book


def _from_text(name: str, data: bytes, notices: list[str]) -> tuple[PersonaFile, Lorebook | None, bytes | None]:
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        card = card_in_json(data)
        if "char_name" in card:
            return _from_webui(card, notices), None, None
        return *_from_card(card, name, notices), picture_in_json(card)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"it is neither a picture nor JSON, and larger than {MAX_BYTES // 1024} KiB")
    why = why_unreadable(name, data, READABLE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(why or f"Menny can't read it; it reads {READABLE}") from None
    is_yaml = PurePath(name).suffix.lower() in FILE_ENDINGS
    first, _ = _parted(next((line for line in text.splitlines() if not _is_empty(line)), ""))
    if not is_yaml and first.lower() in INSTRUCTIONS:  # a key of YAML would have a colon
        return _from_modelfile(name, text, notices), None, None
    if why:
        raise ConfigError(why)
    try:
        found = parse(text).data
    except PlainYamlError as error:
        raise ConfigError(f"line {error.line}: {error.text}" if error.line else error.text) from None
    notices += [
        f"line {line}: the text ends before “{shortened(rest, 40)}”, as # begins a comment"
        for line, rest in texts_cut_by_comments(text)
    ]
    if "system_prompt" in found:
        if ignored := [key for key in NOT_TO_BE_SET if key in found]:
            notices.append(f"its {' and '.join(ignored)} {'were' if len(ignored) > 1 else 'was'} left out")
        return checked({key: value for key, value in found.items() if key not in NOT_TO_BE_SET}), None, None
    return _from_webui(found, notices), None, None


def _from_webui(found: dict[str, Any], notices: list[str]) -> PersonaFile:
    """text-generation-webui's character, and the JSON with `char_name` that it reads too."""
    texts = {key: next((found[name] for name in names if found.get(name)), "") for key, names in WEBUI_KEYS.items()}
    for key, text in texts.items():
        if isinstance(text, dict | list | bool):
            raise ConfigError(f"its {key} must be text")
        texts[key] = sanitize(str(text))
    if not texts["name"] or not texts["context"]:
        raise ConfigError("it isn't a persona: there is no name, or no text about who it is")
    used = {name for names in WEBUI_KEYS.values() for name in names}
    rest = cleaned({key: value for key, value in found.items() if key not in used}, notices)
    name, dialogue = shortened(texts["name"], 60), marked(texts["dialogue"])
    examples = fitting_examples(exchanges(dialogue, name), notices)
    prompt = joined(
        marked(texts["context"]),
        f"Scenario: {marked(texts['scenario'])}" if texts["scenario"] else "",
        "" if examples or not dialogue else f"How {{{{char}}}} talks:\n{dialogue}",
    )
    persona = {
        "name": name,
        "system_prompt": fitting_text(prompt, MAX_PROMPT, "text", notices),
        "greeting": fitting_text(marked(texts["greeting"]), MAX_GREETING, "greeting", notices),
        "examples": examples,
    }
    if rest and len(json.dumps(rest).encode()) > MAX_EXTENSIONS // 2:
        notices.append("what other programs keep in it was left out, as it is too large")
        rest = {}
    return checked({**persona, "extensions": {WEBUI: rest} if rest else {}})


def _from_modelfile(name: str, text: str, notices: list[str]) -> PersonaFile:
    """Ollama's SYSTEM, PARAMETER and MESSAGE; the rest is kept as it is."""
    system, messages = "", list[tuple[str, str]]()
    parameters, rest = dict[str, list[str]](), dict[str, Any]()
    for instruction, key, value in _instructions(sanitize(text)):
        if instruction == "system":
            system = value
        elif instruction == "message":
            messages.append((key, value))
        elif instruction == "parameter":
            parameters.setdefault(key, []).append(value)
        else:
            rest[instruction] = value
    prompt = joined(system.strip(), *(text for role, text in messages if role == "system"))
    if not prompt:
        raise ConfigError("the Modelfile has no SYSTEM, so there is no character in it")
    pairs = [
        {"user": first, "assistant": second}
        for (asks, first), (answers, second) in pairwise(messages)
        if (asks, answers) == ("user", "assistant") and first and second
    ]
    ours = {PARAMETERS[key]: _number(key, values[-1]) for key, values in parameters.items() if key in PARAMETERS}
    if ours.get("max_tokens", 1) < 0:  # -1 and -2: without end
        del ours["max_tokens"]
    if others := {key: values for key, values in parameters.items() if key not in PARAMETERS}:
        rest["parameters"] = others
    return checked(
        {
            "name": _name_of(name, str(rest.get("from", ""))),
            "system_prompt": fitting_text(prompt, MAX_PROMPT, "text", notices),
            "examples": fitting_examples(pairs, notices),
            "parameters": ours,
            "extensions": {"modelfile": rest},
        }
    )


def _instructions(text: str) -> Iterator[tuple[str, str, str]]:
    """Each instruction, its subject (a parameter's name, a message's role), and its value, which quotes can spread over
    lines."""
    lines = iter(enumerate(text.split("\n"), start=1))
    for number, line in lines:
        if _is_empty(line):
            continue
        word, value = _parted(line)
        if word.lower() not in INSTRUCTIONS:
            raise ConfigError(f"line {number}: {shortened(word, 20)} isn't a Modelfile instruction")
        key, value = _parted(value) if word.lower() in ("parameter", "message") else ("", value.strip())
        quote = next((mark for mark in ('"""', '"') if value.startswith(mark)), "")
        while quote and not (len(value) >= 2 * len(quote) and value.endswith(quote)):
            more = next(lines, None)
            if more is None:
                raise ConfigError(f"line {number}: the {quote} that opens here isn't closed")
            value = f"{value}\n{more[1].rstrip()}"
        yield word.lower(), key.lower(), value[len(quote) : len(value) - len(quote)].strip()


def _is_empty(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _parted(text: str) -> tuple[str, str]:
    """The first word, and the rest."""
    first, *rest = text.strip().split(None, 1) or [""]
    return first, rest[0] if rest else ""


def _number(key: str, text: str) -> float | int:
    try:
        return int(text) if key in ("top_k", "num_predict") else float(text)
    except ValueError:
        raise ConfigError(f"its PARAMETER {key} must be a number, not {shortened(text, 20)}") from None


def _name_of(file_name: str, model: str = "") -> str:
    """A name for what bears none: from its file's name, else from the model's."""
    words = re.sub(r"modelfile|\.\w{2,5}$", " ", PurePath(sanitize(file_name)).name, flags=re.IGNORECASE).strip(" .-_")
    base = PurePath(model.split(":")[0]).name
    return shortened((words or base or "Unnamed").replace("_", " "), 60).capitalize()
