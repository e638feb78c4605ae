"""Will it fit: what is told of models here and not here, on machines of any size, and what would fit in their place."""

from pathlib import Path

import pytest

from menny.config.paths import CONFIGS
from menny.engine import Machine, Plan
from menny.models.catalogue import ModelSpec, load_catalogue, will_it_fit
from menny.models.loader import Planner, a_mac, fit_of

GB = 10**9
VISION_BYTES = 860_000_000
WITH_VISION = ("ministral-3", "magistral", "shieldstral")


@pytest.fixture
def specs(tmp_path: Path) -> list[ModelSpec]:
    return load_catalogue(CONFIGS / "models.yaml", tmp_path / "models", tmp_path / "hub")[0]


def named(specs: list[ModelSpec], model_id: str) -> ModelSpec:
    return next(spec for spec in specs if spec.id == model_id)


def test_the_catalogues_shapes_tell_the_sizes_that_its_downloads_have(specs: list[ModelSpec]) -> None:
    planner = Planner(Machine("metal", 1000 * GB))

    for spec in specs:
        if spec.shape and spec.size_bytes:
            plan = planner(spec, 4096)
            assert plan
            tower = VISION_BYTES if spec.id.startswith(WITH_VISION) else 0  # downloaded, and left out when it is loaded
            assert plan.weights + tower == pytest.approx(spec.size_bytes, rel=0.05), spec.id


def test_a_model_that_fits_says_so_with_its_context(specs: list[ModelSpec]) -> None:
    fit = will_it_fit(named(specs, "mistral-7b-v0.3-4bit"), Planner(a_mac(16)), specs)

    assert fit
    assert fit.fits
    assert 0 < fit.share < 1
    assert (
        str(fit) == "Fits with a context of 32,768 tokens: 8.6 GB of 12.0 GB, and up to 1.2 GB more for recent chats."
    )


def test_a_model_that_does_not_fit_names_the_same_with_fewer_bits(specs: list[ModelSpec]) -> None:
    fit = will_it_fit(named(specs, "mixtral-8x7b-16bit"), Planner(a_mac(64)), specs)

    assert fit
    assert not fit.fits
    assert fit.share > 1
    assert fit.instead == ("Mixtral 8x7B Instruct v0.1, 4-bit",)


def test_a_context_that_does_not_fit_names_one_that_does(specs: list[ModelSpec]) -> None:
    fit = will_it_fit(named(specs, "mistral-nemo-4bit"), Planner(a_mac(16)), specs, context=131_072)

    assert fit
    assert not fit.fits
    assert fit.instead[0].startswith("a context of ")
    assert "What would fit: a context of " in str(fit)


def test_where_nothing_of_it_fits_another_model_is_named(specs: list[ModelSpec]) -> None:
    fit = will_it_fit(named(specs, "mixtral-8x7b-4bit"), Planner(a_mac(16)), specs)

    assert fit
    assert fit.instead == ("Ministral 3 14B Instruct, 4-bit",)


def test_what_is_here_is_told_by_its_headers(specs: list[ModelSpec], smollm2_path: Path) -> None:
    fit = fit_of(named(specs, "smollm2"), specs, Planner(Machine("cpu", 8 * GB)))

    assert fit
    assert isinstance(fit.plan, Plan)
    assert fit.plan.context == 8192
    assert fit.plan.weights == pytest.approx(smollm2_path.stat().st_size, rel=0.1)  # as they are in the file


def test_nobody_knows_the_size_of_files_that_are_no_model(tmp_path: Path, specs: list[ModelSpec]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "odd.gguf").write_bytes(b"GGUF")
    (odd,) = [one for one in load_catalogue(CONFIGS / "models.yaml", tmp_path / "models")[0] if one.id == "odd.gguf"]

    assert fit_of(odd, specs, Planner(Machine("cpu", 8 * GB))) is None
