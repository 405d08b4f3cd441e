"""Mutated sweeps, runs and datasets by the thousand: each is read or refused with a message, fast, in little memory.

A mutation changes real files: bytes, lines, values swapped for hostile ones (huge numbers, NaN, deep nesting, odd
Unicode, wrong types), lines doubled, cut or moved. Run directories go through the verbs (damaged_runs.py), image
folders and shards through the survey and the loader (damaged_data.py). What must not happen: a dataset that is not read
whole, an exception other than SpecError, an exit code that means nothing, a character that steers a terminal, an
example of more than ten seconds of computing, memory that grows without bound (the process runs under a limit).

    python benchmarks/fuzz.py --examples 10000
    python benchmarks/fuzz.py --examples 2000 --kinds data
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import resource
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from damaged_data import try_data
from damaged_runs import make_runs, try_verb

from search_space import SpecError, load_sweep_text, variants

ROOT = Path(__file__).parents[1]
LIMIT_BYTES = 4 * 2**30  # of data, not of addresses: V8, which draws the report, reserves hundreds of GiB of those
SLOW_SECONDS = 10.0  # of this process; a report draws, a start trains
MOST_VARIANTS = 200
HOSTILE = [
    *("null", "true", "-1", "0", "1e400", ".nan", "-.inf", "9" * 30, "''", "'\\u202e'", "[]", "{}", "[" * 8 + "]" * 8),
    *("{a: {b: {c: {d: 1}}}}", "!!python/object/apply:os.system ['true']", "&a [*a]", "*b", "'" + "x" * 5000 + "'"),
    *("2026-11-21", "0x1F", "1_000", "on", "~", "'../../x'", "|", ">", "? x", "- -", "\t", "\x00", "\u00ed\u00a0"),
    *("{min: 1, max: 1e308, step: 1e-300}", "{min: 5, max: 1}", "[1, 2", "arch.depth ** arch.depth ** 9 > 1"),
    "'a' * 10 ** 9 == 'a'",
]
ODD_LETTERS = "\x00\t\x1b\"':[{\u00e9\u202e\U0001f600"


def mutated_text(text: str, dice: random.Random) -> str:
    """One to four mutations of a text that is meant for people."""
    for _ in range(dice.randint(1, 4)):
        lines = text.split("\n")
        place = dice.randrange(len(lines))
        kind = dice.randrange(8)
        if kind == 0:
            del lines[place]
        elif kind == 1:
            lines.insert(place, lines[dice.randrange(len(lines))])
        elif kind == 2 and ":" in lines[place]:
            lines[place] = lines[place].split(":")[0] + ": " + dice.choice(HOSTILE)
        elif kind == 3:
            lines[place] = "  " * dice.randint(0, 3) + lines[place].lstrip()
        elif kind == 4 and lines[place]:
            at = dice.randrange(len(lines[place]))
            lines[place] = lines[place][:at] + dice.choice(ODD_LETTERS) + lines[place][at + 1 :]
        elif kind == 5:
            lines = lines[: place + 1]
        elif kind == 6:
            words = lines[place].split(" ")
            words[dice.randrange(len(words))] = dice.choice(HOSTILE)
            lines[place] = " ".join(words)
        else:
            other = dice.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]
        text = "\n".join(lines)
    return text


def try_sweep(dice: random.Random, texts: list[str], directory: Path) -> None:
    file = load_sweep_text(mutated_text(dice.choice(texts), dice))
    if file.sweep.search is None:
        for number, _ in enumerate(variants(file.sweep)):
            if number == MOST_VARIANTS:
                break


def try_run(dice: random.Random, runs: list[Path], directory: Path) -> None:
    if wrong := try_verb(dice, runs, directory):
        raise AssertionError(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000, help="of all kinds in turn")
    parser.add_argument("--kinds", nargs="+", choices=("run", "sweep", "data"), default=["run", "sweep"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["ARCHSWEEP_CACHE"] = "off"
    warnings.simplefilter("ignore")  # Pillow's, of damaged images
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    texts = [path.read_text() for path in sorted((ROOT / "sweeps").rglob("*.yaml"))]
    counts: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        runs = make_runs(directory) if "run" in arguments.kinds else []
        kinds: dict[str, Callable[[random.Random], None]] = {
            "sweep": lambda dice: try_sweep(dice, texts, directory),
            "run": lambda dice: try_run(dice, runs, directory),
            "data": lambda dice: try_data(dice, directory),
        }
        for number in range(arguments.examples):
            kind = arguments.kinds[number % len(arguments.kinds)]
            dice = random.Random(f"{arguments.seed}:{number}")
            began = time.process_time()
            try:
                kinds[kind](dice)
                counts[f"{kind} read"] += 1
            except SpecError:
                counts[f"{kind} refused with a message"] += 1
            except Exception:
                counts[f"{kind} CRASHED"] += 1
                print(f"example {number}:\n{traceback.format_exc(limit=-4)}", flush=True)
            seconds = time.process_time() - began
            slowest = max(slowest, seconds)
            if seconds > SLOW_SECONDS:
                counts[f"{kind} SLOW"] += 1
                print(f"example {number}: {seconds:.1f} s", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for key, count in sorted(counts.items()):
        print(f"{count:6} {key}")
    print(f"slowest {slowest:.2f} s, at most {memory:.0f} MiB")
    return 1 if any(key.endswith(("CRASHED", "SLOW")) for key in counts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
