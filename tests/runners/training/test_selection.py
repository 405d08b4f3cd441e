"""Selection of the epoch whose test metrics count: the last one, or the best one on the validation split."""

from __future__ import annotations

import pytest

from runners.training.best_epoch import BestOnValidation
from runners.training.trial import run_trial
from search_space import Resources, TrialSpec


def trained(seed=0, **train):
    spec = TrialSpec.model_validate(
        {
            "arch": {"depth": 1, "embed_dim": 20, "num_heads": 2, "mlp_ratio": 2.0, "patch_size": 4},
            "task": {"val_fraction": 0.2},
            "train": {"batch_size": 64, **train},
            "seed": seed,
        }
    )
    return run_trial(spec, report=lambda metrics: False, resources=Resources(), device="cpu")


@pytest.mark.slow
def test_best_val_is_what_a_training_that_stopped_there_would_have_measured(learn_then_diverge):
    """The second implementation: train again, only as far as the epoch that validation chose, and take its last one."""
    outcome = trained(**learn_then_diverge)
    for name, best in (("top1", max), ("loss", min)):
        values = [point[f"val_{name}"] for point in outcome.curve]
        epoch = values.index(best(values)) + 1
        assert epoch == 3, "another epoch is the best: the schedule is not what this test needs"
        shorter = trained(**{**learn_then_diverge, "epochs": epoch})
        assert outcome.metrics[f"{name}@best_val"] == shorter.metrics[name]
        assert outcome.metrics[f"{name}@best_val"] != outcome.metrics[name]


def test_each_metric_is_chosen_by_its_own_validation_value():
    """The earliest of equals stays; the test split is measured only where it is needed."""
    on_val = [(50.0, 2.0), (70.0, 2.1), (60.0, 1.5), (70.0, 1.5), (40.0, 1.9)]
    chosen, measured = BestOnValidation(), []
    for epoch, (top1, loss) in enumerate(on_val, start=1):

        def on_test(epoch=epoch):
            measured.append(epoch)
            return {"top1": 10.0 * epoch, "loss": float(epoch)}

        chosen.consider({"top1": top1, "loss": loss}, on_test)
    assert chosen.test_metrics == {"top1@best_val": 20.0, "loss@best_val": 3.0}
    assert measured == [1, 2, 3]


def test_averaged_weights_are_named_as_such():
    averaged, plain = trained(epochs=1, lr=0.1, ema_decay=0.5), trained(epochs=1, lr=0.1)
    assert averaged.metrics["top1@ema"] == averaged.metrics["top1"]
    assert not any(name.endswith("@ema") for name in plain.metrics)
