"""Trials that share a training give the same records on every engine."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file

from modelzoo import build_model
from results import Run
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep
from search_space.schema.trial import ArchSpec

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow]

CROPS = """
    name: crops
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: {name: builtin/shapes, img_size: 16, num_train: 64, num_test: 32}}
      train: {epochs: 2, batch_size: 16, lr: 0.003}
    space:
      task.crop_pct: [1.0, 0.75]
      arch.depth: [1, 2]
    design: one_factor
    seeds: 1
    metric: top1
    keep_predictions: true
"""
TIMES = {"train_seconds", "total_seconds", "finished_at", "session"}


def test_every_engine_gives_the_same_records(write_sweep, tmp_path, ray_cluster) -> None:
    plan = make_plan(load_sweep(write_sweep(CROPS)))
    found = []
    for engine in ("in-process", "ray"):
        assert run_sweep(plan, tmp_path / engine, engine=engine).started == 2
        records = Run.open(tmp_path / engine).deciding
        assert [bool(record.trained_by) for record in records.values()].count(True) == 1
        found.append({key: record.model_dump(exclude=TIMES) for key, record in records.items()})
        events = (tmp_path / engine / "progress.jsonl").read_text()
        assert all(key in events for key in records)
    assert len(found[0]) == 3
    assert found[0] == found[1]


def test_every_engine_measures_weights_without_training(write_sweep, tmp_path, ray_cluster) -> None:
    arch = {"depth": 1, "embed_dim": 20, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4, "class_token": False}
    state = build_model(ArchSpec.model_validate(arch), img_size=16, in_chans=3, num_classes=8, seed=1).state_dict()
    save_file(state, tmp_path / "vit.safetensors")
    text = CROPS.replace("class_token: false}", f"class_token: false, weights: {tmp_path / 'vit.safetensors'}}}")
    text = text.replace("epochs: 2, batch_size: 16, lr: 0.003", "epochs: 0, batch_size: 16")
    plan = make_plan(load_sweep(write_sweep(text.replace("arch.depth: [1, 2]", "train.amp: [auto, bfloat16]"))))
    found = []
    for engine in ("in-process", "ray"):
        assert run_sweep(plan, tmp_path / engine, engine=engine).started == 2
        records = Run.open(tmp_path / engine).deciding
        assert {(record.status, record.train_seconds) for record in records.values()} == {("completed", 0.0)}
        found.append({key: record.model_dump(exclude=TIMES) for key, record in records.items()})
    assert len(found[0]) == 3
    assert found[0] == found[1]
