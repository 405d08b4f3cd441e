"""Which epoch's test metrics a trial may be judged by: the last one, or the one that the validation split chooses."""

from __future__ import annotations

import pytest

from runners.training.trial import run_trial
from search_space import Resources, TrialSpec


def trained(epochs=4, seed=0, **train):
    seen = []
    spec = TrialSpec.model_validate(
        {
            "arch": {"depth": 1, "embed_dim": 20, "num_heads": 2, "mlp_ratio": 2.0, "patch_size": 4},
            "task": {"val_fraction": 0.2},
            # A rate so high that the validation metrics go up and down.
            "train": {"epochs": epochs, "batch_size": 64, "lr": 0.1, "sched": "constant", **train},
            "seed": seed,
        }
    )
    outcome = run_trial(spec, report=lambda metrics: bool(seen.append(metrics)), resources=Resources(), device="cpu")
    return outcome, seen


@pytest.mark.thorough
def test_best_val_is_what_a_training_that_stopped_there_would_have_measured():
    """The second implementation: train again, only as far as the epoch that validation chose, and take its last one.
    Each metric is chosen by its own validation value."""
    early = 0
    for seed in range(3):
        outcome, curve = trained(epochs=6, seed=seed)
        for name, best in (("top1", max), ("loss", min)):
            values = [point[f"val_{name}"] for point in curve]
            epoch = values.index(best(values)) + 1
            shorter, _ = trained(epochs=epoch, seed=seed)
            assert outcome.metrics[f"{name}@best_val"] == shorter.metrics[name]
            early += epoch < 6
    assert early, "the last epoch was always the best; the case shows nothing"


def test_averaged_weights_are_named_as_such():
    averaged, _ = trained(epochs=1, ema_decay=0.5)
    plain, _ = trained(epochs=1)
    assert averaged.metrics["top1@ema"] == averaged.metrics["top1"]
    assert not any(name.endswith("@ema") for name in plain.metrics)
