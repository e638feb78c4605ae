"""What the next reply is made by: the chat's settings, the persona's and the app's, brought together in one place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from menny.chat.chat_settings import SAMPLING, ChatSettings
from menny.chat.lore import Lore
from menny.chat.memory import Memory
from menny.chat.prompt_builder import Usage
from menny.chat.settings import Instructions, ReplySettings
from menny.errors import ConfigError
from menny.lorebooks.own import books_for
from menny.models.catalogue import ModelSpec
from menny.models.loader import ModelSource
from menny.moderation.guardrails import Guardrail, combine
from menny.moderation.policy import Moderation
from menny.personas.persona import Persona
from menny.ui.shared.options import Options
from menny.ui.shared.you import You, you_in
from menny.ui.sidebar.moderation_panel import moderation_of
from menny.ui.sidebar.note_panel import depth_of
from menny.ui.sidebar.sampling_panel import sampling_params
from menny.ui.sidebar.thinking_panel import thinking_of

DEFAULT_GUARDRAIL = "mistral"


@dataclass(frozen=True, slots=True)
class ActiveInstructions:
    """The instructions and the guardrails in them, or the error that keeps messages from being sent."""

    instructions: Instructions
    guardrails: Sequence[Guardrail] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """The settings of the next reply. `source` is None where the model isn't on this machine."""

    persona: Persona
    model: ModelSpec | None
    source: ModelSource | None
    instructions: ActiveInstructions
    settings: ReplySettings
    you: You = field(default_factory=You)
    usage: Usage | None = None  # of the model's context, once it is known
    error: str = ""  # why nothing can be sent, if nothing can

    @property
    def can_answer(self) -> bool:
        return self.source is not None and not self.error


def reply_settings(
    chosen: ChatSettings, persona: Persona, model: ModelSpec | None, options: Options
) -> tuple[ReplySettings, ActiveInstructions]:
    """Return what a reply by this persona and model is made by, in a chat with these settings.

    What the chat doesn't set is the persona's; guardrail and moderation are the app's.
    """
    you = you_in(chosen, persona, options)
    active = instructions_of(persona, options.guardrails, options.settings.guardrail or DEFAULT_GUARDRAIL, you)
    params = sampling_params(chosen.over(persona.parameters.model_dump(include=set(SAMPLING))), chosen.seed)
    turns = persona.memory.turns if chosen.memory_turns is None else chosen.memory_turns
    all_chats = persona.memory.all_chats if chosen.memory_all_chats is None else chosen.memory_all_chats
    memory = Memory(chosen.memory or persona.memory.strategy, turns, all_chats=all_chats)
    moderation: Moderation | None = moderation_of(options)
    template = model.template if model else None
    thinking = thinking_of(chosen, persona, model, options.settings.thought_tokens)
    how = ReplySettings(
        params,
        active.instructions,
        template,
        memory,
        moderation,
        lore_of(chosen, persona, options, you),
        user=you.name,
        note=chosen.note,
        note_depth=depth_of(chosen),
        beginning=chosen.beginning.rstrip(" "),
        thinking=thinking,
    )
    return how, active


def lore_of(chosen: ChatSettings, persona: Persona, options: Options, you: You) -> Lore:
    """Return the lorebooks of a chat with these settings: the persona's, its own, and those of all chats."""
    books = books_for(options.lorebooks, (*persona.lorebooks, *chosen.lorebooks))
    return Lore(books, partial(persona.lore_text, user=you.name, draws=you.draws))


def instructions_of(persona: Persona, available: Sequence[Guardrail], guardrail: str, you: You) -> ActiveInstructions:
    """Return the text before a conversation: the app's guardrail, the persona's, its text, and who the user is.

    A guardrail whose file is missing or broken is an error; nothing is sent until it can be read or another is chosen.
    """
    try:
        in_force = combine(guardrail, persona.guardrails, available)
    except ConfigError as error:
        return ActiveInstructions(Instructions(), error=str(error))
    instructions = Instructions.of(
        [one.text for one in in_force],
        persona.system_text(you.name, you.draws),
        persona.example_messages(you.name, you.draws),
        you.profile.described(persona.name, you.draws) if you.profile else "",
    )
    return ActiveInstructions(instructions, in_force)
