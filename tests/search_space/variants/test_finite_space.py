"""Finite search spaces: their size, and every suggestion of them once."""

from __future__ import annotations

import json

import pytest

from search_space import all_params, load_sweep_text, space_size

HEAD = "name: t\nbaseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}}\ndesign: search\nsearch: {num_trials: 9}\n"


@pytest.mark.parametrize(
    ("space", "size"),
    [
        ("{arch.depth: [1, 2]}", 2),
        ("{arch.depth: {min: 1, max: 4}}", 4),
        ("{arch.depth: {min: 1, max: 9, step: 4}}", 3),
        ("{arch.depth: {min: 1, max: 8, log: true}}", 8),
        ("{train.lr: {min: 0.1, max: 0.7, step: 0.1}}", 7),
        ("{train.lr: {min: 0.1, max: 0.7}}", None),
        ("{arch.depth: [1, 2], train.lr: {min: 0.1, max: 0.7}}", None),
        ("{more: {off: {arch.depth: 1}, on: {arch.depth: 2}}, train.lr: [0.1, 0.2, 0.3]}", 6),
        # softmax, and 2 x 3 of the refiner; each with two depths
        (
            "{arch.attention: [softmax, {value: refiner, with: {expansion: [1, 2], kernel_size: [1, 3, 5]}}], "
            "arch.depth: [1, 2]}",
            14,
        ),
        ("{arch.attention: [softmax, {value: refiner, with: {expansion: {min: 1.0, max: 2.0}}}]}", None),
        ("{arch.options.qk_norm: [true, 1, 1.0]}", 3),
    ],
)
def test_the_size_is_the_number_of_suggestions(space: str, size: int | None) -> None:
    sweep = load_sweep_text(f"{HEAD}space: {space}\n").sweep
    assert space_size(sweep) == size
    if size is not None:
        found = [json.dumps(params, sort_keys=True) for params in all_params(sweep)]
        assert len(found) == len(set(found)) == size


def test_suggestions_have_the_names_and_types_of_optuna() -> None:
    attention = "[softmax, {value: refiner, with: {kernel_size: {min: 1, max: 3, step: 2}}}]"
    sweep = load_sweep_text(f"{HEAD}space: {{arch.attention: {attention}, train.lr: [0.1]}}\n").sweep
    assert list(all_params(sweep)) == [
        {"arch.attention": "softmax", "train.lr": 0.1},
        {"arch.attention": "refiner", "arch.attention[refiner].kernel_size": 1, "train.lr": 0.1},
        {"arch.attention": "refiner", "arch.attention[refiner].kernel_size": 3, "train.lr": 0.1},
    ]
