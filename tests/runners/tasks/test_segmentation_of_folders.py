"""A folder in ADE20K's layout, of images of several sizes: looked at, planned, trained, and in a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.thorough

SWEEP = """
name: rooms
baseline:
  arch: {depth: 1, embed_dim: 16, num_heads: 2, patch_size: 8, img_size: 32}
  task:
    name: segmentation
    dataset: {name: masks/rooms, num_classes: 3, reduce_zero_label: true}
    val_fraction: 0.25
    head_dim: 8
    pyramid_dim: 8
    aux_dim: 8
    pool_scales: [1, 2]
    scale: [0.5, 2.0]
    max_class_share: 0.75
    photometric: true
    probes: [attention_entropy]
  train: {epochs: 2, steps: 12, batch_size: 4, lr: 1e-2, hflip: 0.5}
space:
  arch.attention: [softmax, refiner]
design: one_factor
seeds: 2
resources: {data_dir: data, num_workers: 1}
"""


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """Stored labels: 0 nothing, 1 the left part, 2 the right part (brighter), 3 a frame of two pixels that few have."""
    dice = np.random.RandomState(0)
    for split, number in (("training", 12), ("validation", 5)):
        for index in range(number):
            height, width = dice.randint(30, 60, 2)
            labels = np.ones((height, width), dtype=np.uint8)
            labels[:, width // 2 :] = 2
            labels[:2] = 0
            if index % 2:
                labels[-2:] = 3
            pixels = 60 * labels[..., None] + dice.randint(0, 30, (height, width, 3))
            for kind, array, ending in (
                ("images", pixels.astype(np.uint8), "jpg"),
                ("annotations", labels, "png"),
            ):
                path = tmp_path / "data" / "rooms" / kind / split / f"ADE_{index:08d}.{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


@pytest.mark.slow
def test_it_is_looked_at_planned_trained_and_shown(archsweep, rooms):
    found = archsweep("check-data", "sweep.yaml", "--json", cwd=rooms)
    assert found.returncode == 0, found.stderr
    (data,) = json.loads(found.stdout)["datasets"]
    assert data["splits"]["test"]["images"] == 5
    assert sum(data["splits"]["test"]["counts"]) == sum(
        int((np.array(Image.open(path)) > 0).sum()) for path in rooms.glob("data/rooms/annotations/validation/*.png")
    )

    planned = archsweep("plan", "sweep.yaml", cwd=rooms)
    assert planned.returncode == 0, planned.stderr
    assert "9 training, 3 validation, 5 test images of 3 classes" in planned.stdout
    assert "% of the test pixels are of one class" in planned.stdout

    ran = archsweep("run", "sweep.yaml", "--engine", "in-process", "--no-cache", cwd=rooms)
    assert ran.returncode == 0, ran.stderr
    records = list(csv.DictReader((rooms / "runs" / "rooms" / "trials.csv").read_text().splitlines()))
    assert len(records) == 4
    for record in records:
        assert record["status"] == "completed"
        assert 0 <= float(record["miou"]) <= float(record["macc"]) <= 100
        assert float(record["val_miou"]) > 0
        assert float(record["attention_entropy"]) > 0
    caption = (rooms / "runs" / "rooms" / "table.md").read_text()
    assert "miou (%, higher is better)" in caption
    assert "12 updates" in caption


def test_what_is_wrong_with_it_is_said_before_anything_trains(archsweep, rooms):
    folder = rooms / "data" / "rooms" / "annotations" / "training"
    (folder / "ADE_00000000.png").unlink()
    Image.fromarray(np.full((30, 30), 77, np.uint8)).save(folder / "ADE_00000001.png")
    (folder / "ADE_00000002.png").write_bytes(b"")
    ran = archsweep("run", "sweep.yaml", "--engine", "in-process", "--no-cache", cwd=rooms)
    assert ran.returncode == 2
    assert "ADE_00000000.jpg" in ran.stderr
    assert not (rooms / "runs").exists()


def test_an_exported_dataset_is_trained_on_like_the_drawn_one(archsweep, rooms):
    """Same pixels and labels: the same number of pixels of each class, and a trial that learns from files."""
    options = ("--num-train", "12", "--num-test", "6", "--size", "32")
    exported = archsweep("export-dataset", "builtin/scenes", "data/scenes", *options, cwd=rooms)
    assert exported.returncode == 0, exported.stderr
    of_files = SWEEP.replace("masks/rooms, num_classes: 3, reduce_zero_label: true", "masks/scenes, num_classes: 4")
    drawn = (
        SWEEP.replace(
            "masks/rooms, num_classes: 3, reduce_zero_label: true", "builtin/scenes, img_size: 32, num_train: 12"
        )
        .replace("num_train: 12", "num_train: 12, num_test: 6")
        .replace("    scale: [0.5, 2.0]\n    max_class_share: 0.75\n    photometric: true\n", "")
    )
    counts = []
    for text in (of_files, drawn):
        (rooms / "sweep.yaml").write_text(text)
        found = archsweep("check-data", "sweep.yaml", "--json", cwd=rooms)
        assert found.returncode == 0, found.stderr
        counts.append([split["counts"] for split in json.loads(found.stdout)["datasets"][0]["splits"].values()])
    assert counts[0] == counts[1]
