"""Computes the tables of memory in README.md and docs/models.md from the catalogue: `python -m tools.memory_tables`.

A test compares the files with what this computes.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from menny.config.paths import CONFIGS, PROJECT
from menny.models.catalogue import ModelSpec, load_catalogue, recommend
from menny.models.loader import Planner, a_mac
from menny.text import size

MACS = (8, 16, 24, 32, 64)
CONTEXTS = (4096, 32768)
ROWS = (
    "ministral-3-3b-8bit",
    "ministral-3-8b-4bit",
    "ministral-3-8b-8bit",
    "ministral-3-14b-4bit",
    "ministral-3-14b-8bit",
    "mistral-small-3.2-4bit",
    "mistral-small-3.2-8bit",
    "magistral-small-2509-4bit",
    "mistral-7b-v0.3-4bit",
    "mistral-7b-v0.3-8bit",
    "mistral-7b-v0.3-16bit",
    "mistral-7b-v0.1-4bit",
    "mistral-nemo-4bit",
    "mixtral-8x7b-4bit",
    "mixtral-8x7b-8bit",
    "mixtral-8x7b-16bit",
)


def catalogue() -> dict[str, ModelSpec]:
    """The models that come with Menny, as on a machine that has none of them."""
    with tempfile.TemporaryDirectory() as nowhere:
        specs, _ = load_catalogue(CONFIGS / "models.yaml", Path(nowhere), Path(nowhere) / "hub")
    return {spec.id: spec for spec in specs}


def recommended() -> str:
    """The model that is recommended for each size of a Mac."""
    specs = list(catalogue().values())
    rows = [["a Mac with", "recommended", "download", "in memory, with a chat of 8,192 tokens"]]
    for gigabytes in MACS:
        planner = Planner(a_mac(gigabytes))
        best = recommend(specs, planner, planner.speed_of)
        if best:
            rows.append([f"{gigabytes} GB", best.model.name, size(best.model.size_bytes or 0), size(best.plan.total)])
    return markdown(rows)


def needed() -> str:
    """The memory of models by context."""
    specs, planner = catalogue(), Planner(a_mac(1024))
    rows = [["on a Mac", "weights", *(f"with {context // 1024}k context" for context in CONTEXTS)]]
    for model_id in ROWS:
        plans = [plan for context in CONTEXTS if (plan := planner(specs[model_id], context))]
        shape = specs[model_id].shape
        note = f", with its window of {shape.sliding_window:,}" if shape and shape.sliding_window else ""
        rows.append([specs[model_id].name + note, size(plans[0].weights), *(size(plan.total) for plan in plans)])
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as a table, the first of them the heads."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]])


TABLES = {PROJECT / "README.md": recommended, PROJECT / "docs" / "models.md": needed}


def with_table(text: str, table: str) -> str:
    """Return a page with the table in place of the one that has the same heads."""
    heads = table.split("\n", 1)[0]
    before, _, after = text.partition(heads)
    rest = after.partition("\n\n")[2]
    return f"{before}{table}\n\n{rest}"


def main() -> None:
    """Write the tables into the pages."""
    for page, table in TABLES.items():
        page.write_text(with_table(page.read_text(encoding="utf-8"), table()), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()
