"""One model on several machines, which are processes here: they say what one says, and end together."""

import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from menny.engine import MoEArgs, load_engine
from menny.engine.cache import Cache
from menny.engine.distributed.pipeline import SharedCache
from menny.messages import Message
from menny.prompts import encode_chat
from tests.engine.distributed.ranks import HERE, PATIENCE, ended, launched, ranks, said, session
from tests.engine.format_files import FORMATS
from tests.engine.scripts import CONTROLS, SIZE, write_script
from tests.engine.tiny_models import quantize, random_weights, tiny_args, write_folder, write_vocabulary

pytestmark = pytest.mark.slow

SPARSE = MoEArgs(num_experts=4, num_experts_per_tok=2)
KINDS: dict[str, dict[str, Any]] = {
    "hub": {},
    "hub, experts stacked": {"moe": SPARSE, "sliding_window": 16},
    "weights.npz": {"tie_word_embeddings": True},
    "weights.NN.safetensors": {"moe": SPARSE},
    "consolidated.00.pth": {"moe": SPARSE, "tie_word_embeddings": True},
    "gguf": {"sliding_window": 300},
    "gguf, experts apart": {"moe": SPARSE},
}
CHAT = ("-m", "menny", "chat", "--persona", "penny", "--temperature", "0")


def model(folder: Path, kind: str = "hub", seed: int = 0, **changes: Any) -> Path:
    args = tiny_args(**{"vocab_size": SIZE, "n_layers": 4, "max_position_embeddings": 2048, **KINDS[kind], **changes})
    path = FORMATS[kind](folder, args, random_weights(args, seed))
    if path.is_dir():
        write_vocabulary(path, *CONTROLS)
    return path


def quantized(folder: Path) -> Path:
    args = tiny_args(vocab_size=SIZE, n_layers=4, hidden_dim=128, head_dim=16, moe=SPARSE)
    arrays = quantize(random_weights(args), 32, 4)
    write_folder(folder, args, arrays, quantization={"bits": 4, "group_size": 32})
    write_vocabulary(folder, *CONTROLS)
    return folder


@pytest.mark.parametrize(("count", "kinds"), [(2, tuple(KINDS)), (3, ())])
def test_several_machines_say_what_one_says_in_every_format(count: int, kinds: tuple[str, ...], tmp_path: Path) -> None:
    paths = [quantized(tmp_path / "quantized"), *(model(tmp_path / f"m{n}", kind) for n, kind in enumerate(kinds))]
    with ranks(tmp_path, count, str(HERE), *map(str, paths)) as (first, *others):
        code, out, err = ended(first)
        assert (code, err) == (0, "")
        assert [ended(other) for other in others] == [(0, "", "")] * len(others)
    for path, told in zip(paths, json.loads(out), strict=True):
        with load_engine(path) as engine:
            assert told["said"] == session(engine)
            (whole,) = engine.stage_bytes
        assert len(told["bytes"]) == count
        assert max(told["bytes"]) < (0.6 if count == 2 else 0.55) * whole
    assert json.loads(out)[0]["said"][1]["cached"] > 0


def test_what_changes_or_copies_a_cache_is_told_to_the_other_machines() -> None:
    only_read = {"offset", "windows", "nbytes", "state", "masks", "can_trim_to", "fits_without_eviction"}
    part_of_a_pass = {"open", "close"}  # which every machine computes
    public = {name for name in vars(Cache) if not name.startswith("_")}
    assert public - only_read - part_of_a_pass == {name for name in vars(SharedCache) if not name.startswith("_")}


def test_the_model_that_comes_along_says_the_same_by_mlx_launch(smollm2_path: Path) -> None:
    question = [Message("user", "What is the capital of France?")]
    with load_engine(smollm2_path) as engine:
        prompt = encode_chat(question, "chatml", engine.tokenizer)
        alone = said(engine, prompt, temperature=0.9, seed=11, max_tokens=24)
        (whole,) = engine.stage_bytes
    seeded = ("--temperature", "0.9", "--seed", "11", "--max-tokens", "24", "--json")
    told = launched(2, "generate", "--prompt", question[0].content, *seeded)
    assert (told.returncode, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    assert found["tokens"] == alone["tokens"]
    assert max(found["stage_bytes"]) < 0.67 * whole  # half of the layers, and the tied embeddings in 8 bits


def test_chat_over_mlx_launch_reads_what_is_piped_and_ends_with_it(tmp_path: Path) -> None:
    path = write_script(tmp_path / "tiny", n_layers=2, chats=True)
    told = launched(2, *CHAT[2:], "--model", str(path), "--max-tokens", "6", typed="Hello\n\nAnd you?\n/new\nOnce more")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.count("Penny: xyzxyz") == 3  # a blank line sends nothing
    assert "A new chat." in told.stdout


def test_one_rank_by_mlx_launch_is_a_machine_alone(tmp_path: Path) -> None:
    told = launched(
        1, "generate", "--model", str(model(tmp_path / "m")), "--prompt", "x", "--max-tokens", "2", "--json"
    )
    assert told.stderr == ""
    assert len(json.loads(told.stdout)["stage_bytes"]) == 1


def test_mlx_launch_ends_all_ranks_after_an_error(tmp_path: Path) -> None:
    told = launched(2, "generate", "--prompt", "x", "--model", str(tmp_path / "nowhere"))
    assert told.stdout == ""
    assert told.stderr.count("menny: ") == 1
    assert "menny: There is no model at" in told.stderr  # before or after what mlx.launch says of the other rank
    assert [f"rank {rank} exited with code 2" in told.stderr for rank in (0, 1)] == [True, True]


def cut_short(folder: Path) -> None:
    file = model(folder).joinpath("model-00002-of-00002.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("words", "second", "said"),
    [
        (("--temperature", "99"), model, "temperature is 99.0, but must be"),
        (("--color", "blue"), model, "--color"),
        (("--prompt", "x" * 3000), model, "the model's context holds 2048"),
        ((), lambda _: None, "On the machine of rank 1: There is no model at"),
        ((), lambda folder: model(folder, seed=1), "rank 1 has another model by this name"),
        ((), lambda folder: model(folder, rope_theta=1e5), "rank 1 has another model by this name"),
        ((), cut_short, "On the machine of rank 1: "),
    ],
)
def test_an_error_on_any_machine_gets_one_line_and_ends_all(
    words: tuple[str, ...], second: Any, said: str, tmp_path: Path
) -> None:
    cwds = [tmp_path / "one", tmp_path / "other"]
    for cwd, write in zip(cwds, (model, second), strict=True):
        cwd.mkdir()
        write(cwd / "m")
    with ranks(tmp_path, 2, "-m", "menny", "generate", "--prompt", "x", "--model", "./m", *words, cwds=cwds) as both:
        (code, out, err), others = ended(both[0]), [ended(both[1])]
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("menny: ")
    assert said in err
    assert others == [(2, "", "")]


def test_a_model_with_fewer_layers_than_machines_is_refused(tmp_path: Path) -> None:
    path = model(tmp_path / "m", n_layers=2)
    with ranks(tmp_path, 3, "-m", "menny", "generate", "--prompt", "x", "--model", str(path)) as processes:
        found = [ended(process) for process in processes]
    assert [code for code, _, _ in found] == [2, 2, 2]
    assert "can be shared by at most 2 machines" in found[0][2]
    assert found[1:] == [(2, "", "")] * 2


def typed(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


def wait_for(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout
    seen, timer = "", threading.Timer(PATIENCE, process.kill)
    timer.start()
    while text not in seen:
        piece = process.stdout.read(1)
        assert piece, f"it ended before it said {text!r}: {seen} {ended(process)}"
        seen += piece
    timer.cancel()


def chatting(folder: Path) -> tuple[str, ...]:
    """A chat whose replies have no end."""
    path = write_script(folder / "tiny", n_layers=2, chats=True)
    return (*CHAT, "--model", str(path), "--max-tokens", "100000000")


@pytest.mark.parametrize("dead", [0, 1])
@pytest.mark.parametrize("moment", ["idle", "replying"])
def test_a_machine_whose_neighbour_died_says_so_and_ends(dead: int, moment: str, tmp_path: Path) -> None:
    with ranks(tmp_path, 2, *chatting(tmp_path)) as both:
        wait_for(both[0], "You: ")
        if moment == "replying":
            typed(both[0], "Hello")
            wait_for(both[0], "xyz")
        both[dead].kill()
        if dead == 1 and moment == "idle":
            typed(both[0], "A")
        code, _, err = ended(both[1 - dead])
    assert code == 2
    assert "menny: Another machine of the pipeline is gone" in err
    assert "Traceback" not in err


def test_ctrl_c_stops_a_reply_on_all_machines_and_the_chat_goes_on(tmp_path: Path) -> None:
    with ranks(tmp_path, 2, *chatting(tmp_path)) as both:
        for text in ("Hello", "And now?"):
            wait_for(both[0], "You: ")
            typed(both[0], text)
            wait_for(both[0], "xyz")
            for process in both:
                process.send_signal(signal.SIGINT)
            wait_for(both[0], "[stopped]")
        typed(both[0], "/bye")
        assert [ended(process)[0] for process in both] == [0, 0]
