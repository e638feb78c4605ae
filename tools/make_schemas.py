"""Writes the JSON schemas of Menny's YAML files into configs/schemas, where editors find them to complete and check.

Run it from the project's folder after a change to a model: `python -m tools.make_schemas`. A test compares the files.
"""

import json

from pydantic import BaseModel

from menny.config.paths import CONFIGS
from menny.models.catalogue import CatalogueFile
from menny.moderation.categories import ModerationFile
from menny.moderation.evaluation import EvaluationFile
from menny.moderation.guardrails import GuardrailFile
from menny.personas.persona import PersonaFile
from menny.personas.profiles import ProfileFile

FILES: dict[str, type[BaseModel]] = {
    "persona.json": PersonaFile,
    "profile.json": ProfileFile,
    "guardrail.json": GuardrailFile,
    "models.json": CatalogueFile,
    "moderation.json": ModerationFile,
    "evaluation.json": EvaluationFile,
}


def schemas() -> dict[str, str]:
    """Each schema file's name, with what it should say."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        name: json.dumps(dialect | model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
        for name, model in FILES.items()
    }


def main() -> None:
    """Write them all."""
    folder = CONFIGS / "schemas"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"configs/schemas/{name}")


if __name__ == "__main__":
    main()
