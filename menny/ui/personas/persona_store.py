"""The user's own personas, beside the presets of the page."""

from menny.personas.own import OwnPersonas
from menny.ui.shared.options import presets_folder


def own_personas() -> OwnPersonas:
    """Return the user's own personas, to read and to write."""
    return OwnPersonas(presets_folder())
