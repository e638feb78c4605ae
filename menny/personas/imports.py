"""A file from elsewhere → a persona: a card, text-generation-webui's YAML, an Ollama Modelfile, or our own YAML."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from menny.config.yaml_reader import MAX_BYTES, PlainYamlError, parse
from menny.errors import ConfigError
from menny.personas.cards import card_in_json, card_in_png, checked, exchanges, joined, marked, persona_of, shortened
from menny.personas.persona import MAX_EXAMPLES, PersonaFile
from menny.personas.png_text import SIGNATURE
from menny.text import sanitize

MAX_FILE = 16 * 1024 * 1024
NOT_TO_BE_SET = ("guardrails", "avatar", "order")  # the user's own business, whatever a file says

WEBUI = "text-generation-webui"
WEBUI_KEYS = {  # what each of our values is called there, in the order of its versions
    "name": ("name", "bot", "char_name"),
    "context": ("context", "char_persona"),
    "greeting": ("greeting", "char_greeting"),
    "scenario": ("world_scenario",),
    "dialogue": ("example_dialogue",),
}

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
    """A persona from a file, and the picture that came with it."""

    persona: PersonaFile
    picture: bytes | None = None


def read_import(name: str, data: bytes) -> Imported:
    """Who a file describes; raises ConfigError, in one sentence that names the file, where it can't be told whole."""
    try:
        if len(data) > MAX_FILE:
            raise ConfigError(f"it is larger than {MAX_FILE // 1024**2} MB")
        if data.startswith(SIGNATURE):
            return Imported(persona_of(card_in_png(data)), data)
        return Imported(_from_text(name, data))
    except ConfigError as error:
        sentence = str(error).rstrip(".")
        raise ConfigError(f"{shortened(name, 60) or 'The file'} can't be taken in: {sentence}.") from None


def _from_text(name: str, data: bytes) -> PersonaFile:
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        card = card_in_json(data)
        return _from_webui(card) if "char_name" in card else persona_of(card)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"it is no picture and no JSON, and larger than {MAX_BYTES // 1024} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError("it is none of PNG, JSON, YAML and Modelfile, which Menny reads") from None
    is_yaml = PurePath(name).suffix.lower() in (".yaml", ".yml")
    first, _ = _parted(next((line for line in text.splitlines() if not _says_nothing(line)), ""))
    if not is_yaml and first.lower() in INSTRUCTIONS:  # a key of YAML would have a colon
        return _from_modelfile(name, text)
    try:
        found = parse(text).data
    except PlainYamlError as fault:
        raise ConfigError(f"line {fault.line}: {fault.text}" if fault.line else fault.text) from None
    if "system_prompt" in found:
        return checked({key: value for key, value in found.items() if key not in NOT_TO_BE_SET})
    return _from_webui(found)


def _from_webui(found: dict[str, Any]) -> PersonaFile:
    """text-generation-webui's character, and the JSON with `char_name` that it reads too."""
    said = {key: next((found[name] for name in names if found.get(name)), "") for key, names in WEBUI_KEYS.items()}
    for key, text in said.items():
        if not isinstance(text, str):
            raise ConfigError(f"its {key} must be text")
    if not said["name"] or not said["context"]:
        raise ConfigError("it isn't a persona: there is no name, or no text about who it is")
    used = {name for names in WEBUI_KEYS.values() for name in names}
    rest = {key: value for key, value in found.items() if key not in used}
    name, dialogue = shortened(said["name"], 60), marked(said["dialogue"])
    examples = exchanges(dialogue, name)
    persona = {
        "name": name,
        "system_prompt": joined(
            marked(said["context"]),
            f"Scenario: {marked(said['scenario'])}" if said["scenario"] else "",
            "" if examples or not dialogue else f"How {{{{char}}}} talks:\n{dialogue}",
        ),
        "greeting": marked(said["greeting"]),
        "examples": examples,
    }
    return checked({**persona, "extensions": {WEBUI: rest} if rest else {}})


def _from_modelfile(name: str, text: str) -> PersonaFile:
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
    told = joined(system.strip(), *(said for role, said in messages if role == "system"))
    if not told:
        raise ConfigError("the Modelfile has no SYSTEM, so there is nobody to talk to")
    examples = [
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
            "system_prompt": told,
            "examples": examples[:MAX_EXAMPLES],
            "parameters": ours,
            "extensions": {"modelfile": rest},
        }
    )


def _instructions(text: str) -> Iterator[tuple[str, str, str]]:
    """Each instruction, what it is about (a parameter's name, a message's role), and its value, which quotes can spread
    over lines."""
    lines = iter(enumerate(text.split("\n"), start=1))
    for number, line in lines:
        if _says_nothing(line):
            continue
        word, value = _parted(line)
        if word.lower() not in INSTRUCTIONS:
            raise ConfigError(f"line {number}: {shortened(word, 20)} is no instruction of a Modelfile")
        key, value = _parted(value) if word.lower() in ("parameter", "message") else ("", value.strip())
        quote = next((mark for mark in ('"""', '"') if value.startswith(mark)), "")
        while quote and not (len(value) >= 2 * len(quote) and value.endswith(quote)):
            more = next(lines, None)
            if more is None:
                raise ConfigError(f"line {number}: the {quote} that opens here isn't closed")
            value = f"{value}\n{more[1].rstrip()}"
        yield word.lower(), key.lower(), value[len(quote) : len(value) - len(quote)].strip()


def _says_nothing(line: str) -> bool:
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


def _name_of(file_name: str, model: str) -> str:
    """A Modelfile names nobody: what its own name says, else the model's."""
    words = re.sub(r"modelfile|\.txt$", " ", PurePath(sanitize(file_name)).name, flags=re.IGNORECASE).strip(" .-_")
    base = PurePath(model.split(":")[0]).name
    return shortened((words or base or "Modelfile").replace("_", " "), 60).capitalize()
