"""A server that is killed while it writes a reply: what was said and remembered is there when it is started again."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.storage.talking import integrity
from tests.ui.browsing import serving
from tests.ui.wire import Tab, open_tab

pytestmark = pytest.mark.slow

PAUSE = 0.03  # seconds that each word takes the engine at least: in one second it says no more than…
WORDS_A_SECOND = 1 / PAUSE


@dataclass(frozen=True)
class Cut:
    """A reply that was cut off: where, to what, and what the page had shown of it and of what is remembered."""

    chat: str
    question: str
    words: int
    is_noted: bool

    @property
    def mark(self) -> str:
        return f"Remembered: {self.question.removeprefix('Remember that ')}"


@pytest.mark.parametrize("seed", [1])
def test_a_server_killed_in_mid_reply_at_twenty_moments_loses_a_second_at_most(tmp_path: Path, seed: int) -> None:
    homes = [tmp_path / name for name in ("one", "two")]
    with ThreadPoolExecutor(len(homes)) as both:
        list(both.map(kill_ten_times, homes, (random.Random(f"{seed} {home.name}") for home in homes)))


def kill_ten_times(home: Path, moments: random.Random) -> None:
    """Kill a server over and over; each that is started in its place is asked what it knows of the last reply."""
    (home / "menny").mkdir(parents=True)
    (home / "menny" / "settings.yaml").write_text("remembering: [menny]\n")
    cut, noted = None, 0
    for kills in range(11):
        with serving("tests/ui/app_with_fake_engine.py", home, MENNY_TEST_WORDS="60") as server:
            if cut:
                assert_is_kept(server.address, cut)
            if kills < 10:
                with open_tab(server.address) as tab:
                    cut = talk(tab, f"Remember that this is {kills} until killed", moments.uniform(0, 1.5))
                    server.end(signal.SIGKILL)
                noted += cut.is_noted
                assert integrity(home / "menny" / "chats.db") == "ok"
    assert noted > 0


def talk(tab: Tab, question: str, seconds: float) -> Cut:
    """Ask, and listen for so long."""
    tab.say(question)
    tab.read(lambda: question in tab.texts)
    moment = time.monotonic() + seconds
    tab.read(lambda: time.monotonic() > moment)
    cut = Cut(tab.chat, question, words_of(reply_in(tab)), is_noted=False)
    return replace(cut, is_noted=cut.mark in tab.texts)


def assert_is_kept(address: str, cut: Cut) -> None:
    with open_tab(address, cut.chat) as tab:
        assert cut.question in tab.texts
        assert not cut.is_noted or cut.mark in tab.texts
        assert "Continue" in tab.texts
        assert any("interrupted" in text for text in tab.texts)
        assert words_of(reply_in(tab)) >= cut.words - WORDS_A_SECOND


def reply_in(tab: Tab) -> str:
    return next((text for text in tab.texts if text.startswith("You said")), "")


def words_of(reply: str) -> int:
    return reply.count("word")
