"""A researcher's day: own attention, own folder of images, own metric, an own checkpoint to begin with, on Ray, a table
with chosen columns, and the model back in Python."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from modelzoo import build_model
from search_space import ArchSpec

LAB = '''
"""What a lab adds: a mechanism with a learned temperature for every head, and the accuracy of the worst class."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from archsweep.testing import Slot, TokenAttention
from search_space.schema.metrics import PredictionMetric


class TemperedAttention(TokenAttention):
    """Softmax attention with a learned temperature for every head.

    Args:
        start: temperature at the beginning.
    """

    def __init__(self, slot: Slot, *, start: float = 1.0) -> None:
        super().__init__(slot)
        self.temperature = nn.Parameter(torch.full((slot.num_heads, 1, 1), start))
        self.scale = (slot.dim // slot.num_heads) ** -0.5

    def attend(self, x, incoming=None):
        q, k, v = self.heads_of(self.qkv(x))
        attn = self.attn_drop((self.temperature * self.scale * q @ k.transpose(-2, -1)).softmax(dim=-1))
        return self.merge(self.weigh(attn, v)), attn


def worst_class(predictions):
    right = predictions.predicted == predictions.labels
    return 100 * min(float(right[predictions.labels == each].mean()) for each in np.unique(predictions.labels))


PLUGINS = {
    "attention": {"tempered": TemperedAttention},
    "metric": {
        "worst_class": PredictionMetric(
            "worst_class", "%", "maximize", 1, "accuracy of the worst class", (0, 100), compute=worst_class
        )
    },
}
'''
SWEEP = """
name: day
plugins: [lab]
baseline:
  arch: {model: vit, depth: 2, embed_dim: 32, num_heads: 2, patch_size: 4, img_size: 16, weights: mine.safetensors}
  task: {dataset: {name: folder/digits, num_classes: 3, test_fraction: 0.25}}
  train: {epochs: 2, batch_size: 32, lr: 1.0e-3, scale: [0.8, 1.0], head_lr_scale: 5, grad_accum_steps: 2}
space:
  arch.attention: [tempered, {name: tempered, start: 0.5}]
design: one_factor
seeds: 3
checkpoints: {keep: last}
resources: {data_dir: data}
"""


@pytest.fixture
def desk(tmp_path):
    """A folder of 3 classes with 40 images each, the lab's file, its checkpoint of another classifier, and a sweep."""
    digits = load_digits()
    for label in range(3):
        place = tmp_path / "data" / "digits" / f"digit_{label}"
        place.mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == label][:40]):
            image = Image.fromarray(np.uint8(pixels * 15.9)).convert("RGB").resize((16, 16))
            image.save(place / f"{number:03}.png")
    arch = ArchSpec(model="vit", depth=2, embed_dim=32, num_heads=2, patch_size=4)
    other = build_model(arch, img_size=16, in_chans=3, num_classes=7, seed=5)
    save_file(
        {f"module.{name}": tensor for name, tensor in other.state_dict().items()}, tmp_path / "data/mine.safetensors"
    )
    (tmp_path / "lab.py").write_text(LAB)
    (tmp_path / "day.yaml").write_text(SWEEP)
    return tmp_path


@pytest.mark.slow
def test_a_researchers_day(desk):
    def archsweep(*arguments: str) -> str:
        command = [sys.executable, "-m", "archsweep", *arguments]
        done = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    planned = archsweep("plan", "day.yaml", "--plugin", "lab.py")
    assert "start=0.5" in planned
    assert "mine.safetensors" in planned  # which tensors are fresh
    archsweep("run", "day.yaml", "--plugin", "lab.py", "--no-cache")
    columns = ["--columns", "variant,top1,delta,worst_class,verdict", "--rename", "worst_class=worst", "--digits", "1"]
    table = archsweep("table", "runs/day", "--plugin", "lab.py", "--format", "md", *columns)
    header, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in header.split("|")][1] == "variant"
    assert "worst" in header
    assert len(rows) == 3
    used = """
import archsweep
from PIL import Image
from search_space.plugins import load_plugin

load_plugin("lab.py")
run = archsweep.open_run("runs/day")
records = run.records().to_pandas()
assert set(records["status"]) == {"completed"}, records
loaded = archsweep.load_model("runs/day", "attention=tempered", seed=1)
assert loaded.class_names == ("digit_0", "digit_1", "digit_2"), loaded.class_names
image = loaded.preprocessing(Image.open("data/digits/digit_1/003.png"))
print(loaded.model(image[None]).shape)
"""
    done = subprocess.run([sys.executable, "-c", used], cwd=desk, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip().endswith("torch.Size([1, 3])"), done.stdout + done.stderr
