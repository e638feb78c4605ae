"""Several processes, and those that die: none loses what another wrote, and a killed one leaves a whole file."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from menny.config.paths import PROJECT
from menny.storage import ChatStore, new_id
from tests.storage.talking import integrity, say, texts

TALK = """
import pathlib, sys
from menny.storage import ChatStore
file, chat, name, count = sys.argv[1:]
store = ChatStore(pathlib.Path(file))
parent = None
for number in range(int(count)):
    question, reply = store.ask(chat, parent, f"{name} asks {number}")
    store.finish(reply.id, f"{name} hears {number}", "stop")
    parent = reply.id
store.close()
"""

GROW = """
import pathlib, sys, time
from menny.storage import ChatStore
store = ChatStore(pathlib.Path(sys.argv[1]))
parent = None
for turn in range(1000):
    question, reply = store.ask(sys.argv[2], parent, f"question {turn}")
    parent = reply.id
    print("asked", turn, flush=True)
    for count in range(1, 30):
        store.grow(reply.id, "word " * count)
        print("grew", turn, count, flush=True)
    store.finish(reply.id, "word " * 30, "stop")
"""


def start(script: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env={"PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("chats", [("one", "one"), ("one", "two")], ids=["in one chat", "in two chats"])
def test_two_processes_write_a_thousand_messages_each_and_none_is_lost(file: Path, chats: Sequence[str]) -> None:
    writers = [start(TALK, file, chat, name, 500) for chat, name in zip(chats, ("Ann", "Ben"), strict=True)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    store = ChatStore(file)
    said = [entry.text for chat in set(chats) for entry in store.transcript(chat).entries]
    assert sorted(said) == sorted(
        f"{name} {verb} {number}" for name in ("Ann", "Ben") for verb in ("asks", "hears") for number in range(500)
    )
    assert len(store.search("hears")) == len(set(chats))
    store.close()
    assert integrity(file) == "ok"


def test_threads_share_a_store(store: ChatStore) -> None:
    chats = [new_id() for _ in range(8)]

    def talk(chat: str) -> None:
        for number in range(20):
            say(store, f"{chat} {number}", "ok", chat)
            store.path(chat)

    threads = [threading.Thread(target=talk, args=(chat,)) for chat in chats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for chat in chats:
        assert texts(store, chat) == [text for number in range(20) for text in (f"{chat} {number}", "ok")]


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_what_it_had_said_marked_as_interrupted(tmp_path: Path) -> None:
    moments = random.Random(7)
    for number in range(20):
        file, chat = tmp_path / str(number) / "chats.db", new_id()
        writer = start(GROW, file, chat)
        assert writer.stdout is not None
        heard = [writer.stdout.readline()]
        time.sleep(moments.uniform(0, 0.1))
        writer.send_signal(signal.SIGKILL)
        heard += writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        whole_lines = [line.split() for line in heard if len(line.split()) == (2 if line.startswith("asked") else 3)]
        assert integrity(file) == "ok"
        store = ChatStore(file)
        path = store.path(chat)
        last_turn = int(whole_lines[-1][1])
        said = int(whole_lines[-1][2]) if whole_lines[-1][0] == "grew" else 0
        assert [entry.text for entry in path[::2]][: last_turn + 1] == [f"question {t}" for t in range(last_turn + 1)]
        reply = path[2 * last_turn + 1]
        assert reply.text.count("word") >= said
        assert path[-1].status in ("interrupted", "whole")
        if reply.text.count("word") < 30:
            assert reply.status == "interrupted"
        assert list((file.parent / "chats.db.writers").iterdir()) == []
        store.close()


def test_a_silent_writer_that_lives_is_not_taken_for_dead(file: Path) -> None:
    script = (
        "import pathlib, sys; from menny.storage import ChatStore; store = ChatStore(pathlib.Path(sys.argv[1]));"
        "store.ask(sys.argv[2], None, 'Hi'); print('asked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(file), "chat"]
    writer = subprocess.Popen(
        command, env={"PYTHONPATH": str(PROJECT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(2):
            store = ChatStore(file)
            assert store.path("chat")[1].status == "growing"
            store.close()
        writer.kill()
    store = ChatStore(file)
    assert store.path("chat")[1].status == "interrupted"
    store.close()


@pytest.mark.slow
def test_many_processes_can_open_a_new_store_at_once(file: Path) -> None:
    opened = [start(TALK, file, f"chat {number}", "Ann", 1) for number in range(6)]
    assert [process.wait(60) for process in opened] == [0] * 6
    for process in opened:
        assert process.stdout is not None
        process.stdout.close()
    store = ChatStore(file)
    assert len(store.conversations()) == 6
    store.close()
