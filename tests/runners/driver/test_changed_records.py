"""Records of other data, code or software never share a mean with new ones unless the user asks for it."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from results import Run
from results.store.run_layout import RunDir

pytestmark = pytest.mark.thorough

SWEEP = """
    name: changed
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 1, patch_size: 4, img_size: 8}
      task: {dataset: folder/mine}
      train: {epochs: 1, batch_size: 16}
    space: {train.lr: [0.003, 0.001]}
    design: one_factor
    seeds: 2
    resources: {data_dir: data}
"""


def draw(folder, seed, *, dark=0):
    """12 + 4 images of noise in two classes."""
    random = np.random.RandomState(seed)
    for split, count in (("train", 6), ("validation", 2)):
        for label in "ab":
            (folder / "mine" / split / label).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                pixels = random.randint(dark, 256, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "mine" / split / label / f"{index}.png")


@pytest.fixture
def run(archsweep, write_sweep, tmp_path):
    draw(tmp_path / "data", 0)
    path = write_sweep(SWEEP)

    def run_(*options, out="run"):
        command = ("run", path, "--engine", "in-process", "-q", "--no-cache", "--out", tmp_path / out)
        return archsweep(*command, *options, cwd=tmp_path)

    return run_


def edit(run_dir, **fields):
    """As if the records had been written with something else."""
    ledger = run_dir / "ledger.jsonl"
    records = [{**json.loads(line), **fields} for line in ledger.read_text().splitlines()]
    ledger.write_text("".join(json.dumps(record) + "\n" for record in records))


def means(run_dir):
    """Variant -> mean of the table, to six digits."""
    lines = (run_dir / "table.csv").read_text().splitlines()
    at = lines[0].split(",").index("top1_mean")
    return {line.split(",")[0]: line.split(",")[at] for line in lines[1:]}


def test_other_images_are_refused_and_then_trained_alone(run, tmp_path):
    """The table afterwards is that of a run that has seen the new images only."""
    assert run("--limit", 3).returncode == 0
    shutil.rmtree(tmp_path / "data")
    draw(tmp_path / "data", 1)
    refused = run()
    assert refused.returncode == 2
    assert "3 trials were trained with other data, code or software than the others would be" in refused.stderr
    assert "data of folder/mine changed: test/a (2 files), test/b (2 files), train/a (6 files)" in refused.stderr
    assert "--changed keep" not in refused.stderr
    kept = run("--changed", "keep")  # never for data: the trials are trained again
    assert kept.returncode == 0
    assert "3 trials of other data will be trained again" in kept.stderr
    assert run(out="alone").returncode == 0
    assert means(tmp_path / "run") == means(tmp_path / "alone")
    assert len(Run.open(tmp_path / "run").records) == 3 + 4
    assert "3 records of other data, code or software do not count" in kept.stdout
    assert run().returncode == 0  # all trials have a record of the present images


def test_images_that_come_back_make_their_records_count_again(run, tmp_path):
    assert run().returncode == 0
    first = means(tmp_path / "run")
    shutil.move(tmp_path / "data", tmp_path / "kept")
    draw(tmp_path / "data", 1)
    assert run("--changed", "retrain").returncode == 0
    shutil.rmtree(tmp_path / "data")
    shutil.move(tmp_path / "kept", tmp_path / "data")
    assert run().returncode == 0
    assert means(tmp_path / "run") == first
    assert len(Run.open(tmp_path / "run").records) == 8


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"software": "torch 1.0, timm 0.9"}, r"timm 0\.9, torch 1\.0 -> numpy [\d.]+, timm "),
        ({"code": "aaaa.bbbb"}, r"archsweep's code of these trials changed: aaaa\.bbbb -> [0-9a-f]+\.[0-9a-f]+"),
        ({"data": "", "code": "", "software": ""}, "an archsweep before 0.3 did not record data, code and software"),
    ],
)
def test_other_code_or_software_is_refused_trained_again_or_kept(run, tmp_path, fields, said):
    assert run("--limit", 1).returncode == 0
    edit(tmp_path / "run", **fields)
    refused = run()
    assert refused.returncode == 2
    assert re.search(said, refused.stderr)
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    kept = run("--changed", "keep")
    assert (kept.returncode, len(Run.open(tmp_path / "run").records)) == (0, 4)
    assert "Mixed: " in kept.stdout
    again = run("--changed", "retrain", out="again")
    assert (again.returncode, len(Run.open(tmp_path / "again").records)) == (0, 5)
    assert "Mixed: " not in again.stdout
    assert "1 record of other data, code or software does not count" in again.stdout


def test_a_complete_run_is_shown_and_the_change_is_named(run, tmp_path):
    """Nothing would be trained, so nothing would be mixed."""
    assert run().returncode == 0
    edit(tmp_path / "run", software="torch 1.0")
    done = run()
    assert done.returncode == 0
    assert "4 trials were trained with other data, code or software than is here now" in done.stderr


def test_a_record_says_what_it_is_of(run, tmp_path):
    assert run("--limit", 1).returncode == 0
    (record,) = Run.open(tmp_path / "run").records
    assert re.fullmatch("[0-9a-f]{16}", record.data)
    assert re.fullmatch(r"[0-9a-f]{12}\.[0-9a-f]{12}", record.code)
    assert record.software.startswith("torch ")
    summary = json.loads(RunDir(tmp_path / "run").fingerprint(record.data).read_text())
    assert (summary["files"], sorted(summary["folders"])) == (16, ["test/a", "test/b", "train/a", "train/b"])
