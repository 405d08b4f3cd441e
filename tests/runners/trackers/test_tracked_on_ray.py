"""Trackers watch the orchestrator, so they see the same on Ray."""

from __future__ import annotations

import pytest

from results import Run

SWEEP = """
name: tracked
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  train: {epochs: 2, batch_size: 512}
design: one_factor
seeds: 1
track: TRACK
"""


# Slow, because a worker of Ray starts for it. Of the default run, test_engine_contract.py holds that Ray's trials reach
# those who watch the orchestrator, and test_trackers.py that trackers write what reaches them.
@pytest.mark.slow
def test_trials_on_ray_are_tracked_too(run, readers, ray_cluster):
    ended, run_dir = run(SWEEP, "tensorboard", engine="ray")
    assert ended.returncode == 0, ended.stderr
    found = readers["tensorboard"](run_dir)
    (record,) = Run.open(run_dir).records
    seen = found[f"baseline seed={record.seed}"]
    assert [value for _, value in seen.history["top1"]] == pytest.approx([p["top1"] for p in record.curve])
    assert seen.status == "completed"
