"""A record enters a table only under the id that its spec gives, once, and with values that its metrics can have."""

from __future__ import annotations

import json

import pytest

from results import LedgerWriter, TrialRecord, read_ledger
from search_space import Setting, SpecError, trial_id, variant_id


def made(lr: float, seed: int, **fields) -> TrialRecord:
    """A record as a driver writes it, of a setting that differs in its learning rate."""
    spec = Setting.model_validate({"train": {"lr": lr}}).with_seed(seed)
    base = {
        "trial_id": trial_id(spec),
        "variant_id": variant_id(spec),
        "variant": f"lr={lr:g}",
        "seed": seed,
        "spec": spec.model_dump(mode="json"),
        "status": "completed",
        "metrics": {"top1": 90.0 + seed},
    }
    return TrialRecord.model_validate({**base, **fields})


@pytest.fixture
def refusal(tmp_path):
    """Why a ledger of these records is refused, without the hint; None if it is read."""

    def refusal_(*records):
        path = tmp_path / "ledger.jsonl"
        path.write_text("".join(record.model_dump_json() + "\n" for record in records))
        try:
            read_ledger(path)
        except SpecError as err:
            with pytest.raises(SpecError), LedgerWriter(tmp_path):  # a driver decides by the ledger, too
                pass
            return [f"{problem.where.rpartition(':')[2]}: {problem.message}" for problem in err.problems]
        return None

    return refusal_


def test_what_drivers_write_is_read(refusal):
    assert refusal(*(made(lr, seed) for seed in range(3) for lr in (0.1, 0.2))) is None


def test_names_that_were_exchanged(refusal):
    one, other = made(0.1, 0), made(0.2, 0)
    names = ("variant_id", "variant", "changes")
    mixed = [
        one.model_copy(update={name: getattr(other, name) for name in names}),
        other.model_copy(update={name: getattr(one, name) for name in names}),
    ]
    assert refusal(*mixed) == [
        f"1: not a result of its trial: its spec is that of variant {one.variant_id}, not of {other.variant_id}",
        f"2: not a result of its trial: its spec is that of variant {other.variant_id}, not of {one.variant_id}",
    ]


def test_a_spec_that_was_edited_in_one_seed_of_several(refusal):
    """The spec of a variant is validated once; its other seeds are compared with it."""
    good, bad = made(0.1, 0), made(0.1, 1)
    spec = json.loads(json.dumps(bad.spec))
    spec["train"]["epochs"] += 1
    (found,) = refusal(good, bad.model_copy(update={"spec": spec}))
    assert found.startswith("2: not a result of its trial: its spec is that of variant ")


@pytest.mark.parametrize("change", [{"seed": 7}, {"trial_id": "0123456789ab"}])
def test_an_id_of_another_seed(refusal, change):
    (found,) = refusal(made(0.1, 0).model_copy(update=change))
    assert found.startswith("1: not a result of its trial: its spec and seed are those of trial ")


def test_two_results_of_one_trial(refusal):
    first, second = made(0.1, 0), made(0.1, 0, metrics={"top1": 99.9})
    (found,) = refusal(made(0.2, 0), first, second)
    assert found == (
        f"3: not a result of its trial: trial {first.trial_id} has another result in line 2; "
        "one of the two is not its own"
    )


def test_one_result_twice_or_of_another_origin_is_read(refusal):
    """A ledger that was appended to itself, and a trial that was trained again by other code."""
    nan = made(0.2, 0, metrics={"top1": float("nan")})
    assert refusal(made(0.1, 0), made(0.1, 0), nan, nan) is None
    assert refusal(made(0.1, 0, code="a"), made(0.1, 0, code="b", metrics={"top1": 1.0})) is None
    assert refusal(made(0.1, 0, status="failed", metrics={}), made(0.1, 0)) is None


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"top1": -5}, "top1 is -5, and top1 is between 0 and 100"),
        ({"top1": 50, "val_top5": 100.5}, "val_top5 is 100.5, and top5 is between 0 and 100"),
        ({"top1@ema": 1e3}, "top1@ema is 1000, and top1 is between 0 and 100"),
        ({"loss": -0.1}, "loss is -0.1, and loss is between 0 and inf"),
        ({"head_similarity": -1.5}, "head_similarity is -1.5, and head_similarity is between -1 and 1"),
    ],
)
def test_values_that_a_metric_cannot_have(refusal, metrics, expected):
    assert refusal(made(0.1, 0, metrics=metrics)) == [f"1: not a result of its trial: {expected}"]


def test_values_at_the_ends_of_a_metric(refusal):
    metrics = {"top1": 0.0, "top5": 100.0, "loss": float("inf"), "head_similarity": 1.0000001, "speed": -3.0}
    assert refusal(made(0.1, 0, metrics=metrics)) is None


def test_specs_that_give_no_id_are_not_compared(refusal):
    """Of a newer archsweep, whose sections have options that this one lacks."""
    record = made(0.1, 0)
    spec = {**record.spec, "train": {**record.spec["train"], "an_option_of_tomorrow": 1}}
    assert refusal(record.model_copy(update={"spec": spec, "trial_id": "0123456789ab"})) is None


# Computed by hand: 1010 1100 1 is ac 80, 5 of 9 images are right.
NINE, OF_NINE = "9:rIA=", 500 / 9


def test_predictions_that_give_the_accuracy(refusal):
    in_single_precision = float(f"{OF_NINE:.7g}")
    records = [made(0.1, seed, correct=NINE, data="d", metrics={"top1": OF_NINE}) for seed in range(2)]
    records.append(made(0.1, 2, correct=NINE, data="d", metrics={"top1": in_single_precision}))
    assert refusal(*records, made(0.1, 3)) is None


@pytest.mark.parametrize(
    ("correct", "reason"),
    [
        ("9:7IA=", "`correct` has 66.6667 % right of 9 images, and top1 is 55.5556 %"),
        ("10:rIA=", "`correct` has 50 % right of 10 images, and top1 is 55.5556 %"),
        ("9:rMA=", "`correct` is bits behind those of its 9 images"),
        ("9:rA==", "`correct` is 1 bytes, and 9 images take 2"),
        ("17:rIA=", "`correct` is 2 bytes, and 17 images take 3"),
        ("9:rIA", "`correct` is not base64: Incorrect padding"),
        ("0:", "`correct` is not a number of images, a colon and base64"),
        ("rIA=", "`correct` is not a number of images, a colon and base64"),
        ("9:rIA=\n", "`correct` is not a number of images, a colon and base64"),
    ],
)
def test_edited_predictions(refusal, correct, reason):
    edited = made(0.1, 0, correct=correct, metrics={"top1": OF_NINE})
    assert refusal(edited) == [f"1: not a result of its trial: {reason}"]


@pytest.mark.parametrize("fields", [{"status": "pruned"}, {"metrics": {"loss": 0.5}}, {"metrics": {}}])
def test_predictions_without_an_accuracy(refusal, fields):
    (found,) = refusal(made(0.1, 0, **{"correct": NINE, "metrics": {"top1": OF_NINE}, **fields}))
    assert found.endswith("`correct` has predictions, and only a completed trial with the metric top1 has any")


def test_predictions_of_another_number_of_images(refusal):
    """Records of the same data have the same test set; those of other data, as after a change of it, need not."""
    nine = made(0.1, 0, correct=NINE, data="d", metrics={"top1": OF_NINE})
    four = {"correct": "4:gA==", "metrics": {"top1": 25.0}}
    assert refusal(nine, made(0.1, 1, **four, data="other")) is None
    assert refusal(nine, made(0.1, 1, **four, data="d")) == [
        "2: not a result of its trial: `correct` is of 4 images, and of 9 in line 1, which has the same data"
    ]
