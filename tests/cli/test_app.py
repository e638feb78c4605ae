"""The command line: what it answers, and what a wrong input gets; the most ordinary in a process of its own."""

import json
import math
from pathlib import Path

import pytest

from menny.cli.common import json_text
from menny.config.paths import PROJECT
from tests.cli.running import Ended, here, in_a_process
from tests.engine.scripts import CONTROLS, SIZE
from tests.engine.tiny_models import random_weights, tiny_args, write_folder, write_vocabulary


def assert_refused(ended: Ended, said: str) -> None:
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("menny: ")
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generate",), "Missing option '--prompt'"),
        (("generate", "--prompt", "x", "--temperature", "warm"), "--temperature"),
        (("generate", "--prompt", "x", "--temperature", "99"), "temperature is 99.0, but must be from 0 to 10"),
        (("generate", "--prompt", "x", "--model", "smolm2"), "did you mean smollm2?"),
        (("generate", "--prompt", "x", "--model", "/nowhere/model.gguf"), "There is no model at"),
        (("generate", "--prompt", "x", "--model", str(PROJECT / "configs")), "is not a model"),
        (("generate", "--prompt", "x", "--model", "mistral-7b-v0.3-4bit"), "-m menny get mistral-7b-v0.3-4bit"),
        (("generate", "--prompt", "x", "--raw", "--system", "y"), "--raw can't be combined with --system"),
        (("generate", "--prompt", "x", "--raw", "--thinking", "on"), "--raw can't be combined with --thinking"),
        (("generate", "--prompt", " \n"), "There is nothing to send"),
        (("chat", "--persona", "nobody"), "There is no persona 'nobody'"),
        (("chat", "--guardrail", "nothing"), "There is no guardrail 'nothing'"),
        (("chat", "--memory", "all"), "'all' is not one of 'recent', 'turns', 'everything'"),
        (("chat", "--memory-turns", "3"), "--memory-turns only works with --memory turns"),
        (("bench", "--concurrency", "1", "many"), "--concurrency"),
        (("bench", "--concurrency", "1", "0"), "concurrency is [1, 0], but must be from 1 to 256"),
        (("bench", "--runs", "0"), "runs is 0, but must be at least 1"),
        (("bench", "--against", "gpt"), "no baseline 'gpt'"),
        (("bench", "--new-tokens", "100000"), "more than the model's context holds"),
        (("verify", "--tolerance", "0"), "tolerance is 0, but must be above 0"),
        (("verify", "--tokens", "1"), "1 tokens can't be compared"),
        (("perplexity", "smollm2", "--text", "nowhere.txt"), "nowhere.txt is missing or empty: choose"),
        (("models", "--context", "-5"), "Invalid value for '--context'"),
        (("models", "--fit", "--mac", "0"), "Invalid value for '--mac'"),
        (("models", "--fit", "--context", "64"), "--fit shows several contexts"),
        (("sing",), "No such command 'sing'"),
        (("model",), "-m menny --help`."),
    ],
)
def test_a_wrong_input_gets_one_line_that_says_what_is_wrong(words: tuple[str, ...], said: str) -> None:
    assert_refused(here(*words), said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generate",), "Missing option '--prompt'"),
        (("generate", "--prompt", "x", "--temperature", "99"), "temperature is 99.0, but must be from 0 to 10"),
        (("model",), "-m menny --help`."),
    ],
)
def test_in_a_process_of_its_own_it_ends_with_that_line_too(words: tuple[str, ...], said: str) -> None:
    assert_refused(in_a_process(*words), said)


@pytest.mark.slow
def test_a_persona_of_ones_own_can_be_talked_to(temporary_home: Path) -> None:
    folder = temporary_home / "menny" / "personas"
    folder.mkdir(parents=True)
    (folder / "basil.yaml").write_text("name: Basil\nsystem_prompt: You are Basil.\ngreeting: Mind the seedlings.\n")
    ended = in_a_process("chat", "--persona", "basil")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Basil: Mind the seedlings.")


@pytest.mark.slow
def test_a_broken_model_file_gets_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 60)
    ended = here("generate", "--prompt", "x", "--model", str(broken))
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "broken.gguf" in ended.stderr


@pytest.mark.slow
def test_generate_answers_with_paris_as_one_json_object() -> None:
    ended = in_a_process(
        "generate", "--model", "smollm2", "--prompt", "What is the capital of France?", "--temperature", "0", "--json"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert "Paris" in told["text"]
    assert told["finish_reason"] == "stop"
    assert told["completion_tokens"] == len(told["tokens"])
    assert told["thought"] == ""
    assert told["decode_tps"] > 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_text_and_another_one_another() -> None:
    words = ("generate", "--prompt", "Tell me a story.", "--temperature", "0.9", "--max-tokens", "24", "--seed")
    first, second = (in_a_process(*words, "7", OPENBLAS_NUM_THREADS="2").stdout for _ in range(2))
    assert first == second != here(*words, "8").stdout


@pytest.mark.slow
def test_with_and_without_lookup_the_reply_is_the_same() -> None:
    text = "The keeper climbed the winding stairs every evening at dusk, with a lantern and a small flask of oil."
    words = ("generate", "--prompt", f"Repeat this word for word: {text}", "--temperature", "0", "--json")
    replies = [json.loads(here(*words, option).stdout) for option in ("--lookup", "--no-lookup")]
    assert replies[0]["tokens"] == replies[1]["tokens"]
    assert "climbed the winding stairs every evening" in replies[0]["text"]


@pytest.mark.slow
def test_raw_continues_a_text_and_a_system_text_is_heard() -> None:
    greedy = ("generate", "--prompt", "The quick brown fox", "--temperature", "0", "--max-tokens", "4", "--json")
    raw, chatted = json.loads(here(*greedy, "--raw").stdout), json.loads(here(*greedy).stdout)
    assert raw["prompt_tokens"] == 4
    assert raw["text"] != chatted["text"]
    words = ("generate", "--prompt", "Who are you?", "--temperature", "0", "--max-tokens", "16", "--json")
    told = json.loads(here(*words, "--system", "You are Zorg, a pirate of the seven seas.").stdout)
    untold = json.loads(here(*words).stdout)
    assert told["prompt_tokens"] > untold["prompt_tokens"]
    assert told["text"] != untold["text"]


@pytest.mark.slow
def test_chat_remembers_its_turns_and_begins_anew() -> None:
    typed = "My name is Ada.\n\nWhat is my name?\n/new\n"
    ended = in_a_process("chat", "--persona", "penny", "--temperature", "0", "--max-tokens", "24", typed=typed)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("Penny: ") == 4  # two greetings, and two answers: a blank line sends nothing
    assert "Ada" in ended.stdout.split("Penny: ")[3]
    assert "A new chat." in ended.stdout


@pytest.mark.slow
def test_demo_answers_its_three_prompts() -> None:
    ended = here("demo", "--model", "smollm2")
    assert ended.returncode == 0
    assert ended.stdout.count("\n> ") + ended.stdout.startswith("> ") == 3
    assert "Paris" in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", [("1", "2"), ("1", "--concurrency", "2")])
def test_bench_measures_at_every_concurrency_as_one_json_object(words: tuple[str, ...]) -> None:
    tiny = ("--prompt-tokens", "16", "--new-tokens", "4", "--runs", "1")
    ended = here("bench", "--concurrency", *words, "--model", "smollm2", *tiny, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert [one["concurrency"] for one in told["speeds"]] == [1, 2]
    assert (told["model"], told["prompt_tokens"], told["new_tokens"], told["against"]) == ("smollm2", 16, 4, None)


@pytest.mark.slow
def test_bench_against_mlx_lm_tells_both_in_a_table() -> None:
    ended = here("bench", "--prompt-tokens", "16", "--new-tokens", "4", "--runs", "1", "--against", "mlx-lm")
    assert ended.returncode == 0
    assert "decode tok/s" in ended.stdout
    assert "the same tokens in 100% of runs" in ended.stdout


@pytest.mark.slow
def test_verify_finds_that_the_model_that_comes_along_agrees() -> None:
    ended = here("verify", "--model", "smollm2", "--tokens", "24", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert told["agrees"]
    assert max(one["relative"] for one in told["differences"]) < told["tolerance"] == 1e-3


@pytest.mark.slow
def test_verify_ends_with_1_over_the_tolerance(tmp_path: Path) -> None:
    args = tiny_args(sliding_window=8, vocab_size=SIZE)  # beyond its window the last digits differ
    write_folder(tmp_path, args, random_weights(args))
    write_vocabulary(tmp_path, *CONTROLS)
    ended = here("verify", "--model", str(tmp_path), "--tokens", "40", "--tolerance", "1e-12")
    assert ended.returncode == 1
    assert "THEY DISAGREE" in ended.stdout


def test_models_lists_what_is_here_and_how_to_get_the_rest() -> None:
    listed = here("models").stdout.splitlines()
    assert any(line.startswith("● smollm2") for line in listed)
    assert any("-m menny get mixtral-8x7b-4bit" in line for line in listed)


def test_json_has_null_for_what_is_no_number() -> None:
    told = json_text({"largest": math.nan, "ways": [{"share": math.inf, "name": "é"}, (1, True)]})
    assert json.loads(told, parse_constant=pytest.fail) == {
        "largest": None,
        "ways": [{"share": None, "name": "é"}, [1, True]],
    }
