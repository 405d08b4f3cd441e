"""Control characters of untrusted files never reach a terminal: those of refused sweeps, and of runs looked at."""

from __future__ import annotations

import fcntl
import io
import json

import pytest
import yaml
from rich.console import Console

from results import (
    Failure,
    LedgerWriter,
    PlannedVariant,
    ProgressEvent,
    ProgressWriter,
    RunPlan,
    TrialRecord,
    write_plan,
)
from runners.display.live import TrialLines

# Sets the title of the window, clears the screen, rings, goes back to the beginning of the line, turns the reading
# direction around, ends a line as Unicode does, and a control sequence in one character.
BAD = "\x1b]0;owned\x07\x1b[2J\r\u202e\u2028\x9b31m"

SWEEP = {
    "name": "tiny",
    "baseline": {"arch": {"model": "vit", "depth": 1, "embed_dim": 20, "num_heads": 2}, "train": {"epochs": 1}},
    "space": {"arch.depth": [1, 2]},
    "design": "one_factor",
    "seeds": 1,
    "metric": "top1",
}
HOSTILE_PARTS = {
    "name": {"name": BAD},
    "key": {BAD: 1},
    "path": {"space": {BAD: [1, 2]}},
    "value": {"space": {"arch.attention": ["softmax", BAD]}},
    "model": {"baseline": {"arch": {"model": BAD}}},
    "optimizer": {"baseline": {"train": {"opt": BAD}}},
    "dataset": {"baseline": {"task": {"dataset": BAD}}},
    "requirement": {"require": [f"{BAD} > 1"]},
    "row": {"space": {}, "design": {"name": "list", "rows": [{"name": f"row {BAD}", "arch.depth": 2}]}},
    "profile": {"profiles": {BAD: {"seeds": 1}}},
    "metric": {"metric": BAD},
    "sampler": {"design": "search", "search": {"sampler": BAD, "num_trials": 3}},
    "pruner": {"prune": {"pruner": "median", BAD: 1}},
    "source": {"published": [{"when": {"arch.depth": 2}, "values": {"top1": 1}, "source": BAD}]},
    "study": {"studies": {BAD: {"space": {"arch.depth": [1, 2]}, "design": "one_factor"}}},
    "description": {"description": BAD},
}


def controls(text):
    """Characters that a terminal would execute instead of showing."""
    return {character for character in text if not character.isprintable()} - {"\n"}


@pytest.mark.thorough
@pytest.mark.parametrize("part", HOSTILE_PARTS)
def test_a_sweep_is_checked_and_planned_without_control_characters(archsweep, tmp_path, part):
    content = {**SWEEP, **HOSTILE_PARTS[part]}
    for text in (
        json.dumps(content),
        json.dumps(content, ensure_ascii=False),
        yaml.safe_dump(content, allow_unicode=True),
    ):
        (tmp_path / "sweep.yaml").write_text(text)
        for verb in (["check", "sweep.yaml"], ["plan", "sweep.yaml", "--no-cost"]):
            done = archsweep(*verb, cwd=tmp_path)
            assert done.returncode in (0, 2)
            assert controls(done.stdout + done.stderr) == set(), done
            assert "Traceback" not in done.stderr


def test_arguments_are_quoted_without_control_characters(archsweep, tmp_path):
    (tmp_path / "sweep.yaml").write_text(json.dumps(SWEEP))
    for option in (["--profile", BAD], ["--study", BAD], ["--set", f"{BAD}=1"], ["--set", f"train.opt={BAD}"]):
        done = archsweep("check", "sweep.yaml", *option, cwd=tmp_path)
        assert done.returncode == 2
        assert controls(done.stdout + done.stderr) == set(), done


def test_the_caret_is_below_its_place_whatever_precedes_it(archsweep, tmp_path):
    (tmp_path / "sweep.yaml").write_text("{name: tiny, '\u202e\u2066': 1, desing: x}\n")
    done = archsweep("check", "sweep.yaml", cwd=tmp_path)
    assert done.stderr.startswith("archsweep: ")
    _, line, caret = done.stderr[done.stderr.index("sweep.yaml:1:23: desing: unknown key") :].split("\n")[:3]
    assert line == "    {name: tiny, '??': 1, desing: x}"
    assert caret.index("^") == line.index("desing")


@pytest.fixture
def hostile_run(tmp_path):
    """Every text of plan, records, progress and lock is hostile."""

    def record(variant, seed, top1=None, **fields):
        base = {
            "trial_id": f"{variant}{BAD}-{seed}",
            "variant_id": f"id-{variant}",
            "variant": variant + BAD,
            "seed": seed,
            "spec": {"arch": {f"name{BAD}": BAD}, "train": {BAD: seed}},
            "changes": {f"arch.{BAD}": BAD},
            "status": "failed" if top1 is None else "completed",
            "metrics": {} if top1 is None else {"top1": top1, f"m{BAD}": 1.0},
            **dict.fromkeys(("device", "host", "cached_from", "finished_at", "session"), BAD),
        }
        return TrialRecord.model_validate({**base, **fields})

    names = [
        {"name": f"base{BAD}", "variant_id": "id-base", "is_baseline": True, "components": {BAD: True}},
        {
            "name": f"variant{BAD}",
            "variant_id": "id-variant",
            "changes": {f"arch.{BAD}": BAD},
            "components": {BAD: False},
        },
        {"name": f"gone{BAD}", "variant_id": "id-gone", "dropped": BAD},
    ]
    plan = RunPlan(
        sweep=f"s{BAD}",
        profile=f"p{BAD}",
        design="one_factor",
        metric="top1",
        seeds=[0, 1, 2],
        variants=[PlannedVariant.model_validate(each) for each in names],
        published=[{"when": {f"arch.{BAD}": BAD}, "values": {"top1": 2.0}, "source": BAD}],
        dataset=f"d{BAD}",
    )
    run = tmp_path / "run"
    write_plan(run, plan)
    with LedgerWriter(run) as ledger:
        for variant, seed in (("base", 0), ("base", 1), ("variant", 0), ("variant", 1)):
            ledger.append(record(variant, seed, 90.0 + seed))
        ledger.append(record("variant", 2, failure=Failure(type=f"T{BAD}", message=f"m{BAD}\nmore", traceback=BAD)))
    with ProgressWriter(run) as progress:
        for event, metrics in (("start", {}), ("epoch", {"epoch": 1, "top1": 3.0})):
            progress.append(ProgressEvent(1.0, f"base{BAD}-2", f"base{BAD}", 2, event, metrics, BAD))
    with (run / "driver.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({"pid": 7, "host": f"h{BAD}", "since": BAD}))
        lock.flush()
        yield run


@pytest.mark.thorough
@pytest.mark.parametrize(
    "verb",
    [
        "status RUN",
        "watch RUN --once",
        "ls RUN --all",
        "ls RUN --columns variant,failure,host,device,cached_from,finished_at",
        "ls RUN --columns nothing",
        "status RUN --json",
        "ls RUN --json",
        "table RUN --json",
        "diff RUN id-base id-variant",
        "diff RUN id-base id-variant --json",
        "diff RUN id-base missing",
        "report RUN",
        *(f"table RUN --format {name}" for name in ("text", "md", "tex", "html")),
    ],
)
def test_a_run_is_looked_at_without_control_characters(archsweep, hostile_run, tmp_path, verb):
    done = archsweep(*[str(hostile_run) if word == "RUN" else word for word in verb.split()], cwd=tmp_path)
    assert done.returncode in (0, 2)
    assert controls(done.stdout + done.stderr) == set(), done
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("message", [BAD, "", "\n"])
def test_lines_of_a_running_sweep_escape_error_messages(message):
    out = io.StringIO()
    lines = TrialLines(Console(file=out), planned=lambda: 1, earlier={}, metric="top1")
    fields = {"trial_id": "t", "variant_id": "v", "variant": BAD, "seed": 0, "spec": {}, "status": "failed"}
    failure = Failure(type="ValueError", message=message)
    lines.on_trial_end(None, TrialRecord.model_validate({**fields, "failure": failure}))
    assert controls(out.getvalue()) == set()
    assert "ValueError: " in out.getvalue()
