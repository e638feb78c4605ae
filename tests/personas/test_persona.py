"""Personas as their users write them: what loads, what is named as a problem, and what the names become."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest

from menny.chat.memory import Memory, Strategy
from menny.config.paths import CONFIGS, PROJECT
from menny.engine import SamplingParams
from menny.errors import ConfigError
from menny.messages import Message
from menny.moderation.guardrails import combine, load_guardrails
from menny.personas import load_personas
from menny.personas.persona import MemorySettings, Parameters, Persona, choose, load_all

MINIMAL = "name: {name}\nsystem_prompt: You are {name}.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "face.png").write_bytes(b"a picture")
    (tmp_path / "personas").mkdir()
    return tmp_path / "personas"


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def the_problem(folder: Path) -> str:
    personas, problems = load_personas(folder, folder.parent)
    assert personas == []
    assert len(problems) == 1
    return str(problems[0])


def test_a_name_and_a_system_prompt_are_enough(folder: Path) -> None:
    write(folder, ada=MINIMAL.format(name="Ada"))

    personas, problems = load_personas(folder, folder.parent)

    assert problems == []
    assert personas == [Persona(id="ada", name="Ada", system_prompt="You are Ada.")]
    assert personas[0].parameters == Parameters()
    assert personas[0].avatar_path(folder.parent) is None


def test_a_full_file_is_read_whole(folder: Path) -> None:
    write(
        folder,
        ada="""
name: Ada
tagline: Counts on engines
avatar: images/face.png
system_prompt: |
  You are Ada.
  You count.
greeting: Good day.
suggestions: [One, Two]
guardrails: [mistral]
examples:
  - {user: Hello, assistant: Good day.}
parameters: {temperature: 0, max_tokens: 20, top_p: 0.9, top_k: 5, min_p: 0.1, repetition_penalty: 1.2}
memory: {strategy: turns, turns: 4}
order: 3
""",
    )

    (ada,), problems = load_personas(folder, folder.parent)

    assert problems == []
    assert ada.system_prompt == "You are Ada.\nYou count."
    assert ada.suggestions == ("One", "Two")
    assert ada.guardrails == ("mistral",)
    assert ada.example_messages() == [Message("user", "Hello"), Message("assistant", "Good day.")]
    assert ada.parameters.model_dump() == {
        "temperature": 0,
        "max_tokens": 20,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
    }
    assert ada.memory == MemorySettings(strategy="turns", turns=4)
    assert ada.avatar_path(folder.parent) == folder.parent / "images" / "face.png"


def test_the_two_names_are_filled_in_as_plain_text_everywhere(folder: Path) -> None:
    write(
        folder,
        ada="""
name: Ada
system_prompt: "{{char}} talks to {{user}}. {{ user }} {user} {{other}} stay."
greeting: "Hello {{User}}, I'm {{char}}."
examples: [{user: "I'm {{user}}", assistant: "I'm {{char}}"}]
""",
    )
    (ada,), _ = load_personas(folder, folder.parent)

    assert ada.system_text("Bo") == "Ada talks to Bo. {{ user }} {user} {{other}} stay."
    assert ada.system_text().startswith("Ada talks to the user.")
    assert ada.greeting_text().startswith("Hello you,")
    assert ada.greeting_text("Bo") == "Hello Bo, I'm Ada."
    assert [message.content for message in ada.example_messages("Bo")] == ["I'm Bo", "I'm Ada"]


def test_a_name_that_looks_like_a_placeholder_or_a_pattern_is_not_replaced_again(folder: Path) -> None:
    write(folder, ada='name: "{{user}}"\nsystem_prompt: "{{user}} and {{char}}"\n')
    (ada,), _ = load_personas(folder, folder.parent)

    assert ada.system_text(r"\1{{char}}\g<0>") == r"\1{{char}}\g<0> and {{user}}"


def test_the_parameters_are_the_engines_with_the_engines_defaults() -> None:
    engine = asdict(SamplingParams())

    assert Parameters().model_dump() == {name: engine[name] for name in Parameters.model_fields}
    SamplingParams(temperature=2, max_tokens=32768, top_p=1, top_k=1000, min_p=1, repetition_penalty=2)
    SamplingParams(temperature=0, max_tokens=1, top_p=0.001, top_k=0, min_p=0, repetition_penalty=0.5)


def test_the_strategies_of_memory_are_the_memorys_with_its_defaults() -> None:
    assert get_args(MemorySettings.model_fields["strategy"].annotation) == get_args(Strategy)
    assert MemorySettings().model_dump() == asdict(Memory())
    assert MemorySettings.model_validate(MemorySettings().model_dump()) == MemorySettings()


def test_one_broken_file_is_named_and_the_others_load(folder: Path) -> None:
    write(folder, ada=MINIMAL.format(name="Ada"), bo=MINIMAL.format(name="Bo") + "temprature: 1\n", cy="- nonsense\n")

    personas, problems = load_personas(folder, folder.parent)

    assert [persona.id for persona in personas] == ["ada"]
    assert [str(problem) for problem in problems] == [
        "personas/bo.yaml, line 3: unknown key 'temprature'; did you mean 'parameters.temperature'?",
        "personas/cy.yaml, line 1: the file must hold keys with values, such as name: Menny.",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + "id: other\n", "unknown key 'id'"),
        (MINIMAL + "parameters: {top_k: -1}\n", "'parameters.top_k' must be at least 0"),
        (MINIMAL + "parameters: {temperature: 2.5}\n", "'parameters.temperature' must be at most 2"),
        (MINIMAL + "parameters: {max_tokens: 0}\n", "'parameters.max_tokens' must be at least 1"),
        (MINIMAL + "parameters: {top_p: 0}\n", "'parameters.top_p' must be more than 0"),
        (MINIMAL + "parameters: {seed: 1}\n", "unknown key 'parameters.seed'"),
        (MINIMAL + "memory: {strategy: all}\n", "'memory.strategy' must be one of 'recent', 'turns'"),
        (MINIMAL + "memory: {strategy: turns, turns: -1}\n", "'memory.turns' must be at least 0"),
        (MINIMAL + "memory: {strategy: recent, turns: 3}\n", "'memory' has 'turns', which only"),
        (MINIMAL + "memory: {last: 3}\n", "unknown key 'memory.last'"),
        (MINIMAL + "suggestions: one\n", "'suggestions' must be a list"),
        (MINIMAL + "examples: [{user: hi}]\n", "'examples' item 1 'assistant' is missing"),
        (MINIMAL + "guardrails: mistral\n", "'guardrails' must be a list"),
        (MINIMAL + "guardrails: &a [*a]\n", "anchor &a"),
        (MINIMAL + "examples: " + "[" * 1000 + "]" * 1000 + "\n", "nested more than"),
        ("name: Ada\nsystem_prompt: ' '\n", "'system_prompt' must be text; it is blank here"),
        ("name: Ada\n", "'system_prompt' is missing"),
        ("name: 'a\\nb'\nname: b\n", "'name' stands here and on line 1"),
        (MINIMAL + "avatar: /etc/passwd\n", "'avatar' must be a picture within images/"),
        (MINIMAL + "avatar: images/../secret.png\n", "'avatar' must be a picture within images/"),
        (MINIMAL + "avatar: other/face.png\n", "'avatar' must be a picture within images/"),
        (MINIMAL + "avatar: images\n", "'avatar' must be a picture within images/"),
        (MINIMAL + "avatar: 'images\\\\..\\\\..\\\\face.png'\n", "'avatar' must be a picture within images/"),
        (MINIMAL + "avatar: https://example.org/face.png\n", "'avatar' must be a picture within images/"),
        (MINIMAL + "avatar: images/face.svg\n", "'avatar' must be a picture within images/"),
    ],
)
def test_a_fault_is_a_named_problem(folder: Path, text: str, words: str) -> None:
    write(folder, ada=text.replace("{name}", "Ada"))

    problem = the_problem(folder)

    assert problem.startswith("personas/ada.yaml")
    assert words in problem


def test_a_missing_picture_is_a_problem_and_the_persona_is_there_without_it(folder: Path) -> None:
    write(folder, ada=MINIMAL.format(name="Ada") + "avatar: images/nobody.png\n")

    personas, problems = load_personas(folder, folder.parent)

    assert personas[0].avatar_path(folder.parent) is None
    assert str(problems[0]) == "personas/ada.yaml: there is no picture images/nobody.png; add it."


def test_a_picture_that_links_out_of_the_images_folder_is_not_shown(folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes(b"secret")
    (folder.parent / "images" / "link.png").symlink_to(folder.parent / "secret.png")
    (folder.parent / "images" / "loop.png").symlink_to(folder.parent / "images" / "loop.png")
    write(
        folder,
        ada=MINIMAL.format(name="Ada") + "avatar: images/link.png\n",
        bo=MINIMAL.format(name="Bo") + "avatar: images/loop.png\n",
    )

    personas, problems = load_personas(folder, folder.parent)

    assert [persona.avatar_path(folder.parent) for persona in personas] == [None, None]
    assert len(problems) == 2


def test_a_second_persona_of_the_same_name_is_a_problem(folder: Path) -> None:
    write(folder, ada=MINIMAL.format(name="Ada"), zoe=MINIMAL.format(name="ADA"))

    personas, problems = load_personas(folder, folder.parent)

    assert [persona.id for persona in personas] == ["ada"]
    assert str(problems[0]) == "personas/zoe.yaml: ada.yaml has the name 'ADA' too; change one."


def test_cards_are_ordered_by_order_and_then_by_name(folder: Path) -> None:
    write(
        folder,
        a=MINIMAL.format(name="Zoe"),
        b=MINIMAL.format(name="ada"),
        c=MINIMAL.format(name="Menny") + "order: 1\n",
    )

    assert [persona.name for persona in load_personas(folder)[0]] == ["Menny", "ada", "Zoe"]


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    personas, problems = load_personas(tmp_path / "personas")

    assert personas == []
    assert "personas: the folder can't be read" in str(problems[0])


def test_a_persona_is_chosen_by_id_or_name_and_a_typo_gets_a_suggestion() -> None:
    personas, _ = load_personas(CONFIGS / "personas")

    assert choose("menny", personas) is choose("MENNY ", personas)
    with pytest.raises(ConfigError, match=r"did you mean .*menny"):
        choose("mennny", personas)
    with pytest.raises(ConfigError, match="choose one of menny, "):
        choose("xyz", personas)


BEYOND_JSON = {
    "hexadecimal": "0x" + "f" * 3572,
    "binary": "0b" + "1" * 20_000,
    "octal": "0" + "7" * 20_000,
    "base 60": "1" + ":59" * 9000,
    "decimal": "9" * 5000,
    "not a number": ".nan",
    "infinity": "-.inf",
    "too large": "1.0e+400",
    "bytes": "!!binary aGVsbG8=",
    "a set": "!!set {a, b}",
    "a key that is a list": "{[a]: b}",
    "a key that is a mapping": "{{a: b}: c}",
    "an ordered map": "!!omap [a: b]",
}
PLACES = ["order: {}", "extensions: {{a: {}}}", "extensions:\n  a:\n    - {}", "parameters:\n  top_k: {}"]


@pytest.mark.parametrize("value", BEYOND_JSON.values(), ids=BEYOND_JSON)
@pytest.mark.parametrize("place", PLACES, ids=["order", "flow", "list", "parameters"])
def test_what_yaml_can_say_and_json_cannot_is_one_sentence_with_file_and_line(
    folder: Path, value: str, place: str
) -> None:
    text = MINIMAL.format(name="Ada") + place.format(value) + "\n"
    write(folder, ada=text, bo=MINIMAL.format(name="Bo"))

    personas, (error,) = load_personas(folder, folder.parent)

    assert [persona.id for persona in personas] == ["bo"]
    assert str(error).startswith(f"personas/ada.yaml, line {text.count(chr(10))}: ")
    assert len(str(error)) < 250


def test_dates_and_keys_that_are_no_text_are_kept_as_the_text_they_were_written_as(folder: Path) -> None:
    write(
        folder, ada=MINIMAL.format(name="Ada") + "extensions: {1: 2024-02-30, 2024-01-01: on, .nan: 12:30:45.5, ~: 5}\n"
    )
    (ada,), errors = load_personas(folder, folder.parent)
    assert errors == []
    assert ada.extensions == {"1": "2024-02-30", "2024-01-01": True, ".nan": 45045.5, "~": 5}


def test_ones_own_folder_that_is_a_file_is_an_error_and_the_presets_are_there(tmp_path: Path) -> None:
    (tmp_path / "personas").write_text("a file")
    personas, (error,) = load_all(own=tmp_path / "personas")
    assert len(personas) >= 7
    assert "personas: the folder can't be read" in str(error)
    assert load_all(own=tmp_path / "nowhere")[1] == []


def test_a_pipe_in_a_personas_place_is_an_error_and_the_others_go_on(folder: Path) -> None:
    os.mkfifo(folder / "ada.yaml")
    write(folder, bo=MINIMAL.format(name="Bo"))
    personas, (error,) = load_personas(folder, folder.parent)
    assert [persona.id for persona in personas] == ["bo"]
    assert str(error) == "personas/ada.yaml: it isn't a file but a named pipe."


# --- the personas that come along ---------------------------------------------------------------------------------


def test_menny_comes_first_of_at_least_seven_and_nothing_is_wrong_with_any() -> None:
    personas, problems = load_personas(CONFIGS / "personas")

    assert problems == []
    assert personas[0].id == "menny"
    assert len(personas) >= 7


@pytest.mark.parametrize("path", sorted((CONFIGS / "personas").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_persona_that_comes_along_is_complete(path: Path) -> None:
    persona = choose(path.stem, load_personas(path.parent)[0])

    assert 60 <= len(persona.system_prompt.split()) <= 150
    assert persona.system_prompt.startswith(f"You are {persona.name}, ")
    assert 0 < len(persona.tagline) <= 50
    assert persona.greeting
    assert 3 <= len(persona.suggestions) <= 4
    assert all(len(suggestion) <= 45 for suggestion in persona.suggestions)
    assert persona.avatar_path() == PROJECT / "images" / f"{persona.id}-avatar.png"
    assert combine("none", persona.guardrails, load_guardrails(CONFIGS / "guardrails")[0]) is not None


def test_a_name_that_cant_be_seen_is_a_problem(folder: Path) -> None:
    write(folder, ada='name: "\\u200b\\u2060"\nsystem_prompt: You are nobody.\n')

    assert "must have a character that can be seen" in the_problem(folder)


@pytest.mark.parametrize(("one", "other"), [("Zoë", "Zoe\u0308"), ("ZOË", "zoë"), ("Fuß", "FUSS"), ("\u212b", "å")])
def test_two_names_that_look_alike_are_one_name(folder: Path, one: str, other: str) -> None:
    write(folder, a=MINIMAL.format(name=one), b=MINIMAL.format(name=other))

    personas, problems = load_personas(folder, folder.parent)

    assert len(personas) == len(problems) == 1
