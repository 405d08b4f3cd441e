"""`archsweep check-data`: what the data of a sweep holds; and what plan, caption and provenance state of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from results import ablation_table
from results.layout.caption import caption
from runners.cli.app import app
from runners.planning.make_plan import make_plan
from search_space import SpecError, load_sweep

SWEEP = """\
name: tiny
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 6, img_size: 12}
  task: {dataset: folder/toy, val_fraction: 0.25}
  train: {epochs: 1, batch_size: 4}
space:
  train.lr: [0.001, 0.01]
design: one_factor
resources: {data_dir: data}
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch) -> Path:
    """`data/toy`: 6 cats and 2 dogs to train on, 3 and 1 to test on; one test image is also a training image."""
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    monkeypatch.setenv("COLUMNS", "200")
    for split, counts in (("train", (6, 2)), ("validation", (3, 1))):
        for name, count in zip(("cat", "dog"), counts, strict=True):
            folder = tmp_path / "data/toy" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                seed = 100 * count + index if (split, name, index) != ("validation", "dog", 0) else 600
                pixels = np.random.RandomState(seed).randint(0, 256, (12, 16, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    (tmp_path / "data/toy/train/cat/._0.png").write_bytes(b"-")
    path = tmp_path / "tiny.yaml"
    path.write_text(SWEEP)
    return path


NOTES = [
    "1 of 4 test images is also among the training images: train/cat/0.png = validation/dog/0.png",
    "split 'train': 1 hidden file not read: cat/._0.png",
]


def run(*arguments: object) -> str:
    found = CliRunner().invoke(app, [str(each) for each in arguments])
    if isinstance(found.exception, SpecError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout


def test_text(sweep):
    assert run("check-data", sweep) == (
        "folder/toy (train, validation)\n"
        "                     images  classes  most frequent  sizes (high x wide)\n"
        "  train                   8        2         75.0 %              12 x 16\n"
        "  test (validation)       4        2         75.0 %              12 x 16\n"
        "  validation: 2 of the training images are held out\n"
        "  images are read as 12 x 16, in colours\n"
        "  in both splits: 1 of the test images, 1 of the training images\n"
        "  repeats of an image of the same split: 0 training images, 0 test images\n"
        "  class  train  test\n"
        "  0 cat      6     3\n"
        "  1 dog      2     1\n"
        f"  note: {NOTES[0]}\n"
        f"  note: {NOTES[1]}\n"
    )


def test_json(sweep):
    found = json.loads(run("check-data", sweep, "--json"))
    assert found["version"] == 1
    (dataset,) = found["datasets"]
    assert dataset["class_names"] == ["cat", "dog"]
    assert dataset["splits"]["train"] == {
        "name": "train", "images": 8, "counts": [6, 2], "majority": 0.75, "sizes": [[12, 16, 8]],
    }  # fmt: skip
    assert dataset["duplicates"] == {"train": 1, "test": 1, "pairs": [["train/cat/0.png", "validation/dog/0.png"]]}
    assert dataset["notes"] == NOTES


def test_every_dataset_of_a_design_is_shown_once(sweep):
    sweep.write_text(SWEEP.replace("train.lr: [0.001, 0.01]", "task.dataset.train_split: [train, more]"))
    with pytest.raises(SpecError, match="no folder for the split 'more'"):
        run("check-data", sweep)
    more = sweep.parent / "data/toy/more"
    for name in ("cat", "dog"):
        (more / name).mkdir(parents=True)
        for index in range(4):
            pixels = np.random.RandomState(ord(name[0]) + index).randint(0, 256, (12, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(more / name / f"{index}.png")
    lines = run("check-data", sweep).splitlines()
    assert [line for line in lines if line.startswith("folder")] == [
        "folder/toy (train, validation)",
        "folder/toy (more, validation)",
    ]


def test_what_is_refused_has_its_place(sweep):
    path = sweep.parent / "data/toy/train/dog/1.png"
    path.write_bytes(b"")
    with pytest.raises(SpecError) as caught:
        run("check-data", sweep)
    (problem,) = caught.value.problems
    assert problem.where.endswith("tiny.yaml:4:19")
    assert problem.message.endswith(f"1 image of the split 'train' cannot be read: {path}: it is empty")
    for command in ("plan", "run"):
        with pytest.raises(SpecError, match="it is empty"):
            run(command, sweep)


def test_what_is_refused_is_shown_as_far_as_it_goes(sweep):
    """Two broken images: the others are counted."""
    for name in ("0", "1"):
        (sweep.parent / f"data/toy/train/dog/{name}.png").write_bytes(b"")
    found = CliRunner().invoke(app, ["check-data", str(sweep)])
    assert isinstance(found.exception, SpecError)
    lines = found.stdout.splitlines()
    assert lines[2] == "  train                   8        2         75.0 %              12 x 16"
    assert "  1 dog      2     1" in lines


def test_plan_states_the_images_of_the_splits(sweep):
    lines = run("plan", sweep).splitlines()
    assert (
        "data: folder/toy (train, validation): 6 training, 2 validation, 4 test images of 2 classes; "
        "75.0 % of the test images are of one class"
    ) in lines
    assert [line for line in lines if line.startswith("warning: data")] == [f"warning: data: {note}" for note in NOTES]
    (plan,) = json.loads(run("plan", sweep, "--json"))["plans"]
    assert plan["data"] == [
        {
            "dataset": "folder/toy (train, validation)",
            "num_classes": 2,
            "train_images": 6,
            "val_images": 2,
            "test_images": 4,
            "majority": 0.75,
            "majority_class": {
                "name": "cat",
                "metrics": {
                    "top1": 75.0,
                    "balanced_accuracy": 50.0,
                    "macro_f1": pytest.approx(100 * 3 / 7),  # F1 of cat is 6 / 7, that of dog 0
                    "auroc": 50.0,
                },
            },
            "labelled": "images",
            "notes": NOTES,
        }
    ]


def test_the_caption_states_the_images_of_the_splits(sweep):
    table = ablation_table(make_plan(load_sweep(sweep)).as_run_plan(), [])
    texts = [sentence.text for sentence in caption(table)]
    assert texts[1:4] == [
        "Data: 6 training, 2 validation and 4 test images of 2 classes.",
        f"Data: {NOTES[0]}.",
        f"Data: {NOTES[1]}.",
    ]


def test_provenance_states_the_images_of_the_splits(sweep):
    out = sweep.parent / "run"
    run("run", sweep, "--engine", "in-process", "--out", out)
    found = json.loads((out / "provenance.jsonl").read_text())["data"]
    assert [(each["train_images"], each["test_images"], each["notes"]) for each in found] == [(6, 4, NOTES)]
