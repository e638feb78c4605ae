"""The tables of memory in the README and the docs are what the catalogue's shapes give."""

from pathlib import Path

import pytest

from tools.memory_tables import TABLES


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_a_table_is_what_the_script_computes(page: Path) -> None:
    assert TABLES[page]() in page.read_text(encoding="utf-8"), "run python -m tools.memory_tables"
