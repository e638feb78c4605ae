"""`menny convert` as its users meet it."""

import json
from pathlib import Path

import pytest

from menny.config.paths import PROJECT
from tests.cli.running import here, in_a_process


@pytest.mark.slow
def test_a_converted_model_answers_with_paris(tmp_path: Path) -> None:
    target = str(tmp_path / "target")
    ended = in_a_process("convert", "smollm2", target, "--bits", "8")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert target in ended.stdout
    asked = ("--prompt", "What is the capital of France?", "--temperature", "0", "--json")
    told = json.loads(here("generate", "--model", target, *asked).stdout)
    assert "Paris" in told["text"]
    assert told["finish_reason"] == "stop"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("smollm2", "TARGET", "--bits", "5"), "bits is 5, but must be 4 or 8"),
        (("smollm2", "TARGET", "--bits", "4", "--group-size", "128"), "which groups of 128 don't divide"),
        (("smollm2", "TARGET", "--dtype", "float64"), "dtype is 'float64'"),
        (("smollm2", str(PROJECT / "configs")), "already exists"),
        (("/nowhere/model.gguf", "TARGET"), "There is no model at"),
        (("smollm2",), "Missing argument 'TARGET'"),
    ],
)
def test_a_wrong_input_gets_one_line_and_nothing_is_written(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ended = here("convert", *(str(tmp_path / "target") if word == "TARGET" else word for word in words))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert said in ended.stderr
    assert not list(tmp_path.iterdir())
