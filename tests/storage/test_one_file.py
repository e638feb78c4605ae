"""The store is one file: copied alone it holds every chat, and whatever else has its name is explained."""

import errno
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from menny.config.paths import PROJECT
from menny.errors import StorageError
from menny.storage import ChatStore, new_id
from tests.storage.talking import integrity, say, texts

SERVE = """
import pathlib, signal, sys, threading
from menny.storage import ChatStore
store = ChatStore(pathlib.Path(sys.argv[1]))
question, reply = store.ask("chat", None, "Hi")
store.finish(reply.id, "Hello", "stop")
print("written", flush=True)
threading.Event().wait()
"""

LITTLE_ROOM = """
import pathlib, resource, signal, sys
from menny.errors import StorageError
from menny.storage import ChatStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for _ in range(3):
    try:
        store = ChatStore(pathlib.Path(sys.argv[1]))
        question, reply = store.ask("chat", None, "Hi")
        store.finish(reply.id, "Hello", "stop")
        store.close()
        print("written")
    except StorageError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store = ChatStore(pathlib.Path(sys.argv[1]))
assert not store.notice, store.notice
question, reply = store.ask("after", None, "Room again?")
store.close()
"""


def copied(file: Path, to: Path) -> ChatStore:
    """The store of the file alone, without what lies beside it."""
    to.mkdir(exist_ok=True)
    shutil.copy(file, to / "chats.db")
    return ChatStore(to / "chats.db")


def test_the_file_copied_alone_holds_what_was_just_said(store: ChatStore, file: Path, tmp_path: Path) -> None:
    for number in range(3):
        chat = say(store, f"question {number}", "answer")
        copy = copied(file, tmp_path / str(number))
        assert texts(copy, chat) == [f"question {number}", "answer"]
        assert len(copy.conversations()) == number + 1
        copy.close()


def test_a_new_store_copied_alone_is_a_store(store: ChatStore, file: Path, tmp_path: Path) -> None:
    copy = copied(file, tmp_path / "copy")
    assert (copy.notice, copy.conversations()) == ("", [])
    copy.close()


def test_a_growing_reply_is_in_the_file_too(store: ChatStore, file: Path, tmp_path: Path) -> None:
    chat = new_id()
    _, reply = store.ask(chat, None, "Count")
    store.grow(reply.id, "One, two")
    copy = copied(file, tmp_path / "copy")
    assert texts(copy, chat) == ["Count", "One, two"]
    copy.close()


def test_while_others_read_the_file_is_whole_after_the_next_change(
    store: ChatStore, file: Path, tmp_path: Path
) -> None:
    other = ChatStore(file)
    chat = say(store, "Hi", "Hello")
    assert texts(other, chat) == ["Hi", "Hello"]
    assert len(other.search("hello")) == 1
    say(store, "More", "More it is", chat)
    copy = copied(file, tmp_path / "copy")
    assert texts(copy, chat) == ["Hi", "Hello", "More", "More it is"]
    copy.close()
    other.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_after_a_signal_the_file_alone_holds_everything(file: Path, tmp_path: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVE, str(file)]
    with subprocess.Popen(
        command, env={"PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(end)
        process.wait(30)
    copy = copied(file, tmp_path / "copy")
    assert texts(copy, "chat") == ["Hi", "Hello"]
    copy.close()


def test_nothing_is_left_in_the_log_without_a_word(
    store: ChatStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        chat = say(store, "Hi", "Hello")
        store.search("hello")
        store.delete(chat)
        store.close()
        ChatStore(file).close()
    assert caplog.records == []
    assert [path.name for path in file.parent.iterdir() if path.is_file()] == ["chats.db"]


def test_with_too_little_room_the_first_start_says_that_the_disk_is_full(tmp_path: Path) -> None:
    outcomes = set()
    for kilobytes in (0, 1, 4, 8, 20, 40, 60, 80, 100, 120, 160, 300):
        file = tmp_path / str(kilobytes) / "chats.db"
        command = [sys.executable, "-c", LITTLE_ROOM, str(file), str(kilobytes * 1024)]
        done = subprocess.run(command, env={"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            outcomes.add(line if line == "written" else "full" if "disk is full" in line else line)
        assert integrity(file) == "ok"
    assert outcomes == {"written", "full"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_beside_the_file_is_called_full_too(
    store: ChatStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("menny.storage.writers.make_folder", fail)
    with pytest.raises(StorageError, match="disk is full"):
        store.ask("chat", None, "Hi")


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("part", ["chats.db", "chats.db-wal", "chats.db-shm", "chats.db.writers"])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a named pipe"),
        (lambda path: os.symlink("/dev/full", path), "a device"),
        (lambda path: os.symlink("/dev/zero", path), "a device"),
        (socket_at, "a socket"),
        (os.mkdir, "a folder"),
        (Path.touch, "a file"),
    ],
)
def test_something_else_in_a_files_place_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, make: Callable[[Path], None], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    if kind == ("a folder" if part == "chats.db.writers" else "a file"):
        pytest.skip("it belongs there")
    make(Path(part))
    wanted = "a folder" if part == "chats.db.writers" else "a file"
    with pytest.raises(StorageError) as caught:
        ChatStore(tmp_path / "chats.db")
    assert str(caught.value) == (f"{part} is {kind}, not {wanted}: move it elsewhere, then start Menny again.")


def test_a_pipe_among_the_marks_of_writers_is_passed_over(file: Path) -> None:
    store = ChatStore(file)
    chat = say(store, "Hi", "Hello")
    os.mkfifo(file.with_name("chats.db.writers") / "pipe")
    store.close()
    again = ChatStore(file)
    assert texts(again, chat) == ["Hi", "Hello"]
    again.close()
