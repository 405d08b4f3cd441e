"""A bundle holds what a reviewer needs, and every table in it follows from its records."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import zipfile

import pytest

pytestmark = pytest.mark.thorough

SWEEP = """
    name: tiny
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
      train: {epochs: 1, batch_size: 256}
    space: {train.lr: [0.003, 0.001]}
    design: one_factor
    seeds: 2
    keep_predictions: true
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A run, and its bundle."""
    from results.run_files.bundle import write_bundle
    from runners.planning.make_plan import make_plan
    from runners.run_sweep import run_sweep
    from search_space import load_sweep_text

    folder = tmp_path_factory.mktemp("bundled")
    run_sweep(make_plan(load_sweep_text(SWEEP)), folder / "run", engine="in-process")
    write_bundle(folder / "run", folder / "run.zip")
    return folder


def edited(bundle, target, **contents):
    """The bundle with other contents of some files (None: left out), whose hashes are those of the manifest."""
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            content = contents.get(entry.filename.replace(".", "_"), old.read(entry))
            if content is not None:
                new.writestr(entry, content)
    return target


def with_own_hashes(bundle, target, **contents):
    """As `edited`, with a manifest that agrees."""
    manifest = json.loads(zipfile.ZipFile(bundle).read("MANIFEST.json"))
    for name in manifest["files"]:
        if (content := contents.get(name.replace(".", "_"))) is not None:
            manifest["files"][name] = hashlib.sha256(content.encode()).hexdigest()
    return edited(bundle, target, MANIFEST_json=json.dumps(manifest), **contents)


def text(bundle, name):
    return zipfile.ZipFile(bundle).read(name).decode()


def test_a_bundle_verifies_anywhere(packed, archsweep, tmp_path):
    shutil.copy(packed / "run.zip", tmp_path / "there.zip")
    done = archsweep("verify", "there.zip", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "there.zip: verified: 4 trials; all tables follow from the records\n" in done.stdout
    assert hashlib.sha256((tmp_path / "there.zip").read_bytes()).hexdigest() in done.stdout


def test_it_holds_the_tables_of_the_run_and_its_sources(packed):
    names = set(zipfile.ZipFile(packed / "run.zip").namelist())
    assert names >= {"MANIFEST.json", "sweep.yaml", "plan.json", "ledger.jsonl", "provenance.jsonl", "trials.csv"}
    assert text(packed / "run.zip", "table.csv") == (packed / "run" / "table.csv").read_text()
    assert any(name.startswith("data/") for name in names)


def test_predictions_are_in_it_and_edited_ones_are_refused(packed, archsweep, tmp_path):
    lines = text(packed / "run.zip", "ledger.jsonl").splitlines()
    record = json.loads(lines[0])
    number, bits = record["correct"].split(":")
    assert number == "359"
    assert "top1_delta_test_error" in text(packed / "run.zip", "table.csv").partition("\n")[0]
    right = int.from_bytes(base64.b64decode(bits)) ^ 2  # of the last image; one bit is filling
    record["correct"] = f"359:{base64.b64encode(right.to_bytes(45)).decode()}"
    ledger = "".join(line + "\n" for line in (json.dumps(record), *lines[1:]))
    with_own_hashes(packed / "run.zip", tmp_path / "edited.zip", ledger_jsonl=ledger)
    done = archsweep("verify", "edited.zip", cwd=tmp_path)
    assert done.returncode == 2
    assert "ledger.jsonl:1" in done.stderr
    assert "% right of 359 images, and top1 is" in done.stderr


def test_secrets_of_a_run_of_an_earlier_version_are_masked(packed, tmp_path):
    from results.run_files.bundle import verify_bundle, write_bundle

    shutil.copytree(packed / "run", tmp_path / "run")
    with open(tmp_path / "run" / "sweep.yaml", "a") as sweep:
        sweep.write("# tracked at http://host/?token=hunter2\n")
    write_bundle(tmp_path / "run", tmp_path / "run.zip")
    assert "# tracked at http://host/?token=***\n" in text(tmp_path / "run.zip", "sweep.yaml")
    assert verify_bundle(tmp_path / "run.zip").num_trials == 4


def test_equal_runs_give_equal_bundles(packed, archsweep):
    first = (packed / "run.zip").read_bytes()
    done = archsweep("bundle", "run", "--out", "again.zip", cwd=packed)
    assert done.returncode == 0
    assert (packed / "again.zip").read_bytes() == first


@pytest.mark.parametrize("edit", [edited, with_own_hashes])
def test_a_number_of_a_table_that_was_edited(packed, archsweep, tmp_path, edit):
    csv = text(packed / "run.zip", "table.csv")
    number = csv.splitlines()[1].split(",")[csv.splitlines()[0].split(",").index("top1_mean")]
    edit(packed / "run.zip", tmp_path / "b.zip", table_csv=csv.replace(number, "99.9"))
    done = archsweep("verify", "b.zip", cwd=tmp_path)
    assert done.returncode == 2
    assert "b.zip: table.csv does not follow from the records" in done.stderr
    assert ("b.zip: table.csv is not the file that was bundled" in done.stderr) == (edit is edited)


def test_a_record_that_was_edited_with_all_tables_and_hashes(packed, archsweep, tmp_path):
    """A seed that was left out and one that was counted for it."""
    lines = text(packed / "run.zip", "ledger.jsonl").splitlines(keepends=True)
    record = json.loads(lines[0])
    record["seed"] = 5
    ledger = json.dumps(record) + "\n" + "".join(lines[1:])
    with_own_hashes(packed / "run.zip", tmp_path / "b.zip", ledger_jsonl=ledger)
    done = archsweep("verify", "b.zip", cwd=tmp_path)
    assert done.returncode == 2
    assert "not a result of its trial: its spec and seed are those of trial" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "contents",
    [
        {"MANIFEST_json": "{}"},
        {"MANIFEST_json": "[" * 5000},
        {"MANIFEST_json": '{"format": 1, "files": {"../../out.json": ""}}'},
        {"MANIFEST_json": '{"format": 9, "files": {}}'},
        {"table_csv": None},
        {"plan_json": "{}"},
    ],
)
def test_what_is_no_bundle_is_refused_with_a_message(packed, archsweep, tmp_path, contents):
    edited(packed / "run.zip", tmp_path / "b.zip", **contents)
    done = archsweep("verify", "b.zip", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("archsweep: ")
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_other_files_and_runs_without_records(archsweep, tmp_path):
    (tmp_path / "text.zip").write_text("not an archive")
    assert "no bundle: BadZipFile" in archsweep("verify", "text.zip", cwd=tmp_path).stderr
    assert archsweep("verify", "missing.zip", cwd=tmp_path).returncode == 2
    assert archsweep("bundle", "nowhere", cwd=tmp_path).returncode == 2


def test_the_half_line_of_a_driver_at_work_is_left_out(packed, archsweep, tmp_path):
    shutil.copytree(packed / "run", tmp_path / "run")
    with (tmp_path / "run" / "ledger.jsonl").open("a") as stream:
        stream.write('{"version": 1, "trial_')
    assert archsweep("bundle", "run", cwd=tmp_path).returncode == 0
    assert (tmp_path / "run.zip").read_bytes() == (packed / "run.zip").read_bytes()
