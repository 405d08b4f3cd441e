"""Mutated sweeps and run directories by the thousand: each is read, or refused in words, fast and in little memory.

A mutation changes real files: bytes, lines, values swapped for hostile ones (huge numbers, NaN, deep nesting, odd
Unicode, wrong types), lines doubled, cut or moved. What must not happen: an exception other than SpecError, an example
of more than two seconds, memory that grows without bound (the process runs under a limit).

    python benchmarks/fuzz.py --examples 10000
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import random
import resource
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from results import EXPORTERS, Run, ablation_table, format_status, run_status, write_tables
from search_space import SpecError, load_sweep, load_sweep_text, variants

ROOT = Path(__file__).parents[1]
LIMIT_BYTES = 20 * 2**30  # of address space, most of which torch only reserves
SLOW_SECONDS = 2.0
MOST_VARIANTS = 200
HOSTILE = [
    *("null", "true", "-1", "0", "1e400", ".nan", "-.inf", "9" * 30, "''", "'\\u202e'", "[]", "{}", "[" * 8 + "]" * 8),
    *("{a: {b: {c: {d: 1}}}}", "!!python/object/apply:os.system ['true']", "&a [*a]", "*b", "'" + "x" * 5000 + "'"),
    *("2026-11-21", "0x1F", "1_000", "on", "~", "'../../x'", "|", ">", "? x", "- -", "\t", "\x00", "\u00ed\u00a0"),
    *("{min: 1, max: 1e308, step: 1e-300}", "{min: 5, max: 1}", "[1, 2", "arch.depth ** arch.depth ** 9 > 1"),
    "'a' * 10 ** 9 == 'a'",
]
HOSTILE_JSON = [
    *(None, True, -1, 10**30, 1e308, "NaN", "Infinity", "", "x" * 5000, [], {}, [[[]]], {"a": {"b": {}}}),
    *("\u202e", "../..", "</script>", "=1+1"),
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


def mutated_json(line: str, dice: random.Random) -> str:
    """One value of a JSON object replaced, somewhere in its depth; or the line itself damaged."""
    if dice.random() < 0.3:
        at = dice.randrange(len(line))
        return dice.choice([line[:at], line[:at] + "\x00" + line[at:], line[at:], line + line, "[" * 5000])
    whole = json.loads(line)
    node = whole
    while True:
        key = dice.choice(list(node) if isinstance(node, dict) else range(len(node)))
        below = node[key]
        if isinstance(below, dict | list) and below and dice.random() < 0.7:
            node = below
            continue
        if isinstance(node, dict) and dice.random() < 0.2:
            del node[key]
        else:
            node[key] = dice.choice(HOSTILE_JSON)
        return json.dumps(whole)


def try_sweep(dice: random.Random, texts: list[str], directory: Path) -> None:
    file = load_sweep_text(mutated_text(dice.choice(texts), dice))
    if file.sweep.search is None:
        for number, _ in enumerate(variants(file.sweep)):
            if number == MOST_VARIANTS:
                break


def try_run(dice: random.Random, run: Path, directory: Path) -> None:
    """A copy of a real run with one of its files damaged, looked at as `table` and `status` do."""
    broken = directory / "run"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(run, broken, ignore=shutil.ignore_patterns("trials"))
    name = dice.choice(["ledger.jsonl", "ledger.jsonl", "plan.json", "progress.jsonl"])
    lines = (broken / name).read_text().split("\n")
    if name == "plan.json":
        lines = [json.dumps(json.loads("\n".join(lines)))]
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(lines))
        if lines[place] and dice.random() < 0.8:
            try:
                lines[place] = mutated_json(lines[place], dice)
            except (ValueError, IndexError, RecursionError):  # it was damaged before
                continue
        else:
            lines.insert(place, lines[dice.randrange(len(lines))])
    (broken / name).write_text("\n".join(lines), errors="surrogatepass")
    opened = Run.open(broken)
    table = ablation_table(opened.plan, opened.records)
    for write in EXPORTERS.values():
        write(table, io.StringIO())
    format_status(run_status(opened, now=time.time()))
    write_tables(broken)


def a_run(directory: Path) -> Path:
    from runners.drive import drive
    from runners.plan import make_plan

    file = load_sweep(ROOT / "sweeps" / "quickstart.yaml", overrides=["train.epochs=3", "seeds=3"])
    drive(make_plan(file), directory / "whole", engine="in-process")
    return directory / "whole"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000, help="half of them sweeps, half of them runs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    texts = [path.read_text() for path in sorted((ROOT / "sweeps").rglob("*.yaml"))]
    counts: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        whole = a_run(directory)
        kinds: dict[str, Callable[[random.Random], None]] = {
            "sweep": lambda dice: try_sweep(dice, texts, directory),
            "run": lambda dice: try_run(dice, whole, directory),
        }
        for number in range(arguments.examples):
            kind = "sweep" if number % 2 else "run"
            dice = random.Random(f"{arguments.seed}:{number}")
            began = time.perf_counter()
            try:
                kinds[kind](dice)
                counts[f"{kind} read"] += 1
            except SpecError:
                counts[f"{kind} refused in words"] += 1
            except Exception:
                counts[f"{kind} CRASHED"] += 1
                print(f"example {number}:\n{traceback.format_exc(limit=-4)}", flush=True)
            seconds = time.perf_counter() - began
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
