"""Real run directories, damaged at random, and the verbs that must cope with them. For fuzz.py and the tests.

One of the files that a run keeps is changed: a value swapped for a hostile one (wrong type, huge, NaN, nested, odd
text), a key or line gone, doubled, cut or torn, bytes in between. Then a verb of the command line looks at the run or
continues it. It may only answer, or refuse with a message.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import random
import shutil
import sys
from pathlib import Path
from unittest.mock import patch

__all__ = ["damage", "make_runs", "try_verb"]

HOSTILE = [
    *(None, True, -1, 0, 2**63, 10**30, 1e308, -1e308, 0.5, "NaN", "Infinity", "", "x" * 5000, [], {}, [[[]]]),
    *({"a": {"b": {}}}, [None], "\u202e\x1b[2J", "../../x", "/etc/passwd", "</script>", "=1+1", "2026-13-45T99:00"),
    *(float("nan"), float("inf"), "\ud800", "\x00", "completed", "failed", "top1", {"name": "softmax"}, [1, "a", None]),
]
FILES = ["ledger.jsonl", "progress.jsonl", "plan.json", "suggestions.jsonl", "provenance.jsonl", "driver.lock"]
VERBS = [
    *("status RUN", "table RUN", "table RUN --format tex", "table RUN --format csv", "ls RUN", "ls RUN --all --json"),
    *("watch RUN --once", "diff RUN A B", "report RUN", "table RUN RUN2", "init new.yaml --around RUN", "plan SWEEP"),
    *("run SWEEP --out RUN --engine in-process -q", "run SWEEP --out RUN --engine in-process -q --retry failed"),
]
WEIGHTS = [8, 4, 2, 2, 4, 4, 6, 6, 1, 2, 2, 1, 5, 1]  # a report draws, a plan builds, a run trains

_SWEEP = """
name: NAME
baseline:
  arch: {model: vit, depth: 1, embed_dim: 4, num_heads: 1, mlp_ratio: 1, patch_size: 4, class_token: false}
  train: {epochs: 1, batch_size: 2048}
"""
SWEEPS = {
    "fixed": "space: {arch.mlp_ratio: [1, 2], train.lr: [0.001, 1.0e+30]}\ndesign: one_factor\n"
    "seeds: 2\nmetric: top1\n",
    "search": "space: {train.lr: {min: 0.001, max: 0.1, log: true}, arch.depth: [1, 2]}\ndesign: search\n"
    "search: {sampler: random, num_trials: 4}\nprune: {pruner: median}\nseeds: 1\nmetric: top1\n",
}


def make_runs(directory: Path) -> list[Path]:
    """A run of a fixed design, with failures, and one of a search, each beside its sweep file."""
    runs = []
    for name, text in SWEEPS.items():
        (directory / f"{name}.yaml").write_text(_SWEEP.replace("NAME", name) + text)
        code, _, errors = _typed("run", f"{name}.yaml", "--engine", "in-process", "-q", "--no-cache", cwd=directory)
        assert code in (0, 3), errors
        runs.append(directory / "runs" / name)
    return runs


def damage(run: Path, dice: random.Random) -> None:
    """Changes one to three things in one or two of the files of a run."""
    for name in dice.sample([name for name in FILES if (run / name).exists()], dice.choice([1, 1, 2])):
        path = run / name
        lines = path.read_text(errors="replace").split("\n")
        if name == "plan.json":
            lines = [json.dumps(json.loads("\n".join(lines)))]
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(lines))
            kind = dice.random()
            if kind < 0.75 and lines[place]:
                lines[place] = mutated_json(lines[place], dice)
            elif kind < 0.85:
                lines.insert(place, lines[dice.randrange(len(lines))])
            elif kind < 0.9 and len(lines) > 1:
                del lines[place]
            else:
                lines.insert(place, json.dumps(dice.choice(HOSTILE)))
        path.write_text("\n".join(lines), errors="surrogatepass")


def mutated_json(line: str, dice: random.Random) -> str:
    """One value of a JSON object replaced, somewhere in its depth; or the line itself damaged."""
    try:
        whole = json.loads(line)
    except (ValueError, RecursionError):  # it was damaged before
        return line
    if dice.random() < 0.2 or not isinstance(whole, dict | list) or not whole:
        at = dice.randrange(len(line))
        return dice.choice(
            [line[:at], line[:at] + "\x00" + line[at:], line[at:], line + line, "[" * 5000, "\ufeff" + line]
        )
    node = whole
    while True:
        key = dice.choice(list(node) if isinstance(node, dict) else range(len(node)))
        below = node[key]
        if isinstance(below, dict | list) and below and dice.random() < 0.7:
            node = below
            continue
        if isinstance(node, dict) and dice.random() < 0.2:
            del node[key]
        elif isinstance(node, dict) and dice.random() < 0.1:
            node[str(dice.choice(HOSTILE))[:50]] = node.pop(key)
        else:
            node[key] = dice.choice(HOSTILE)
        return json.dumps(whole)


def try_verb(dice: random.Random, runs: list[Path], directory: Path) -> str:
    """Damages a copy of one of the runs and types a verb; returns what is wrong with its answer, if anything.

    Raises:
        Exception: whatever the verb let through, which is a defect.
    """
    whole = dice.choice(runs)
    run = directory / "damaged"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    for made in directory.glob("new.yaml"):
        made.unlink()
    damage(run, dice)
    (verb,) = dice.choices(VERBS, WEIGHTS)
    ids = [json.loads(line)["trial_id"] for line in (whole / "ledger.jsonl").read_text().splitlines()]
    words = {"RUN": str(run), "RUN2": str(whole), "SWEEP": str(whole.parents[1] / f"{whole.name}.yaml")}
    words |= {"A": dice.choice(ids), "B": dice.choice(ids)}
    arguments = [words.get(word, word) for word in verb.split()]
    is_at_work = not verb.startswith("run ") and dice.random() < 0.5
    with open(run / "driver.lock") as lock:
        if is_at_work:
            fcntl.flock(lock, fcntl.LOCK_EX)
        code, printed, errors = _typed(*arguments, cwd=directory)
    controls = "" if "--format csv" in verb else {each for each in printed + errors if not each.isprintable()} - {"\n"}
    if code not in (0, 2, 3) or "Traceback" in printed + errors or controls:
        return f"{verb}: exit code {code}, control characters {controls or 'none'}\n{errors[-2000:]}"
    return ""


def _typed(*arguments: str, cwd: Path) -> tuple[int | str | None, str, str]:
    """The command as it is typed in `cwd`, carried out here: exit code, what it printed, and its errors."""
    from runners.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: int | str | None = 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.dict(os.environ, COLUMNS="120", NO_COLOR="1", ARCHSWEEP_CACHE="off"),
        patch.object(sys, "argv", ["archsweep", *arguments]),
    ):
        try:
            main()
        except SystemExit as ending:
            code = ending.code or 0
    return code, out.getvalue(), err.getvalue()
