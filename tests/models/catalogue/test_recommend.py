"""The model that a machine should have, and the sections that the models page sorts families into."""

from pathlib import Path

import pytest

from menny.config.paths import CONFIGS
from menny.engine import Machine
from menny.models.catalogue import CHOICES, ModelSpec, families, here_first, load_catalogue, recommend, sections
from menny.models.loader import Planner, a_mac, fit_of


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[ModelSpec]:
    nowhere = tmp_path_factory.mktemp("nowhere")
    return load_catalogue(CONFIGS / "models.yaml", nowhere, nowhere / "hub")[0]


@pytest.mark.parametrize(
    ("gigabytes", "model_id"),
    [
        (8, "ministral-3-3b-8bit"),
        (16, "ministral-3-14b-4bit"),
        (24, "mistral-small-3.2-4bit"),
        (32, "mistral-small-3.2-4bit"),
        (64, "mistral-small-3.2-8bit"),
        (192, "mistral-small-3.2-8bit"),  # 16 bits would be half as fast, and hardly better
    ],
)
def test_a_mac_should_have_the_strongest_that_fits(specs: list[ModelSpec], gigabytes: int, model_id: str) -> None:
    planner = Planner(a_mac(gigabytes))
    best = recommend(specs, planner, planner.speed_of)
    assert best
    assert best.model.id == model_id
    assert str(best).startswith("The strongest model that fits this machine: ")
    assert str(best).endswith(" GB with a chat of 8,192 tokens.")


@pytest.mark.parametrize(
    ("gigabytes", "threads", "model_id"),
    [(5, 2, "ministral-3-3b-8bit"), (64, 2, "ministral-3-8b-4bit"), (64, 8, "ministral-3-14b-4bit")],
)
def test_a_processor_should_have_one_that_it_runs_at_reading_speed(
    specs: list[ModelSpec], gigabytes: int, threads: int, model_id: str
) -> None:
    planner = Planner(Machine("cpu", gigabytes << 30), threads)
    best = recommend(specs, planner, planner.speed_of)
    assert best
    assert best.model.id == model_id
    assert best.larger_is_slow == (gigabytes == 64)


def test_where_all_are_slow_it_is_the_fastest_and_where_nothing_fits_none(specs: list[ModelSpec]) -> None:
    planner = Planner(Machine("cpu", 64 << 30))
    best = recommend(specs, planner, lambda spec: 1 / (spec.size_bytes or 1))
    assert best
    assert best.model.id == "ministral-3-3b-4bit"
    tiny = Planner(a_mac(2))
    assert recommend(specs, tiny, tiny.speed_of) is None


def test_a_mixture_of_experts_is_as_fast_as_what_a_token_goes_through(specs: list[ModelSpec]) -> None:
    planner = Planner(Machine("cpu", 64 << 30), 4)
    speeds = {spec.id: planner.speed_of(spec) or 0 for spec in specs if spec.bits == 4}
    assert speeds["mistral-small-3.2-4bit"] < speeds["mixtral-8x7b-4bit"] < speeds["mistral-7b-v0.3-4bit"]


def test_a_family_is_one_group_with_its_choices(specs: list[ModelSpec]) -> None:
    by_name = {family.name: family for family in families(specs)}
    assert list(by_name)[:3] == ["SmolLM2 135M Instruct", "Ministral 3", "Mistral Small 3.2"]
    ministral = by_name["Ministral 3"]
    first = ministral.models[0]
    assert {choice: ministral.options(choice, first) for choice in CHOICES} == {
        "size": ["3B", "8B", "14B"],
        "version": ["Instruct", "Reasoning"],
        "bits": [4, 8, 16],
    }
    assert by_name["Mistral 7B"].options("version", by_name["Mistral 7B"].models[0]) == ["v0.1", "v0.2", "v0.3"]
    assert by_name["Mixtral 8x7B"].options("size", by_name["Mixtral 8x7B"].models[0]) == []


def test_a_choice_keeps_the_others_where_there_is_such_a_model(specs: list[ModelSpec]) -> None:
    family = next(family for family in families(specs) if family.name == "Ministral 3")
    at = {spec.id: spec for spec in family.models}
    assert family.nearest(at["ministral-3-3b-8bit"], "size", "14B").id == "ministral-3-14b-8bit"
    assert family.nearest(at["ministral-3-14b-reasoning-8bit"], "size", "3B").id.startswith("ministral-3-3b-reasoning-")
    assert family.nearest(at["ministral-3-3b-4bit"], "version", "Reasoning").id == "ministral-3-3b-reasoning-4bit"


def test_sections_hold_every_family_once(specs: list[ModelSpec]) -> None:
    planner = Planner(a_mac(16))
    fits = {spec.id: fit for spec in specs if (fit := fit_of(spec, specs, planner))}
    best = recommend(specs, planner, planner.speed_of)
    assert best
    shown = sections(specs, fits, best.model)
    assert shown.recommended
    names = [[family.name for family in part] for part in (shown.yours, shown.fitting, shown.too_large)]
    assert shown.recommended.name == "Ministral 3"
    assert names[1:] == [
        ["Mistral 7B", "Mistral Nemo", "Shieldstral 1.0 3B"],
        ["Mistral Small 3.2", "Magistral Small 2509", "Mixtral 8x7B"],
    ]
    nemo = shown.fitting[1]
    assert nemo.first_choice(fits, best.model).id == "mistral-nemo-4bit"
    assert shown.recommended.first_choice(fits, best.model) is best.model


def test_lists_begin_with_what_is_here_and_end_with_what_has_yet_to_come(tmp_path: Path) -> None:
    (tmp_path / "shipped.yaml").write_text("models: [{id: a, name: A, repo: o/a}, {id: b, name: B, path: mine.gguf}]\n")
    (tmp_path / "own.yaml").write_text(
        "models: [{id: c, name: C, repo: o/c}, {id: d, name: D, server: 'http://gpu/v1'}]\n"
    )
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    specs, _ = load_catalogue(tmp_path / "shipped.yaml", tmp_path, tmp_path / "hub", own_file=tmp_path / "own.yaml")
    assert [spec.id for spec in here_first(specs)] == ["b", "mine.gguf", "d", "c", "a"]
