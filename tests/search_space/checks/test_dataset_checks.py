"""A design that takes differences to one baseline measures every variant on the test set of that baseline."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_sweep_text

SHAPES = "baseline: {task: {dataset: builtin/shapes}}\n"
FOLDER = "baseline: {task: {dataset: {name: folder/a, num_classes: 3}}}\n"


def problems(text: str) -> list[str]:
    try:
        load_sweep_text("name: a\n" + text, "s.yaml")
    except SpecError as err:
        return [f"{problem.where}: {problem.path}" for problem in err.problems]
    return []


@pytest.mark.parametrize("design", ["one_factor", "factorial", "zip"])
def test_values_of_another_test_set_are_refused_with_their_place(design: str) -> None:
    text = f"{SHAPES}space: {{task.dataset: [builtin/digits, builtin/shapes]}}\ndesign: {design}\n"
    with pytest.raises(SpecError) as caught:
        load_sweep_text("name: a\n" + text, "s.yaml")
    (problem,) = caught.value.problems
    assert (problem.where, problem.path) == ("s.yaml:3:24", "space.task.dataset[0]")
    assert problem.message == (
        "is measured on another test set than the baseline (builtin/digits instead of builtin/shapes with img_size=32, "
        f"num_test=500, in_chans=3, noise=0.1, data_seed=0), and the design '{design}' takes their difference"
    )
    assert problem.hint.startswith("run one study per dataset")


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (SHAPES + "space: {task.dataset.noise: [0.1, 0.2, 0.3]}\n", ["s.yaml:3:35", "s.yaml:3:40"]),
        (SHAPES + "space: {task.dataset.data_seed: [0, 1]}\n", ["s.yaml:3:37"]),
        (FOLDER + "space: {task.dataset.name: [folder/a, folder/b]}\n", ["s.yaml:3:39"]),
        (FOLDER + "space: {task.dataset.target_key: [fine, coarse]}\n", ["s.yaml:3:35", "s.yaml:3:41"]),
        (FOLDER + "space: {task.dataset.test_split: [validation, test]}\n", ["s.yaml:3:47"]),
        (SHAPES + "space: {task: [{dataset: builtin/digits}, {dataset: builtin/shapes}]}\n", ["s.yaml:3:16"]),
        (SHAPES + "space: {task.dataset: [{value: builtin/shapes, with: {noise: [0.1, 0.2]}}]}\n", ["s.yaml:3:68"]),
    ],
)
def test_parts_of_a_dataset_that_change_the_test_set_are_refused(text: str, places: list[str]) -> None:
    assert [one.partition(": ")[0] for one in problems(text + "design: one_factor\n")] == places


def test_rows_and_components_are_checked_too() -> None:
    rows = "design: {name: list, rows: [{arch.depth: 2}, {arch.depth: 3, task.dataset: builtin/digits}]}\n"
    assert problems(SHAPES + rows) == ["s.yaml:3:76: design.rows[1].task.dataset"]
    free = "space: {data: {off: {task.dataset: builtin/shapes}, on: {task.dataset: builtin/digits}}, "
    free += "b: {off: {}, on: {arch.depth: 2}}}\n"
    assert problems(SHAPES + free + "design: leave_one_out\n") == ["s.yaml:3:57: space.data.on"]
    path = "space: {task.dataset: {off: builtin/shapes, on: builtin/digits}}\n"
    assert problems(SHAPES + path + "design: add_one_in\n") == ["s.yaml:3:49: space.task.dataset.on"]


@pytest.mark.parametrize(
    "text",
    [
        SHAPES + "space: {task.dataset.num_train: [100, 2000]}\n",
        SHAPES + "space: {task.dataset: [builtin/shapes, {name: builtin/shapes, num_train: 100}]}\n",
        SHAPES + "space: {task.val_fraction: [0, 0.1], arch.img_size: [32, 16]}\n",
        FOLDER + "space: {task.dataset.train_split: [train, small]}\n",
    ],
)
def test_other_training_data_are_compared(text: str) -> None:
    assert problems(text + "design: one_factor\n") == []


def test_a_profile_may_change_the_dataset_of_all() -> None:
    text = "space: {arch.depth: [1, 2]}\ndesign: one_factor\nprofiles: {other: {task.dataset: builtin/digits}}\n"
    assert problems(SHAPES + text) == []
    assert (
        load_sweep_text("name: a\n" + SHAPES + text, profile="other").sweep.baseline.task.dataset.name
        == "builtin/digits"
    )


@pytest.mark.parametrize("name", ["hfids/a", "tfds/a", "wds/a", "hfds/a", "torch/cifar10"])
def test_predictions_are_kept_of_every_kind_of_dataset(name: str) -> None:
    """Streams were refused: their images had no fixed order."""
    text = f"baseline: {{task: {{dataset: {{name: {name}, num_classes: 3}}}}}}\nspace: {{arch.depth: [1, 2]}}\n"
    assert problems(text + "design: factorial\nkeep_predictions: true\n") == []
