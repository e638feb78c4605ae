"""`menny get` when something goes wrong on the way: one sentence, exit code 2, and the next try goes on from there.

The hub is a server on this machine, asked by the real huggingface_hub in the process that downloads. Two things are
changed in that process, by a sitecustomize.py: it hardly sleeps between its own tries, and its disk is full if told so.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from menny.cli.app import main
from menny.config.paths import PROJECT
from tests.models.hub.fake_hub import COMMIT, FakeHub, serving

pytestmark = pytest.mark.slow

REPO = "somebody/little"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = b'{"weight_map": {"a": "%s", "b": "%s"}}' % (FIRST.encode(), SECOND.encode())
FILES = {
    "config.json": b"{}",
    "model.safetensors.index.json": INDEX,
    FIRST: os.urandom(300_000),
    SECOND: os.urandom(700_000),
}

IN_THE_PROCESS = """
import os, sys, time
import huggingface_hub.file_download as hub
sleep, get = time.sleep, hub.http_get
time.sleep = lambda seconds: sleep(min(seconds, 0.1))

def to_a_full_disk(url, file, **others):
    with open("/dev/full", "wb") as full:
        get(url, full, **others)

if os.environ.get("FULL_DISK"):
    hub.http_get = to_a_full_disk
"""

Get = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sitecustomize.py").write_text(IN_THE_PROCESS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with serving(FakeHub(REPO, dict(FILES))) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


@pytest.fixture
def get(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Get:
    def run(name: str = REPO) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["menny", "get", name])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def models(home: Path) -> Path:
    return home / "menny" / "models"


def misbehave(hub: FakeHub, behaviour: dict[str, Any]) -> None:
    for name, value in behaviour.items():
        setattr(hub, name, value)


FILE, LISTING = f"/{REPO}/resolve/", "/api/models/"


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"status": 401, "refuses": LISTING}, "give a valid token"),
        ({"status": 401, "refuses": FILE, "error": "GatedRepo"}, "agree to its terms: agree at "),
        ({"status": 403, "refuses": FILE, "error": "GatedRepo"}, "agree to its terms: agree at "),
        ({"status": 403, "refuses": FILE}, "ask for access on its page"),
        ({"status": 404, "refuses": LISTING}, "check its page"),
        (
            {"status": 404, "refuses": SECOND, "error": "EntryNotFound"},
            f"The hub lists {SECOND} of {REPO}, but doesn't",
        ),
        ({"status": 429, "refuses": LISTING}, "too many requests from here (429): wait some minutes"),
        ({"status": 429, "refuses": SECOND}, "too many requests from here (429): wait some minutes"),
        ({"status": 429, "refuses": LISTING, "headers": {"Retry-After": "4"}}, "(429): wait 4 seconds, then"),
        ({"status": 429, "refuses": SECOND, "headers": {"Retry-After": "3600"}}, "(429): wait 3,600 seconds, then"),
        ({"status": 429, "refuses": SECOND, "headers": {"RateLimit": '"api";r=0;t=290'}}, "(429): wait 290 seconds"),
        ({"status": 500, "refuses": LISTING}, "The hub has an error (HTTP 500): try again later"),
        (
            {"status": 500, "refuses": f"GET {FILE}{COMMIT}/{SECOND}"},
            "The hub has an error (HTTP 500): try again later",
        ),
        ({"status": 503, "refuses": f"HEAD {FILE}{COMMIT}/{SECOND}"}, "The hub has an error (HTTP 503)"),
        ({"breaks_after": 400_000}, "There is no connection to 127.0.0.1"),
        ({"damaged": {SECOND}}, f"{SECOND} of {REPO} arrived damaged (its hash differs) and was deleted"),
        ({"portal": True}, "doesn't answer as the hub does"),
        ({"listed": {"extra.json": "large"}}, "doesn't answer as the hub does"),
    ],
)
def test_a_fault_is_one_sentence_and_the_next_try_goes_on(
    hub: FakeHub, get: Get, temporary_home: Path, behaviour: dict[str, Any], words: str
) -> None:
    misbehave(hub, behaviour)
    code, out, err = get()
    assert (code, out) == (2, "")
    assert err.startswith("menny: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (models(temporary_home) / "little").exists()
    assert list(models(temporary_home).rglob("*.incomplete")) == []
    assert models(temporary_home).joinpath(".little.getting").exists() == (hub.sent > 0)
    finished = [name for name in FILES if (models(temporary_home) / ".little.getting" / name).exists()]

    plain = FakeHub(REPO, {})
    misbehave(hub, {name: getattr(plain, name) for name in behaviour})
    before = {name: hub.got(name) for name in finished}
    code, out, err = get()
    assert (code, err) == (0, "")
    assert out == f"little is here: {models(temporary_home) / 'little'}\n"
    assert {name: (models(temporary_home) / "little" / name).read_bytes() for name in FILES} == FILES
    assert {name: hub.got(name) for name in finished} == before


@pytest.mark.parametrize(
    "name", ["foo/..", "foo/a b", "foo/-x", "foo/x.", "foo/a--b", "foo/x.git", "é/b", "a/b/c", "/"]
)
def test_what_is_no_repository_is_a_sentence(get: Get, temporary_home: Path, name: str) -> None:
    code, out, err = get(name=name)
    assert (code, out) == (2, "")
    assert err.startswith("menny: ")
    assert err.count("\n") == 1
    assert not models(temporary_home).exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [("path: nowhere", "There is no model at "), ("server: 'http://127.0.0.1:9/v1'", "It is on a server: http://127")],
)
def test_what_cannot_be_got_is_a_sentence(get: Get, temporary_home: Path, source: str, words: str) -> None:
    (temporary_home / "menny").mkdir()
    (temporary_home / "menny" / "models.yaml").write_text(f"models:\n- {{id: own, name: Own, {source}}}\n")
    code, out, err = get("own")
    assert (code, out) == (2, "")
    assert err.startswith(f"menny: Own is not on this machine. {words}")


@pytest.mark.usefixtures("hub")
def test_a_token_that_can_be_none_is_a_sentence(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_cl\u00e9")
    assert "(HF_TOKEN) has characters that no token has: copy it again" in get()[2]


def test_what_arrived_whole_before_the_fault_is_kept(hub: FakeHub, get: Get, temporary_home: Path) -> None:
    misbehave(hub, {"breaks_after": 400_000})
    get()
    kept = models(temporary_home) / ".little.getting"
    assert {path.name for path in kept.iterdir() if path.is_file()} == {*FILES} - {SECOND}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is a disk that is full")
def test_a_disk_that_fills_meanwhile_is_one_sentence(
    hub: FakeHub, get: Get, temporary_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FULL_DISK", "yes")
    code, out, err = get()
    assert (code, out) == (2, "")
    assert err == "menny: The disk is full: free some space, then download it again; finished files are kept.\n"
    assert not (models(temporary_home) / "little").exists()

    monkeypatch.delenv("FULL_DISK")
    assert get()[0] == 0


@pytest.mark.parametrize("silent", [f"GET {FILE}{COMMIT}/{SECOND}", "/tree/", ""])
def test_a_hub_that_never_answers_is_given_up(hub: FakeHub, tmp_path: Path, silent: str) -> None:
    """The process that downloads, with less patience than it has."""
    hub.silent = silent
    program = "import menny.models.hub.__main__ as process; process.PATIENCE = 2.0; process.main()"
    job = f'{{"repo": "{REPO}", "revision": null, "into": "{tmp_path / "models" / "little"}"}}\n'
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(job)
        process.stdin.flush()
        *_, last = process.stdout
    assert process.returncode == 1
    assert f"Nothing of {REPO} has come from 127.0.0.1" in last
    assert list(tmp_path.rglob("*.incomplete")) == []
