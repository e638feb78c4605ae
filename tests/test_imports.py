"""Who may know whom: walks the imports and fails on a breach of the rules in the README's architecture section.

1. Only app.py and menny/ui import streamlit; only menny/engine imports mlx.
2. menny/engine imports from menny nothing but errors.
3. The rooms that choose, word and keep (personas … hub) import errors, messages and config, never each other; those
   that write personas, or make them from others' files, know personas too (BUILT_ON).
4. chat, moderation and evaluation are given an engine; they never import one. Nobody but app.py and menny/ui imports
   the UI.
5. The UI imports what menny.engine offers, never a module within it.
6. No import inside a function, save an optional dependency in `try … except ImportError`; no work at import.

And the measures of style: a module says what it is, a file has at most 350 lines, a function at most 60.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MENNY = [path for path in (ROOT / "app.py", *sorted(ROOT.glob("menny/**/*.py"))) if path.is_file()]
ALL = MENNY + sorted(path for folder in ("tests", "tools") for path in ROOT.glob(f"{folder}/**/*.py"))
ENGINE_MODULES = {path.stem for path in ROOT.glob("menny/engine/*.py")}

ROOMS = {"personas", "guardrails", "catalogue", "prompts", "memory", "summary", "storage", "hub", "settings"}
BUILT_ON = {
    "avatars": (),
    "persona_files": ("menny.personas", "menny.plain_yaml"),
    "png_text": (),
    "cards": ("menny.personas", "menny.png_text"),
    "persona_imports": ("menny.personas", "menny.cards", "menny.plain_yaml", "menny.png_text"),
}
GROUND = ("menny.errors", "menny.messages", "menny.config")
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
    room = where.removeprefix("menny/").removesuffix(".py").split("/")[0]
    is_ui = where == "app.py" or where.startswith("menny/ui/")
    is_engine = where.startswith("menny/engine/")
    if is_within(name, "streamlit") and not is_ui:
        return "only app.py and menny/ui may know streamlit"
    if is_within(name, "mlx") and not is_engine:
        return "only menny/engine may know mlx"
    if not is_within(name, "menny"):
        return None
    if is_engine and not is_within(name, "menny.engine", "menny.errors"):
        return "of menny, the engine knows only errors"
    if where.startswith("menny/") and room in ROOMS and not is_within(name, *GROUND, f"menny.{room}"):
        return "a room knows only errors, messages and config"
    if where.startswith("menny/") and room in BUILT_ON and not is_within(name, *GROUND, *BUILT_ON[room]):
        return "a room knows only errors, messages, config, and what it is built on"
    if room in ("chat", "moderation", "evaluation") and is_within(name, "menny.engine"):
        return "an engine is given to it"
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
    """Line and full name of everything imported, relative and dynamic imports too."""
    package = where.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield from ((node.lineno, arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


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
        ("menny/chat.py", "import streamlit as st"),
        ("menny/cli.py", "from streamlit.testing.v1 import AppTest"),
        ("menny/ui/page.py", "import mlx.core as mx"),
        ("menny/prompts.py", "from mlx import core"),
        ("menny/engine/worker.py", "from menny.messages import Message"),
        ("menny/engine/worker.py", "from menny import config"),
        ("menny/engine/worker.py", "from ..prompts import encode_chat"),
        ("menny/engine/worker.py", "import menny"),
        ("menny/personas.py", "from menny.guardrails import Guardrail"),
        ("menny/prompts.py", "from menny.engine.tokenizer import Tokenizer"),
        ("menny/memory.py", "from . import prompts"),
        ("menny/storage.py", "import typing\nif typing.TYPE_CHECKING:\n    from menny.chat import Chat"),
        ("menny/hub.py", "import importlib\nhub = importlib.import_module('menny.catalogue')"),
        ("menny/cards.py", "from menny.guardrails import combine"),
        ("menny/avatars.py", "from menny.personas import Persona"),
        ("menny/chat.py", "from menny.engine import load_engine"),
        ("menny/moderation.py", "import menny.engine"),
        ("menny/evaluation.py", "from menny.engine import SamplingParams"),
        ("menny/chat.py", "from menny.ui.text import plain"),
        ("menny/ui/page.py", "from menny.engine.worker import Engine"),
        ("menny/ui/page.py", f"from menny.engine import {max(ENGINE_MODULES - {'__init__'})}"),
        ("app.py", "import menny.engine.gguf"),
        ("menny/cli.py", "def run():\n    import json"),
        ("menny/cli.py", "class A:\n    def run(self):\n        if self:\n            from menny import hub"),
        ("menny/cli.py", "def run():\n    try:\n        import json\n    except ValueError:\n        pass"),
        ("menny/cli.py", "def run():\n    try:\n        x()\n    except ImportError:\n        import json"),
        ("menny/config.py", "print('hello')"),
        ("menny/config.py", "for i in range(3):\n    x = i"),
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
        ("menny/engine/worker.py", "import mlx.core as mx\nfrom menny.engine import blas\nfrom menny.errors import E"),
        ("menny/prompts.py", "from menny.errors import PromptError\nfrom menny.messages import Message\nimport re"),
        ("menny/cards.py", "from menny.errors import ConfigError\nfrom menny.personas import PersonaFile"),
        ("menny/chat.py", "from menny import prompts\nfrom menny.memory import fit"),
        ("menny/cli.py", "def run():\n    try:\n        import mlx_lm\n    except ImportError:\n        pass"),
        ("menny/cli.py", "from menny.engine.convert import convert\nif __name__ == '__main__':\n    convert()"),
        ("menny/config.py", "import re\nKEY = re.compile('a')\nclass A:\n    '''Says what it is.'''"),
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
