"""Removing a model takes away what is its own, and nothing beside it."""

from pathlib import Path

import pytest

from menny.errors import ModelError
from menny.models.catalogue import ModelSpec, load_catalogue
from menny.ui.models.jobs import remove


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MENNY_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "chats.db").write_bytes(b"all that was said")
    return folder


def model(place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"GGUF")
    return place


def entry(models: Path, path: str) -> ModelSpec:
    file = models.parent / "models.yaml"
    file.write_text(f"models: [{{id: own, name: Own, path: {path}}}]\n")
    specs, problems = load_catalogue(file, models)
    assert problems == []
    return specs[0]


@pytest.mark.parametrize("path", ["../beside/own.gguf", "../beside", "sub/../../beside/own.gguf", "."])
def test_what_lies_beside_the_models_folder_or_is_the_folder_stays(models: Path, path: str) -> None:
    (models / "sub").mkdir()
    here = [model(models.parent / "beside" / "own.gguf"), model(models / "other.gguf")]
    spec = entry(models, path)
    assert spec.path() in [models / "other.gguf", models / path, models / path / "own.gguf"]
    with pytest.raises(ModelError, match=r"is outside Menny's folders\. Remove it by hand"):
        remove(spec)
    assert all(place.exists() for place in (*here, models.parent / "chats.db"))


def test_of_two_models_in_one_folder_the_other_stays(models: Path) -> None:
    first, second = model(models / "both" / "first.gguf"), model(models / "both" / "second.gguf")
    remove(entry(models, "both/first.gguf"))
    assert (first.exists(), second.exists()) == (False, True)


def test_a_models_own_folder_goes_with_all_that_is_in_it(models: Path) -> None:
    model(models / "own" / "weights.gguf")
    (models / "own" / "README.md").write_text("About it")
    remove(entry(models, "elsewhere"))  # the folder of its id is taken first
    assert not (models / "own").exists()


def test_of_a_link_to_a_folder_only_the_link_goes(models: Path, tmp_path: Path) -> None:
    kept = model(tmp_path / "disk" / "weights.gguf")
    (models / "own").symlink_to(tmp_path / "disk")
    remove(entry(models, "own"))
    assert kept.exists()
    assert not (models / "own").is_symlink()
