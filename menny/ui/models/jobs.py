"""Downloads, conversions and loading, which go on in the background for all tabs."""

import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from menny.config.paths import models_folder
from menny.engine import Conversion
from menny.errors import MennyError, ModelError
from menny.models.catalogue import ModelSpec, RepoSource
from menny.models.hub import Download, Job, remove_leftovers
from menny.models.loader import ModelSource
from menny.ui.shared.shared_engine import LoanCancelled, SharedEngine


@dataclass(slots=True, eq=False)
class Work:
    """Background jobs by model id; finished ones stay until they are dismissed."""

    downloads: dict[str, Download] = field(default_factory=dict)
    conversions: dict[str, Conversion] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)  # of loading or converting
    loads: set[str] = field(default_factory=set)  # the models being loaded from this page

    @property
    def is_under_way(self) -> bool:
        """True while a job is under way."""
        downloads = any(not one.progress.is_over for one in self.downloads.values())
        conversions = any(not one.is_over for one in self.conversions.values())
        return downloads or conversions or bool(self.loads)

    def get(self, spec: ModelSpec) -> None:
        """Start or resume a download."""
        self.errors.pop(spec.id, None)
        if isinstance(spec.source, RepoSource):
            source = spec.source
            self.downloads[spec.id] = Download(Job(source.repo, source.revision, source.into, source.file))

    def load(self, model_id: str, place: ModelSource, engines: SharedEngine) -> None:
        """Load a model ahead of its first question."""

        def run() -> None:
            try:
                with engines.borrow(place, lambda _: None, lambda: False):
                    pass
            except (MennyError, LoanCancelled) as error:
                self.errors[model_id] = str(error)
            finally:
                self.loads.discard(model_id)

        self.errors.pop(model_id, None)
        self.loads.add(model_id)
        threading.Thread(target=run, name="menny-load", daemon=True).start()

    def discard(self, model_id: str) -> None:
        """Delete the files of a cancelled download."""
        if (download := self.downloads.get(model_id)) and download.progress.is_over:
            remove_leftovers(download.job, finished_too=True)
            self.dismiss(model_id)

    def dismiss(self, model_id: str) -> None:
        """Forget the finished jobs of a model."""
        self.errors.pop(model_id, None)
        if (download := self.downloads.get(model_id)) and download.progress.is_over:
            del self.downloads[model_id]
        if (conversion := self.conversions.get(model_id)) and conversion.is_over:
            del self.conversions[model_id]


@st.cache_resource(show_spinner=False)
def shared_work() -> Work:
    """Return the jobs of this process."""
    return Work()


def removable(spec: ModelSpec) -> Path | None:
    """Return the folder or file of a model that Menny may delete: in its own folder or the hub's cache. Else None."""
    place = spec.place()
    if place is None:
        return None
    folder = models_folder().absolute()
    if place.absolute().is_relative_to(folder):
        within = place.absolute().relative_to(folder).parts
        return place if within and ".." not in within else None  # never the folder itself, nor anything outside
    for parent in place.parents:
        if isinstance(spec.source, RepoSource) and parent.parent == spec.source.cache:
            return parent if parent.name.startswith("models--") else None
    return None


def remove(spec: ModelSpec) -> None:
    """Delete a model's files. Raises ModelError where that fails."""
    place = removable(spec)
    if place is None:
        raise ModelError(f"{spec.name} is outside Menny's folders. Remove it by hand.")
    try:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
    except OSError as error:
        raise ModelError(f"{place} can't be deleted ({error.strerror}).") from None
