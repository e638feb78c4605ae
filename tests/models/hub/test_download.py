"""Getting a model from a server that speaks the hub's protocol: whole or not at all, and on from where it stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from menny.config.paths import CONFIGS, PROJECT
from menny.errors import ModelError
from menny.models.catalogue import load_catalogue
from menny.models.hub import Download, Job
from menny.models.hub import download as download_module
from menny.models.hub.fetch import State, fetch
from tests.models.hub.fake_hub import COMMIT, FakeHub, serving

REPO = "somebody/little"
INDEX = b'{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"model": {}}',
    "README.md": b"# Little",
    "handler.py": b"raise SystemExit",
    "model.safetensors.index.json": INDEX,
    "model-00001-of-00002.safetensors": os.urandom(600_000),
    "model-00002-of-00002.safetensors": os.urandom(700_000),
    "model-unquantized.safetensors": os.urandom(9000),
    "original/model.safetensors": os.urandom(9000),
}
WANTED = {name for name in FILES if name[0] in "ct" or name.startswith(("model-0", "model.s"))}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(FakeHub(REPO, dict(FILES))) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(REPO, None, tmp_path / "models" / "little")


def downloaded(job: Job) -> Download:
    download = Download(job)
    download.result()
    return download


def refusal(job: Job) -> str:
    with pytest.raises(ModelError) as refused:
        downloaded(job)
    assert not job.into.exists()
    assert listed(job) == []
    return str(refused.value)


def listed(job: Job) -> list[str]:
    """The ids under which a catalogue shows what lies in the models folder."""
    specs, _ = load_catalogue(CONFIGS / "models.yaml", job.into.parent, job.into.parent / "cache")
    return [spec.id for spec in specs if spec.id in (job.into.name, job.unfinished.name)]


def reach(download: Download, files_done: int) -> None:
    while not (progress := download.wait(5)).is_over and progress.files_done < files_done:
        pass
    assert not download.progress.is_over, download.progress


@pytest.mark.slow
def test_what_the_model_needs_arrives_and_nothing_else(hub: FakeHub, job: Job) -> None:
    progress = downloaded(job).progress

    assert {path.name: path.read_bytes() for path in job.into.iterdir()} == {name: FILES[name] for name in WANTED}
    assert (progress.files, progress.files_done) == (5, 5)
    assert progress.done == progress.size == sum(len(FILES[name]) for name in WANTED)
    assert listed(job) == ["little"]
    assert list(job.into.parent.iterdir()) == [job.into]


@pytest.mark.slow
def test_progress_tells_files_bytes_speed_and_time_left(hub: FakeHub, job: Job) -> None:
    hub.pause, hub.piece = 0.05, 10_000
    download = Download(job)
    seen = []
    while not (progress := download.wait(5)).is_over:
        seen.append(progress)

    moving = [one for one in seen if one.speed > 0]
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert moving
    assert all(one.seconds_left is not None and one.size >= one.done > 0 for one in moving)
    assert progress.doing == "done"


@pytest.mark.slow
def test_cancelled_it_ends_at_once_keeps_what_is_finished_and_goes_on_from_there(hub: FakeHub, job: Job) -> None:
    hub.pause, hub.piece = 0.2, 20_000
    download = Download(job)
    reach(download, 3)
    began = time.monotonic()
    download.cancel()

    assert time.monotonic() - began < 5
    assert download.progress.doing == "cancelled"
    assert list(job.unfinished.rglob("*.incomplete")) == []
    assert listed(job) == []

    hub.pause, hub.piece = 0.0, 1 << 16
    downloaded(job)
    assert listed(job) == ["little"]
    assert hub.got("config.json") == hub.got("tokenizer.json") == 1


@pytest.mark.slow
def test_it_is_told_as_cancelled_once_nothing_of_it_is_left(
    hub: FakeHub, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(download_module, "remove_leftovers", lambda _: told.append(download.progress.doing))
    hub.pause, hub.piece = 0.2, 20_000
    download = Download(job)
    reach(download, 3)
    download.cancel()
    assert [*told, download.progress.doing] == ["getting", "cancelled"]


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_with_what_was_finished(hub: FakeHub, job: Job, tmp_path: Path) -> None:
    """As a user would: the command, SIGKILL, the command again."""
    hub.pause, hub.piece = 0.1, 20_000
    environment = {**os.environ, "MENNY_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "menny", "get", REPO]
    first = subprocess.Popen(command, env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while hub.sent < 200_000 and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert listed(job) == []

    hub.pause, hub.piece = 0.0, 1 << 16
    time.sleep(1)  # the downloading process ends with the one that wanted it
    second = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert second.stdout == f"little is here: {job.into}\n"
    assert hub.got("config.json") == 1
    assert {path.name for path in job.into.iterdir()} == WANTED


@pytest.mark.slow
def test_a_damaged_file_is_thrown_away_and_got_anew(hub: FakeHub, job: Job) -> None:
    hub.damaged = {"model-00002-of-00002.safetensors"}
    assert "model-00002-of-00002.safetensors of somebody/little arrived damaged (its hash differs)" in refusal(job)

    hub.damaged = set()
    downloaded(job)
    assert hub.got("config.json") == 1
    assert hub.got("model-00002-of-00002.safetensors") == 2


@pytest.mark.slow
def test_a_file_that_was_damaged_on_the_disk_meanwhile_is_got_anew(hub: FakeHub, job: Job) -> None:
    hub.damaged = {"model-00002-of-00002.safetensors"}
    refusal(job)
    (job.unfinished / "config.json").write_bytes(b"[]")

    hub.damaged = set()
    downloaded(job)
    assert (job.into / "config.json").read_bytes() == b"{}"


@pytest.mark.slow
def test_a_pinned_revision_is_asked_for_and_a_gone_one_is_a_sentence(hub: FakeHub, job: Job) -> None:
    gone = Job(REPO, "b" * 40, job.into)
    assert "no longer has the revision " + "b" * 40 in refusal(gone)

    downloaded(Job(REPO, COMMIT, job.into))
    assert all(COMMIT in path for _, path in hub.requests if "/resolve/" in path)


@pytest.mark.slow
def test_the_token_goes_to_the_hub_and_to_no_other_host(hub: FakeHub, job: Job, monkeypatch) -> None:
    secret = "hf_secretsecretsecret"
    monkeypatch.setenv("HF_TOKEN", secret)
    hub.token = secret
    with serving(FakeHub(REPO, dict(FILES))) as elsewhere:
        hub.moved_to = elsewhere.address.replace("127.0.0.1", "localhost")
        downloaded(job)

    assert set(hub.tokens) == {f"Bearer {secret}"}
    assert elsewhere.requests
    assert set(elsewhere.tokens) == {""}
    assert not any(secret.encode() in path.read_bytes() for path in job.into.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"status": 401, "error": "GatedRepo"}, "agree at "),
        ({"token": "hf_other"}, "The hub doesn't know the token, or wants one for somebody/little"),
        ({"status": 404, "error": "RepoNotFound"}, "check the name, or give a token"),
        ({"circles": True}, "redirects in circles"),
        ({"files": {"config.json": b"{}"}, "listed": {"model.safetensors": 1 << 60}}, "The disk has "),
        ({"listed": {"tokenizer_2.json": 9}}, "The hub lists tokenizer_2.json of somebody/little, but doesn't have it"),
    ],
)
def test_what_goes_wrong_is_one_sentence(hub: FakeHub, job: Job, behaviour: dict, words: str) -> None:
    for name, value in behaviour.items():
        setattr(hub, name, value)

    sentence = refusal(job)
    assert words in sentence
    assert "\n" not in sentence


@pytest.mark.slow
def test_no_network_and_offline_are_sentences(job: Job, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "There is no connection to 127.0.0.1:9: check the network" in refusal(job)

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "Menny is offline (HF_HUB_OFFLINE is set)" in refusal(job)


@pytest.mark.slow
def test_a_model_that_is_here_already_is_not_written_over(hub: FakeHub, job: Job) -> None:
    job.into.mkdir(parents=True)

    with pytest.raises(ModelError, match="already exists"):
        fetch(job, State())
    assert list(job.into.iterdir()) == []


@pytest.mark.slow
def test_one_model_is_got_once_at_a_time_and_who_comes_second_disturbs_nothing(hub: FakeHub, job: Job) -> None:
    hub.pause, hub.piece = 0.2, 20_000
    first = Download(job)
    reach(first, 1)

    with pytest.raises(ModelError, match="is already downloading"):
        downloaded(job)
    assert not first.progress.is_over
    hub.pause = 0.0
    first.result()
    assert {path.name: path.read_bytes() for path in job.into.iterdir()} == {name: FILES[name] for name in WANTED}
