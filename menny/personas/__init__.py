"""Personas: who answers, with what voice; their files, cards and avatars."""

from menny.personas.persona import load_personas

__all__ = ["load_personas"]
