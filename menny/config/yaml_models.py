"""YAML files as strict pydantic models; every error names the file, the key and the line."""

import json
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from menny.config.yaml_reader import (
    FILE_ENDINGS,
    KeyPath,
    PlainYaml,
    PlainYamlError,
    parse,
    read,
    texts_cut_by_comments,
)
from menny.errors import ConfigError
from menny.files import file_name
from menny.text import close_matches, sanitize

MAX_ERRORS = 4

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("must be one line of text")
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True)]
Line = Annotated[Text, AfterValidator(_one_line)]


class StrictModel(BaseModel):
    """A config file's content: no unknown key, no number where text belongs, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def load_yaml(path: Path | str, model: type[ModelT]) -> ModelT:
    """Read one YAML file into a model; raises ConfigError that names the file, the line and the key."""
    name = file_name(Path(path))
    try:
        text = read(Path(path))
    except PlainYamlError as error:
        raise _config_error(error, name) from None
    return parse_yaml(text, model, name)


def parse_yaml(text: str, model: type[ModelT], name: str) -> ModelT:
    """As `load_yaml`, from the text of a file of that name."""
    try:
        document = _parse_once(text)
        if found := _not_finite(document.data):
            loc, number = found
            raise PlainYamlError(_line_of(loc, document.lines), f"{_key(loc)} must be a number, not {_short(number)}")
    except PlainYamlError as error:
        raise _config_error(error, name) from None
    try:
        return from_data(document.data, model)
    except ValidationError as error:
        raise ConfigError(f"{name}{_explain(error, model, document.lines)}") from None


@lru_cache(maxsize=16)
def _parse_once(text: str) -> PlainYaml:
    """Parse a text; the page reads the same files in every run. Callers leave the result as it is."""
    return parse(text)


def from_data(data: Any, model: type[ModelT]) -> ModelT:
    """Plain data as a model; by way of JSON, so that a list may fill a tuple, and nothing else is converted."""
    return model.model_validate_json(json.dumps(data), strict=True, extra="forbid")


def field_errors(error: ValidationError, model: type[BaseModel]) -> list[tuple[KeyPath, str]]:
    """The errors by place, in sentences without the key: for a form, where each stands at its field."""
    found = []
    for one in _own_errors(error):
        is_blank = one["type"] == "string_too_short" and one["ctx"]["min_length"] == 1
        text = "this can't be empty" if is_blank else _message(one, model).removeprefix(_key(one["loc"])).lstrip()
        found.append((one["loc"], _sentence(text[0].upper() + text[1:])))
    return found


def load_folder(folder: Path | str, load: Callable[[Path], T]) -> tuple[dict[Path, T], list[ConfigError]]:
    """Load every YAML file of a folder, by name; a file that can't be used is an error, and the others go on.

    A text that a comment cuts short is an error too, but its file is used.
    """
    folder = Path(folder)
    try:
        paths = yaml_files(folder)
    except OSError as error:
        return {}, [ConfigError(f"{file_name(folder)}: the folder can't be read ({error.strerror}).")]
    if not paths:
        return {}, [ConfigError(f"{file_name(folder)}: the folder holds no .yaml file.")]
    loaded: dict[Path, T] = {}
    errors: list[ConfigError] = []
    by_stem: dict[str, Path] = {}
    for path in paths:
        try:
            first = by_stem.setdefault(path.stem, path)
            if first is not path:
                raise ConfigError(f"{file_name(path)}: there is a {first.name} too; rename one of them.")
            if sanitize(path.stem) != path.stem or len(path.stem.splitlines()) != 1:
                raise ConfigError(f"{file_name(path)!r} can't be shown; give the file another name.")
            loaded[path] = load(path)
            errors += comment_notices(path)
        except ConfigError as error:
            errors.append(error)
    return loaded, errors


def yaml_files(folder: Path) -> list[Path]:
    """The YAML files of a folder by name, `.yaml` before `.yml`, endings in any case. Raises OSError."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in FILE_ENDINGS and path.name[0] != "."]
    return sorted(found, key=lambda path: (path.stem, path.suffix.lower(), path.suffix.swapcase()))


def comment_notices(path: Path) -> list[ConfigError]:
    """A sentence for each text in a file that a comment cuts short, such as `tagline: Number #1`."""
    try:
        cut = texts_cut_by_comments(read(path))
    except PlainYamlError:
        return []
    return [
        ConfigError(
            f"{file_name(path)}, line {line}: the text ends before {_short(rest)}, as # begins a comment; put quotes "
            "around the text, or a space after the #."
        )
        for line, rest in cut
    ]


def _config_error(error: PlainYamlError, name: str) -> ConfigError:
    where = f", line {error.line}" if error.line else ""
    return ConfigError(f"{name}{where}: {_sentence(error.text)}")


def _not_finite(value: Any, loc: KeyPath = ()) -> tuple[KeyPath, float] | None:
    """The first number that YAML can say and JSON can't, with its place."""
    if isinstance(value, float) and not math.isfinite(value):
        return loc, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, inner in items if (found := _not_finite(inner, (*loc, key)))), None)


def _explain(error: ValidationError, model: type[BaseModel], lines: dict[KeyPath, int]) -> str:
    """All errors: `, line 7: unknown key 'x'. Line 9: …`, in the file's order, what is missing last."""
    found = [(_line_of(e["loc"], lines), _message(e, model)) for e in _own_errors(error)]
    found.sort(key=lambda item: item[0] or math.inf)
    parts = [(f"line {line}: " if line else "") + _sentence(text) for line, text in found[:MAX_ERRORS]]
    if len(found) > MAX_ERRORS:
        parts.append(f"And {len(found) - MAX_ERRORS} more.")
    start = ", " if found[0][0] else ": "
    return start + " ".join([parts[0], *(part[0].upper() + part[1:] for part in parts[1:])])


def _own_errors(error: ValidationError) -> list[ErrorDetails]:
    """The errors, but for those of lists that are too short only because an item in them is wrong."""
    found = error.errors(include_url=False)
    places = [e["loc"] for e in found]
    return [
        e
        for e in found
        if e["type"] != "too_short"
        or not any(len(place) > len(e["loc"]) and place[: len(e["loc"])] == e["loc"] for place in places)
    ]


def _line_of(loc: KeyPath, lines: dict[KeyPath, int]) -> int:
    return next((lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in lines), 0)


def _message(error: ErrorDetails, model: type[BaseModel]) -> str:
    loc, kind, ctx = error["loc"], error["type"], error.get("ctx", {})
    key = _key(loc)
    if kind == "extra_forbidden":
        return _unknown(loc, model)
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        return f"{key} {ctx['error']}".lstrip()
    wanted = _wanted(kind, ctx, error["input"])
    return f"{key} must be {wanted}" if wanted else f"{key} is wrong: {error['msg'][0].lower()}{error['msg'][1:]}"


def _wanted(kind: str, ctx: dict[str, Any], given: Any) -> str | None:
    """The value that is wanted, by pydantic's kind of error; None for a kind that has no words here."""
    instead = f", not {_short(given)}"
    if isinstance(given, str) and kind in ("too_short", "too_long"):  # pydantic's names for a text in one line
        kind = f"string_{kind}"
    match kind:
        case "string_type":
            if given is None:
                return "text; it is empty here"
            is_unquoted = isinstance(given, bool | int | float | dict)  # {user} without quotes is a mapping
            return f"text{instead}" + ("; put quotes around it" if is_unquoted else "")
        case "int_type" | "int_parsing" | "int_from_float":
            return f"a whole number{instead}"
        case "float_type" | "float_parsing" | "finite_number":
            return f"a number{instead}"
        case "bool_type":
            return f"true or false{instead}"
        case "list_type" | "tuple_type":
            return f"a list{instead}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"keys with values{instead}"
        case "string_too_short":
            return "text; it is blank here" if ctx["min_length"] == 1 else f"at least {ctx['min_length']} characters"
        case "string_too_long":
            return f"at most {ctx['max_length']} characters; it has {len(given)}"
        case "too_long":
            return f"a list of at most {ctx['max_length']}; it has {ctx['actual_length']}"
        case "too_short":
            return f"a list of at least {ctx['min_length']}; it has {ctx['actual_length']}"
        case "greater_than" | "greater_than_equal":
            return ("more than " if "gt" in ctx else "at least ") + f"{ctx.get('gt', ctx.get('ge')):g}{instead}"
        case "less_than" | "less_than_equal":
            return ("less than " if "lt" in ctx else "at most ") + f"{ctx.get('lt', ctx.get('le')):g}{instead}"
        case "literal_error":
            return f"one of {ctx['expected']}{instead}"
    return None


def _unknown(loc: KeyPath, model: type[BaseModel]) -> str:
    """An unknown key, with the key that was probably meant, or where a known one of that name belongs."""
    *parents, last = loc
    holder = _model_at(model, tuple(parents))
    known = list(holder.model_fields)
    found = f"unknown key {_key(loc)}"
    if close := close_matches(str(last), known):
        return f"{found}; did you mean '{close[0]}'?"
    for name, info in holder.model_fields.items():
        for inner in _models_in(info.annotation):
            if close := close_matches(str(last), list(inner.model_fields)):
                exact = close[0] == last
                return f"{found}; " + (f"it belongs under '{name}'" if exact else f"did you mean '{name}.{close[0]}'?")
    return f"{found}; the keys are {', '.join(known)}"


def _model_at(model: type[BaseModel], loc: KeyPath) -> type[BaseModel]:
    """The model whose fields the keys at this place are."""
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models_in(model.model_fields[part].annotation), model)
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _key(loc: KeyPath) -> str:
    """`'parameters.top_k'`, `'suggestions' item 3`, `'examples' item 1 'user'`."""
    words: list[str] = []
    for part in loc:
        if isinstance(part, int):
            words.append(f"item {part + 1}")
        elif words and words[-1].startswith("'"):
            words[-1] = f"{words[-1][:-1]}.{part}'"
        else:
            words.append(f"'{part}'")
    return " ".join(words)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:39] + "…"


def _sentence(text: str) -> str:
    return text if text.endswith(("?", ".")) else text + "."
