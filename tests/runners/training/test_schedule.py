"""Learning rates: the table of the documentation against timm, the peak, and the warm-up that joins its schedule."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.scheduler import create_scheduler_v2

from runners.data.epochs import updates_of_an_epoch
from runners.training.optimization.schedule import WeightDecay, learning_rates, make_schedule, peak_learning_rate
from search_space import Setting, TrainSpec, variant_id
from search_space.settings.training_relations import SCHEDULES, broken_relations

DOCS = Path(__file__).parents[3] / "docs"
ROWS = re.findall(r"^\| (\w+) \| (-|true|false) \| (.*) \|$", (DOCS / "sweep_format.md").read_text(), re.MULTILINE)
EPOCHS, WARM_UP, UPDATES = 200, 20, 10  # as the page says


def timms(sched: str, *, has_prefix: bool) -> list[float]:
    """Rates of all updates, straight from timm; `has_prefix` shortens the schedule by the warm-up.

    Those of `dino` from its definition: a line that includes both ends, then half a cosine over the updates left."""
    if sched == "dino":
        end = WARM_UP * UPDATES
        left = np.arange(EPOCHS * UPDATES - end) / (EPOCHS * UPDATES - end)
        return [*np.linspace(1e-6, 1e-3, end), *(1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + np.cos(np.pi * left)))]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=sched,
        num_epochs=EPOCHS - (WARM_UP if has_prefix else 0),
        warmup_epochs=WARM_UP,
        warmup_prefix=has_prefix,
        warmup_lr=1e-6,
        min_lr=1e-5,
        step_on_epochs=False,
        updates_per_epoch=UPDATES,
    )
    rates = []
    for update in range(EPOCHS * UPDATES):
        rates.append(optimizer.param_groups[0]["lr"])
        if schedule is not None:
            schedule.step_update(update + 1)
    return rates


def train_of(sched: str, *, has_prefix: bool) -> TrainSpec:
    return TrainSpec(
        epochs=EPOCHS, warmup_epochs=0 if sched == "none" else WARM_UP, sched=sched, warmup_prefix=has_prefix
    )


@pytest.mark.parametrize(("sched", "prefix", "cells"), ROWS)
def test_the_table_of_rates_is_timms(sched: str, prefix: str, cells: str) -> None:
    rates = timms(sched, has_prefix=prefix == "true")
    end = WARM_UP * UPDATES
    shown = [rates[update] for update in (0, end - 1, end, len(rates) // 2, -1)]
    assert cells.split(" | ") == [f"{rate:.3g}" for rate in shown]


def test_the_table_has_every_schedule() -> None:
    twice = {"cosine", "multistep", "poly", "step", "tanh"}
    expected = {(sched, prefix) for sched in twice for prefix in ("false", "true")}
    assert {(sched, prefix) for sched, prefix, _ in ROWS} == expected | {(sched, "-") for sched in {*SCHEDULES} - twice}


@pytest.mark.parametrize(("sched", "prefix", "cells"), ROWS)
def test_a_trial_trains_with_these_rates_and_their_peak_is_known(sched: str, prefix: str, cells: str) -> None:
    train = train_of(sched, has_prefix=prefix == "true")
    rates = timms(sched, has_prefix=prefix == "true")
    assert learning_rates(train, range(len(rates)), updates_per_epoch=UPDATES) == pytest.approx(rates, rel=1e-12)
    assert peak_learning_rate(train, updates_per_epoch=UPDATES) == pytest.approx(max(rates), rel=1e-12)


def test_a_cosine_with_a_warm_up_reaches_lr_only_as_its_prefix() -> None:
    """The numbers of the issue: half of the epochs are warm-up, and the rate drops from 0.98 to 0.50 behind it."""
    under = TrainSpec(epochs=10, warmup_epochs=5, lr=1.0, warmup_lr=0.0, min_lr=0.0)
    joined = under.model_copy(update={"warmup_prefix": True})
    around = [49, 50]
    assert learning_rates(under, around, updates_per_epoch=10) == pytest.approx([0.98, 0.5])
    assert learning_rates(joined, around, updates_per_epoch=10) == pytest.approx([0.98, 1.0])
    # half of a cosine over the 50 updates that are left
    assert learning_rates(joined, [75], updates_per_epoch=10) == pytest.approx([0.5])


def test_the_default_keeps_the_ids_of_earlier_runs() -> None:
    plain = Setting(train=TrainSpec(epochs=10, warmup_epochs=5))
    stated = Setting(train=TrainSpec(epochs=10, warmup_epochs=5, warmup_prefix=False))
    other = Setting(train=TrainSpec(epochs=10, warmup_epochs=5, warmup_prefix=True))
    assert variant_id(plain) == variant_id(stated) == "ae367a7f6cf8"
    assert variant_id(other) != variant_id(plain)


@pytest.mark.parametrize(
    ("num_train", "train", "updates"), [(1438, {}, 11), (5, {}, 1), (0, {}, 1), (7, {"mixup": 1.0}, 1)]
)
def test_updates_of_an_epoch(num_train: int, train: dict[str, float], updates: int) -> None:
    assert updates_of_an_epoch(TrainSpec(**train), num_train) == updates


@pytest.mark.golden("dino_schedules")
def test_learning_rates_and_weight_decay_are_those_of_dinos_code(golden) -> None:
    config = golden.meta["config"]
    lr, wd, per_epoch = config["lr"], config["wd"], config["niter_per_ep"]
    train = TrainSpec(
        epochs=config["epochs"],
        sched="dino",
        lr=lr["base"],
        min_lr=lr["final"],
        warmup_epochs=lr["warmup_epochs"],
        warmup_lr=lr["start_warmup_value"],
        weight_decay=wd["base"],
        weight_decay_end=wd["final"],
    )
    updates = range(config["epochs"] * per_epoch)
    found = learning_rates(train, updates, updates_per_epoch=per_epoch)
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), golden.tensors["lr"].double(), rtol=1e-9, atol=1e-12
    )
    weights = torch.nn.Linear(2, 2)
    groups = [{"params": [weights.weight], "weight_decay": wd["base"]}, {"params": [weights.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups)
    decay = WeightDecay(optimizer, train, updates_per_epoch=per_epoch)
    found = []
    for update in updates:
        found.append(optimizer.param_groups[0]["weight_decay"])
        assert optimizer.param_groups[1]["weight_decay"] == 0
        decay.step_update(update + 1)
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64), golden.tensors["wd"].double(), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("options", [{"weight_decay_end": 0.4}, {"sched": "dino", "warmup_epochs": 1}])
def test_schedules_go_on_after_the_state_of_an_optimiser_was_loaded(options) -> None:
    """torch then has other parameter groups, which a schedule of its own must not miss."""
    train = TrainSpec(epochs=2, weight_decay=0.04, **options)
    weights = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(weights.parameters(), lr=train.lr, weight_decay=0.04)
    schedule, decay = (
        make_schedule(optimizer, train, updates_per_epoch=4),
        WeightDecay(optimizer, train, updates_per_epoch=4),
    )
    optimizer.load_state_dict(optimizer.state_dict())
    before = dict(optimizer.param_groups[0])
    assert schedule is not None
    schedule.step_update(6)
    decay.step_update(6)
    name = "lr" if "sched" in options else "weight_decay"
    assert optimizer.param_groups[0][name] != before[name]


def test_the_two_decays_of_a_detectors_recipe() -> None:
    """Mask R-CNN 1x: 12 epochs, a tenth of the rate after 8 and again after 11. timm decays one update early."""
    train = TrainSpec(epochs=12, sched="multistep", decay_milestones=(8, 11), lr=1e-4)
    found = learning_rates(train, range(0, 1200, 50), updates_per_epoch=100)
    assert found == pytest.approx([1e-4] * 16 + [1e-5] * 6 + [1e-6] * 2, rel=1e-9)
    steps = TrainSpec(epochs=9, sched="step", decay_epochs=3, decay_rate=0.5, lr=1.0)
    assert learning_rates(steps, [0, 25, 35, 65, 89], updates_per_epoch=10) == pytest.approx([1, 1, 0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("train", "path", "message"),
    [
        ({"sched": "cosine", "decay_milestones": (3,)}, "train.decay_milestones", "'cosine' has no decay_milestones"),
        (
            {"sched": "multistep", "decay_milestones": (3,), "decay_epochs": 3},
            "train.decay_epochs",
            "'multistep' has no decay_epochs, so 3 would",
        ),
        ({"sched": "multistep", "decay_milestones": (8, 3)}, "train.decay_milestones", "in rising order"),
        ({"sched": "multistep", "decay_milestones": (3, 10)}, "train.decay_milestones", "last after epoch 10, but"),
        ({"sched": "step", "decay_epochs": 12}, "train.decay_epochs", "first after epoch 12, but epochs=10"),
        ({"sched": "multistep"}, "train.sched", "first after epoch 90, but epochs=10"),
    ],
)
def test_decays_that_never_come_are_refused(train, path, message) -> None:
    (found,) = broken_relations(Setting(train=TrainSpec(epochs=10, **train)))
    assert found.path == path
    assert message in found.message


@pytest.mark.parametrize(
    ("train", "of_timm"),
    [
        ({"cooldown_epochs": 4}, {"num_epochs": 16, "cooldown_epochs": 4}),
        ({"sched": "tanh", "cooldown_epochs": 4, "warmup_epochs": 2, "warmup_prefix": True}, {
            "num_epochs": 14, "cooldown_epochs": 4, "warmup_epochs": 2, "warmup_prefix": True}),
        ({"lr_cycle_limit": 2, "lr_cycle_decay": 0.25}, {"num_epochs": 10, "cycle_limit": 2, "cycle_decay": 0.25}),
        ({"lr_cycle_limit": 2, "lr_cycle_mul": 3.0}, {
            "num_epochs": 5, "cycle_limit": 2, "cycle_mul": 3.0, "cycle_decay": 0.5}),
        ({"lr_k_decay": 1.5, "warmup_epochs": 3}, {"num_epochs": 20, "k_decay": 1.5, "warmup_epochs": 3}),
        ({"sched": "poly", "lr_k_decay": 2.0, "decay_rate": 1.0}, {
            "num_epochs": 20, "k_decay": 2.0, "decay_rate": 1.0}),
        ({"lr_noise": (0.25, 0.5), "lr_noise_pct": 0.4, "lr_noise_std": 0.3}, {
            "num_epochs": 20, "noise": [0.25, 0.5], "noise_pct": 0.4, "noise_std": 0.3}),
        ({"sched": "step", "decay_epochs": 3, "lr_noise": (0.5,)}, {
            "num_epochs": 20, "decay_epochs": 3, "noise": [0.5]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("on_updates", [True, False])
def test_finer_options_of_a_schedule_are_timms(train, of_timm, on_updates) -> None:
    """The training has 20 epochs with all of them, timm's options of cycles and cooldown make it so."""
    per_epoch, options = 4, {"epochs": 20, "lr": 0.5, "min_lr": 0.01, "warmup_lr": 1e-3, **train}
    found = learning_rates(
        TrainSpec(**options, sched_on_updates=on_updates), range(20 * per_epoch), updates_per_epoch=per_epoch
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    schedule, _ = create_scheduler_v2(
        optimizer,
        **{"sched": train.get("sched", "cosine"), "min_lr": 0.01, "warmup_lr": 1e-3, **of_timm},
        step_on_epochs=not on_updates,
        updates_per_epoch=per_epoch,
    )
    assert schedule is not None
    expected = []
    for epoch in range(20):  # as timm's train.py
        for batch in range(per_epoch):
            expected.append(optimizer.param_groups[0]["lr"])
            schedule.step_update(epoch * per_epoch + batch + 1)
        schedule.step(epoch + 1)
    assert found == pytest.approx(expected, rel=1e-9)
    if "lr_noise" not in train:
        peak = peak_learning_rate(TrainSpec(**options, sched_on_updates=on_updates), updates_per_epoch=per_epoch)
        assert peak == pytest.approx(max(expected), rel=1e-9)


def test_a_cycle_that_begins_after_a_longer_warm_up_has_the_peak() -> None:
    """By hand: 6 of 8 epochs are warm-up, under which the first cycle of 4 ends; the second begins at half of the rate
    in the warm-up's epoch 4, and the warm-up's last update of 60 is at 59/60."""
    train = TrainSpec(epochs=8, lr=1.0, min_lr=0.0, warmup_lr=0.0, warmup_epochs=6, lr_cycle_limit=2)
    assert peak_learning_rate(train, updates_per_epoch=10) == pytest.approx(59 / 60)
    short = TrainSpec(epochs=8, lr=1.0, min_lr=0.0, warmup_lr=0.0, warmup_epochs=1, lr_cycle_limit=2)
    under = 0.5 * (1 + np.cos(np.pi * 10 / 40))
    assert peak_learning_rate(short, updates_per_epoch=10) == pytest.approx(max(0.9, under))


def test_cooldown_is_at_min_lr_and_cycles_begin_again() -> None:
    """By hand: the cosine ends at 0.1 after 6 of 10 epochs; of two cycles the second begins at half of the rate."""
    base = {"epochs": 10, "lr": 1.0, "min_lr": 0.1}
    cooled = learning_rates(TrainSpec(**base, cooldown_epochs=4), [0, 30, 60, 99], updates_per_epoch=10)
    assert cooled == pytest.approx([1.0, 0.55, 0.1, 0.1])
    cycles = learning_rates(TrainSpec(**base, lr_cycle_limit=2), [0, 25, 50, 75], updates_per_epoch=10)
    assert cycles == pytest.approx([1.0, 0.55, 0.5, 0.3])


def test_noise_of_the_rate_differs_between_seeds_and_not_after_a_resume() -> None:
    train = TrainSpec(epochs=4, lr=1.0, lr_noise=(0.0,))

    def rates(seed, updates):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        schedule = make_schedule(optimizer, train, updates_per_epoch=5, noise_seed=seed)
        found = []
        for update in updates:
            schedule.step_update(update)
            found.append(optimizer.param_groups[0]["lr"])
        return found

    whole = rates(0, range(20))
    assert rates(0, range(11, 20)) == whole[11:]
    assert rates(1, range(20)) != whole
