"""Differences between two trials or variants (`archsweep diff`): all that differs, and only that."""

from __future__ import annotations

import json
import math

import pytest

from results import Run
from results.views.diff import Difference, format_differences, run_differences
from results.views.diff_operands import resolve_operand
from search_space import SpecError


def spec(seed, depth):
    return {"seed": seed, "arch": {"depth": depth, "embed_dim": 96}, "train": {"lr": 0.01}}


@pytest.fixture
def run(tmp_path, record, plan):
    sessions = [
        {"session": "one", "packages": {"torch": "2.8.0", "timm": "1.0.31"}, "argv": ["a"], "started_at": "1"},
        {"session": "two", "packages": {"torch": "2.9.0", "timm": "1.0.31"}, "argv": ["b"], "started_at": "2"},
    ]
    (tmp_path / "provenance.jsonl").write_text("".join(json.dumps(session) + "\n" for session in sessions))
    common = {"device": "cpu", "host": "here"}
    failure = {"type": "NonFiniteLoss", "message": "nan"}
    records = [
        record("baseline", 0, 90.0, spec=spec(0, 4), session="one", params_m=1.5, train_seconds=10.0, **common),
        record("baseline", 1, 92.0, spec=spec(1, 4), session="one", params_m=1.5, train_seconds=12.0, **common),
        record("deep", 0, 91.0, spec=spec(0, 6), session="one", params_m=2.0, train_seconds=15.0, **common),
        record("deep", 1, 95.0, spec=spec(1, 6), session="two", params_m=2.0, train_seconds=17.0, **common),
        record("deep", 2, spec=spec(2, 6), session="two", failure=failure, **common),
    ]
    return Run(tmp_path, plan(), tuple(records))


def test_variants_differ_in_spec_outcome_and_same_seed_values(run):
    found = run_differences(run, resolve_operand(run, "baseline"), resolve_operand(run, "deep"))
    assert found.spec == (Difference("arch.depth", 4, 6),)
    assert found.num_same == 2  # embed_dim and lr; a variant has no seed
    outcome = {entry.name: (entry.a, entry.b, entry.delta) for entry in found.outcome}
    assert outcome == {
        "status": ("completed", "completed, failed", None),
        "failure": (None, "NonFiniteLoss", None),
        "params_m": (1.5, 2.0, 0.5),
        "train_seconds": (11.0, 16.0, 5.0),
        "top1": (91.0, 93.0, 2.0),
    }
    (paired,) = found.paired
    assert (paired.metric, paired.by_seed, paired.mean) == ("top1", ((0, 1.0), (1, 3.0)), 2.0)
    assert paired.std == pytest.approx(2**0.5)
    assert [entry.name for entry in found.surroundings] == ["packages.torch"]


def test_the_same_specification_with_another_number_is_explained_by_its_surroundings(run, record, plan, tmp_path):
    """The case that `diff` is made for: equal specs, different results."""
    here = record("x", 0, 90.0, trial_id="aaa1", spec=spec(0, 4), session="one", device="cpu", host="here")
    there = record("y", 0, 90.5, trial_id="bbb2", spec=spec(0, 4), session="two", device="NVIDIA H200", host="there")
    same = Run(tmp_path, plan(), (here, there))
    found = run_differences(same, resolve_operand(same, "aaa1"), resolve_operand(same, "bbb2"))
    assert found.spec == ()
    assert found.surroundings == (
        Difference("device", "cpu", "NVIDIA H200"),
        Difference("host", "here", "there"),
        Difference("packages.torch", "2.8.0", "2.9.0"),
    )
    assert format_differences(found) == (
        "a: x, seed 0 (aaa1) (completed)\n"
        "b: y, seed 0 (bbb2) (completed)\n"
        "\n"
        "trained: the same specification\n"
        "outcome:\n"
        "  top1  90 -> 90.5  (+0.5 points)\n"
        "  top1, b - a over 1 common seed: +0.5 points  (0: +0.5)\n"
        "\n"
        "surroundings:\n"
        "  device          cpu -> NVIDIA H200\n"
        "  host            here -> there\n"
        "  packages.torch  2.8.0 -> 2.9.0"
    )


@pytest.fixture
def by_class(tmp_path, record, plan):
    """Trials of ten classes, of which seven differ."""

    def metrics(top1, shift):
        return {"top1": top1, **{f"accuracy/{label}": 50.0 + (shift if label < 7 else 0) for label in range(10)}}

    pairs = (("baseline", 90.0, 0.0), ("deep", 91.0, 1.0), ("alike", 90.0, 1.0))
    return Run(tmp_path, plan(), tuple(record(name, 0, top1, metrics=metrics(top1, by)) for name, top1, by in pairs))


def test_single_classes_are_counted_and_shown_on_request(by_class):
    """The document of `--json` has all of them in either case."""
    found = run_differences(by_class, resolve_operand(by_class, "baseline"), resolve_operand(by_class, "deep"))
    assert len(found.outcome) == len(found.paired) == 8
    lines = format_differences(found).splitlines()
    at = lines.index("outcome:")
    assert lines[at + 1 : at + 4] == [
        "  top1  90 -> 91  (+1 points)",
        "  accuracy of 7 classes: 0, 1, 2, 3, 4 and 2 more  (--classes)",
        "  top1, b - a over 1 common seed: +1 points  (0: +1)",
    ]
    assert "accuracy/" not in format_differences(found)
    shown = format_differences(found, classes=True)
    assert "  accuracy/6  50 -> 51  (+1 points)\n" in shown
    assert "(--classes)" not in shown


def test_a_difference_in_classes_alone_is_a_difference(by_class):
    found = run_differences(by_class, resolve_operand(by_class, "baseline"), resolve_operand(by_class, "alike"))
    text = format_differences(found)
    assert "outcome:\n  accuracy of 7 classes: " in text
    assert "the same outcome" not in text


def test_a_variant_does_not_differ_from_itself(run):
    found = run_differences(run, resolve_operand(run, "baseline"), resolve_operand(run, "baseline"))
    assert (found.spec, found.outcome, found.paired, found.surroundings) == ((), (), (), ())


def test_operands_are_found_by_name_id_or_prefix_of_an_id(run):
    assert resolve_operand(run, "deep").is_variant
    assert len(resolve_operand(run, "id-dee").records) == 3
    trial = resolve_operand(run, "deep-1")
    assert (trial.is_variant, trial.name) == (False, "deep, seed 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deep-", "'deep-' is a prefix of 3 ids: deep-0, deep-1, deep-2"),
        ("dep", "no variant or trial is called 'dep'"),
        ("", "no variant or trial is called ''"),
    ],
)
def test_no_and_several_matches_have_different_messages(run, text, message):
    with pytest.raises(SpecError) as caught:
        resolve_operand(run, text)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_unreadable_provenance_leaves_only_the_records(run):
    (run.path / "provenance.jsonl").write_text("torn {")
    found = run_differences(run, resolve_operand(run, "baseline"), resolve_operand(run, "deep"))
    assert found.surroundings == ()


@pytest.fixture
def edited(run, record, plan, planned):
    """Run of a sweep whose baseline was edited between two starts: two variants with one name."""
    old = record("baseline", 0, 70.0, variant_id="id-old", trial_id="old-0", spec=spec(0, 2), session="one")
    return Run(run.path, plan(planned("baseline"), planned("deep")), (old, *run.records))


def test_variants_of_one_name_are_not_merged(edited):
    found = run_differences(edited, resolve_operand(edited, "baseline"), resolve_operand(edited, "deep"))
    assert [record.trial_id for record in found.a.records] == ["baseline-0", "baseline-1"]
    assert format_differences(found).splitlines()[:3] == [
        "a: baseline, 2 seeds (completed)",
        "b: deep, 3 seeds (completed, failed)",
        "baseline is id-baseline here; of the same name, and not counted in: id-old",
    ]
    old = run_differences(edited, resolve_operand(edited, "id-old"), resolve_operand(edited, "id-baseline"))
    assert old.spec == (Difference("arch.depth", 2, 4),)


def test_a_name_of_several_variants_is_ambiguous_without_the_plan(edited, plan):
    ambiguous = Run(edited.path, plan(), edited.records)
    with pytest.raises(SpecError) as caught:
        resolve_operand(ambiguous, "baseline")
    assert [(problem.message, problem.hint) for problem in caught.value.problems] == [
        (
            "2 variants are called 'baseline': id-old (1 trial), id-baseline (2 trials)",
            "name one by its id; `archsweep ls RUN --columns variant,variant_id,seed` shows which is which",
        )
    ]


def test_a_whole_id_is_not_treated_as_a_prefix(run, record, plan):
    short = Run(run.path, plan(), (record("x", 1, 1.0, trial_id="t1"), record("x", 10, 1.0, trial_id="t10")))
    assert resolve_operand(short, "t1").key == "t1"


def test_without_a_common_seed_the_difference_is_marked_as_unpaired(run, record, plan):
    apart = Run(run.path, plan(), (record("x", 0, 90.0), record("y", 1, 95.0)))
    found = run_differences(apart, resolve_operand(apart, "x"), resolve_operand(apart, "y"))
    assert found.paired == ()
    assert "  no seed in common: the metrics above are of different seeds" in format_differences(found).splitlines()


def test_reused_and_resumed_records_are_marked(run, record, plan):
    here = record("x", 0, 90.0, trial_id="aaa1")
    there = record("x", 0, 90.0, trial_id="bbb2", cached_from="other run", resumed_from_epoch=3)
    both = Run(run.path, plan(), (here, there))
    assert run_differences(both, resolve_operand(both, "aaa1"), resolve_operand(both, "bbb2")).surroundings == (
        Difference("cached_from", None, "other run"),
        Difference("resumed_from_epoch", None, 3),
    )


def test_nan_differs_from_numbers_and_not_from_itself(run, record, plan):
    values = {"a": (math.nan, 1.0), "b": (math.nan, 2.0), "c": (math.inf, 1.0)}
    records = [record(name, seed, value) for name, pair in values.items() for seed, value in enumerate(pair)]
    odd = Run(run.path, plan(), tuple(records))
    sides = {name: resolve_operand(odd, name) for name in values}
    assert run_differences(odd, sides["a"], sides["a"]).outcome == ()
    (paired,) = run_differences(odd, sides["a"], sides["b"]).paired
    assert (paired.by_seed[1], paired.std) == ((1, 1.0), None)
    (paired,) = run_differences(odd, sides["b"], sides["c"]).paired
    assert (paired.by_seed[1], paired.std) == ((1, -1.0), None)


def test_the_unknown_place_of_a_failed_trial_is_not_a_difference(run, record, plan):
    failed = [record("y", seed, failure={"type": "Killed", "message": "m"}) for seed in (0, 1)]
    done = [record("x", seed, 90.0, device="cpu", host="here") for seed in (0, 1)]
    mixed = [record("z", 0, 90.0, device="cpu", host="here"), record("z", 1, failure={"type": "E", "message": "m"})]
    both = Run(run.path, plan(), (*failed, *done, *mixed))
    x, y, z = (resolve_operand(both, name) for name in "xyz")
    assert run_differences(both, x, y).surroundings == ()
    assert run_differences(both, x, z).surroundings == ()
