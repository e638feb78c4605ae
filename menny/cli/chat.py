"""The command to chat in the terminal, and what can be typed there besides messages: /retry, /persona, /save …"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from menny.chat import Chat, Instructions, Reply, ReplySettings
from menny.chat.lore import Lore
from menny.chat.memory import Memory, Strategy
from menny.chat.thinking import Choice
from menny.cli.common import Context, Force, ModelName, Seed, Threads, complain, is_judge, open_engine, thinking_of
from menny.cli.files import check_target, read_given, write_given
from menny.cli.input_lines import typed_lines
from menny.cli.remembering import Remembering
from menny.cli.replies import moderation_in_force, print_reply
from menny.config.command import command
from menny.config.paths import CONFIGS
from menny.config.settings import load_settings
from menny.engine import SamplingParams
from menny.errors import ConfigError, MennyError, ModelError, PipelineError, PromptError
from menny.lorebooks.files import MAX_BYTES
from menny.lorebooks.own import OwnLorebooks, books_for
from menny.models.loader import AnyEngine
from menny.moderation.guardrails import combine, load_guardrails
from menny.personas.card_books import read_lorebook
from menny.personas.cards import greetings_of
from menny.personas.macros import Draws
from menny.personas.persona import Persona, choose, load_all
from menny.personas.profiles import Profile, load_profiles, nearest
from menny.storage import Opening, as_json, as_markdown
from menny.text import close_matches, sanitize

COMMAND = re.compile(r"/([A-Za-z]*)(?:\s+(.*))?", re.DOTALL)  # no path, which has another slash
SAVED_AS = (".md", ".json")

ThinkingOption = Annotated[
    Choice | None,
    typer.Option("--thinking", help="Whether the model thinks before it answers; auto: if it was trained to."),
]


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What was chosen when the chat was started, and holds whoever answers; None: as the persona has it."""

    guardrail: str
    sampling: dict[str, float | int]
    strategy: Strategy | None
    turns: int | None
    thinking: Choice | None
    context: int | None
    force: bool
    threads: int | None
    lorebooks: Sequence[str] = ()
    you: str = ""
    remember: bool | None = None


def chat(
    model: ModelName = "smollm2",
    persona: Annotated[str, typer.Option("--persona", "-p", help="The persona that answers, by id or name.")] = "menny",
    guardrail: Annotated[str, typer.Option(help="The app's guardrail; a persona can add others.")] = "mistral",
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature, instead of the persona's.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest reply in tokens, instead of the persona's.")] = None,
    seed: Seed = None,
    memory: Annotated[
        Strategy | None,
        typer.Option(help="What the model sees of a long chat, instead of the persona's."),
    ] = None,
    memory_turns: Annotated[
        int | None, typer.Option(min=0, max=1000, help="Turns to keep, for the memories turns and summary-and-turns.")
    ] = None,
    thinking: ThinkingOption = None,
    lorebook: Annotated[
        list[str] | None,
        typer.Option(metavar="ID|FILE", help="A lorebook besides the persona's, by its id or a file; can be repeated."),
    ] = None,
    you: Annotated[
        str, typer.Option(metavar="PROFILE", help="Who you are: one of your profiles, by its id or name.")
    ] = "",
    remember: Annotated[
        bool | None,
        typer.Option(help="Whether the persona remembers you across chats. Default: as it is set in the page."),
    ] = None,
    context: Context = None,
    force: Force = False,
    threads: Threads = None,
) -> None:
    """Chat with a persona. Ctrl-C stops a reply, /help lists what else can be typed, Ctrl-D or /bye ends."""
    chosen = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    sampling = {name: value for name, value in chosen.items() if value is not None}
    options = ChatOptions(
        guardrail, sampling, memory, memory_turns, thinking, context, force, threads, lorebook or (), you, remember
    )
    with TerminalChat(options, persona) as talk:
        talk.load(model)
        talk.greet()
        for line in typed_lines():
            talk.take(line)
        talk.end()


class TerminalChat:
    """A chat in the terminal: who answers, by which model, and the commands that change it."""

    def __init__(self, options: ChatOptions, persona: str) -> None:
        self._options = options
        self._personas = load_all()[0]
        self._lorebooks, self._given = OwnLorebooks().load()[0], list[str]()
        for one in options.lorebooks:
            self._add_lorebook(one)
        self._guardrails = load_guardrails(CONFIGS / "guardrails")[0]
        self._profiles = load_profiles()[0]
        self._you = _profile_named(options.you, self._profiles).id if options.you else ""
        self._remembering = Remembering(options.remember)
        self._own_text: str | None = None  # in place of the persona's
        self._chat = Chat()
        self._draws = Draws(self._chat.id, datetime.now().astimezone())
        self._saved: set[Path] = set()
        self._loaded = ExitStack()
        self._model, self._template = "", ""
        self._engine: AnyEngine
        self._moderation = moderation_in_force()
        self._who = choose(persona, self._personas)
        self._settings = self._settings_of(self._who)
        self._commands: dict[str, tuple[str, Callable[[str], None]]] = {
            "help": ("list these commands", self._help),
            "retry": ("answer the last message again", self._retry),
            "new": ("begin a new chat", self._new),
            "persona": ("NAME: let another persona answer; without a name, list them", self._persona),
            "model": ("NAME: let another model answer", self._switch_model),
            "system": ("TEXT: give the model this text instead of the persona's; without a text, show what it gets",
                       self._system),
            "save": ("FILE: write the chat to a .md file to read, or a .json file to import", self._save),
        }  # fmt: skip

    def __enter__(self) -> "TerminalChat":
        return self

    def __exit__(self, *_: object) -> None:
        self._loaded.close()
        self._remembering.close()

    def load(self, model: str) -> None:
        """Load a model in place of the one before."""
        if is_judge(model):
            raise ModelError(f"{model} judges texts and can't chat: choose another model.")
        self._loaded.close()
        opened = open_engine(model, self._options.context, self._options.force, self._options.threads)
        self._engine, self._template = self._loaded.enter_context(opened)
        self._model = model
        self._settings = self._settings_of(self._who)

    def greet(self) -> None:
        """Print the persona's greeting; it is the first message of a chat that has none yet."""
        greeting = next(iter(greetings_of(self._who, self._your_name(self._who), self._draws)), "")
        typer.echo(f"{self._who.name}: {sanitize(greeting)}\n" if greeting else "")
        self._chat.begin_with(Opening((greeting,), persona=self._who.id) if greeting else None)

    def _profile(self, who: Persona) -> Profile | None:
        return nearest(self._profiles, who.id, self._you, default=load_settings().profile or "")

    def _your_name(self, who: Persona) -> str:
        profile = self._profile(who)
        return profile.name if profile else ""

    def take(self, line: str) -> None:
        """Do what a line asks for: a command, or a message to be answered."""
        found = COMMAND.fullmatch(line)
        if found is None:
            if line:
                self._say(line.removeprefix("/") if line.startswith("//") else line)
            return
        word = found[1].lower()
        try:
            if word not in self._commands:
                close = close_matches(word, [*self._commands, "bye"])
                meant = f"did you mean /{close[0]}?" if close else "/help lists all of them."
                raise PromptError(f"There is no command /{word}{';' if close else ':'} {meant}")
            self._commands[word][1]((found[2] or "").strip())
        except PipelineError:
            raise  # which ends all turns
        except MennyError as error:
            complain(str(error), error.exit_code)

    def _say(self, text: str) -> None:
        who, model, asked = self._who, self._model, list[Reply]()
        settings = self._remembering.telling(self._chat, who.id, self._settings)

        def begin() -> Reply:
            asked.append(self._chat.begin(text, who.id, model))
            self._remembering.note_asked(self._chat, who.id, asked[0])
            return asked[0]

        print_reply(self._chat, begin, who.name, self._engine, settings)
        for reply in asked:
            self._remembering.report(reply)

    def end(self) -> None:
        """Note what is to be remembered of the chat, which ends here."""
        self._remembering.note_at_end(self._chat, self._who.id, self._engine, self._settings)

    def _help(self, _: str) -> None:
        for word, (what, _take) in [*self._commands.items(), ("bye", ("end, as Ctrl-D does", self._help))]:
            typer.echo(f"/{word:8} {what}")
        typer.echo("Ctrl-C stops a reply, the arrow keys bring back what was typed, and // begins a message with /.\n")

    def _retry(self, _: str) -> None:
        if not self._chat.entries:
            raise PromptError("There is nothing to answer again yet: type a message first.")
        last, who, model = self._chat.entries[-1].id, self._who, self._model
        settings = self._remembering.telling(self._chat, who.id, self._settings)
        print_reply(self._chat, lambda: self._chat.regenerate(last, who.id, model), who.name, self._engine, settings)

    def _new(self, _: str) -> None:
        self.end()
        self._chat, self._saved = Chat(), set()
        self._draws = Draws(self._chat.id, datetime.now().astimezone())
        self._settings = self._settings_of(self._who)
        typer.echo("A new chat.\n")
        self.greet()

    def _persona(self, name: str) -> None:
        if not name:
            typer.echo(f"{self._who.name} answers. The personas are: {', '.join(one.id for one in self._personas)}.\n")
            return
        who = choose(name, self._personas)
        settings = self._settings_of(who, keeps_text=False)
        self._who, self._settings, self._own_text = who, settings, None
        if self._chat.entries:
            typer.echo(f"{who.name} answers from here on.\n")
        else:
            self.greet()

    def _switch_model(self, name: str) -> None:
        if not name:
            typer.echo(f"{self._model} answers. `{command('models')}` lists the others.\n")
            return
        before = self._model
        try:
            self.load(name)
        except MennyError:
            if before:
                self.load(before)
            raise
        typer.echo(f"{name} answers from here on.\n")

    def _system(self, text: str) -> None:
        if text:
            self._own_text = text
            self._settings = self._settings_of(self._who)
            typer.echo(f"The model gets this from here on. /persona {self._who.id} brings back the persona's text.\n")
        else:
            settings = self._remembering.telling(self._chat, self._who.id, self._settings)
            full = self._chat.instructions(self._engine, settings).system_text
            typer.echo(f"{sanitize(full) or 'The model gets no instructions.'}\n")

    def _save(self, name: str) -> None:
        if not name:
            raise PromptError("/save needs a file: /save chat.md to read, or /save chat.json to import again.")
        if not self._chat.entries:
            raise PromptError("There is nothing to save yet: type a message first.")
        path = Path(name).expanduser()
        target = check_target(path, SAVED_AS, path in self._saved, "choose another name.")
        transcript = self._chat.transcript()
        names = {one.id: one.name for one in self._personas}
        is_markdown = target.suffix.lower() == ".md"
        write_given(target, (as_markdown(transcript, names) if is_markdown else as_json(transcript)).encode())
        self._saved.add(path)
        typer.echo(f"The chat is in {target}.\n")

    def _settings_of(self, who: Persona, *, keeps_text: bool = True) -> ReplySettings:
        """Return what replies of a persona are made by. Raises ConfigError for a guardrail that isn't there."""
        options = self._options
        texts = [one.text for one in combine(options.guardrail, who.guardrails, self._guardrails)]
        own = self._own_text if keeps_text else None
        name, profile = self._your_name(who), self._profile(who)
        text = who.system_text(name, self._draws) if own is None else own
        about = profile.described(who.name, self._draws) if profile and own is None else ""
        instructions = Instructions.of(texts, text, who.example_messages(name, self._draws), about)
        params = SamplingParams(**{**who.parameters.model_dump(), **options.sampling})
        memory = memory_of(who, options.strategy, options.turns)
        thoughts = thinking_of(self._model, options.thinking or who.thinking) if self._model else None
        books = books_for(self._lorebooks, (*who.lorebooks, *self._given))
        lore = Lore(books, partial(who.lore_text, user=name, draws=self._draws))
        settings = ReplySettings(params, instructions, self._template, memory, self._moderation, lore, user=name)
        return replace(settings, thinking=thoughts) if thoughts else settings

    def _add_lorebook(self, given: str) -> None:
        """Add a lorebook by its id, or one that is read from a file."""
        if given not in self._lorebooks and Path(given).suffix:
            book, notices = read_lorebook(Path(given).name, read_given(Path(given), MAX_BYTES))
            self._lorebooks = {**self._lorebooks, given: book}
            for notice in notices:
                typer.echo(f"({sanitize(notice)})", err=True)
        elif given not in self._lorebooks:
            ids = ", ".join(self._lorebooks) or "none yet"
            raise ConfigError(f"There is no lorebook '{given}': name a file, or one of yours ({sanitize(ids)}).")
        self._given.append(given)


def _profile_named(given: str, profiles: Sequence[Profile]) -> Profile:
    """Return the profile of this id or name. Raises ConfigError, which lists those that there are."""
    wanted = given.strip().casefold()
    for profile in profiles:
        if wanted in (profile.id.casefold(), profile.name.casefold()):
            return profile
    ids = ", ".join(profile.id for profile in profiles)
    there = f"choose one of {sanitize(ids)}." if ids else "you have none yet; make one in the settings of the page."
    raise ConfigError(f"There is no profile '{sanitize(given)}': {there}")


def memory_of(who: Persona, strategy: Strategy | None, turns: int | None) -> Memory:
    """Return the memory of the persona, or of the options in its place."""
    chosen = Memory(strategy or who.memory.strategy, who.memory.turns if turns is None else turns, who.memory.all_chats)
    if turns is not None and not chosen.names_turns:
        raise PromptError("--memory-turns only works with --memory turns or summary-and-turns: add one of them.")
    return chosen
