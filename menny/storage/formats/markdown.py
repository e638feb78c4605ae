"""A chat as Markdown, to read."""

from collections.abc import Sequence

from menny.storage.values import MessageNode, Transcript


def as_markdown(transcript: Transcript, names: dict[str, str], human: str = "You") -> str:
    """Return the active path to read, each message under its author; `names` are the personas' by id."""
    entries = {entry.id: entry for entry in transcript.entries}
    parts = [f"# {' '.join(transcript.conversation.title.split())}"]
    path: Sequence[MessageNode] = [entries[entry_id] for entry_id in transcript.active]
    for entry in path:
        name = human if entry.role == "user" else names.get(entry.persona, "Menny")
        ending = "" if entry.status == "whole" else "\n\n*(interrupted)*"
        files = "".join(f"*Attached: {one.name}*\n\n" for one in entry.attachments)
        parts.append(f"## {name}\n\n{files}{_thought(entry)}{entry.text}{ending}")
    return "\n\n".join(parts) + "\n"


def _thought(entry: MessageNode) -> str:
    """Return what a reply's model thought before it, as a quotation."""
    if not entry.thought:
        return ""
    seconds = entry.stats.thought_seconds
    title = f"*Thought for {seconds:,.0f} s*" if seconds >= 1 else "*Thought*"
    lines = ["", *entry.thought.strip().splitlines()]
    return "\n".join([f"> {title}", *(f"> {line}".rstrip() for line in lines)]) + "\n\n"
