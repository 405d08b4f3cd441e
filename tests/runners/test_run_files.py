"""A run writes the files that `RunDir` knows, and no others."""

from __future__ import annotations

import pytest

from results.store.run_layout import RunDir, TrackerFiles, TrialDir

pytestmark = pytest.mark.thorough

SWEEP = """
name: tiny
baseline:
  arch: {model: vit, depth: 2, embed_dim: 4, num_heads: 1, mlp_ratio: 1, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits, probes: [cross_layer_similarity], probe_arrays: true}
  train: {epochs: 2, batch_size: 2048}
space: {train.lr: [0.001, 1.0e+30]}
design: one_factor
seeds: 1
keep_samples: 2
metric: top1
checkpoints: {keep: last, every_epochs: 1, min_seconds: 0}
track: [tensorboard, optuna]
"""


def paths_of(place: RunDir | TrialDir | TrackerFiles) -> set:
    return {getattr(place, name) for name, each in vars(type(place)).items() if isinstance(each, property)}


def test_a_run_writes_only_what_is_known(tmp_path, archsweep):
    """With all that a trial can leave (weights, probes, a checkpoint that goes again), trackers and a report."""
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    run_dir = RunDir(tmp_path / "run")
    run = ["run", "tiny.yaml", "--engine", "in-process", "-q", "--no-cache", "--out", run_dir]
    for command in (run, ["status", run_dir], ["report", run_dir]):
        done = archsweep(*command, cwd=tmp_path)
        assert done.returncode in (0, 3), done.stderr  # one arm diverges
    known = paths_of(run_dir) | {run_dir.table(format_) for format_ in ("csv", "md", "tex", "html")}
    known = known.union(*map(paths_of, run_dir.trials()))
    known = known.union(*(paths_of(run_dir.tracker(name)) for name in ("tensorboard", "optuna")))
    known |= {run_dir.fingerprint(path.stem) for path in run_dir.path.glob("data/*")}
    written = {path for path in run_dir.path.rglob("*") if path.is_file()}
    # The files in its folder are TensorBoard's own.
    assert {path for path in written - known if run_dir.tensorboard not in path.parents} == set()
    must = {run_dir.ledger, run_dir.plan, run_dir.sweep, run_dir.provenance, run_dir.progress, run_dir.lock}
    must |= {run_dir.trials_csv, run_dir.curves_csv, run_dir.report, run_dir.tracking_token, run_dir.optuna_journal}
    (trained,) = [trial for trial in run_dir.trials() if trial.weights.exists()]
    assert written >= must | {run_dir.table("csv"), trained.probes, trained.samples}
    assert not any(trial.checkpoint.exists() for trial in run_dir.trials())
