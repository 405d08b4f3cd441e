"""A stranger's sweep, run directory, checkpoint or cache executes nothing, and reaches no file outside.

Each file below would make a marker if anything in it were executed.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy
import pytest
import torch

from results import Run, read_ledger
from runners.cache.origin import Origins
from runners.cache.trial_cache import TrialCache
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import Resources, load_sweep

pytestmark = pytest.mark.thorough

SWEEP = """
    name: tiny
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 4, num_heads: 1, mlp_ratio: 1, patch_size: 4, class_token: false}
      train: {epochs: 1, batch_size: 2048}
    space: {}
    design: factorial
    seeds: 1
    metric: top1
    checkpoints: {min_seconds: 0}
"""
SEARCH = SWEEP.replace(
    "space: {}\n    design: factorial",
    """space: {train.lr: {min: 0.001, max: 0.1}, arch.mlp_ratio: {min: 1.0, max: 2.0}}
    design: search
    search: {sampler: cmaes, num_trials: 3}""",
)


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


def test_the_payload_works(marker):
    """Or none of the tests below could fail."""
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:pathlib.Path.touch [MARKER]",
        "!!python/object/new:os.system [touch MARKER]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!custom {a: 1}",
    ],
)
def test_a_tag_of_a_sweep_makes_no_object(archsweep, tmp_path, write_sweep, marker, value):
    path = write_sweep(SWEEP + f"    description: {value.replace('MARKER', str(marker))}\n")
    done = archsweep("check", path, cwd=tmp_path)
    assert (done.returncode, marker.exists()) == (2, False)
    assert "tag" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "requirement",
    ["__import__('os').system('touch MARKER')", "().__class__.__bases__", "open('MARKER', 'w')", "arch.__class__"],
)
def test_a_requirement_is_no_program(archsweep, tmp_path, write_sweep, marker, requirement):
    path = write_sweep(SWEEP + f"    require: [{json.dumps(requirement.replace('MARKER', str(marker)))}]\n")
    done = archsweep("check", path, cwd=tmp_path)
    assert (done.returncode, marker.exists()) == (2, False)
    assert "is not a requirement" in done.stderr
    run = tmp_path / "run"
    run_sweep(make_plan(load_sweep(write_sweep(SWEEP))), run, engine="in-process")
    done = archsweep("ls", run, "--filter", requirement, cwd=tmp_path)
    assert (done.returncode, marker.exists()) == (2, False)
    assert "Traceback" not in done.stderr


def test_a_checkpoint_with_more_than_tensors_is_ignored_with_a_word(tmp_path, write_sweep, marker):
    plan = make_plan(load_sweep(write_sweep(SWEEP)))
    run_sweep(plan, tmp_path / "whole", engine="in-process")
    (whole,) = Run.open(tmp_path / "whole").records
    folder = tmp_path / "run" / "trials" / whole.trial_id
    folder.mkdir(parents=True)
    torch.save({"format": 1, "trial_id": whole.trial_id, "state": Payload(marker)}, folder / "checkpoint.pt")
    run_sweep(plan, tmp_path / "run", engine="in-process")
    (record,) = Run.open(tmp_path / "run").records
    assert not marker.exists()
    assert (record.status, record.metrics, record.resumed_from_epoch) == ("completed", whole.metrics, None)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_weights_with_more_than_tensors_are_not_imported(archsweep, tmp_path, marker, how):
    path = tmp_path / "weights.pth"
    content = {"model": {"head.weight": torch.zeros(2)}, "epoch": Payload(marker)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    done = archsweep(
        "import-checkpoint", path, "-m", "vit_tiny_patch16_224", "-o", tmp_path / "w.safetensors", cwd=tmp_path
    )
    assert (done.returncode, marker.exists()) == (2, False)
    assert f"{path}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_arrays_of_a_run_with_more_than_numbers_are_not_loaded(archsweep, tmp_path, write_sweep, marker):
    run_sweep(make_plan(load_sweep(write_sweep(SWEEP))), tmp_path / "run", engine="in-process")
    (record,) = Run.open(tmp_path / "run").records
    folder = tmp_path / "run" / "trials" / record.trial_id
    folder.mkdir(parents=True, exist_ok=True)
    numpy.savez(folder / "probes.npz", cross_layer_similarity=numpy.array([Payload(marker)], dtype=object))
    done = archsweep("report", tmp_path / "run", cwd=tmp_path)
    assert (done.returncode, marker.exists()) == (0, False), done.stderr


def test_arrays_that_unpack_to_more_than_a_page_are_not_unpacked(archsweep, tmp_path, write_sweep):
    """A megabyte of zeros, packed, is a gigabyte; it is of no use as a picture either."""
    run_sweep(make_plan(load_sweep(write_sweep(SWEEP))), tmp_path / "run", engine="in-process")
    (record,) = Run.open(tmp_path / "run").records
    folder = tmp_path / "run" / "trials" / record.trial_id
    folder.mkdir(parents=True, exist_ok=True)
    numpy.savez_compressed(folder / "probes.npz", cross_layer_similarity=numpy.zeros((4000, 4000)))
    tracemalloc.start()
    done = archsweep("report", tmp_path / "run", cwd=tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.returncode == 0
    assert peak < 100 * 2**20 < 4000 * 4000 * 8


@pytest.mark.thorough
@pytest.mark.parametrize("prefix", ["cma", "sepcma", "cmawm"])
def test_an_optimizer_among_suggestions_is_read_without_trust(archsweep, tmp_path, write_sweep, marker, prefix):
    """Optuna keeps the optimizer of CMA-ES as a pickle in what a search proposed."""
    path = write_sweep(SEARCH)
    assert archsweep("run", path, "--engine", "in-process", "--limit", 2, "-q", cwd=tmp_path).returncode == 0
    run = tmp_path / "runs" / "tiny"
    lines = (run / "suggestions.jsonl").read_text().splitlines()
    evil = pickle.dumps(Payload(marker)).hex()
    lines[0] = json.dumps({**json.loads(lines[0]), "attrs": {f"{prefix}:optimizer:0": evil, f"{prefix}:generation": 0}})
    (run / "suggestions.jsonl").write_text("\n".join(lines) + "\n")
    done = archsweep("run", path, "--engine", "in-process", "-q", cwd=tmp_path)
    assert (done.returncode, marker.exists()) == (2, False)
    assert done.stderr == (
        "archsweep: 1 problem\n\n"
        f"{run}/suggestions.jsonl:1: not a suggestion of a sampler: its '{prefix}:optimizer' holds more than "
        "an optimizer: pathlib.Path.touch; none of it was executed\n"
        "  move the file away: the search then starts again, and its trials that are in the ledger are not run again\n"
    )


@pytest.mark.slow
def test_a_real_optimizer_among_suggestions_is_continued(archsweep, tmp_path, write_sweep):
    """The check of what CMA-ES notes must not refuse what CMA-ES notes, with any of its variants."""
    for options in ("", ", use_separable_cma: true", ", with_margin: true"):
        text = SEARCH.replace("num_trials: 3", "num_trials: 8, n_startup_trials: 1, popsize: 3" + options)
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        path = write_sweep(text)
        first = archsweep("run", path, "--engine", "in-process", "--limit", 6, "-q", cwd=tmp_path)
        assert first.returncode == 0, first.stderr
        assert ":optimizer:0" in (tmp_path / "runs/tiny/suggestions.jsonl").read_text()
        done = archsweep("run", path, "--engine", "in-process", "-q", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_an_entry_of_the_cache_is_data(tmp_path, write_sweep, marker):
    """A shared cache is written by others: a pickle, a record of another trial and a link are no entry."""
    plan = make_plan(load_sweep(write_sweep(SWEEP)))
    cache = TrialCache(tmp_path / "cache", "cpu", Origins(Resources()))
    run_sweep(plan, tmp_path / "one", engine="in-process", cache=cache)
    (entry,) = (tmp_path / "cache").rglob("*.json")
    good = json.loads(entry.read_text())
    for bad in (
        pickle.dumps(Payload(marker)),
        b"[" * 100_000,
        json.dumps({**good, "record": {**good["record"], "trial_id": "../../other"}}).encode(),
        json.dumps({**good, "record": {**good["record"], "metrics": {"top1": {"a": 1}}}}).encode(),
    ):
        entry.write_bytes(bad)
        assert cache.get(plan.variants[0].setting.with_seed(0)) is None
    assert not marker.exists()


@pytest.mark.default_run("../../outside", "..")
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside-of-the-run", "a/../../../outside", "..", ""])
def test_a_trial_id_names_no_file_outside(archsweep, tmp_path, write_sweep, name):
    """A ledger from an untrusted source leads neither readers nor the driver out of the run directory."""
    plan = make_plan(load_sweep(write_sweep(SWEEP)))
    run = tmp_path / "deep" / "run"
    run_sweep(plan, run, engine="in-process")
    (record,) = read_ledger(run / "ledger.jsonl").records
    kept = [tmp_path / "outside", tmp_path / "deep" / "outside", run / "trials" / "outside"]
    for folder in kept:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.pt").write_text("mine")
        numpy.savez(folder / "probes.npz", cross_layer_similarity=numpy.full((2, 2), 0.123456789))
    (run / "checkpoint.pt").write_text("mine")
    # Without a spec the id cannot be verified; with one the ledger is refused.
    changed = {"trial_id": name, "variant": name or "x", "spec": {}}
    lines = [record.model_copy(update=changed).model_dump_json()]
    (run / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    for verb in (["status"], ["table"], ["ls"], ["report"], ["diff", name, record.variant_id]):
        done = archsweep(verb[0], run, *verb[1:], cwd=tmp_path)
        assert done.returncode in (0, 2), done
        assert "Traceback" not in done.stderr
    run_sweep(plan, run, engine="in-process")
    assert [(folder / "checkpoint.pt").read_text() for folder in [*kept, run]] == ["mine"] * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "outside", "sweep.yaml"]


def test_names_of_a_sweep_name_no_folder_outside(archsweep, tmp_path, write_sweep):
    for name in ("../up", "/abs", "a/b", "..", "."):
        path = write_sweep(SWEEP.replace("name: tiny", f"name: {json.dumps(name)}"))
        done = archsweep("check", path, cwd=tmp_path)
        assert done.returncode == 2, name
        assert "it names the folder of the run" in done.stderr


@pytest.mark.default_run("plan.json", "ledger.jsonl")
@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["ledger.jsonl", "plan.json", "progress.jsonl", "driver.lock", "provenance.jsonl", "suggestions.jsonl"]
)
def test_no_verb_waits_for_a_pipe_or_reads_a_device(archsweep, tmp_path, write_sweep, name):
    path = write_sweep(SWEEP)
    run_sweep(make_plan(load_sweep(path)), tmp_path / "run", engine="in-process")
    file = tmp_path / "run" / name
    for kind in ("pipe", "device"):
        file.unlink(missing_ok=True)
        os.mkfifo(file) if kind == "pipe" else file.symlink_to("/dev/zero")
        run = ["run", path, "--engine", "in-process", "-q", "--out", "run"]
        for verb in (
            ["status", "run"],
            ["table", "run"],
            ["ls", "run"],
            ["watch", "run", "--once"],
            ["report", "run"],
            run,
        ):
            done = archsweep(*verb, cwd=tmp_path)
            where = tmp_path / "run" / name if verb is run else f"run/{name}"
            hint = "a pipe or a device has no place in a run directory: move it away"
            assert (done.returncode, done.stderr) == (
                2,
                f"archsweep: 1 problem\n\n{where}: is no plain file\n  {hint}\n",
            )
