"""`import archsweep`: what the command line does, as functions with values."""

from __future__ import annotations

import csv
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import archsweep

ROOT = Path(__file__).parents[2]
TINY = {
    "name": "tiny",
    "baseline": {
        "arch": {"model": "vit", "depth": 1, "embed_dim": 20, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4},
        "task": {"name": "classification", "dataset": "builtin/digits"},
        "train": {"epochs": 2, "batch_size": 256, "lr": 0.003},
    },
    "space": {"arch.attention": ["softmax", "reattention"]},
    "design": "one_factor",
    "seeds": 3,
    "metric": "top1",
    "profiles": {"long": {"train.epochs": 500}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The tiny sweep, run once."""
    folder = tmp_path_factory.mktemp("runs")
    return archsweep.run(TINY, out=folder / "tiny", engine="in-process", cache=False, progress=False)


def test_importing_it_is_light_and_its_names_are_there():
    heavy = "{'torch', 'timm', 'ray', 'optuna', 'pandas', 'pydantic', 'rich', 'IPython'}"
    code = f"import sys, archsweep; print(sorted({heavy} & set(sys.modules))); print(dir(archsweep))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    first, names = done.stdout.splitlines()
    assert first == "[]"
    assert {"load_sweep", "plan", "run", "open_run", "SpecError", "__version__"} <= set(eval(names))
    assert all(getattr(archsweep, name) is not None for name in archsweep.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_swep'"):
        archsweep.load_swep  # noqa: B018


def test_a_mapping_is_the_file_of_the_same_content(tmp_path):
    """Texts that YAML would read as numbers or truth values stay texts, NumPy's numbers become numbers."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\nbaseline:\n"
        "  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4}\n"
        "  task: {name: classification, dataset: builtin/digits}\n"
        "  train: {epochs: 2, batch_size: 256, lr: 3e-3}\n"
        "space: {arch.attention: [softmax, reattention]}\ndesign: one_factor\nseeds: 3\nmetric: top1\n"
        "profiles: {long: {train.epochs: 500}}\n"
    )
    numpy = {**TINY, "seeds": np.int64(3), "space": {"arch.attention": ("softmax", "reattention")}}
    assert archsweep.load_sweep(numpy).sweep == archsweep.load_sweep(path).sweep
    assert archsweep.load_sweep({**TINY, "name": "1e3"}).sweep.name == "1e3"


def test_every_problem_of_a_mapping_comes_at_once():
    wrong = {**TINY, "metric": "top9", "baseline": {**TINY["baseline"], "arch": {"model": "vit", "dept": 1}}}
    with pytest.raises(archsweep.SpecError) as caught:
        archsweep.load_sweep(wrong)
    assert [(each.path, each.where.partition(":")[0]) for each in caught.value.problems] == [
        ("baseline.arch.dept", "<mapping>"),
        ("metric", "<mapping>"),
    ]
    with pytest.raises(archsweep.SpecError, match="the sweep: cannot be written as YAML"):
        archsweep.load_sweep({**TINY, "seeds": object()})


@pytest.mark.parametrize("overrides", [{"train.epochs": 7, "seeds": [4, 5]}, ["train.epochs=7", "seeds=[4, 5]"]])
def test_overrides_are_a_mapping_or_those_of_the_command_line(overrides):
    sweep = archsweep.load_sweep(TINY, overrides=overrides).sweep
    assert (sweep.baseline.train.epochs, sweep.seeds) == (7, (4, 5))


def test_a_plan_is_data_and_can_be_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = archsweep.plan(TINY, cache=False)
    rows = plan.to_pandas().set_index("name")
    assert list(rows.index) == ["baseline", "attention=reattention"]
    assert (plan.num_trials, rows["num_trials"].tolist()) == (6, [3, 3])
    # By hand: Theta mixes 2 heads by 2 x 2 weights and 2 biases, its norm has 2 weights and 2 biases.
    assert round(1e6 * (rows["params_m"].iloc[1] - rows["params_m"].iloc[0])) == 10
    assert "2 variants x 3 seeds = 6 trials" in repr(plan)
    assert "2 variants x 3 seeds = 6 trials" in plan._repr_html_()
    assert pickle.loads(pickle.dumps(plan)).to_dict() == plan.to_dict()
    done = archsweep.run(plan, engine="in-process", cache=False, limit=1, progress=False)
    assert (done.path, done.status.num_completed) == (Path("runs/tiny"), 1)


def test_a_data_frame_of_the_table_has_the_columns_and_numbers_of_its_csv(run):
    found = run.table().to_pandas()
    with (run.path / "table.csv").open() as stream:
        written = list(csv.DictReader(stream))
    assert list(found.columns) == list(written[0])
    for name in ("top1_mean", "top1_std", "params_m", "seeds_completed", "top1_delta", "p"):
        assert pd.api.types.is_numeric_dtype(found[name]), name
        expected = [float(row[name]) if row[name] else None for row in written]
        assert [None if pd.isna(value) else value for value in found[name]] == expected
    assert found["is_baseline"].tolist() == [True, False]
    assert found["changes"].tolist() == [{}, {"arch.attention": "reattention"}]


def test_data_frames_of_trials_and_curves_have_the_rows_of_their_csv(run):
    for found, name in ((run.records().to_pandas(), "trials.csv"), (run.records().curves(), "curves.csv")):
        with (run.path / name).open() as stream:
            written = list(csv.DictReader(stream))
        assert list(found.columns) == list(written[0])
        assert found["top1"].tolist() == [float(row["top1"]) for row in written]
    assert len(run.records()) == 6
    assert {record.status for record in run.records()} == {"completed"}


def test_formats_are_those_of_the_run_directory(run):
    table = run.table()
    for text, name in (
        (table.to_markdown(), "table.md"),
        (table.to_latex(), "table.tex"),
        (table.to_csv(), "table.csv"),
    ):
        assert text == (run.path / name).read_text()
    assert table._repr_html_() in table.to_html() == (run.path / "table.html").read_text()


def test_options_of_a_table_are_those_of_the_command_line(run):
    table = run.table(columns=["variant", "top1"], rename={"top1": "accuracy"}, digits={"top1": 1})
    assert list(table.to_pandas().columns) == ["variant", "top1_mean", "top1_std"]
    assert "accuracy" in table.to_markdown()
    with pytest.raises(archsweep.SpecError, match="columns: unknown column 'top9'"):
        run.table(columns=["variant", "top9"])
    with pytest.raises(archsweep.SpecError, match="sort: unknown column"):
        archsweep.table_of_runs([run], sort="speed")


def test_names_are_text_in_a_notebook(tmp_path):
    rows = [{"name": "<script>alert(1)</script>", "arch.depth": 1}, {"name": "plain", "arch.depth": 2}]
    sweep = {key: value for key, value in TINY.items() if key != "space"} | {"design": {"name": "list", "rows": rows}}
    plan = archsweep.plan(sweep, cache=False)
    assert "<script>" not in plan._repr_html_()
    done = archsweep.run(plan, out=tmp_path / "run", engine="in-process", cache=False, limit=1, progress=False)
    assert "<script>" not in done._repr_html_()


def test_a_run_with_failed_trials_says_so_and_ends_in_order(tmp_path):
    sweep = {**TINY, "seeds": 1, "resources": {"time_limit": 0.001}}
    done = archsweep.run(sweep, out=tmp_path / "run", engine="in-process", cache=False, progress=False)
    assert (done.status.num_failed, len(done.failed)) == (2, 2)
    assert done.failed[0].failure.type == "TimeLimit"
    assert "2 failed" in repr(done)


def test_an_interrupted_run_writes_its_tables_and_continues(tmp_path):
    path = tmp_path / "run"

    def interrupt():
        while not (path / "ledger.jsonl").exists() or not (path / "ledger.jsonl").stat().st_size:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    sweep = archsweep.load_sweep(TINY, overrides={"train.epochs": 8})
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match="trials left; the same call continues"):
        archsweep.run(sweep, out=path, engine="in-process", cache=False, progress=False)
    thread.join()
    assert (path / "table.csv").exists()
    left = archsweep.open_run(path).status
    assert 0 < left.num_completed < 6
    again = archsweep.run(sweep, out=path, engine="in-process", cache=False, progress=False)
    assert again.status.num_completed == 6


def test_what_cannot_be_run_is_refused_in_python_too(tmp_path):
    with pytest.raises(archsweep.SpecError, match="no run: nothing there"):
        archsweep.open_run(tmp_path / "none")
    with pytest.raises(archsweep.SpecError, match="unknown engine 'dask'"):
        archsweep.run(TINY, engine="dask")
    with pytest.raises(archsweep.SpecError, match="uses no cluster"):
        archsweep.run(TINY, engine="in-process", address="auto")
    with pytest.raises(archsweep.SpecError, match="resources"):
        archsweep.run(TINY, gpus_per_trial="many")
