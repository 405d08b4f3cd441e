"""Weights kept beside a record: the documented lines load them and reproduce the metric."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from modelzoo import resolve_img_size
from runners.data import load_data
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import Resources, load_sweep_text

DOCS = Path(__file__).parents[3] / "docs" / "sweep_format.md"

SWEEP = """
name: my_sweep
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, attention: reattention}
  train: {epochs: 2, batch_size: 256, ema_decay: 0.5}
design: factorial
checkpoints: {keep: last}
"""


def test_documented_lines_load_the_evaluated_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_sweep(make_plan(load_sweep_text(SWEEP)), Path("runs/my_sweep"), engine="in-process")
    (lines,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    names = {}
    exec(lines, names)
    spec, model, record = names["spec"], names["model"].eval(), names["record"]
    img_size = resolve_img_size(spec.arch, names["info"].img_size)
    data = load_data(spec.task, spec.train, Resources(), torch.device("cpu"), img_size=img_size, seed=spec.seed)
    with torch.inference_mode():
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in data.test)
    assert 100 * right / names["info"].num_test == record.metrics["top1"]
