"""Check of training options: messages for unknown names and options without effect, all at once, before training."""

from __future__ import annotations

import importlib.util

import pytest

from runners.training import check_train_options
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.task import TextSpec
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
        "train.sched: timm gives 'plateau' up, and what it has seen is in no checkpoint\n"
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


@pytest.mark.parametrize(
    "train",
    [
        {"aa": "rand-m9-mstd0.5-inc1", "reprob": 0.2, "remode": "pixel", "recount": 3},
        {"scale": (0.3, 1.0), "ratio": (0.5, 2.0), "vflip": 0.5, "color_jitter": (0.4, 0.4, 0.4, 0.1)},
        {"train_crop_mode": "rkrr", "train_interpolation": "random", "grayscale_prob": 0.2},
        {"aug_repeats": 3, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)},
    ],
)
def test_data_in_memory_has_the_augmentations_of_timms_loader(train):
    assert _problems(**train) == []


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (
            {"scale": (1.0, 0.5)},
            "train.scale: the smaller number comes first, but got [1.0, 0.5]\n  write [0.5, 1.0]",
        ),
        (
            {"scale": (0.5, 1.5)},
            "train.scale: shares of an image's area are at most 1, but got [0.5, 1.5]\n  timm's default is [0.08, 1.0]",
        ),
        (
            {"remode": "pixel"},
            "train.remode: without reprob nothing is erased, so remode=pixel would have no effect\n  leave remode out",
        ),
        (
            {"color_jitter_prob": 0.5},
            "train.color_jitter_prob: without color_jitter there is no jitter, so color_jitter_prob=0.5 would have no "
            "effect\n  leave color_jitter_prob out",
        ),
        (
            {"color_jitter": (0.0, 0.0, 0.0, 0.6)},
            "train.color_jitter: the hue turns by at most 0.5 (half of the circle), but got 0.6",
        ),
        (
            {"crop_padding": 1, "scale": (0.5, 1.0)},
            "train.crop_padding: a random crop of timm takes the place of one after padding, so crop_padding would "
            "have no effect\n  set one of the two",
        ),
        (
            {"aug_repeats": 1},
            "train.aug_repeats: an image comes once in an epoch anyway, so aug_repeats=1 would have no effect\n"
            "  leave aug_repeats out",
        ),
        (
            {"no_aug": True},
            "train.no_aug: 'builtin/shapes' is held in memory, where no augmentation is the default, so no_aug=True "
            "would have no effect\n  leave no_aug out",
        ),
        (
            {"gaussian_blur_prob": 0.5},
            "train.gaussian_blur_prob: timm's blur needs sides of 12 pixels, but the model's input has 8x8\n"
            "  leave gaussian_blur_prob out, or choose a larger arch.img_size",
        ),
        (
            {"train_interpolation": "bicubic"},
            "train.train_interpolation: images of 'builtin/shapes' have the size of the model's input, so "
            "train_interpolation=bicubic would have no effect\n  leave train_interpolation out",
        ),
        (
            {"std": (0.1, 0.0, 0.1)},
            "train.std: pixels are divided by std, which must be above 0, but got [0.1, 0.0, 0.1]",
        ),
        (
            {"mean": (0.5,)},
            "train.mean: images of 'builtin/shapes' have 3 channels, but mean has 1 numbers\n  write a number for each",
        ),
        (
            {"mean": "model"},
            "train.mean: 'vit' has sizes of its own and no published weights, so it has no mean\n"
            "  write numbers, or leave it out for the dataset's",
        ),
        (
            {"aa": "rand-nonsense"},
            "train.aa: timm cannot read 'rand-nonsense': 'nonsense' is no section of 'rand'\n"
            "  for example rand-m9-mstd0.5 or original",
        ),
    ],
)
def test_augmentation_without_effect_or_out_of_range(train, expected):
    assert _problems(**train) == [expected]


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (
            {"opt": "sgd", "opt_betas": (0.9,)},
            "train.opt_betas: 'sgd' has no betas, so opt_betas=[0.9] would have no effect\n  leave opt_betas out",
        ),
        (
            {"opt": "sgd", "opt_eps": 1e-6},
            "train.opt_eps: 'sgd' has no epsilon, so opt_eps=1e-06 would have no effect\n  leave opt_eps out",
        ),
        ({"opt_betas": (0.9,)}, "train.opt_betas: 'adamw' has 2 betas, but got [0.9]"),
        (
            {"bce_sum": True},
            "train.bce_sum: the loss is that of a softmax, so bce_sum=True would have no effect\n  leave bce_sum out",
        ),
        (
            {"mixup_prob": 0.5},
            "train.mixup_prob: nothing is mixed, so mixup_prob=0.5 would have no effect\n  leave mixup_prob out",
        ),
        (
            {"mixup": 0.5, "mixup_switch_prob": 0.2},
            "train.mixup_switch_prob: only one of mixup and CutMix is set, so mixup_switch_prob=0.2 would have no "
            "effect\n  leave mixup_switch_prob out",
        ),
        (
            {"jsd_loss": True},
            "train.jsd_loss: the divergence is one between splits of the augmentation, but there are none\n"
            "  write aug_splits: 3, as AugMix",
        ),
        (
            {"aug_splits": 1},
            "train.aug_splits: an image comes once in a batch anyway, so aug_splits=1 would have no effect\n"
            "  leave aug_splits out",
        ),
        (
            {"aug_splits": 3, "hflip": 0.5},
            "train.aug_splits: nothing changes an image after it is cropped, so its 3 splits would be equal\n"
            "  write aa, for example augmix-m3",
        ),
        (
            {"aug_splits": 3, "aa": "augmix-m3", "mixup": 0.2},
            "train.aug_splits: mixup and cutmix mix images with one another, which would mix the splits of one image "
            "with others'\n  set one of the two",
        ),
        (
            {"aug_splits": 3, "aa": "augmix-m3", "resplit": True},
            "train.resplit: without reprob nothing is erased, so resplit=True would have no effect\n"
            "  leave resplit out",
        ),
        (
            {"lr_base_size": 512},
            "train.lr_base_size: without lr_base the rate is lr, so lr_base_size=512 would have no effect\n"
            "  leave lr_base_size out",
        ),
        (
            {"lr_base": 0.1, "lr": 0.01},
            "train.lr: lr_base takes the place of lr, so lr=0.01 would have no effect\n  leave lr out",
        ),
        (
            {"mixup": 0.5, "mixup_off_epoch": 10},
            "train.mixup_off_epoch: the training has 10 epochs, so mixup_off_epoch=10 would have no effect\n"
            "  leave mixup_off_epoch out",
        ),
        (
            {"cutmix_minmax": (0.2, 0.24)},
            "train.cutmix_minmax: CutMix boxes between 0.2 and 0.24 of 8 pixels have one size in pixels\n"
            "  write shares that are further apart",
        ),
        (
            {"layer_decay_min_scale": 0.1},
            "train.layer_decay_min_scale: without layer_decay all layers have one learning rate, so "
            "layer_decay_min_scale=0.1 would have no effect\n  leave layer_decay_min_scale out",
        ),
        (
            {"sched": "constant", "cooldown_epochs": 2},
            "train.cooldown_epochs: 'constant' does not go down to min_lr in cycles, so cooldown_epochs=2 would have "
            "no effect\n  leave cooldown_epochs out",
        ),
        (
            {"cooldown_epochs": 6, "warmup_epochs": 4},
            "train.cooldown_epochs: warmup_epochs + cooldown_epochs < epochs must hold, but got 4 + 6, epochs=10",
        ),
        (
            {"lr_cycle_mul": 2.0},
            "train.lr_cycle_mul: there is one cycle, so lr_cycle_mul=2 would have no effect\n  leave lr_cycle_mul out",
        ),
        (
            {"lr_noise_std": 0.5},
            "train.lr_noise_std: without lr_noise there is no noise, so lr_noise_std=0.5 would have no effect\n"
            "  leave lr_noise_std out",
        ),
        (
            {"lr_noise": (0.5, 0.2)},
            "train.lr_noise: noise begins before it ends, but got [0.5, 0.2]\n"
            "  write one number for noise up to the end",
        ),
        (
            {"model_ema_warmup": True},
            "train.model_ema_warmup: without ema_decay there is no average, so model_ema_warmup=True would have no "
            "effect\n  leave model_ema_warmup out",
        ),
    ],
)
def test_options_of_a_recipe_without_effect_or_out_of_range(train, expected):
    assert _problems(**train) == [expected]


def test_a_recipe_of_timms_options():
    assert (
        _problems(
            opt_eps=1e-6,
            opt_betas=(0.9, 0.98),
            bce_loss=True,
            bce_target_thresh=0.2,
            grad_accum_steps=4,
            mixup=0.8,
            cutmix_minmax=(0.2, 0.8),
            mixup_mode="elem",
            mixup_off_epoch=8,
            layer_decay=0.75,
            layer_decay_min_scale=0.01,
            cooldown_epochs=2,
            lr_cycle_limit=2,
            lr_k_decay=1.5,
            lr_noise=(0.4, 0.9),
            sched_on_updates=False,
            ema_decay=0.99,
            model_ema_warmup=True,
            head_init_bias=-2.0,
            lr_base=0.1,
            opt_kwargs={"amsgrad": True},
        )
        == []
    )
    assert _problems(aug_splits=3, aa="augmix-m3", jsd_loss=True, reprob=0.2, resplit=True) == []  # fmt: skip


def test_processes_that_mix_image_by_image():
    assert _problems(mixup=0.5, mixup_mode="elem", resources=Resources(processes=2)) == [
        "train.mixup_mode: 2 processes mix a part of a batch each, with one proportion for all of it\n"
        "  leave it out, or lower resources.gpus or resources.processes"
    ]


def test_loss_of_images_in_another_task():
    assert _problems(TextSpec(), bce_loss=True, scale=(0.5, 1.0))[:2] == [
        "train.scale: scale has no meaning in the task 'text', so scale=(0.5, 1.0) would have no effect\n"
        "  leave scale out",
        "train.bce_loss: bce_loss has no meaning in the task 'text', so bce_loss=True would have no effect\n"
        "  leave bce_loss out",
    ]


def test_colours_of_grey_images():
    task = ClassificationSpec(dataset=ShapesSpec(img_size=8, num_train=16, num_test=8, in_chans=1))
    assert _problems(task, color_jitter=0.4, aa="3a") == []
    assert _problems(task, grayscale_prob=0.5, color_jitter=(0.0, 0.0, 0.4)) == [
        "train.grayscale_prob: images of 'builtin/shapes' are grey, so grayscale_prob=0.5 would have no effect\n"
        "  leave grayscale_prob out",
        "train.color_jitter: images of 'builtin/shapes' are grey, without saturation and hue, so "
        "color_jitter=[0.0, 0.0, 0.4] would have no effect\n  leave color_jitter out",
    ]


def test_no_augmentation_beside_augmentation(folder):
    assert _problems(FOLDER, folder, in_memory_bytes=0, no_aug=True) == []
    found = _problems(FOLDER, folder, in_memory_bytes=0, no_aug=True, hflip=0.5, remode="rand")
    assert found == [
        "train.hflip: no_aug leaves augmentation out, so hflip=0.5 would have no effect\n  leave hflip out",
        "train.remode: no_aug leaves augmentation out, so remode=rand would have no effect\n  leave remode out",
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
