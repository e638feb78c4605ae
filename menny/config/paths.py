"""Where things lie: the project's own files, and what Menny keeps for her user."""

import os
from pathlib import Path

from platformdirs import user_data_path

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT / "configs"


def home() -> Path:
    """Where Menny keeps what belongs to its user: `MENNY_HOME`, or the system's folder for a user's data."""
    chosen = os.environ.get("MENNY_HOME")
    return Path(os.path.expanduser(chosen)) if chosen else user_data_path("menny", appauthor=False)


def keep_kernels() -> None:
    """Have what is compiled for this processor kept in the home, by the name that Numba has for it."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(home() / "cache"))


def models_folder() -> Path:
    """Where a user's own models are looked for."""
    return home() / "models"


def own_models_file() -> Path:
    """Where a user's own entries of the catalogue are kept."""
    return home() / "models.yaml"
