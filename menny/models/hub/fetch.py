"""Download a model's files into a hidden folder beside its place, checked one by one; whole, it gets its name.

Finished files stay there whatever happens, so that the next try goes on; nothing of a repository is run.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from tqdm import tqdm

from menny.errors import ModelError
from menny.files import make_folder
from menny.models.hub.files import RemoteFile, chosen, is_intact
from menny.text import size

AT_ONCE = 4  # files
SPARE_BYTES = 64 << 20  # that a download leaves free on the disk
TIMEOUT = 20  # seconds for a listing

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Job:
    """A repository to download, its commit or branch, and the model's own folder to put it in."""

    repo: str
    revision: str | None
    into: Path
    file: str | None = None  # which of several .gguf files, or the first part of a split one

    @property
    def unfinished(self) -> Path:
        """The hidden folder that the files come into; a catalogue doesn't see it."""
        return self.into.with_name(f".{self.into.name}.getting")


@dataclass
class State:
    """A download's progress; its owner looks at it now and then."""

    doing: str = "listing"
    files: int = 0
    files_done: int = 0
    size: int = 0
    done: int = 0
    alive: int = 0  # grows with whatever is received or checked: a sign of life, no figure

    def lives(self, count: int) -> None:
        """Count bytes that were received or checked, on any thread."""
        self.alive += count


def fetch(job: Job, state: State) -> None:
    """Download a whole model. Raises the hub's errors, ModelError and OSError."""
    folder = job.unfinished
    with _held(job):
        commit, files = listing(job.repo, job.revision)
        wanted = chosen(files, lambda name: _get(job, commit, files[name], state, lambda _: None), job.file)
        finished = [file for file in wanted if _is_here(folder, file, state)]
        missing = [file for file in wanted if file not in finished]
        state.files, state.size = len(wanted), sum(file.size for file in wanted)
        state.files_done, state.done = len(finished), sum(file.size for file in finished)
        _check_space(folder, sum(file.size for file in missing))
        state.doing = "getting"
        _get_all(job, commit, missing, state)
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        os.rename(folder, job.into)
        state.doing = "done"


def remove_leftovers(job: Job, finished_too: bool = False) -> None:
    """Delete what a stopped download left: halves of files, or the finished ones too."""
    if finished_too:
        shutil.rmtree(job.unfinished, ignore_errors=True)
    for half in job.unfinished.glob(".cache/huggingface/download/**/*.incomplete"):
        half.unlink(missing_ok=True)


@contextmanager
def _held(job: Job) -> Iterator[None]:
    """The hidden folder, for this process alone; the lock goes with the process."""
    if os.path.lexists(job.into):
        raise ModelError(f"{job.into} already exists: move it away or remove it, then download the model again.")
    folder = job.unfinished
    make_folder(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"{job.repo} is already downloading: wait for it to finish.") from None
        remove_leftovers(job)
        try:
            yield
        finally:
            if folder.exists():
                _tidy(job)
    finally:
        os.close(handle)


def _tidy(job: Job) -> None:
    """After a download that failed: keep what is finished, and nothing else."""
    remove_leftovers(job)
    if not any(entry.is_file() for entry in job.unfinished.iterdir()):
        shutil.rmtree(job.unfinished)


def listing(repo: str, revision: str | None) -> tuple[str, dict[str, RemoteFile]]:
    """Return the commit that a revision of a repository stands for, and its files."""
    api = HfApi()
    commit = api.repo_info(repo, revision=revision, timeout=TIMEOUT).sha
    if not commit or (_is_commit(revision) and commit != revision):
        raise ModelError(f"The hub has another revision of {repo} than the one asked for: try again later.")
    files = {}
    for entry in api.list_repo_tree(repo, revision=commit, recursive=True):
        if isinstance(entry, RepoFile):
            digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
            files[entry.path] = RemoteFile(entry.path, entry.lfs.size if entry.lfs else entry.size, digest)
    return commit, files


def _is_commit(revision: str | None) -> bool:
    return revision is not None and len(revision) == 40 and all(c in "0123456789abcdef" for c in revision)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise ModelError(
            f"The disk has {size(free)} free, but the download needs {size(needed)} more: free some space, "
            "then download it again."
        )


def _get_all(job: Job, commit: str, missing: list[RemoteFile], state: State) -> None:
    """Some at a time; the first error ends it, and what is finished stays."""
    lock = threading.Lock()

    def on_bytes(count: int) -> None:
        with lock:
            state.done += count

    def get(file: RemoteFile) -> None:
        _get(job, commit, file, state, on_bytes)
        with lock:
            state.files_done += 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(get, file) for file in missing]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()


def _get(job: Job, commit: str, file: RemoteFile, state: State, on_bytes: OnBytes) -> Path:
    """Download a file, whole and as the repository has it."""
    folder = job.unfinished
    if not _is_here(folder, file, state):
        bar = bar_of(on_bytes, state)
        (folder / file.name).unlink(missing_ok=True)  # huggingface_hub would believe its notes, not the file
        try:
            hf_hub_download(job.repo, file.name, revision=commit, local_dir=folder, tqdm_class=bar)
        except RemoteEntryNotFoundError as error:
            sentence = f"The hub lists {file.name} of {job.repo}, but doesn't have it: try again later."
            raise ModelError(sentence) from error
        if not _is_here(folder, file, state):
            (folder / file.name).unlink(missing_ok=True)
            raise ModelError(
                f"{file.name} of {job.repo} arrived damaged (its hash differs) and was deleted: download it again."
            )
    return folder / file.name


def _is_here(folder: Path, file: RemoteFile, state: State) -> bool:
    path = folder / file.name
    return path.is_file() and not path.is_symlink() and is_intact(path, file, state.lives)


def bar_of(on_bytes: OnBytes, state: State) -> type[tqdm]:  # type: ignore[type-arg]
    """Return the class of a progress bar that passes on bytes, and signs of life."""
    return type("Bar", (_Bar,), {"on_bytes": staticmethod(on_bytes), "on_life": staticmethod(state.lives)})


class _Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar for huggingface_hub that draws nothing, and passes on the number of bytes.

    Of a file that comes by Xet it counts twice: what was received, which may be compressed, and what is written. A
    class without `update_transfer` would get two bars, and count both.
    """

    on_bytes: OnBytes
    on_life: OnBytes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("name", None)
        super().__init__(*args, **{**kwargs, "disable": True})

    def update(self, n: float | None = 1) -> bool | None:
        """Count bytes that were written."""
        self.on_bytes(int(n or 0))
        return None

    def update_transfer(self, n: float) -> None:
        """Count bytes that were received."""
        self.on_life(int(n))

    def set_transfer_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Draw nothing beside it."""
