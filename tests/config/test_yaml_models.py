"""A file's faults are told by file, line and key, in words a user can act on."""

import os
import runpy
from pathlib import Path
from typing import Literal

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, Field, model_validator

from menny.config.paths import CONFIGS, home, models_folder
from menny.config.yaml_models import Line, StrictModel, Text, load_folder, load_yaml
from menny.errors import ConfigError
from menny.text import close_matches


class Inner(StrictModel):
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_k: int = Field(default=0, ge=0)


class Item(StrictModel):
    user: Text = Field(min_length=1)


class Outer(StrictModel):
    name: Line = Field(min_length=1, max_length=10)
    kind: Literal["a", "b"] = "a"
    items: tuple[Item, ...] = Field(default=(), max_length=2)
    parameters: Inner = Inner()

    @model_validator(mode="after")
    def _no_zeros(self) -> "Outer":
        if self.name == "zero":
            raise ValueError("zero is no name")
        return self


@pytest.fixture
def said(tmp_path: Path):
    """What load_yaml says about a text."""

    def load(text: str, model: type[BaseModel] = Outer) -> str:
        path = tmp_path / "personas" / "x.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as refused:
            load_yaml(path, model)
        return str(refused.value)

    return load


def test_a_file_becomes_a_frozen_model(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: ' Menny '\nitems: [{user: hi}]\nparameters: {temperature: 1}\n")

    loaded = load_yaml(path, Outer)

    assert loaded == Outer(name="Menny", items=(Item(user="hi"),), parameters=Inner(temperature=1))
    with pytest.raises(ValueError, match="frozen"):
        loaded.name = "other"


def test_an_unknown_key_is_named_with_its_line_and_the_key_that_was_meant(said) -> None:
    message = said("name: x\nparameters:\n  top_k: 3\n  temprature: 0.5\n")

    assert message == ("personas/x.yaml, line 4: unknown key 'parameters.temprature'; did you mean 'temperature'?")


def test_a_key_at_the_wrong_level_is_told_where_it_belongs(said) -> None:
    assert "line 2: unknown key 'top_k'; it belongs under 'parameters'." in said("name: x\ntop_k: 3\n")


def test_a_key_like_no_other_gets_the_list_of_keys(said) -> None:
    assert "unknown key 'zzz'; the keys are name, kind, items, parameters." in said("name: x\nzzz: 3\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: no\n", "line 1: 'name' must be text, not false; put quotes around it."),
        ("name: 12\n", "line 1: 'name' must be text, not 12; put quotes around it."),
        ("name: [a]\n", "line 1: 'name' must be text, not [\"a\"]."),
        ("name:\n", "line 1: 'name' must be text; it is empty here."),
        ("name: '  '\n", "line 1: 'name' must be text; it is blank here."),
        ("name: abcdefghijkl\n", "line 1: 'name' must be at most 10 characters; it has 12."),
        ("name: |\n  a\n  b\n", "line 1: 'name' must be one line of text."),
        ("name: x\nkind: c\n", "line 2: 'kind' must be one of 'a' or 'b', not \"c\"."),
        ("name: x\nitems: 3\n", "line 2: 'items' must be a list, not 3."),
        (
            "name: x\nitems:\n  - user: a\n  - user: 3\n",
            "line 4: 'items' item 2 'user' must be text, not 3; put quotes",
        ),
        ("name: x\nitems:\n  - {}\n", "line 3: 'items' item 1 'user' is missing."),
        ("name: x\nitems: [{user: a}, {user: a}, {user: a}]\n", "'items' must be a list of at most 2; it has 3."),
        ("name: x\nparameters: 3\n", "line 2: 'parameters' must be keys with values, not 3."),
        ("name: x\nparameters:\n  temperature: 3\n", "line 3: 'parameters.temperature' must be at most 2, not 3"),
        ("name: x\nparameters:\n  temperature: '1'\n", "line 3: 'parameters.temperature' must be a number, not \"1\"."),
        ("name: x\nparameters:\n  temperature: .nan\n", "line 3: 'parameters.temperature' must be a number, not NaN."),
        ("name: x\nparameters:\n  top_k: 1.5\n", "line 3: 'parameters.top_k' must be a whole number, not 1.5."),
        ("name: x\nparameters:\n  top_k: true\n", "line 3: 'parameters.top_k' must be a whole number, not true."),
        ("name: x\nparameters:\n  top_k: -1\n", "line 3: 'parameters.top_k' must be at least 0, not -1."),
        ("kind: a\n", "personas/x.yaml: 'name' is missing."),
        ("name: zero\n", "personas/x.yaml: zero is no name."),
        ("name: x\nkind: *a\n", "personas/x.yaml, line 2: the alias *a isn't allowed"),
        ("", "personas/x.yaml: the file is empty."),
    ],
)
def test_each_fault_is_a_sentence(said, text: str, expected: str) -> None:
    assert expected in said(text)


def test_all_faults_are_told_in_the_files_order_and_what_is_missing_last(said) -> None:
    message = said("kind: c\nparameters:\n  top_k: x\n")

    assert message == (
        "personas/x.yaml, line 1: 'kind' must be one of 'a' or 'b', not \"c\". "
        "Line 3: 'parameters.top_k' must be a whole number, not \"x\". 'name' is missing."
    )


def test_many_faults_are_cut_short_and_counted(said) -> None:
    message = said("name: x\n" + "".join(f"k{n}: 1\n" for n in range(50)))

    assert "And 46 more." in message
    assert len(message) < 600


def test_a_huge_value_is_cut_in_the_message(said) -> None:
    assert len(said("name: [" + "a, " * 20_000 + "]\n")) < 200


def test_a_model_that_allows_more_is_still_read_strictly(said) -> None:
    class Loose(BaseModel):
        n: int

    assert "unknown key 'm'" in said("n: 1\nm: 2\n", Loose)
    assert "'n' must be a whole number" in said("n: '1'\n", Loose)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: there is no such file\."):
        load_yaml(tmp_path / "nothing.yaml", Outer)


def test_a_folder_gives_the_good_files_and_names_the_bad_ones(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: A\n")
    (tmp_path / "b.yml").write_text("name: B\n")
    (tmp_path / "c.yaml").write_text("nme: C\n")
    (tmp_path / "a.yml").write_text("name: A2\n")
    (tmp_path / ".hidden.yaml").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")
    (tmp_path / "folder.yaml").mkdir()

    loaded, problems = load_folder(tmp_path, lambda path: load_yaml(path, Outer))

    assert [(path.name, item.name) for path, item in loaded.items()] == [("a.yaml", "A"), ("b.yml", "B")]
    assert [str(problem).split(",")[0].split(":")[0].split("/")[1] for problem in problems] == [
        "a.yml",
        "c.yaml",
        "folder.yaml",
    ]


def test_a_missing_and_an_empty_folder_are_problems(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    for name, words in (("nowhere", "can't be read"), ("empty", "holds no .yaml file")):
        loaded, problems = load_folder(tmp_path / name, lambda path: load_yaml(path, Outer))
        assert loaded == {}
        assert words in str(problems[0])
        assert name in str(problems[0])


def test_home_is_where_menny_home_says_or_the_systems_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MENNY_HOME", str(tmp_path))
    assert home() == tmp_path
    assert models_folder() == tmp_path / "models"

    monkeypatch.setenv("MENNY_HOME", "")
    assert home().name.lower() == "menny"


def test_near_names_are_found_whatever_their_case() -> None:
    assert close_matches("MISTRL", ["llama-2", "mistral", "none"]) == ["mistral"]
    assert close_matches("mistral-7b", ["mixtral-8x7b", "mistral-7b-v0.3-4bit"]) == ["mistral-7b-v0.3-4bit"]
    assert close_matches("zzz", ["llama-2", "mistral", "none"]) == []


def test_endings_count_in_any_case_and_one_name_stands_for_one_file(tmp_path: Path) -> None:
    for number, name in enumerate(("P.YAML", "q.Yml", "r.YML", "a.yaml", "a.YAML", "a.yml", "b.yml")):
        (tmp_path / name).write_text(f"name: N{number}\n")

    loaded, errors = load_folder(tmp_path, lambda path: load_yaml(path, Outer))

    assert [path.name for path in loaded] == ["P.YAML", "a.yaml", "b.yml", "q.Yml", "r.YML"]
    assert [str(error).split("/")[-1] for error in errors] == [
        "a.YAML: there is a a.yaml too; rename one of them.",
        "a.yml: there is a a.yaml too; rename one of them.",
    ]


def test_a_file_whose_text_a_comment_cuts_is_used_and_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("name: Number #1\n")

    loaded, (error,) = load_folder(tmp_path, lambda path: load_yaml(path, Outer))

    assert [one.name for one in loaded.values()] == ["Number"]
    assert 'x.yaml, line 1: the text ends before "#1", as # begins a comment; put quotes' in str(error)


@pytest.mark.parametrize("name", ["a\nb.yaml", "a\x07.yaml", os.fsdecode(b"a\xff.yaml")])
def test_a_file_whose_name_cannot_be_shown_is_named_and_the_others_go_on(tmp_path: Path, name: str) -> None:
    for one in (name, "good.yaml"):
        (tmp_path / one).write_text("name: x\n")

    loaded, (error,) = load_folder(tmp_path, lambda path: load_yaml(path, Outer))

    assert [path.name for path in loaded] == ["good.yaml"]
    assert "can't be shown; give the file another name" in str(error)
    assert len(str(error).encode().splitlines()) == 1


@pytest.mark.parametrize("number", [".nan", ".inf", "-.Inf", "1.0e+999"])
def test_a_number_that_json_cannot_say_is_named_by_line_and_key(said, number: str) -> None:
    message = said(f"name: x\nparameters:\n  temperature: {number}\n")
    assert "line 3: 'parameters.temperature' must be a number, not " in message
    loose = said(f"name: x\nitems:\n  - 1\n  - [{number}]\n")
    assert "line 4: 'items' item 2 item 1 must be a number, not " in loose


def schema_files() -> list[Path]:
    return sorted(CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("path", schema_files(), ids=lambda path: path.stem)
def test_every_shipped_file_names_a_schema_and_follows_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    start, _, target = text.splitlines()[0].partition("$schema=")
    schema = path.parent / target

    assert start == "# yaml-language-server: "
    jsonschema.Draft202012Validator.check_schema(loaded := yaml.safe_load(schema.read_text(encoding="utf-8")))
    jsonschema.Draft202012Validator(loaded).validate(yaml.safe_load(text))


def test_the_stored_schemas_are_what_the_models_say() -> None:
    tool = CONFIGS.parent / "tools" / "make_schemas.py"
    wanted = runpy.run_path(str(tool))["schemas"]()

    stored = {path.name: path.read_text(encoding="utf-8") for path in (CONFIGS / "schemas").iterdir()}
    assert stored == wanted, "run `python -m tools.make_schemas`"


def test_a_schema_refuses_what_the_loader_refuses() -> None:
    schema = yaml.safe_load((CONFIGS / "schemas" / "persona.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    good = {"name": "Menny", "system_prompt": "You are Menny."}

    assert validator.is_valid(good)
    for wrong in (
        {"temprature": 1},
        {"name": 3},
        {"parameters": {"temperature": 3}},
        {"avatar": "/etc/passwd"},
        {"id": "menny"},
        {"suggestions": "one"},
    ):
        assert not validator.is_valid(good | wrong), wrong
