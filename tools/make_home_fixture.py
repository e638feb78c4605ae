"""Make tests/fixtures/home-56ccf7d, a MENNY_HOME as commit 56ccf7d wrote it, and what that commit read in it.

It uses the names of that commit, so run it there:

    git worktree add /tmp/old 56ccf7d
    PYTHONPATH=/tmp/old python tools/make_home_fixture.py tests/fixtures/home-56ccf7d

`expected.json` beside the home is what the old code read from it; tests/storage/test_old_home.py compares. Ids and
times are random, so a second run makes another home, with an `expected.json` of its own.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

from menny.avatars import as_avatar, keep_avatar
from menny.catalogue import own
from menny.context import Usage
from menny.persona_files import save
from menny.settings import Settings, keep_settings, load_settings
from menny.watch import NOTE, Finding
from PIL import Image

from menny.config import home, load_yaml
from menny.personas import PersonaFile, load_personas, own_folder
from menny.storage import ChatStore, Figures, as_json, new_id, pack, store_file

QUERIES = ("tomatoes", "cafe", "deep water", "日本", "sure_thing", "🙂", "deleted", "summary", "garden", "nothing here")
PERSONA = """\
# yaml-language-server: $schema=../schemas/persona.json
# My gardener. Don't shorten the prompt!
name: Flora  # after my aunt
tagline: Knows every weed by name
avatar: images/placeholder.png
system_prompt: |
  You are {{char}}, a gardener.

  You answer {{user}} in two sentences.
greeting: "Mind the beds. What's growing?"
# the two that people click on
suggestions: ['Why are my leaves yellow?', 'When do I sow beans?']
guardrails: [mistral]
examples:
  - {user: Hi, assistant: "Hello. Boots off, please."}
parameters: {temperature: 0.4, max_tokens: 120}
memory: {strategy: summary-and-turns, turns: 4}
extensions: {shop: {id: 7}}
"""
MODELS = """\
# Models of my own; the second is on the machine in the cellar.
models:
  - id: little  # for trying things out
    name: Little one
    path: little.gguf
    template: chatml
"""
KILLED_WRITER = """
import os, sys
from menny.storage import ChatStore, store_file
store = ChatStore(store_file())
question, reply = store.ask(sys.argv[1], None, "Count to ten, will you?", "flora", "little")
store.grow(reply.id, "One, two, three")
os._exit(0)
"""


def main(folder: Path) -> None:
    """Make the home below `folder`, and what was read there."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    os.environ["MENNY_HOME"] = str((folder / "home").resolve())
    make_files()
    store = ChatStore(store_file())
    make_chats(store)
    (folder / "chat.json").write_text(as_json(next(store.transcripts())), encoding="utf-8")
    files = {f"personas/{path.name}": path.read_bytes() for path in own_folder().glob("*.yaml")}
    files |= {f"images/{path.name}": path.read_bytes() for path in (home() / "images").glob("*.png")}
    (folder / "archive.zip").write_bytes(pack(store.transcripts(), files))
    store.close()
    expected = read_all()
    subprocess.run([sys.executable, "-c", KILLED_WRITER, "killed"], check=True)
    with sqlite3.connect(store_file()) as db:  # one file, which git can keep; the reply is still a growing one
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1), encoding="utf-8")


def make_files() -> None:
    """A persona with comments and an avatar, models and settings."""
    picture = BytesIO()
    Image.new("RGB", (64, 64), "#5a8f3c").save(picture, "PNG")
    avatar = keep_avatar(home() / "images", as_avatar(picture.getvalue()))
    own_folder().mkdir()
    (own_folder() / "flora.yaml").write_text(PERSONA.replace("images/placeholder.png", avatar), encoding="utf-8")
    save(own_folder(), "owl", PersonaFile(name="Owl", system_prompt="You are {{char}}: you hoot."))
    (home() / "models.yaml").write_text(MODELS, encoding="utf-8")
    own.add_entry(
        home() / "models.yaml", id="cellar", name="Cellar: 7B", server="http://127.0.0.1:8000/v1", key="CELLAR"
    )
    keep_settings(Settings(unload_after=900))


def make_chats(store: ChatStore) -> None:
    """Chats with all that a store of that version can hold."""
    garden, plain, japanese = new_id(), new_id(), new_id()
    question, reply = store.ask(garden, None, "Why are my tomatoes yellow? A café asked.", "flora", "little")
    finish(store, reply.id, "They want nitrogen.", "stop")
    _, late = store.ask(garden, reply.id, "And the roses?", "flora", "little")
    finish(store, late.id, "Water them deep, never at", "length")
    store.note(late.id, summary="They spoke of tomatoes and roses; a summary.")
    _, answer = store.ask(garden, reply.id, "And the pears?", "flora", "little")
    finish(store, answer.id, "Prune them in March.", "stop", notice="Some turns were left out.")
    again = store.ask_again(question.id, "owl", "cellar")
    store.finish(again.id, "Hoot, but", "cancelled", figures=Figures(40, 3, 21.5, 0.5))
    failed = store.ask_again(question.id, "owl", "cellar")
    store.finish(failed.id, "", None, "The server can't be reached.")
    store.choose(late.id)
    asked, judged = store.ask(garden, late.id, "<b>Bold</b> & 100% sure_thing 🙂", "flora", "little")
    store.note(asked.id, **{NOTE: Finding("warn", "violence", 0.75).as_note()})
    finish(
        store, judged.id, "Told off.", "stop", **{NOTE: Finding("block", problem="it couldn't be checked").as_note()}
    )
    store.pin(garden, True)
    store.rename(garden, "My garden: a tale / of two")

    _, stopped = store.ask(plain, None, "What is deep about water?", "menny", "smollm2")
    store.finish(stopped.id, "Depth, mostly. And then")  # without a reason: interrupted
    gone, unseen = store.ask(plain, stopped.id, "This question is deleted", "menny", "smollm2")
    finish(store, unseen.id, "So is this reply.", "stop")
    store.cut(gone.id)

    _, reply = store.ask(japanese, None, "日本語の質問", "menny", "smollm2")
    finish(store, reply.id, "東京は日本の首都です。", "stop")
    deleted = new_id()
    _, reply = store.ask(deleted, None, "A deleted chat", "menny", "smollm2")
    finish(store, reply.id, "It can come back.", "stop")
    store.delete(deleted)


def finish(store: ChatStore, reply: str, text: str, reason: str, **extra: Any) -> None:
    """End a reply with everything that is measured of one."""
    usage = asdict(Usage(context=8192, system=120, summary=0, turns=60, reply=200, unseen=0, summed=0))
    store.finish(reply, text, reason, figures=Figures(60, 9, 18.25, 0.125), usage=usage, **extra)  # type: ignore[arg-type]


def read_all() -> dict[str, Any]:
    """What the code of the time reads in the home, in plain values."""
    store = ChatStore(store_file())
    chats = {}
    for conversation in store.conversations():
        transcript = store.transcript(conversation.id)
        entries = [asdict(entry) for entry in transcript.entries]
        chats[conversation.id] = {"conversation": asdict(conversation), "entries": entries, "active": transcript.active}
    found = {query: [[hit.conversation.id, hit.entry, hit.excerpt] for hit in store.search(query)] for query in QUERIES}
    with sqlite3.connect(store_file()) as db:
        deleted = [row[0] for row in db.execute("SELECT id FROM conversations WHERE deleted IS NOT NULL")]
    db.close()
    store.close()
    personas, problems = load_personas(own_folder(), home())
    models = load_yaml(home() / "models.yaml", own.CatalogueFile).models
    return {
        "chats": chats,
        "deleted": deleted,
        "search": found,
        "personas": [json.loads(persona.model_dump_json()) for persona in personas],
        "problems": [str(problem) for problem in problems],
        "models": [entry.model_dump(exclude_none=True) for entry in models],
        "settings": load_settings().model_dump(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
