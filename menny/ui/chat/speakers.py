"""The personas and models that can answer, and the settings of a reply by another than the chosen ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from menny.models.catalogue import ModelSpec
from menny.personas.persona import Persona
from menny.ui.chat.sending import Sending
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.shared.you import You
from menny.ui.sidebar.choices import Choices, reply_settings


@dataclass(frozen=True, slots=True)
class Speakers:
    """The personas and models that can answer, by id; of the models, `present` are on this machine."""

    personas: Mapping[str, Persona]
    models: Mapping[str, str]
    present: Sequence[str] = ()
    why_no_continuing: Callable[[str], str] = lambda model_id: ""  # noqa: ARG005 - every model here can
    hosts: Mapping[str, str] = field(default_factory=dict)  # of the models that run on servers
    you: You = field(default_factory=You)

    def name(self, persona_id: str) -> str:
        persona = self.personas.get(persona_id)
        return persona.name if persona else "Menny"


def spoken_by(
    sending: Sending, choices: Choices, session: Session, options: Options, models: Sequence[ModelSpec]
) -> Choices:
    """Return what is chosen, for one reply by another persona or model: the next is by the chosen ones again."""
    if not sending.persona and not sending.model:
        return choices
    persona = next((one for one in options.personas if one.id == sending.persona), choices.persona)
    model = next((one for one in models if one.id == sending.model), choices.model)
    source = session.place_of(model) if model else None
    settings, active = reply_settings(session.chosen, persona, model, options)
    error = active.error or options.error or (choices.error if model is choices.model else "")
    return replace(
        choices, persona=persona, model=model, source=source, instructions=active, settings=settings, error=error
    )
