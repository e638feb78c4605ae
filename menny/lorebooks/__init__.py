"""Lorebooks: knowledge about a character's world, entry by entry, of which a chat gets what it mentions."""

from menny.lorebooks.lorebook import Logic, Lorebook, LoreEntry
from menny.lorebooks.scan import DEFAULT_BUDGET, Activation, ScanResult, scan

__all__ = ["DEFAULT_BUDGET", "Activation", "Logic", "LoreEntry", "Lorebook", "ScanResult", "scan"]
