"""The contract of a task, held by every task of the table on its built-in data.

To add a task: a smallest setting of it in `SETTINGS`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from archsweep.testing.tasks import CONDITIONS, TaskCase
from results import Run
from runners.data import describe_dataset, load_data
from runners.data.loading import TASK_DATA
from runners.data.survey.survey import LOOKS, survey_dataset
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.tasks import TASKS
from runners.training.trial import NonFiniteLoss, run_trial
from search_space import load_sweep
from search_space.schema.identity import canonical_json
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.task import TASK_SPECS, ForeignSpec
from search_space.schema.trial import Setting

TINY = {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2.0}
TRAIN = {"epochs": 4, "batch_size": 8, "lr": 3e-3, "ema_decay": 0.5}
SETTINGS = {
    "classification": {
        "arch": {**TINY, "patch_size": 4, "attention": {"name": "reattention"}},
        "task": {"dataset": {"name": "builtin/shapes", "img_size": 8, "num_train": 40, "num_test": 20}},
        "train": TRAIN,
    },
    "segmentation": {
        "arch": {**TINY, "attention": {"name": "reattention"}},
        "task": {
            "name": "segmentation",
            "dataset": {"name": "builtin/scenes", "img_size": 32, "num_train": 40, "num_test": 20},
            **{"head_dim": 8, "pyramid_dim": 8, "aux_dim": 8, "pool_scales": [1, 2]},
        },
        "train": {**TRAIN, "hflip": 0.5, "crop_padding": 2},
    },
    "detection": {
        "arch": {**TINY, "attention": {"name": "reattention"}},
        "task": {
            "name": "detection",
            "dataset": {"name": "builtin/scenes", "img_size": 32, "num_train": 40, "num_test": 20},
            **{"pyramid_dim": 8, "anchor_size": 8, "box_dim": 16, "mask_dim": 8, "mask_layers": 1},
            **{"proposals": 16, "box_samples": 16},
        },
        "train": {**TRAIN, "hflip": 0.5},
    },
    "self_supervised": {
        "arch": {**TINY, "patch_size": 4, "attention": {"name": "reattention"}},
        "task": {
            "name": "self_supervised",
            "method": "esvit",
            "dataset": {"name": "builtin/grains", "img_size": 16, "num_train": 40, "num_test": 20},
            **{"prototypes": 16, "head_hidden_dim": 16, "head_dim": 8, "freeze_last_layer": 0, "center_momentum": 0.5},
            **{"local_crops": 1, "local_size": 8, "teacher_temp": [0.04, 0.04], "teacher_temp_epochs": 30},
            **{"linear_epochs": 5, "momentum": [0.9, 1.0]},
        },
        # Only the loss to a teacher that does not move must fall.
        "falls": {"momentum": [1.0, 1.0], "teacher_temp": [0.1, 0.1]},
        # Neither the teacher's head is kept nor the statistics of the network before its training.
        "not_of_weights": {"teacher_entropy", "target_entropy", "knn_top1_untrained", "linear_top1_untrained"},
        "train": {
            "epochs": 4,
            "batch_size": 8,
            "lr": 3e-3,
            "weight_decay_end": 0.4,
            "clip_grad": 1.0,
            "clip_mode": "parameter",
            "sched": "dino",
            "warmup_epochs": 1,
        },
    },
    "text": {
        "arch": {"model": "bert", "depth": 2, "embed_dim": 16, "num_heads": 2, "attention": {"name": "reattention"}},
        "task": {"name": "text", "dataset": {"name": "builtin/recall", "num_train": 40, "num_test": 20}},
        "train": TRAIN,
    },
}
"""Beside the sections of a setting: `falls`, options of the task with which its loss must fall; `not_of_weights`,
metrics that do not depend on the weights that are kept alone."""


def written_setting(
    name: str, *, train: dict[str, Any] | None = None, task: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The setting of a task as it is written in a sweep, with other options of training or of the task."""
    written = SETTINGS[name]
    sections = {"task": {**written["task"], **(task or {})}, "train": {**written["train"], **(train or {})}}
    return {"arch": written["arch"], **sections}


CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]
KEEP = Checkpoints(min_seconds=0, keep="last")
every_task = pytest.mark.parametrize("name", sorted(TASKS))
# Where a test trains several times, the tasks whose step takes longest are left to the slow tests.
LONG = {"detection", "self_supervised"}
every_task_with_time = pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=[pytest.mark.slow] * (each in ("detection", "self_supervised")))
        for each in sorted(TASKS)
    ],
)


def setting_of(name, **changes) -> Setting:
    return Setting.model_validate(written_setting(name, **changes))


def made(setting: Setting):
    """The task on its untrained network, its data and what is known of it."""
    info = describe_dataset(setting.task, Resources())
    kind = TASKS[setting.task.name]
    model = kind.build(setting, info, seed=0)
    size = kind.input_size(setting, info)
    data = load_data(setting.task, setting.train, Resources(), CPU, img_size=size, seed=0, info=info)
    return kind(model, info=info, spec=setting.task, train=setting.train, device=CPU), data, info


def run(setting: Setting, directory: Path, *, report=lambda entry: False, **options):
    spec = setting.with_seed(0)
    metric = setting.task.metrics[0]
    return run_trial(
        spec,
        report=report,
        resources=Resources(),
        device="cpu",
        directory=directory,
        checkpoints=KEEP,
        metric=metric,
        **options,
    )


class Killed(BaseException):
    """In place of a kill signal; no code of archsweep catches it."""


def test_the_tables_name_the_same_tasks():
    ours = {name for name, spec in TASK_SPECS.items() if not issubclass(spec, ForeignSpec)}
    assert set(TASKS) == ours == set(TASK_DATA) == set(LOOKS) == set(SETTINGS)


@pytest.mark.parametrize("condition", sorted(CONDITIONS.keys() - {"learns"}))  # that its loss falls is tested below
@every_task
def test_the_contract(name, condition):
    CONDITIONS[condition](TaskCase(TASKS[name], setting_of(name)))


@every_task
def test_the_identity_names_the_task_unless_it_is_classification(name):
    assert (f'"name":"{name}"' in canonical_json(setting_of(name))) == (name != "classification")


@every_task
def test_a_batch_has_the_size_of_the_setting(name):
    setting = setting_of(name)
    _, data, info = made(setting)
    inputs, targets = next(iter(data.train.epoch(1)))
    assert len(inputs) == len(targets) == 8
    assert TASKS[name].notes(setting, info) == []


@every_task
def test_the_data_can_be_surveyed(name):
    setting = setting_of(name)
    survey = survey_dataset(setting.task, Resources())
    assert (survey.info.num_train, survey.info.num_test) == (40, 20)
    assert 0 < survey.test.majority < 1


@pytest.mark.slow
@every_task
def test_the_loss_falls(name, tmp_path):
    train = {"epochs": 12, "lr": 1e-2, "ema_decay": None}
    curve = run(setting_of(name, train=train, task=SETTINGS[name].get("falls")), tmp_path).curve
    assert curve[-1]["train_loss"] < 0.96 * curve[0]["train_loss"]


@pytest.mark.default_run("classification", "segmentation", "text")
@every_task
def test_a_diverged_training_is_an_error(name, tmp_path):
    with pytest.raises(NonFiniteLoss):
        run(setting_of(name, train={"lr": 1e30, "opt": "sgd", "min_lr": 1e30}), tmp_path)


@pytest.mark.default_run("text", "classification")
@pytest.mark.thorough
@every_task_with_time
def test_an_interrupted_trial_continues_bit_for_bit(name, tmp_path):
    """Killed in epoch 2, preempted in the middle of epoch 3, then completed; a validation split is held out."""
    setting = setting_of(name, task={"val_fraction": 0.2})

    def dies(entry):
        if entry["epoch"] == 2:
            raise Killed
        return False

    whole = run(setting, tmp_path / "whole")
    with pytest.raises(Killed):
        run(setting, tmp_path / "parts", report=dies)
    calls = iter(range(1000))
    left = run(setting, tmp_path / "parts", is_preempted=lambda: next(calls) >= 6)  # 4 updates an epoch
    assert (left.status, left.epochs) == ("preempted", 2)
    ended = run(setting, tmp_path / "parts")
    assert ended.curve == whole.curve
    assert ended.metrics == whole.metrics
    ours, theirs = (load_file(tmp_path / each / "weights.safetensors") for each in ("parts", "whole"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert f"val_{setting.task.metrics[0]}" in whole.metrics


@pytest.mark.default_run("text", "classification")
@pytest.mark.thorough
@every_task_with_time
def test_kept_weights_are_those_that_were_measured(name, tmp_path):
    """Loaded into the model that is evaluated, they give the metrics of the record."""
    setting = setting_of(name)
    ended = run(setting, tmp_path)
    task, data, _ = made(setting_of(name, train={"ema_decay": None}))
    task.evaluated_model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    found = task.metrics(data.test, nullcontext())
    of_weights = set(found) - SETTINGS[name].get("not_of_weights", set())
    assert {metric: found[metric] for metric in of_weights} == {metric: ended.metrics[metric] for metric in of_weights}


RANK = """
import json, sys
from contextlib import nullcontext
import torch
import torch.distributed as dist
from runners.data import describe_dataset, load_data
from runners.tasks import TASKS
from runners.training.process_group import ProcessGroup
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting

store, rank, written = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)
setting = Setting.model_validate_json(written)
info = describe_dataset(setting.task, Resources())
kind = TASKS[setting.task.name]
options = {"img_size": kind.input_size(setting, info), "seed": 0, "info": info, "share": ProcessGroup(rank, 2).shard_of}
data = load_data(setting.task, setting.train, Resources(), torch.device("cpu"), **options)
model = kind.build(setting, info, seed=0)
task = kind(model, info=info, spec=setting.task, train=setting.train, device=torch.device("cpu"))
task.share()
print(json.dumps(task.metrics(data.test, nullcontext())), flush=True)
dist.barrier()
"""


@pytest.mark.slow
@every_task
def test_two_processes_measure_what_one_measures(name, tmp_path):
    """Each has its share of the test images; both have the metrics of all. 19 images: the last batch has 3."""
    setting = setting_of(name, task={"dataset": {**SETTINGS[name]["task"]["dataset"], "num_test": 19}})
    task, data, _ = made(setting)
    alone = task.metrics(data.test, nullcontext())
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path / "store"), str(rank), setting.model_dump_json()],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        printed, _ = rank.communicate(timeout=300)
        assert rank.returncode == 0
        assert json.loads(printed) == pytest.approx(alone, rel=1e-5)


def written_sweep(name: str, folder: Path, **train) -> Path:
    """A sweep of one variant and two seeds. JSON is YAML."""
    sweep = {
        "name": "every",
        "baseline": written_setting(name, train=train),
        "design": "factorial",
        "seeds": 2,
        "metric": TASK_SPECS[name].metrics[0],
        "checkpoints": {"min_seconds": 0},
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(sweep))
    return path


def what_came_of_it(run_dir: Path):
    return {key: (record.curve, record.metrics) for key, record in Run.open(run_dir).deciding.items()}


def in_process(path: Path, run_dir: Path):
    run_sweep(make_plan(load_sweep(path)), run_dir, engine="in-process")
    return what_came_of_it(run_dir)


@pytest.mark.slow
@every_task
def test_a_killed_run_continues_with_the_same_digits(name, tmp_path):
    """kill -9 of the driver, which trains in its own process, in the third epoch or later."""
    path, run_dir = written_sweep(name, tmp_path, epochs=24), tmp_path / "run"
    command = [sys.executable, "-m", "runners.cli", "run", str(path), "--out", str(run_dir), "--engine", "in-process"]
    driver = subprocess.Popen([*command, "--no-cache"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    progress, deadline = run_dir / "progress.jsonl", time.monotonic() + 300
    while not (progress.exists() and '"epoch": 3,' in progress.read_text()) and time.monotonic() < deadline:
        time.sleep(0.005)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    assert len(what_came_of_it(run_dir)) < 2
    continued = in_process(path, run_dir)
    assert max(record.resumed_from_epoch or 0 for record in Run.open(run_dir).records) >= 2
    assert continued == in_process(path, tmp_path / "whole")


@pytest.mark.slow
@every_task
def test_both_engines_give_the_same_records(name, tmp_path, ray_cluster):
    path = written_sweep(name, tmp_path, epochs=2)
    run_sweep(make_plan(load_sweep(path)), tmp_path / "ray", engine="ray")
    found = what_came_of_it(tmp_path / "ray")
    assert len(found) == 2
    assert found == in_process(path, tmp_path / "in-process")
