"""Plug-ins in whole runs: a stranger's file never runs, one's own does on every engine, and its sources stay."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from results import read_ledger
from results.store.provenance import read_sessions

ROOT = Path(__file__).parents[2]
SWEEP = """
name: own
plugins: [NAME]
baseline:
  arch: {depth: 1, embed_dim: 12, num_heads: 2, mlp_ratio: 1, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 1, batch_size: 512}
space: {arch.attention: [softmax, {name: NAME, bias: 0.5}]}
design: one_factor
metric: top1
seeds: 1
"""
MECHANISM = """
import torch
from archsweep.testing import Slot, TokenAttention


class Own(TokenAttention):
    def __init__(self, slot: Slot, *, bias: float = 1.0) -> None:
        super().__init__(slot)
        self.gate = torch.nn.Parameter(torch.full((slot.dim,), bias))

    def attend(self, x, incoming=None):
        q, k, v = self.heads_of(self.qkv(x))
        attn = (q @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.merge(self.weigh(attn, v)) * self.gate, attn


PLUGINS = {"attention": {"NAME": Own}}
"""


def write(folder: Path, name: str, mechanism: str = MECHANISM) -> tuple[Path, Path]:
    """A sweep, and the plug-in that it names, in one folder."""
    sweep, plugin = folder / "sweep.yaml", folder / f"{name}.py"
    sweep.write_text(SWEEP.replace("NAME", name))
    plugin.write_text(mechanism.replace("NAME", name))
    return sweep, plugin


# A stranger's files.


@pytest.fixture
def evil(tmp_path):
    """A sweep and a plug-in that leaves a marker when it runs, and a run directory of the same stranger."""
    marker = tmp_path / "executed"
    code = f"open({str(marker)!r}, 'w').close()\nraise SystemExit\n"
    write(tmp_path, "evil", code)
    kept = tmp_path / "run" / "plugins" / "evil-0123456789abcdef"
    kept.mkdir(parents=True)
    write(tmp_path / "run", "evil", code)
    (kept / "evil.py").write_text(code)
    variant = {"name": "baseline", "variant_id": "v", "is_baseline": True}
    plan = {"sweep": "own", "design": "list", "metric": "top1", "seeds": [0], "variants": [variant]}
    (tmp_path / "run" / "plan.json").write_text(json.dumps(plan))
    spec = {"seed": 0, "arch": {"attention": {"name": "evil"}}}
    record = {"trial_id": "t", "variant_id": "v", "variant": "baseline", "seed": 0, "spec": spec}
    record |= {"status": "completed", "metrics": {"top1": 90.0}}
    (tmp_path / "run" / "ledger.jsonl").write_text(json.dumps(record) + "\n")
    described = {"name": "evil", "kind": "file", "origin": "evil.py", "digest": "0123456789abcdef", "contributes": {}}
    (tmp_path / "run" / "provenance.jsonl").write_text(json.dumps({"plugins": [described]}) + "\n")
    return tmp_path


def test_the_plugin_of_a_stranger_would_leave_a_marker(archsweep, evil):
    """Or none of the tests below could fail."""
    assert archsweep("check", "sweep.yaml", "--plugin", "evil.py", cwd=evil).returncode == 2
    assert (evil / "executed").exists()


@pytest.mark.parametrize(
    "words",
    [
        "check sweep.yaml",
        "plan sweep.yaml",
        "run sweep.yaml --engine in-process",
        "launch slurm sweep.yaml",
        "check run/sweep.yaml",
        "run run/sweep.yaml --out run",
    ],
)
def test_a_strangers_sweep_is_refused_and_executes_nothing(archsweep, evil, words):
    done = archsweep(*words.split(), cwd=evil)
    assert done.returncode == 2
    assert "the plug-in 'evil' is not loaded" in done.stderr
    assert not (evil / "executed").exists()


@pytest.mark.parametrize("verb", ["table", "report", "status", "ls", "diff", "watch --once", "bundle"])
@pytest.mark.parametrize("folder", ["", "run"])
def test_a_strangers_run_directory_executes_nothing(archsweep, evil, verb, folder):
    word, *options = verb.split()
    trials = ["t", "t"] if word == "diff" else []
    done = archsweep(word, evil / "run", *trials, *options, cwd=evil / folder)
    assert done.returncode == 0, done.stderr
    assert not (evil / "executed").exists()


def bundle_with(archsweep, folder, name, text):
    """The bundle of the stranger's run, with one file more or another, and a manifest that agrees."""
    archsweep("bundle", "run", "--out", "run.zip", cwd=folder)
    with zipfile.ZipFile(folder / "run.zip") as archive:
        files = {entry: archive.read(entry) for entry in archive.namelist()}
    files[name] = text.encode()
    manifest = json.loads(files["MANIFEST.json"])
    manifest["files"][name] = hashlib.sha256(text.encode()).hexdigest()
    files["MANIFEST.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)
    return archsweep("verify", "other.zip", cwd=folder)


@pytest.mark.parametrize(
    "name",
    [
        "plugins/../../evil.py",
        "plugins/evil-0123456789abcdef/../../evil.py",
        "/plugins/evil-0123456789abcdef/evil.py",
        "plugins/evil-0123456789abcdef/evil.sh",
        "plugins/evil/evil.py",
        "plugins/evil-0123456789abcdef//evil.py",
    ],
)
def test_a_bundle_has_no_source_elsewhere(archsweep, evil, name):
    done = bundle_with(archsweep, evil, name, "x = 1\n")
    assert done.returncode == 2
    assert "it lists files that no bundle has" in done.stderr
    assert not (evil / "executed").exists()


def test_a_bundle_whose_sources_are_others_is_refused(archsweep, evil):
    done = bundle_with(archsweep, evil, "plugins/evil-0123456789abcdef/evil.py", "x = 1\n")
    assert "plugins/evil-0123456789abcdef does not hold the sources of its digest" in done.stderr
    assert not (evil / "executed").exists()


# One's own.


def test_a_run_keeps_what_it_used(archsweep, tmp_path):
    sweep, plugin = write(tmp_path, "kept_mechanism")
    options = ["--plugin", plugin, "--engine", "in-process", "--out", "run"]
    assert archsweep("run", sweep, *options, cwd=tmp_path).returncode == 0
    (described,) = read_sessions(tmp_path / "run")[-1]["plugins"]
    assert (described["name"], described["contributes"]) == ("kept_mechanism", {"attention": ["kept_mechanism"]})
    copy = f"plugins/kept_mechanism-{described['digest']}/kept_mechanism.py"
    assert (tmp_path / "run" / copy).read_text() == plugin.read_text()
    assert {record.status for record in read_ledger(tmp_path / "run" / "ledger.jsonl").records} == {"completed"}
    archsweep("report", "run", cwd=tmp_path)
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"archsweep run sweep.yaml --engine in-process --plugin {copy}" in page
    assert f"kept_mechanism ({described['digest']})" in page
    assert archsweep("bundle", "run", "--out", "run.zip", cwd=tmp_path).returncode == 0
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert archive.read(copy) == plugin.read_bytes()
    assert archsweep("verify", "run.zip", cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_mechanism_trains_in_two_processes(archsweep, tmp_path):
    sweep, plugin = write(tmp_path, "wide_mechanism")
    options = ["--set", "resources.processes=2", "--set", "resources.cpus=2", "--engine", "in-process"]
    done = archsweep("run", sweep, "--plugin", plugin, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = read_ledger(tmp_path / "runs" / "own" / "ledger.jsonl").records
    assert [record.status for record in records] == ["completed"] * 2


def command(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own: an edited plug-in cannot be loaded again in one that has it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "ARCHSWEEP_CACHE": str(folder / "cache")}
    line = [sys.executable, "-m", "archsweep", *map(str, words)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_edit_counts_and_a_comment_does_not(tmp_path):
    """On Ray. An edited mechanism is trained again, from no cache; the trial of softmax beside it is taken over."""
    sweep, plugin = write(tmp_path, "mine")
    run = ("run", sweep, "--plugin", plugin, "--out")
    first = command(tmp_path, *run, "first")
    assert first.returncode == 0, first.stdout + first.stderr
    plugin.write_text(plugin.read_text() + "# a remark\n")
    command(tmp_path, *run, "second")
    assert from_cache(tmp_path / "second") == {"baseline": True, "attention=mine, bias=0.5": True}
    plugin.write_text(plugin.read_text().replace(" * self.gate", " * self.gate.exp()"))
    command(tmp_path, *run, "third")
    assert from_cache(tmp_path / "third") == {"baseline": True, "attention=mine, bias=0.5": False}
    refused = command(tmp_path, *run, "first", "--set", "seeds=2")
    assert refused.returncode == 2
    assert "the plug-in mine changed: " in refused.stderr
    again = command(tmp_path, *run, "first", "--changed", "retrain")
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "first" / "plugins").iterdir())) == 2
    records = read_ledger(tmp_path / "first" / "ledger.jsonl").records
    assert [record.variant for record in records].count("attention=mine, bias=0.5") == 2


def from_cache(run: Path) -> dict[str, bool]:
    return {record.variant: bool(record.cached_from) for record in read_ledger(run / "ledger.jsonl").records}


def test_a_model_of_a_file_is_trained(archsweep, tmp_path):
    """As `archsweep new model` writes it."""
    assert archsweep("new", "model", "small_net", cwd=tmp_path).returncode == 0
    text = "name: own\nplugins: [small_net]\nbaseline: {arch: {model: small_net}, train: {epochs: 1}}\n"
    text += "space: {arch.options: [{width: 4}, {width: 8}]}\ndesign: one_factor\nmetric: top1\nseeds: 1\n"
    (tmp_path / "sweep.yaml").write_text(text)
    options = ["--plugin", "small_net.py", "--engine", "in-process"]
    done = archsweep("run", "sweep.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = read_ledger(tmp_path / "runs" / "own" / "ledger.jsonl").records
    assert len({record.code for record in records}) == 1
    assert {record.status for record in records} == {"completed"}


def test_a_password_in_a_source_is_not_kept(archsweep, tmp_path):
    """In the run directory and the bundle, which can be verified all the same."""
    sweep, plugin = write(tmp_path, "with_password", f'URL = "https://me:hunter2@example.org"\n{MECHANISM}')
    options = ["--plugin", plugin, "--engine", "in-process", "--out", "run"]
    assert archsweep("run", sweep, *options, cwd=tmp_path).returncode == 0
    (kept,) = (tmp_path / "run" / "plugins").glob("*/with_password.py")
    assert "https://" in kept.read_text()
    assert "hunter2" not in kept.read_text()
    assert archsweep("bundle", "run", "--out", "run.zip", cwd=tmp_path).returncode == 0
    assert archsweep("verify", "run.zip", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("options", [["slurm", "--time", "1:00:00"], ["job", "--out", "/shared/run"]])
def test_a_launch_file_carries_the_option(archsweep, tmp_path, options):
    kind, *words = options
    sweep, plugin = write(tmp_path, f"launched_by_{kind}")
    cpus = ["--cpus-per-node", "2"] if kind == "slurm" else ["--address", "http://head:8265"]
    done = archsweep("launch", kind, sweep, "--plugin", plugin.name, *words, *cpus, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    there = f"plugins/{plugin.name}" if kind == "job" else plugin  # a job takes it along
    assert f" --plugin {there} " in next(line for line in done.stdout.splitlines() if "archsweep run" in line)
    assert "warning" not in done.stderr
