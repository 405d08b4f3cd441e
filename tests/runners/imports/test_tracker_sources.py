"""Runs that TensorBoard, MLflow and W&B wrote themselves, each of the same numbers, as imported runs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from results import Run

# acc of epoch e, seed s: the best one is that of epoch 2.
WRITE = """
def acc(lr, seed, epoch):
    return {1: 50, 2: 70, 3: 65}[epoch] + 100 * lr + seed * (1 + lr)

SETTINGS = [(lr, seed) for lr in (0.125, 0.25) for seed in (0, 1, 2)]
"""
TENSORBOARD = """
from tensorboardX import SummaryWriter
for lr, seed in SETTINGS:
    writer = SummaryWriter(f"tb/lr={lr},seed={seed}" if lr == 0.25 else f"tb/run{seed}")
    for epoch in (1, 2, 3):
        writer.add_scalar("test/acc", acc(lr, seed, epoch), epoch)
    if lr == 0.125:
        writer.add_hparams({"lr": lr, "seed": seed}, {"final": 1.0}, name="hparams")
    writer.close()
"""
MLFLOW = """
import mlflow
mlflow.set_tracking_uri("sqlite:///ml.db")
with mlflow.start_run(run_name="sweep"):
    for lr, seed in SETTINGS:
        with mlflow.start_run(nested=True):
            mlflow.log_params({"optim.lr": lr})
            mlflow.set_tag("seed", seed)
            for epoch in (1, 2, 3):
                mlflow.log_metric("test/acc", acc(lr, seed, epoch), step=epoch)
"""
WANDB = """
import wandb
for lr, seed in SETTINGS:
    run = wandb.init(project="p", mode="offline", config={"optim": {"lr": lr}, "seed": seed, "note": "x" * 40_000})
    for epoch in (1, 2, 3):
        run.log({"epoch": epoch, "test/acc": acc(lr, seed, epoch)})
    run.finish(exit_code=1 if (lr, seed) == FAILED else 0)
"""
OPTIONS = ("--metric", "test/acc", "--direction", "maximize")


@pytest.fixture
def wrote(tmp_path):
    """Runs a program that writes with a tracker, in a home without a login."""

    def write(program: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "MLFLOW"))}
        environment |= {"HOME": str(tmp_path), "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
        environment |= {"MLFLOW_ALLOW_FILE_STORE": "true"}
        command = [sys.executable, "-c", WRITE + program]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    return write


def values(run: str) -> dict[tuple[str, int], float]:
    return {(each.variant, each.seed): each.metrics.get("test_acc") for each in Run.open(run).records}


LAST = {("baseline", seed): 77.5 + seed * 1.125 for seed in range(3)} | {
    ("lr=0.25", seed): 90 + seed * 1.25 for seed in range(3)
}
BEST = {key: value + 5 for key, value in LAST.items()}


@pytest.mark.slow
def test_tensorboard_by_hparams_and_by_names_of_folders(wrote, import_runs, exported):
    wrote(TENSORBOARD)
    printed = import_runs("tb", "-o", "last", *OPTIONS, "--baseline", "lr=0.125")
    assert "imported 6 runs: 2 variants, 3 seeds\nvaried: lr\n" in printed
    assert values("last") == pytest.approx(LAST)
    record = Run.open("last").records[0]
    assert [(point["epoch"], point["test_acc"]) for point in record.curve] == [(1, 62.5), (2, 82.5), (3, 77.5)]
    assert record.epochs == 0  # steps need not be epochs
    import_runs("tb", "-o", "best", *OPTIONS, "--baseline", "lr=0.125", "--best")
    assert values("best") == pytest.approx(BEST)
    assert "Values are the best of each run's history, chosen by what they report, so they are too good." in exported(
        "md", "best"
    )


@pytest.mark.slow
def test_event_files_without_a_scalar_or_a_seed(wrote, import_runs):
    wrote(
        "from tensorboardX import SummaryWriter\n"
        "SummaryWriter('tb/a').add_text('note', 'x')\n"
        "writer = SummaryWriter('named/a'); writer.add_scalar('test/acc', 1.0, 1); writer.close()\n"
    )
    assert import_runs("tb", "-o", "run", *OPTIONS) == "tb/a: has no scalars"
    assert import_runs("named", "-o", "run", *OPTIONS).startswith("--seed: no run has the seed 'seed'")


@pytest.mark.slow
def test_mlflow_params_and_tags(wrote, import_runs, tmp_path):
    wrote(MLFLOW)
    before = (tmp_path / "ml.db").read_bytes()
    printed = import_runs("ml.db", "-o", "last", *OPTIONS)
    assert "varied: optim.lr\n" in printed
    assert "left out: 1 run that is the parent of others\n" in printed
    assert values("last") == pytest.approx(LAST)
    import_runs("ml.db", "-o", "best", *OPTIONS, "--best")
    assert values("best") == pytest.approx(BEST)
    assert (tmp_path / "ml.db").read_bytes() == before


@pytest.mark.slow
def test_mlflow_folder_of_files(wrote, import_runs):
    wrote(MLFLOW.replace("sqlite:///ml.db", "file:mlruns"))
    import_runs("mlruns", "-o", "run", *OPTIONS)
    assert values("run") == pytest.approx(LAST)
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ


@pytest.mark.slow
def test_a_running_mlflow_run_is_refused_or_failed(wrote, import_runs):
    client = "mlflow.MlflowClient()"
    wrote(
        f"{MLFLOW}\nclient = {client}\nexperiment = client.search_experiments()[0].experiment_id\n"
        "for seed, end in ((3, None), (4, 'FAILED')):\n"
        "    run = client.create_run(experiment, run_name=f'late{seed}').info.run_id\n"
        "    client.log_param(run, 'optim.lr', 0.25); client.set_tag(run, 'seed', seed)\n"
        "    client.log_metric(run, 'test/acc', 1.0)\n"
        "    end and client.set_terminated(run, end)\n"
    )
    problem = import_runs("ml.db", "-o", "run", *OPTIONS)
    assert problem.endswith(
        " (late3): does not say that it ended: it is running, or was killed\n"
        "  wait for its end, or --unfinished failed, if it was killed"
    )
    import_runs("ml.db", "-o", "run", *OPTIONS, "--unfinished", "failed")
    failed = {r.seed: (r.failure.type, r.failure.message) for r in Run.open("run").records if r.status == "failed"}
    assert failed == {
        3: ("Unfinished", "the source does not say that the run ended"),
        4: ("SourceFailed", "MLflow says FAILED"),
    }


@pytest.mark.slow
def test_wandb_config_history_and_exit_code(wrote, import_runs):
    wrote(f"FAILED = (0.25, 2)\n{WANDB}")
    import_runs("wandb", "-o", "last", *OPTIONS)
    assert values("last") == pytest.approx(LAST | {("lr=0.25", 2): None})
    records = {(each.variant, each.seed): each for each in Run.open("last").records}
    assert records["lr=0.25", 2].failure.message == "the run ended with exit code 1"
    # The note is longer than a block of the file.
    assert records["baseline", 0].spec["task"]["config"] == {"optim": {"lr": 0.125}, "note": "x" * 40_000}
    assert records["baseline", 0].epochs == 3
    import_runs("wandb", "-o", "best", *OPTIONS, "--best")
    assert values("best") == pytest.approx(BEST | {("lr=0.25", 2): None})


@pytest.mark.slow
def test_wandb_files_that_are_torn_damaged_or_gone(wrote, import_runs, tmp_path):
    wrote(f"FAILED = None\n{WANDB}")
    torn, damaged, gone, *_ = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    torn.write_bytes(torn.read_bytes()[:-30])
    content = bytearray(damaged.read_bytes())
    content[200] ^= 1
    damaged.write_bytes(bytes(content))
    gone.unlink()
    problems = import_runs("wandb", "-o", "run", *OPTIONS).splitlines()
    assert problems[0] == f"wandb/{gone.parent.name}: has no run-*.wandb file"
    assert problems[2].startswith(f"wandb/{damaged.parent.name}/{damaged.name}: is damaged at byte ")
    assert len(problems) == 4
    damaged.parent.rename(tmp_path / "away")
    gone.parent.rename(tmp_path / "away2")
    assert import_runs("wandb", "-o", "run", *OPTIONS).startswith(
        f"wandb/{torn.parent.name}: does not say that it ended"
    )
    import_runs("wandb", "-o", "run", *OPTIONS, "--unfinished", "failed")
    assert [each.failure.type for each in Run.open("run").records if each.failure] == ["Unfinished"]


@pytest.mark.parametrize("kind", ["mlflow", "tensorboard", "wandb"])
def test_a_missing_library_is_named_with_its_extra(import_runs, tmp_path, monkeypatch, kind):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == kind else found(name))
    (tmp_path / "source").mkdir()
    assert import_runs("source", "-o", "run", *OPTIONS, "--from", kind) == (
        f"source: a source of the kind {kind!r} needs the package {kind!r}, which is not installed\n"
        f"  pip install 'archsweep[{kind}]'"
    )
