"""`archsweep new` writes a plug-in that a sweep can be trained with, and a test that passes as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from results import read_ledger

ROOT = Path(__file__).parents[3]


KINDS = (
    *("attention", "dataset", "design", "exporter", "figure"),
    *("metric", "model", "pruner", "sampler", "task"),
)


def run_tests_of(folder: Path) -> subprocess.CompletedProcess[str]:
    """All tests of a folder, in one process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_written_test_passes(archsweep, tmp_path):
    done = archsweep("new", "attention", "my_own", cwd=tmp_path)
    assert done.stdout.startswith("written: my_own.py and test_my_own.py\n")
    done = run_tests_of(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.slow
def test_the_written_tests_of_all_kinds_pass(archsweep, tmp_path):
    """And each file can be loaded as a plug-in, all of them together."""
    for kind in KINDS:
        done = archsweep("new", kind, f"my_{kind}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = run_tests_of(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "15 passed" in done.stdout
    allowed = [word for kind in KINDS for word in ("--plugin", f"my_{kind}.py")]
    (tmp_path / "sweep.yaml").write_text(
        f"name: all\nplugins: [{', '.join(f'my_{kind}' for kind in KINDS)}]\n"
        "baseline: {arch: {depth: 1, embed_dim: 12, num_heads: 2, patch_size: 4}, train: {epochs: 1}}\n"
        "space: {arch.depth: [1, 2], arch.attention: [softmax, my_attention]}\n"
        "design: {name: my_design, num_rows: 2}\nmetric: my_metric\nseeds: 1\n"
    )
    done = archsweep("check", "sweep.yaml", *allowed, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_kind_is_named(archsweep, tmp_path):
    done = archsweep("new", "datset", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no kind 'datset' of plug-in" in done.stderr
    known = "known: attention, dataset, design, exporter, figure, metric, model, pruner, sampler, task."
    assert f"{known} Did you mean 'dataset'?" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_the_written_mechanism_is_trained(archsweep, tmp_path):
    archsweep("new", "attention", "written_here", cwd=tmp_path)
    (tmp_path / "sweep.yaml").write_text(
        "name: own\nplugins: [written_here]\n"
        "baseline: {arch: {depth: 1, embed_dim: 12, num_heads: 2, patch_size: 4}, train: {epochs: 1}}\n"
        "space: {arch.attention: [softmax, {name: written_here, bias: 0.5}]}\n"
        "design: one_factor\nmetric: top1\nseeds: 1\n"
    )
    options = ["--plugin", "written_here.py", "--engine", "in-process"]
    done = archsweep("run", "sweep.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = read_ledger(tmp_path / "runs" / "own" / "ledger.jsonl").records
    ended = {record.variant: record.status for record in records}
    assert ended == {"baseline": "completed", "attention=written_here, bias=0.5": "completed"}


def test_nothing_is_overwritten(archsweep, tmp_path):
    (tmp_path / "test_mine.py").write_text("mine")
    done = archsweep("new", "attention", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "test_mine.py: exists already\n  nothing was written" in done.stderr
    assert not (tmp_path / "mine.py").exists()
    assert (tmp_path / "test_mine.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("attention", "../mine", "'../mine' cannot be the name of a plug-in"),
        ("attention", "My", "'My' cannot be the name of a plug-in"),
        ("model", "class", "'class' cannot be the name of a plug-in"),
        ("attention", "json", "'json' is a module of Python, which a file of the name would hide"),
        ("model", "numpy", "'numpy' is an installed package, which a file of the name would hide"),
        ("attention", "softmax", "archsweep has the attention 'softmax' itself"),
        ("metric", "top1", "archsweep has the metric 'top1' itself"),
        ("model", "vit", "there is a model 'vit' already"),
        ("exporter", "tex", "archsweep has the exporter 'tex' itself"),
        ("sampler", "tpe", "archsweep has the sampler 'tpe' itself"),
    ],
)
def test_a_name_is_refused(archsweep, tmp_path, kind, name, message):
    done = archsweep("new", kind, name, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
