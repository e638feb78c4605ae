"""The user's own entries: added and removed with the file's comments kept, and nothing broken overwritten."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from menny.config.yaml_models import load_yaml
from menny.errors import ConfigError
from menny.models.catalogue import CatalogueFile, add_entry, load_catalogue, own_ids, remove_entry


def test_entries_are_added_replaced_and_removed_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "home" / "models.yaml"
    add_entry(file, id="a", name="A", path="/a", served="", context_length=None)
    file.write_text("# by hand\n" + file.read_text() + "# the end\n")

    add_entry(file, id="b", name="B", server="http://gpu/v1", key="GPU_KEY")
    add_entry(file, id="a", name="Another", path="/b")
    assert [(one.id, one.name) for one in load_yaml(file, CatalogueFile).models] == [("b", "B"), ("a", "Another")]
    assert "# by hand" in file.read_text()

    remove_entry(file, "b")
    remove_entry(file, "never there")
    assert own_ids(file) == {"a"}
    remove_entry(tmp_path / "none.yaml", "a")
    assert not (tmp_path / "none.yaml").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"id": "A b", "name": "x", "path": "a"},
        {"id": "a", "name": "x"},
        {"id": "a", "name": "x", "server": "ftp://x"},
        {"id": "a", "name": "x", "path": "a", "unknown": "y"},
        {"id": "a", "name": "two\nlines", "path": "a"},
    ],
)
def test_what_no_entry_can_be_is_refused(tmp_path: Path, values: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="That can't be added") as refused:
        add_entry(tmp_path / "models.yaml", **values)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_can_not_be_used_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models: [{id: x}]")

    with pytest.raises(ConfigError, match="'name' is missing"):
        add_entry(file, id="a", name="A", path="a")
    assert file.read_text() == "models: [{id: x}]"
    assert own_ids(file) == set()


def test_an_entry_of_a_module_that_is_no_package_is_not_here_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "models.yaml"
    monkeypatch.setattr("__main__.__spec__", None)
    file.write_text("models: [{id: a, name: A, package: __main__, file: x.gguf}]\n")
    (spec,), problems = load_catalogue(file, tmp_path / "models", tmp_path / "cache")
    assert (spec.path(), problems) == (None, [])


@pytest.mark.parametrize(
    "text", ["yes", "On", "no", "~", "null", "1_000", "0x10", "7:30", "1e3", "123", ".inf", "- a", "a: b # c"]
)
def test_a_name_that_yaml_takes_for_something_else_is_a_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "models.yaml"
    add_entry(file, id="no", name=text, server="http://gpu/v1", served=text)
    add_entry(file, id="b", name="B", path="b")
    named, _ = load_yaml(file, CatalogueFile).models
    assert (named.id, named.name, named.served) == ("no", text, text)


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    add_entry(file, id="a", name="A", path="a")
    before = file.read_text()
    with pytest.raises(ConfigError, match=r"U\+0007 isn't allowed in text"):
        add_entry(file, id="b", name="rings \a", path="b")
    assert file.read_text() == before


def test_entries_that_are_added_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    names = [f"m{number}" for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: add_entry(file, id=name, name=name, path=name), names))
    assert own_ids(file) == set(names)


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").mkdir()
    _, (problem,) = load_catalogue(tmp_path / "models.yaml", tmp_path / "models", tmp_path / "cache")
    assert str(problem).endswith("models.yaml: it isn't a file but a folder.")
