"""What a seed decides: a source that varies changes what it is of, and nothing else, in every form of training."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from results.plan.stored import Origin
from runners.data.holdout import with_own_test_split
from runners.data.random_streams import SourceSeeds, seed_of
from runners.training.stacked.group import run_group
from runners.training.stacked.member import GroupOptions
from runners.training.trial import run_trial
from runners.training.trial_parts.setup import build_trial
from search_space import Resources, trial_id
from search_space.schema.sweep import Checkpoints
from search_space.schema.training.seeding import BY_DEFAULT, SOURCES, Seeding
from search_space.schema.trial import ArchSpec, ClassificationSpec, TimmDatasetSpec, TrainSpec, TrialSpec

ARCH = ArchSpec(depth=1, embed_dim=16, num_heads=2, patch_size=4, mlp_ratio=1.0, drop_path_rate=0.3, proj_drop_rate=0.2)
TRAIN: dict[str, Any] = {"epochs": 2, "batch_size": 256, "hflip": 0.5, "mixup": 0.5, "lr_noise": (0.1, 0.9)}
OFTEN = Checkpoints(min_seconds=0, every_epochs=1)
_CPU = torch.device("cpu")


def spec_of(seed: int, seeding: Seeding | None = None, **train) -> TrialSpec:
    given = {**TRAIN, **train, **({} if seeding is None else {"seeding": seeding})}
    return TrialSpec(arch=ARCH, task=ClassificationSpec(val_fraction=0.2), train=TrainSpec(**given), seed=seed)


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(each.contiguous().numpy().tobytes() for each in tensors)).hexdigest()[:12]


def sources_of(spec: TrialSpec) -> dict[str, str]:
    """A digest of what every source has drawn, taken from the trial as it is set up."""
    plain = spec.model_copy(update={"train": spec.train.model_copy(update={"hflip": 0.0, "mixup": 0.0})})
    built, unflipped = (build_trial(each, resources=Resources(), device=_CPU) for each in (spec, plain))
    batches, whole = list(built.data.train.epoch(1)), list(unflipped.data.train.epoch(1))
    images, expected = (torch.cat([each[0] for each in found]) for found in (batches, whole))
    with built.streams():
        built.set_up()
        dropped = built.model(expected[:8])
    assert built.data.val is not None
    held = [each[1] for each in built.data.val], [each[1] for each in built.data.test]
    return {
        "init": digest(*built.model.state_dict().values()),
        # By position, so that the order of the images is not in it.
        "augmentation": digest((images == expected).flatten(1).all(1)),
        "order": digest(*(each[1] for each in batches)),
        "dropout": digest(dropped.detach()),
        "split": digest(*(torch.cat(list(labels)).sort().values for labels in held))
        + digest(*(each[0].sum((1, 2, 3)) for split in (built.data.val, built.data.test) for each in split)),
    }


def differing(one: TrialSpec, other: TrialSpec) -> set[str]:
    ours, theirs = sources_of(one), sources_of(other)
    return {name for name in SOURCES if ours[name] != theirs[name]}


def metrics_of(spec: TrialSpec, **options) -> dict[str, float]:
    return run_trial(spec, report=lambda point: False, resources=Resources(), **options).metrics


def test_by_default_a_seed_decides_all_but_the_splits():
    assert differing(spec_of(0), spec_of(1)) == set(BY_DEFAULT)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("init", {"init", "dropout"}),  # the output of the network is its weights' as well
        ("order", {"order", "dropout"}),  # and that of its images
        ("augmentation", {"augmentation"}),
        ("dropout", {"dropout"}),
        ("split", {"split", "order", "dropout"}),  # in the same order of positions, other images
    ],
)
def test_a_source_that_varies_alone_changes_what_it_is_of(source, expected):
    seeding = Seeding(vary=(source,))
    assert differing(spec_of(0, seeding), spec_of(1, seeding)) == expected


@pytest.mark.parametrize("source", ["init", "order", "augmentation", "dropout"])
def test_a_source_that_does_not_vary_is_that_of_seed_0(source):
    ours = sources_of(spec_of(3, Seeding(vary=tuple(each for each in BY_DEFAULT if each != source))))
    theirs = sources_of(spec_of(0))
    if source != "dropout":  # whose digest is of weights and images, too
        assert ours[source] == theirs[source]
    assert ours["split"] == theirs["split"]


@pytest.mark.thorough
def test_levels_of_a_crossed_design_are_the_streams_of_those_seeds():
    """Level 1 of all sources that a seed decides is the trial with the seed 1, to the last digit."""
    whole = Seeding(crossed={"init": 2, "order": 2, "augmentation": 2, "dropout": 2})
    assert metrics_of(spec_of(15, whole)) == metrics_of(spec_of(1))
    assert metrics_of(spec_of(0, whole)) == metrics_of(spec_of(0, Seeding(vary=("init",))))
    assert whole.levels_of(6) == {"init": 0, "order": 1, "augmentation": 1, "dropout": 0}


@pytest.mark.thorough
@pytest.mark.parametrize("source", BY_DEFAULT)
def test_members_of_a_stack_have_the_streams_of_the_trial_by_itself(source):
    """One update, after which float32 has not amplified yet how sums were rounded."""
    specs = [spec_of(seed, Seeding(vary=(source,)), epochs=1, batch_size=1150) for seed in (0, 1)]
    ended: dict[str, Any] = {}
    given = GroupOptions(Resources(), Checkpoints(), "top1", keep_predictions=False, keep_samples=0, origin=Origin())
    run_group(specs, options=given, report=lambda points: ((), ()), ended=ended.__setitem__)
    losses = []
    for spec in specs:
        single = run_trial(spec, report=lambda point: False, resources=Resources())
        together = ended[trial_id(spec)]
        assert together.curve[0]["train_loss"] == pytest.approx(single.curve[0]["train_loss"], rel=1e-6)
        assert together.metrics["loss"] == pytest.approx(single.metrics["loss"], rel=1e-5)
        losses.append(single.curve[0]["train_loss"])
    assert losses[0] != losses[1]


@pytest.mark.default_run("seeding0")
@pytest.mark.thorough
@pytest.mark.parametrize(
    "seeding", [Seeding(vary=("order", "dropout", "split")), Seeding(crossed={"init": 2, "split": 2})]
)
def test_a_trial_that_was_interrupted_keeps_its_streams(seeding, tmp_path):
    spec = spec_of(3, seeding, epochs=3)
    polled = iter([*[False] * 6, *[True] * 100])  # 5 updates an epoch: in the second one
    cut = run_trial(
        spec,
        report=lambda point: False,
        resources=Resources(),
        directory=tmp_path / trial_id(spec),
        checkpoints=OFTEN,
        is_preempted=lambda: next(polled),
    )
    assert cut.status == "preempted"
    resumed: list[Any] = []
    again = metrics_of(spec, directory=tmp_path / trial_id(spec), checkpoints=OFTEN, on_resume=resumed.append)
    assert [len(curve) for curve in resumed] == [1]
    assert again == metrics_of(spec)


def test_the_seed_of_a_trial_is_a_number_where_it_decides_what_it_always_did():
    assert seed_of(spec_of(3)) == 3
    assert seed_of(spec_of(3, Seeding(vary=BY_DEFAULT))) == 3
    assert seed_of(spec_of(3, Seeding(vary=("split",)))) == SourceSeeds(Seeding(vary=("split",)), 3)


def test_a_folder_without_splits_has_a_test_split_for_every_seed(tmp_path):
    """Of the same size, of every class its share, and of other images; read from files, and shared with no other."""
    for label, name in enumerate(("ant", "bee")):
        (tmp_path / "flat" / name).mkdir(parents=True)
        for at in range(12):
            pixels = np.full((8, 8, 3), (80 * label, 20 * at, 7), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "flat" / name / f"{at}.png")
    task = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/flat", test_fraction=0.25))
    found = []
    for seed in (0, 0, 1):
        train = TrainSpec(epochs=1, batch_size=4, seeding=Seeding(vary=("split",)))
        spec = TrialSpec(arch=ARCH, task=task, train=train, seed=seed)
        built = build_trial(spec, resources=Resources(data_dir=str(tmp_path)), device=_CPU, fingerprint="of all trials")
        assert (built.info.num_train, built.info.num_test, built.info.test_counts) == (18, 6, (3, 3))
        assert built.info.fingerprint == ""
        found.append(digest(*(images for images, _ in built.data.test)))
    assert found[0] == found[1] != found[2]
    assert with_own_test_split(task, SourceSeeds(Seeding(vary=("init",)), 1)) is task
