"""Who the user is in a chat, and what settles the macros of its texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

import streamlit as st

from menny.chat import Chat
from menny.chat.chat_settings import ChatSettings
from menny.personas.macros import Draws
from menny.personas.persona import Persona
from menny.personas.profiles import Profile, nearest
from menny.ui.shared.options import Options

NAMELESS = "You"  # the user's name on the page where none was given


@dataclass(frozen=True, slots=True)
class You:
    """The profile in force, if there is one, and the draws of the chat."""

    profile: Profile | None = None
    draws: Draws = field(default_factory=Draws)

    @property
    def name(self) -> str:
        """What {{user}} stands for; empty where no name was given."""
        return self.profile.name if self.profile else ""


def you_in(chosen: ChatSettings, persona: Persona, options: Options) -> You:
    """Return who the user is in a chat with these settings when this persona answers."""
    profile = nearest(options.profiles, persona.id, chosen.profile, options.settings.profile or "")
    try:
        at = datetime.fromisoformat(chosen.begun)
    except ValueError:
        at = None
    return You(profile, Draws(chosen.draws, at))


def settled(chosen: ChatSettings, chat: Chat) -> ChatSettings:
    """Return a chat's settings with the user's profile and what settles its macros, also of an older chat."""
    entries = chat.entries
    if entries and not chosen.profile:
        chosen = replace(chosen, profile=chosen.known_as)
    if chosen.draws and chosen.begun:
        return chosen
    at = datetime.fromtimestamp(entries[0].created if entries else chat.opened, browser_zone())
    return replace(chosen, draws=chat.id, begun=at.isoformat(timespec="seconds"))


def keep_settled(chat: Chat, chosen: ChatSettings, profile: Profile | None) -> None:
    """Let a chat that has no message yet keep who the user is in it, and what settles its macros."""
    chat.prepare(draws=chosen.draws, begun=chosen.begun, known_as=profile.id if profile else "")


def browser_zone() -> tzinfo | None:
    """Return the browser's time zone, else this machine's."""
    try:
        return ZoneInfo(st.context.timezone or "")
    except (ValueError, OSError, KeyError):
        return datetime.now().astimezone().tzinfo


def names_of(profiles: Sequence[Profile]) -> dict[str, str]:
    """Return the profiles' names by id."""
    return {profile.id: profile.name for profile in profiles}
