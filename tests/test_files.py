"""Files are written whole, and what isn't a file is named and never waited for."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from menny.files import FORMER_AGE, lock_folder, make_folder, read_file, remove_unfinished, write_atomic

KINDS = {"folder": "a folder", "pipe": "a named pipe", "socket": "a socket", "device": "a device"}


def put(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put something that isn't a file at a path."""
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            monkeypatch.chdir(path.parent)  # a socket's address is short
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(path.name)
        case "device":
            path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_file_is_named_and_neither_waited_for_nor_overwritten(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    put(kind, path, monkeypatch)
    before = os.lstat(path)
    for attempt in (lambda: read_file(path), lambda: write_atomic(path, b"new")):
        with pytest.raises(OSError, match=f"isn't a file but {KINDS[kind]}"):
            attempt()
    assert os.lstat(path).st_ino == before.st_ino
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", b"12345")
    assert (read_file(tmp_path / "x"), read_file(tmp_path / "x", 3)) == (b"12345", b"123")


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    link, target = tmp_path / "models.yaml", tmp_path / "dotfiles" / "models.yaml"
    link.symlink_to(target)
    for content in (b"first", b"second"):
        write_atomic(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content


def test_folders_are_made_for_nobody_but_their_owner_and_others_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    write_atomic(tmp_path / "shared" / "home" / "personas" / "x.yaml", b"x")
    make_folder(tmp_path / "shared" / "home" / "models")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"shared": 0o755, "home": 0o700, "personas": 0o700, "models": 0o700, "x.yaml": 0o600}


def test_a_killed_process_leaves_nothing_once_another_has_tidied_and_a_living_ones_file_stays(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from menny.files import write_atomic\n"
        "os.fsync = lambda handle: (print('writing', flush=True), time.sleep(600))\n"
        "write_atomic(Path(sys.argv[1]), b'half')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "x.yaml")]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        (unfinished,) = tmp_path.iterdir()
        remove_unfinished([tmp_path])
        assert list(tmp_path.iterdir()) == [unfinished]
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert list(tmp_path.iterdir()) == [unfinished]
    remove_unfinished([tmp_path, tmp_path / "not there"])
    assert list(tmp_path.iterdir()) == []


def test_what_former_versions_left_goes_and_a_users_hidden_files_stay(tmp_path: Path) -> None:
    old = time.time() - 2 * FORMER_AGE
    stay = [".htaccess", ".gitignore", ".stfolder", ".abcd_123x", ".backup01", "x7k2m9qa", ".x7k2m9qb"]
    for name in (*stay, ".x7k2m9qa"):
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / name).chmod(0o644 if name == ".backup01" else 0o600)
        os.utime(tmp_path / name, None if name == ".x7k2m9qb" else (old, old))
    (tmp_path / ".x7k2m9qc").mkdir()
    remove_unfinished([tmp_path])
    assert {path.name for path in tmp_path.iterdir()} == {*stay, ".x7k2m9qc"}


def test_a_folder_can_be_locked_while_files_are_written_into_it(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        write_atomic(tmp_path / "x", b"x")
    assert (tmp_path / "x").read_bytes() == b"x"
