"""Who may know whom: walks the imports and fails on a breach of the rules in docs/architecture.md.

1. Only app.py and menny/ui import streamlit; only menny/engine imports mlx.
2. A room imports the rooms beside it in KNOWS, and itself; what is on the GROUND everybody may import.
3. The UI imports what menny.engine offers, never a module within it; nothing but app.py and the UI imports the UI.
4. No import inside a function, save an optional dependency in `try … except ImportError`; no work at import.
5. An import under `if TYPE_CHECKING:` is a type's, and may cross from room to room.

And the measures of style: a module says what it is, a file has at most 350 lines, a function at most 60.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MENNY = [path for path in (ROOT / "app.py", *sorted(ROOT.glob("menny/**/*.py"))) if path.is_file()]
ALL = MENNY + sorted(path for folder in ("tests", "tools") for path in ROOT.glob(f"{folder}/**/*.py"))
ENGINE_MODULES = {path.stem for path in ROOT.glob("menny/engine/*") if path.name != "__init__.py"}

GROUND = ("menny.errors", "menny.engine_protocols", "menny.model_files")
PLAIN = ("menny.messages", "menny.text", "menny.files", "menny.attachments")
SETTINGS = (*PLAIN, "menny.config")
KNOWS = {
    "engine": ("menny.text", "menny.files"),
    "engine_protocols": (),
    "model_files": (),
    "messages": (),
    "attachments": ("menny.text",),
    "documents": SETTINGS,
    "text": (),
    "files": (),
    "config": PLAIN,
    "prompts": PLAIN,
    "personas": (*SETTINGS, "menny.lorebooks"),
    "storage": SETTINGS,
    "lorebooks": SETTINGS,
    "models/catalogue": SETTINGS,
    "models/credentials": SETTINGS,
    "models/hub": SETTINGS,
    "models/loader": (*SETTINGS, "menny.models", "menny.engine", "menny.prompts"),
    "moderation": (*SETTINGS, "menny.prompts"),
    "chat": (*SETTINGS, "menny.prompts", "menny.storage", "menny.moderation", "menny.lorebooks"),
}  # the command line and the UI may know all of these
WORKS_AT_IMPORT = {
    "app.py",  # a Streamlit script is run, not imported
    "menny/__main__.py",  # so is this
    "menny/engine/__init__.py",  # OpenBLAS has to be in place before MLX is imported
}
MAX_FILE, MAX_FUNCTION = 350, 60

Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def breaches(where: str, source: str) -> list[str]:
    """What is against the rules in the module at `where`, a path below the root with slashes."""
    tree = ast.parse(source)
    found = [
        f"{where}:{line} imports {name}: {rule}"
        for line, name in imported(tree, where)
        if (rule := broken_rule(where, name))
    ]
    found += [f"{where}:{line} imports inside a function" for line in hidden_imports([tree])]
    if where not in WORKS_AT_IMPORT:
        found += [f"{where}:{line} works at import" for line in work_at_import(tree.body)]
    return found


def broken_rule(where: str, name: str) -> str | None:
    """The rule that the module at `where` breaks by importing `name`, a full name with dots."""
    path = where.removeprefix("menny/").removesuffix(".py")
    room = next((room for room in sorted(KNOWS, reverse=True) if path == room or path.startswith(room + "/")), None)
    is_ui = where == "app.py" or where.startswith("menny/ui/")
    if is_within(name, "streamlit") and not is_ui:
        return "only app.py and menny/ui may know streamlit"
    if is_within(name, "mlx") and room != "engine":
        return "only menny/engine may know mlx"
    if not is_within(name, "menny"):
        return None
    if where.startswith("menny/") and room is not None:
        own = "menny." + room.replace("/", ".")
        if not is_within(name, *GROUND, *KNOWS[room], own):
            return f"of menny, {room} may know only {', '.join((*GROUND, *KNOWS[room], own))}"
    if is_within(name, "menny.ui") and not is_ui:
        return "nothing but app.py and the UI itself knows the UI"
    if is_ui and is_within(name, "menny.engine") and is_engine_module(name):
        return "the UI knows menny.engine, never a module within it"
    return None


def is_within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def is_engine_module(name: str) -> bool:
    parts = name.split(".")[2:]
    return len(parts) > 1 or bool(ENGINE_MODULES.intersection(parts))


def imported(tree: ast.Module, where: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, relative and dynamic imports too; but for types' imports."""
    package = where.removesuffix(".py").split("/")[:-1]
    for node in outside_type_checking(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from ((node.lineno, arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def outside_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    """A tree's nodes, without what stands under `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from (inner for statement in child.orelse for inner in outside_type_checking(statement))
        else:
            yield from outside_type_checking(child)


def hidden_imports(nodes: Iterable[ast.AST], in_function: bool = False, is_optional: bool = False) -> Iterator[int]:
    """Lines of imports inside functions that aren't in the body of a `try … except ImportError`."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            if in_function and not is_optional:
                yield node.lineno
        elif isinstance(node, ast.Try) and any(catches_import_error(handler) for handler in node.handlers):
            yield from hidden_imports(node.body, in_function, is_optional=True)
            yield from hidden_imports([*node.handlers, *node.orelse, *node.finalbody], in_function, is_optional)
        else:
            yield from hidden_imports(
                ast.iter_child_nodes(node), in_function or isinstance(node, Function), is_optional
            )


def catches_import_error(handler: ast.ExceptHandler) -> bool:
    caught = ast.unparse(handler.type) if handler.type else ""
    return "ImportError" in caught or "ModuleNotFoundError" in caught


def work_at_import(body: list[ast.stmt]) -> Iterator[int]:
    """Lines of bare calls, loops and the like outside functions; `if __name__ == …` is no import."""
    for node in body:
        if isinstance(node, ast.If):
            if "__name__" not in ast.unparse(node.test):
                yield from work_at_import([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handled = [statement for handler in node.handlers for statement in handler.body]
            yield from work_at_import([*node.body, *handled, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.ClassDef):
            yield from work_at_import(node.body)
        elif isinstance(node, ast.For | ast.While | ast.With | ast.Raise | ast.Match) or (
            isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        ):
            yield node.lineno


def too_long_or_unexplained(where: str, source: str) -> list[str]:
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) or not tree.body else [f"{where} has no docstring"]
    if (lines := len(source.splitlines())) > MAX_FILE:
        found.append(f"{where} has {lines} lines, more than {MAX_FILE}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                found.append(f"{where}:{node.lineno} {node.name} has {length} lines, more than {MAX_FUNCTION}")
    return found


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MENNY, ids=named)
def test_a_module_knows_only_whom_it_may(path: Path) -> None:
    assert breaches(named(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", ALL, ids=named)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    assert too_long_or_unexplained(named(path), path.read_text(encoding="utf-8")) == []


# The tests above can fail


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("menny/chat/reply.py", "import streamlit as st"),
        ("menny/cli/app.py", "from streamlit.testing.v1 import AppTest"),
        ("menny/ui/page.py", "import mlx.core as mx"),
        ("menny/prompts/encoding.py", "from mlx import core"),
        ("menny/engine/worker.py", "from menny.messages import Message"),
        ("menny/engine/worker.py", "from menny import config"),
        ("menny/engine/worker.py", "from ..prompts import encode_chat"),
        ("menny/engine/formats/gguf.py", "from menny.config.paths import home"),
        ("menny/engine/worker.py", "import menny"),
        ("menny/personas/persona.py", "from menny.moderation.guardrails import Guardrail"),
        ("menny/prompts/encoding.py", "from menny.engine.tokenizers.tokenizer import Tokenizer"),
        ("menny/chat/memory.py", "from menny.personas import persona"),
        ("menny/storage/store.py", "import typing\nif typing.TYPE_CHECKING:\n    from menny.chat import Chat"),
        ("menny/models/hub/fetch.py", "import importlib\nhub = importlib.import_module('menny.storage')"),
        ("menny/models/catalogue/fit.py", "from menny.engine import load_engine"),
        ("menny/models/catalogue/fit.py", "from menny.models.loader import Planner"),
        ("menny/personas/cards.py", "from menny.moderation.guardrails import combine"),
        ("menny/config/paths.py", "from menny.personas import load_personas"),
        ("menny/text.py", "from menny.config.paths import home"),
        ("menny/chat/conversation.py", "from menny.engine import load_engine"),
        ("menny/moderation/classifier.py", "import menny.engine"),
        ("menny/moderation/evaluation.py", "from menny.engine import SamplingParams"),
        ("menny/chat/conversation.py", "from menny.ui.safe_markdown import plain"),
        ("menny/cli/talk.py", "from menny.ui.page import main"),
        ("menny/ui/page.py", "from menny.engine.worker import Engine"),
        ("menny/ui/page.py", f"from menny.engine import {max(ENGINE_MODULES)}"),
        ("app.py", "import menny.engine.formats.gguf"),
        ("menny/cli/app.py", "def run():\n    import json"),
        (
            "menny/cli/app.py",
            "class A:\n    def run(self):\n        if self:\n            from menny.models import hub",
        ),
        ("menny/cli/app.py", "def run():\n    try:\n        import json\n    except ValueError:\n        pass"),
        ("menny/cli/app.py", "def run():\n    try:\n        x()\n    except ImportError:\n        import json"),
        ("menny/config/paths.py", "print('hello')"),
        ("menny/config/paths.py", "for i in range(3):\n    x = i"),
        ("menny/ui/page.py", "import streamlit as st\nst.title('Menny')"),
    ],
)
def test_a_breach_is_found(where: str, source: str) -> None:
    assert len(breaches(where, source)) == 1


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("app.py", "import streamlit as st\nfrom menny.ui import page\nst.title('Menny')"),
        ("menny/ui/page.py", "import streamlit\nfrom menny.engine import load_engine\nfrom menny.chat import Chat"),
        ("menny/engine/worker.py", "import mlx.core\nfrom menny.engine.cpu import blas\nfrom menny.errors import E"),
        (
            "menny/prompts/encoding.py",
            "from menny.errors import PromptError\nfrom menny.messages import Message\nimport re",
        ),
        (
            "menny/personas/cards.py",
            "from menny.errors import ConfigError\nfrom menny.personas.persona import PersonaFile",
        ),
        ("menny/chat/conversation.py", "from menny import prompts\nfrom menny.chat.memory import Memory"),
        (
            "menny/models/loader.py",
            "from menny.engine.remote.engine import connect\nfrom menny.models.catalogue import Fit",
        ),
        (
            "menny/storage/store.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from menny.chat import Chat",
        ),
        ("menny/cli/app.py", "def run():\n    try:\n        import mlx_lm\n    except ImportError:\n        pass"),
        (
            "menny/cli/app.py",
            "from menny.engine.checkpoints.convert import convert\nif __name__ == '__main__':\n    convert()",
        ),
        ("menny/config/paths.py", "import re\nKEY = re.compile('a')\nclass A:\n    '''Says what it is.'''"),
    ],
)
def test_what_is_allowed_is_no_breach(where: str, source: str) -> None:
    assert breaches(where, source) == []


def test_long_files_long_functions_and_missing_docstrings_are_found() -> None:
    assert too_long_or_unexplained("a.py", "x = 1") == ["a.py has no docstring"]
    assert too_long_or_unexplained("a.py", '"""A."""\n' + "x = 1\n" * 350) == ["a.py has 351 lines, more than 350"]
    source = '"""A."""\nclass B:\n    async def c(self):\n' + "        x = 1\n" * 60
    assert too_long_or_unexplained("a.py", source) == ["a.py:3 c has 61 lines, more than 60"]
    assert too_long_or_unexplained("a.py", '"""A."""\n' + "x = 1\n" * 349) == []
    assert too_long_or_unexplained("a/__init__.py", "") == []
