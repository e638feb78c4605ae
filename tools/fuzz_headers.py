"""Loads models whose headers were changed at random, over all formats, in processes of their own.

    python -m tools.fuzz_headers [--count 10000] [--seed 0]

What may come of it is the model, or one of Menny's own errors. Told are other exceptions, crashes, files that appear
outside the model's folder, and memory: a child has 2 GiB. Each finding names the seed that makes the same file again.
"""

import argparse
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from menny.engine import load_model, load_tokenizer, plan_for
from menny.errors import MennyError
from tools.peak_memory import peak_memory

ROOT = Path(__file__).parents[1]
PER_CHILD = 500
LIMIT = 2 << 30
HEAD, TAIL = 1 << 13, 1 << 12  # bytes at a file's start and end in which headers and directories stand
NUMBERS = (0, 1, 2, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (b"-1", b"0", b"1e400", b"NaN", b"99999999999999999999", b"null", b"[]", b"{}", b'"../../x"', b"true", b'"' * 3)
SLOW_SECONDS = 60


def models(folder: Path) -> list[Path]:
    """A tiny model in every format, dense and sparse, each in a folder of its own, with a vocabulary."""
    from menny.engine import MoEArgs  # noqa: PLC0415
    from tests.engine.format_files import FORMATS  # noqa: PLC0415 - the tests' writers, which aren't a package
    from tests.engine.tiny_models import random_weights, tiny_args, write_vocabulary  # noqa: PLC0415

    made = []
    for name, write in FORMATS.items():
        for moe in (None, MoEArgs(4, 2)):
            args = tiny_args(vocab_size=259, max_position_embeddings=64, moe=moe)
            place = folder / f"{name}-{'sparse' if moe else 'dense'}".replace(" ", "-").replace("/", "-")
            try:
                write(place, args, random_weights(args))
            except (ValueError, KeyError, AssertionError):  # a format that has no such model
                shutil.rmtree(place, ignore_errors=True)
                continue
            if not any(place.glob("*.gguf")):
                write_vocabulary(place)
            made.append(place)
    return made


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same with one to four changes where headers stand."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not changed:
            break
        places = (
            [*range(min(HEAD, len(changed)))] if chance.random() < 0.7 else [len(changed) - 1 - TAIL, len(changed) - 1]
        )
        place = max(0, chance.randint(min(places), max(places)))
        match chance.randrange(8):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place] = chance.randrange(256)
            case 2:
                changed[place : place + 4] = struct.pack("<I", chance.choice(NUMBERS) & 0xFFFFFFFF)
            case 3:
                changed[place : place + 8] = struct.pack("<Q", chance.choice(NUMBERS))
            case 4:
                del changed[place : place + chance.randrange(1, 64)]
            case 5:
                changed[place:place] = changed[place : place + chance.randrange(1, 64)]
            case 6:
                _replace_number(changed, place, chance)
            case 7:
                del changed[chance.randrange(len(changed)) :]
    return bytes(changed)


def _replace_number(changed: bytearray, place: int, chance: random.Random) -> None:
    """The next number that is written in digits becomes another word."""
    start = next((i for i in range(place, min(len(changed), place + 4096)) if 48 <= changed[i] <= 57), None)
    if start is None:
        return
    end = start
    while end < len(changed) and 48 <= changed[end] <= 57:
        end += 1
    changed[start:end] = chance.choice(WORDS)


def try_model(path: Path) -> None:
    """What Menny does with a model that somebody points to."""
    for attempt in (plan_for, load_model, load_tokenizer):
        try:
            attempt(path)  # type: ignore[operator]
        except MennyError as error:
            if not str(error):
                raise ValueError("an error without a sentence") from error


def child(folder: Path, seeds: range) -> None:
    """Try these seeds' files one after the other; a line of JSON tells what is begun, and what went wrong."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    originals = sorted(path for path in folder.iterdir() if path.is_dir())
    work = folder.parent / f"work-{seeds.start}"
    for seed in seeds:
        print(json.dumps({"seed": seed}), flush=True)
        chance = random.Random(seed)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(chance.choice(originals), work)
        file = chance.choice(sorted(work.iterdir()))
        file.write_bytes(mutated(file.read_bytes(), chance))
        path = next(iter(work.glob("*.gguf")), work)
        try:
            try_model(path)
        except BaseException as error:
            where = f"{file.name} of {path}: {type(error).__name__}: {error}"
            print(json.dumps({"seed": seed, "finding": where[:400]}), flush=True)
    shutil.rmtree(work, ignore_errors=True)
    print(json.dumps({"peak": peak_memory()}), flush=True)


def run(count: int, first: int, folder: Path) -> tuple[list[str], int]:
    """All findings, and the greatest memory that a child took."""
    originals = folder / "originals"
    originals.mkdir(parents=True)
    models(originals)
    before = set(folder.rglob("*"))
    findings, peak = [], 0
    for start in range(first, first + count, PER_CHILD):
        seeds = range(start, min(start + PER_CHILD, first + count))
        for line in _lines(originals, seeds, folder):
            if "finding" in line:
                findings.append(f"seed {line['seed']}: {line['finding']}")
            peak = max(peak, int(line.get("peak", 0)))
    findings += [f"a file appeared: {path}" for path in set(folder.rglob("*")) - before if "work-" not in str(path)]
    return findings, peak


def _lines(originals: Path, seeds: range, folder: Path) -> Iterator[dict[str, object]]:
    """What the child for these seeds says; for a seed that ends it, another child goes on with the next."""
    while seeds:
        command = [
            sys.executable,
            "-m",
            "tools.fuzz_headers",
            "--child",
            str(originals),
            str(seeds.start),
            str(seeds.stop),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), "OPENBLAS_NUM_THREADS": "1"}
        try:
            said = subprocess.run(
                command, capture_output=True, env=environment, cwd=ROOT, timeout=SLOW_SECONDS + 2 * len(seeds)
            )
            code, output, trace = said.returncode, said.stdout, said.stderr
        except subprocess.TimeoutExpired as slow:
            code, output, trace = -1, slow.stdout or b"", b"took too long"
        lines = [json.loads(line) for line in output.splitlines()]
        yield from lines
        if code == 0:
            return
        last = max((int(line["seed"]) for line in lines if "seed" in line), default=seeds.start)
        yield {"seed": last, "finding": f"the process ended with {code}: {trace.decode(errors='replace')[-300:]}"}
        seeds = range(last + 1, seeds.stop)


def main() -> None:
    """Run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, metavar=("FOLDER", "FIRST", "LAST"))
    asked = parser.parse_args()
    if asked.child:
        child(Path(asked.child[0]), range(int(asked.child[1]), int(asked.child[2])))
        return
    with tempfile.TemporaryDirectory() as folder:
        findings, peak = run(asked.count, asked.seed, Path(folder) / "fuzz")
    for finding in findings:
        print(finding)
    print(f"{asked.count} mutants, {len(findings)} findings, {peak >> 20} MiB at most")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
