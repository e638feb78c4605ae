"""A judge's memory beside the model that chats: whether both fit, and the context that is left to the other."""

from dataclasses import dataclass
from pathlib import Path

from menny.engine import Machine, Plan, active_memory, needs_of, this_machine
from menny.models.catalogue import ServerSource
from menny.models.loader import LoadOptions
from menny.text import size

Place = Path | ServerSource

JUDGE_CONTEXT = 4096  # tokens; a longer text is judged in pieces
CHAT_CONTEXT = 4096  # tokens that the model that chats should have room for at least
AS_JUDGE = LoadOptions(JUDGE_CONTEXT)


@dataclass(frozen=True, slots=True)
class Beside:
    """The bytes that a judge needs, and those that are left to it beside a model of this name."""

    needed: int
    left: int
    name: str

    @property
    def fits(self) -> bool:
        return self.needed <= self.left

    def __str__(self) -> str:
        """Return one sentence for the page."""
        if not self.needed:
            return "It judges on its server."
        if self.fits:
            return f"Needs {size(self.needed)} beside {self.name}: fits."
        return (
            f"Needs {size(self.needed)} beside {self.name}, which leaves {size(max(0, self.left))}: doesn't fit. "
            "Choose a smaller model to chat with, or convert the judge to fewer bits on the Models page."
        )


def beside(judge: Place, chat: Place | None, name: str, is_loaded: bool, machine: Machine | None = None) -> Beside:
    """Return whether a judge fits beside the model that chats, which is loaded or will be. Raises ModelError."""
    machine = machine or this_machine()
    plan, other = plan_at(judge, JUDGE_CONTEXT, machine), plan_at(chat, CHAT_CONTEXT, machine)
    return Beside(plan.total if plan else 0, room_beside(other, is_loaded, machine), name)


def context_beside(chat: Path, judge: Place, is_judge_loaded: bool, machine: Machine | None = None) -> int | None:
    """Return the longest context of a chat's model that leaves room for a judge; None where the judge takes none.

    Raises ModelError for files that can't be a model's.
    """
    machine = machine or this_machine()
    plan = plan_at(judge, JUDGE_CONTEXT, machine)
    if plan is None:
        return None
    left = Machine(machine.kind, max(0, room_beside(plan, is_judge_loaded, machine)))
    return needs_of(chat, left).plan().context


def plan_at(place: Place | None, context: int, machine: Machine) -> Plan | None:
    """Plan a model of this machine; None for a server's."""
    return needs_of(place, machine).plan(context) if isinstance(place, Path) else None


def room_beside(plan: Plan | None, is_loaded: bool, machine: Machine) -> int:
    """Return the bytes that are left beside a model: of one that is loaded, the system has counted the weights."""
    if plan is None:
        return machine.room
    if machine.kind == "metal" or not is_loaded:
        return machine.room - plan.total
    return machine.room - active_memory() - (plan.total - plan.weights)
