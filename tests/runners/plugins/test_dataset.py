"""A dataset from a file of the user's: seen by every verb, engine and process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from results import Run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cells(tmp_path):
    """Files of two classes of drawn images, 40 to train and 20 to test, 12 x 16 pixels."""
    (tmp_path / "data").mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 20)):
        labels = np.arange(count) % 2
        images = generator.integers(0, 256, (count, 12, 16), dtype=np.uint8)
        images[labels == 1, :, :8] //= 4
        np.savez(tmp_path / "data" / f"cells_{split}.npz", images=images, labels=labels)
    return tmp_path / "data"


@pytest.mark.slow
def test_the_data_is_looked_at(type_, example, cells):
    example("cells.yaml")
    shown = type_("check-data", "cells.yaml", "--plugin", example("my_dataset.py")).stdout
    assert "my_lab/cells (train, test)" in shown
    assert shown.splitlines()[2:4] == [
        "  train      40        2         50.0 %              12 x 16",
        "  test       20        2         50.0 %              12 x 16",
    ]
    assert "  0 round     20    10" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["--engine", "in-process"], ["--engine", "ray"], ["--engine", "in-process", "--set", "resources.processes=2"]],
    ids=["in-process", "ray", "two processes"],
)
def test_it_is_trained_on_by_every_engine(type_, example, cells, options):
    example("cells.yaml")
    type_("run", "cells.yaml", "--plugin", example("my_dataset.py"), *options)
    records = Run.open(cells.parent / "runs" / "cells").records
    assert [record.status for record in records] == ["completed"] * 2, records
    # Accuracies over 20 test images are multiples of 5 %.
    assert all(record.metrics["top1"] % 5 == pytest.approx(0) for record in records)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["in-process", "ray"])
def test_the_trials_of_a_run_decode_it_once(type_, example, cells, engine, tmp_path, monkeypatch):
    """Each reading of an image is a line in a file; the second of two trials reads none of the 60."""
    example("cells.yaml")
    counted = 'open(Path(__file__).parent / "read.txt", "a").write("x"); image = self.images[index]'
    plugin = example(
        "my_dataset.py", **{"image = self.images[index]": counted, "classes =": 'fingerprint = "1"; classes ='}
    )
    (tmp_path / "node").mkdir()
    readings, metrics = [], []
    for way, place in (("shared", str(tmp_path / "node")), ("alone", "off")):
        monkeypatch.setenv("ARCHSWEEP_NODE_FILES", place)
        type_("run", "cells.yaml", "--plugin", plugin, "--engine", engine, "--no-cache", "--out", way)
        readings.append(len((tmp_path / "read.txt").read_text()))
        (tmp_path / "read.txt").unlink()
        metrics.append({record.trial_id: record.metrics for record in Run.open(tmp_path / way).records})
    assert readings[1] - readings[0] >= 60
    assert metrics[0] == metrics[1]
    assert list((tmp_path / "node").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            '{"my_lab/cells": 3}',
            "the dataset 'my_lab/cells' must be a class or function (split, data_dir, options), but is 3, an "
            "object of int",
        ),
        ('{"builtin/digits": Cells}', "archsweep has the dataset 'builtin/digits' itself"),
        ('{"torch/cells": Cells}', "the dataset 'torch/cells': names below torch/ are archsweep's own"),
        ('{"my_lab/cells": Cells.__len__}', "the dataset 'my_lab/cells' cannot be called with (split, data_dir)"),
    ],
)
def test_what_is_no_dataset_is_refused(type_, example, table, said):
    example("cells.yaml")
    file = example("my_dataset.py", **{'{"my_lab/cells": Cells}': table})
    assert f"{file}: PLUGINS: {said}" in type_("check", "cells.yaml", "--plugin", file, returns=2).stderr


LOADED = """
import multiprocessing, sys
import torch
from runners.data import describe_dataset, load_data
from search_space.plugins import load_plugin
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting

if __name__ == "__main__":
    load_plugin(sys.argv[1])
    dataset = {"name": "my_lab/cells", "in_chans": 1}
    setting = Setting.model_validate({"task": {"dataset": dataset}, "train": {"batch_size": 8}})
    resources = Resources(data_dir=sys.argv[2], num_workers=1)
    info = describe_dataset(setting.task, resources, in_memory_bytes=0)
    assert info.storage == "loader"
    data = load_data(setting.task, setting.train, resources, torch.device("cpu"), img_size=(12, 16), seed=0, info=info)
    for method in ("fork", "spawn", "forkserver"):
        multiprocessing.set_start_method(method, force=True)
        print(method, [images.sum().item() for images, _ in data.test])
"""


@pytest.mark.slow
def test_processes_that_load_images_find_the_plug_in(example, cells, tmp_path):
    """However they are started: a fork has the plug-in, the others have not."""
    (tmp_path / "elsewhere").mkdir()
    file = example("my_dataset.py", to="elsewhere/my_dataset.py")
    (tmp_path / "loaded.py").write_text(LOADED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "loaded.py", str(file), str(cells)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert list(found) == ["fork", "spawn", "forkserver"]
    assert len(set(found.values())) == 1


def test_wrong_options_are_named(type_, example):
    example("cells.yaml", **{"invert: true": "invrt: true"})
    err = type_("check", "cells.yaml", "--plugin", example("my_dataset.py"), returns=2).stderr
    assert "unknown key 'invrt' in dataset 'my_lab/cells'" in err
    assert "known: in_chans, invert, test_split, train_split.  Did you mean 'invert'?" in err


@pytest.mark.slow
def test_an_error_in_the_data_names_index_and_line(type_, example, cells):
    """Of what shows itself when the images are looked at, before anything trains."""
    example("cells.yaml")
    change = "        image = self.images[index if index != 3 else 99]"
    file = example("my_dataset.py", **{"        image = self.images[index]": change})
    err = type_("run", "cells.yaml", "--plugin", file, returns=2).stderr
    place = f"{file}:{file.read_text().splitlines().index(change) + 1}"
    assert f"my_lab/cells train[3]: IndexError: index 99 is out of bounds for axis 0 with size 40 ({place})" in err


@pytest.mark.slow
def test_a_failed_trial_names_index_and_line(type_, example, cells):
    """What fails in the processes that train alone is in the record."""
    example("cells.yaml")
    change = "        image = self.images[index] if not (initialised() and index == 7) else 1 / 0"
    imported = "import numpy as np\nfrom torch.distributed import is_initialized as initialised\n"
    file = example("my_dataset.py", **{"        image = self.images[index]": change, "import numpy as np\n": imported})
    shared = ["--engine", "in-process", "--set", "resources.processes=2"]
    type_("run", "cells.yaml", "--plugin", file, *shared, returns=3)
    record = Run.open(cells.parent / "runs" / "cells").records[0]
    line = file.read_text().splitlines().index(change) + 1
    assert record.status == "failed"
    assert record.failure is not None
    place = f"({file}:{line})"
    assert f"my_lab/cells train[7]: ZeroDivisionError: division by zero {place}" in record.failure.message


@pytest.mark.slow
def test_only_trials_that_use_a_plug_in_depend_on_it(type_, example, cells):
    """An edit of the dataset's file asks what becomes of the trials; one of an exporter beside it does not."""
    example("cells.yaml")
    exporter = example("my_exporter.py")
    file = example("my_dataset.py")
    run = ["run", "cells.yaml", "--plugin", file, "--plugin", exporter, "--engine", "in-process"]
    type_(*run)
    exporter.write_text(exporter.read_text().replace('"- {visible', '"+ {visible'))
    again = type_(*run)
    assert "were trained with other" not in again.stdout + again.stderr
    path = cells.parent / "runs" / "cells"
    assert len(Run.open(path).records) == 2
    file.write_text(file.read_text().replace("255 - image", "254 - (image - 1)"))  # the same images by other code
    again = type_(*run)
    assert "2 trials were trained with other data, code or software than is here now" in again.stdout + again.stderr
    assert "(the plug-in my_dataset changed: " in again.stdout + again.stderr
    assert "my_exporter" not in again.stdout + again.stderr
