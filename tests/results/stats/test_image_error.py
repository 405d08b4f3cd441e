"""The sampling error over test images: McNemar's closed form for one seed, a bootstrap and a plain loop for several."""

from __future__ import annotations

import math

import numpy as np
import pytest

from results.predictions.correct_images import CorrectImages, decode_correct, encode_correct
from results.stats.image_error import paired_image_error


def images(bits) -> CorrectImages:
    return decode_correct(encode_correct([bool(bit) for bit in bits]))


def drawn(num: int, seeds: int, *, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Correctness of arm and baseline, (S, N): images are easy or hard for both, most alike for one arm."""
    random = np.random.default_rng(num + seeds)
    ease = random.normal(1.0, 1.5, num)
    arm, base = (
        random.normal(ease + shift + random.normal(0, 0.5, num), 0.7, (seeds, num)) > 0 for shift in (gain, 0.0)
    )
    return arm, base


def error_of(arm: np.ndarray, base: np.ndarray) -> float:
    found = paired_image_error([(images(a), images(b)) for a, b in zip(arm, base, strict=True)])
    assert found is not None
    return found


@pytest.mark.parametrize(("num", "gain"), [(2, 1.0), (7, 0.5), (360, 0.3), (10_000, 0.0)])
def test_one_seed_is_the_closed_form_of_mcnemar(num, gain):
    (arm,), (base,) = drawn(num, 1, gain=gain)
    b, c = int((arm & ~base).sum()), int((base & ~arm).sum())
    variance = ((b + c) - (b - c) ** 2 / num) / (num * (num - 1))
    assert error_of(arm[None], base[None]) == pytest.approx(100 * math.sqrt(variance), rel=1e-12)


def test_four_images_by_hand():
    """Over two seeds the arm gains 1, 1/2, 0 and -1/2 of an image: mean 1/4, variance 5/12, error sqrt(5 / 48)."""
    arm = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], dtype=bool)
    base = np.array([[0, 0, 0, 1], [0, 1, 1, 0]], dtype=bool)
    assert error_of(arm, base) == pytest.approx(100 * math.sqrt(5 / 48), rel=1e-12)


def test_a_bootstrap_over_images_has_the_same_spread():
    """4,000 resamples give a standard deviation to 1 / sqrt(2 x 4000) = 1.1 %; the limit is four of that."""
    arm, base = drawn(500, 3, gain=0.3)
    random = np.random.default_rng(0)
    means = []
    for _ in range(4_000):
        picked = random.integers(0, 500, 500)
        means.append(100 * (arm[:, picked].mean() - base[:, picked].mean()))
    assert error_of(arm, base) == pytest.approx(np.std(means, ddof=1), rel=0.045)


def test_pairing_removes_what_both_arms_find_hard():
    arm, base = drawn(10_000, 3, gain=0.3)
    unpaired = 100 * math.sqrt(sum(one.mean(0).var(ddof=1) for one in (arm, base)) / 10_000)
    assert error_of(arm, base) < 0.7 * unpaired


def test_equal_predictions_have_no_error():
    (arm,), _ = drawn(360, 1, gain=0.0)
    assert error_of(arm[None], arm[None]) == 0.0


def test_no_error_is_given_without_pairs_of_the_same_images():
    assert paired_image_error([]) is None
    assert paired_image_error([(images([1]), images([0]))]) is None
    assert paired_image_error([(images([1, 0]), images([0, 1, 1]))]) is None
    assert paired_image_error([(images([1, 0]), images([0, 1])), (images([1, 0, 1]), images([0, 1, 1]))]) is None
