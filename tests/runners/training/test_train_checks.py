"""Check of training options: messages for unknown names and options without effect, all at once, before training."""

from __future__ import annotations

import importlib.util

import pytest

from runners.training import check_train_options
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, ShapesSpec, TaskSpec, TimmDatasetSpec, TrainSpec
from search_space.settings.training_relations import SCHEDULES

SMALL = ClassificationSpec(dataset=ShapesSpec(img_size=8, num_train=16, num_test=8))


def _problems(
    task: TaskSpec = SMALL, resources: Resources | None = None, in_memory_bytes: int = 2**30, **train
) -> list[str]:
    try:
        check_train_options(task, TrainSpec(**train), resources or Resources(), in_memory_bytes=in_memory_bytes)
    except SpecError as err:
        return [f"{problem.path}: {problem.message}\n  {problem.hint}".rstrip() for problem in err.problems]
    return []


def test_defaults_are_fine():
    assert _problems() == []


@pytest.mark.parametrize("opt", ["adamw", "sgd", "lion", "muon", "lamb", "nadamw", "adopt", "lookahead_adamw"])
def test_timms_optimizers_are_known(opt):
    assert _problems(opt=opt) == []


def test_unknown_optimizer():
    (problem,) = _problems(opt="adamww")
    assert problem.startswith("train.opt: unknown optimizer 'adamww'\n  known: adabelief, adadelta, ")
    assert problem.endswith("  Did you mean 'adamw'?")


def test_optimizer_whose_package_is_missing():
    if importlib.util.find_spec("apex"):
        pytest.skip("apex is installed")
    (problem,) = _problems(opt="fusedadam")
    assert problem.startswith("train.opt: 'fusedadam' ")


def test_numbers_that_the_optimizer_refuses():
    (problem,) = _problems(opt="sgd", momentum=0.0)
    assert problem == (
        "train.opt: 'sgd' cannot be made with these options: Nesterov momentum requires a momentum and zero dampening"
    )


def test_momentum_without_effect():
    assert _problems(opt="adamw", momentum=0.5) == [
        "train.momentum: 'adamw' has no momentum, so 0.5 would have no effect\n"
        "  leave momentum out, or choose an optimizer that has it, such as sgd"
    ]


@pytest.mark.parametrize("sched", SCHEDULES)
def test_timms_schedules_are_known(sched):
    assert _problems(sched=sched, epochs=100, warmup_epochs=0 if sched == "none" else 1) == []


def test_unknown_schedule():
    assert _problems(sched="cosin") == [
        "train.sched: unknown schedule 'cosin'\n"
        "  known: constant, cosine, dino, multistep, none, poly, rsqrt, step, tanh, wsd.  Did you mean 'cosine'?"
    ]


def test_plateau_is_refused():
    assert _problems(sched="plateau") == [
        "train.sched: 'plateau' would adapt the learning rate to the split that is evaluated\n"
        "  known: constant, cosine, dino, multistep, none, poly, rsqrt, step, tanh, wsd."
    ]


def test_step_schedule_that_would_never_step():
    assert _problems(sched="step", epochs=90) == [
        "train.sched: 'step' decays first after epoch 90, but epochs=90\n  write constant, or choose cosine"
    ]


def test_schedule_none_has_no_warmup_and_no_layer_decay():
    assert _problems(sched="none", warmup_epochs=1, layer_decay=0.8) == [
        "train.sched: 'none' has no warmup, so warmup_epochs=1 would have no effect\n  write constant",
        "train.sched: 'none' leaves every layer its full learning rate, so layer_decay would have no effect\n"
        "  write constant",
    ]


def test_relations_between_numbers():
    assert _problems(epochs=2, warmup_epochs=2, lr=1e-6, min_lr=1e-5) == [
        "train.warmup_epochs: warmup_epochs < epochs must hold, but got warmup_epochs=2, epochs=2",
        "train.min_lr: min_lr <= lr must hold, but got min_lr=1e-05, lr=1e-06\n  cosine goes from lr down to min_lr",
    ]


def test_odd_batches_cannot_be_mixed():
    assert _problems(mixup=0.2, batch_size=33) == [
        "train.batch_size: mixup and cutmix mix pairs: batch_size must be even, but got 33"
    ]


def test_a_single_image_cannot_be_mixed():
    task = ClassificationSpec(dataset=ShapesSpec(img_size=8, num_train=1, num_test=8))
    assert _problems(task, cutmix=1.0) == [
        "train.mixup: mixup and cutmix mix pairs, but there is only one training image"
    ]


def test_options_of_timms_loader_on_data_in_memory():
    hint = "datasets held in memory have crop_padding, hflip, reprob, mixup and cutmix"
    assert _problems(aa="original", color_jitter=0.4) == [
        f"train.aa: aa works on images read by timm's loader, but 'builtin/shapes' is held in memory\n  {hint}",
        "train.color_jitter: color_jitter works on images read by timm's loader, but 'builtin/shapes' is held in memory"
        f"\n  {hint}",
    ]


@pytest.fixture
def folder(tmp_path) -> Resources:
    from PIL import Image

    for split in ("train", "validation"):
        (tmp_path / "toy" / split / "a").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "toy" / split / "a" / "0.png")
    return Resources(data_dir=str(tmp_path))


FOLDER = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/toy"))


def test_options_of_tensors_on_data_read_by_the_loader(folder):
    assert _problems(FOLDER, folder, in_memory_bytes=0, crop_padding=2) == [
        "train.crop_padding: crop_padding works on datasets held in memory, but 'folder/toy' is read by timm's loader\n"
        "  timm's loader crops and resizes at random by itself"
    ]


def test_options_of_the_loader_are_fine_there(folder):
    assert _problems(FOLDER, folder, in_memory_bytes=0, aa="rand-m9-mstd0.5", reprob=0.2) == []


def test_augmentation_string_that_timm_cannot_read(folder):
    assert _problems(FOLDER, folder, in_memory_bytes=0, aa="bogus") == [
        "train.aa: timm cannot read 'bogus': Unknown AA policy bogus\n  for example rand-m9-mstd0.5 or original"
    ]


def test_color_jitter_that_timm_would_leave_out(folder):
    assert _problems(FOLDER, folder, in_memory_bytes=0, aa="original", color_jitter=0.4) == [
        "train.color_jitter: timm leaves color_jitter out where aa is set, so 0.4 would have no effect\n"
        "  set one of the two"
    ]


def test_missing_data_and_wrong_options_are_reported_together(tmp_path):
    first, second = _problems(FOLDER, Resources(data_dir=str(tmp_path)), sched="cosin")
    assert first.startswith("train.sched: unknown schedule 'cosin'")
    assert second.startswith("task.dataset: dataset 'folder/toy': there is no ")


def test_processes_take_pairs_of_a_batch():
    assert _problems(batch_size=6, resources=Resources(processes=3)) == []
    assert _problems(batch_size=6, resources=Resources(processes=4)) == [
        "train.batch_size: 4 processes cannot share a batch of 6 images: each takes pairs of them\n"
        "  write at least 8, or lower resources.gpus or resources.processes"
    ]
