"""The settings of the app, as all tabs of this process share them: settings.yaml, read again when it changes."""

import os
import threading
from pathlib import Path
from typing import Any

import streamlit as st

from menny.config.settings import Settings, change_settings, load_settings, merged, settings_file, usable_settings
from menny.errors import ConfigError, MennyError

Stamp = tuple[int, int] | None


class AppSettings:
    """The settings in force.

    Of a broken file those keys hold that can be used, and `error` names what is wrong; of one that can't be read at
    all, what was read last. What can't be written holds until the process ends.
    """

    def __init__(self, file: Path) -> None:
        self.error: ConfigError | None = None
        self.is_lost = False  # nothing of the file could ever be read: what the user had set isn't known
        self._file = file
        self._seen: Stamp | str = "unread"
        self._read = Settings()
        self._unwritten: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def now(self) -> Settings:
        """The settings as they are at this moment."""
        with self._lock:
            if (stamp := _stamp(self._file)) != self._seen:
                is_first, self._seen = self._seen == "unread", stamp
                try:
                    self._read, self.error, self.is_lost = load_settings(), None, False
                except ConfigError as error:
                    usable = usable_settings()
                    self.is_lost = usable is None and (is_first or self.is_lost)
                    self._read, self.error = usable or self._read, error
            if not self._unwritten:
                return self._read
            return Settings.model_validate(merged(self._read.model_dump(exclude_unset=True), self._unwritten))

    @property
    def revision(self) -> str:
        """A text that changes with the file."""
        return str(_stamp(self._file))

    def change(self, **changes: Any) -> None:
        """Set keys, in the file if that can be; None removes one. Raises ConfigError or StorageError if it can't."""
        with self._lock:
            try:
                change_settings(**changes)
            except MennyError:
                self._unwritten = merged(self._unwritten, changes)
                raise
            self._unwritten = {key: value for key, value in self._unwritten.items() if key not in changes}


def shared_settings() -> AppSettings:
    """Return the settings of this process, for the user's home."""
    return _settings(settings_file())


@st.cache_resource(show_spinner=False)
def _settings(file: Path) -> AppSettings:
    return AppSettings(file)


def _stamp(file: Path) -> Stamp:
    """A value that differs once the file has changed; None before that."""
    try:
        status = os.stat(file)
    except OSError:
        return (0, 0) if os.path.lexists(file) else None
    return status.st_mtime_ns, status.st_ino
