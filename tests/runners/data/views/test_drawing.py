"""What is drawn for the views of an image: distributions against closed forms, and what they do not depend on."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from runners.data.views.drawing import MultiCrop, ViewDraws, draw_views, joined

CROP = MultiCrop((32, 32), (16, 16), num_local=2)
SIZE = (2000, 2000)  # so large that rounding to pixels does not show
NUMBER = 600


def drawn(crop: MultiCrop, size: tuple[int, int] = SIZE, number: int = NUMBER) -> ViewDraws:
    """Of `number` images, with axes (image, view, ...)."""
    together = joined([draw_views(crop, size, 7, 1, image) for image in range(number)])
    values = {field.name: getattr(together, field.name) for field in fields(ViewDraws)}
    return ViewDraws(**{name: value.reshape(number, -1, *value.shape[1:]) for name, value in values.items()})


def equal(one: ViewDraws, other: ViewDraws, *, but: tuple[str, ...] = ()) -> bool:
    names = [field.name for field in fields(ViewDraws) if field.name not in but]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_draws_depend_on_the_seed_the_epoch_and_the_image():
    first = draw_views(CROP, SIZE, 0, 1, 5)
    assert equal(first, draw_views(CROP, SIZE, 0, 1, 5))
    for other in ((1, 1, 5), (0, 2, 5), (0, 1, 6), (0, 1, 5, 0)):
        assert not np.array_equal(first.boxes, draw_views(CROP, SIZE, *other).boxes)


def test_the_views_of_one_image_differ():
    boxes = draw_views(replace(CROP, num_local=8), SIZE, 0, 1, 5).boxes
    assert len({tuple(box) for box in boxes.tolist()}) == 10


def test_more_local_views_change_none_of_the_others():
    few, many = (draw_views(replace(CROP, num_local=number), SIZE, 0, 1, 5) for number in (2, 6))
    assert equal(few, many.part(slice(0, 4)))


@pytest.mark.parametrize(
    ("option", "value", "decided"),
    [
        ("hflip", 0.0, ("flipped",)),
        ("color_jitter", 0.0, ("jittered",)),
        ("grayscale", 1.0, ("grey",)),
        ("blur", (0.0, 0.0, 0.0), ("sigma",)),
        ("solarize", 1.0, ("solarized",)),
        ("channel_jitter", 1.0, ("channels_jittered",)),
        ("channel_shift", 1.0, ("channels_shifted",)),
        ("global_scale", (0.1, 0.2), ("boxes",)),
    ],
)
def test_an_option_changes_what_it_decides_and_nothing_else(option, value, decided):
    before, after = drawn(CROP, number=20), drawn(replace(CROP, **{option: value}), number=20)
    assert equal(before, after, but=decided)
    assert not equal(before, after)


def test_areas_are_uniform_and_aspects_log_uniform_where_every_box_fits():
    """With scales of at most 0.5 and aspects of 3/4 to 4/3 no box is too large: sqrt(0.5 * 4 / 3) < 1."""
    crop = replace(CROP, global_scale=(0.2, 0.5))
    boxes = drawn(crop).boxes
    area, aspect = boxes[..., 2] * boxes[..., 3] / (SIZE[0] * SIZE[1]), boxes[..., 3] / boxes[..., 2]
    for views, low, high in ((slice(0, 2), 0.2, 0.5), (slice(2, 4), 0.05, 0.4)):
        assert kstest(area[:, views].ravel(), "uniform", args=(low, high - low)).pvalue > 1e-3
    log_aspect = np.log(aspect).ravel()
    assert kstest(log_aspect, "uniform", args=(np.log(3 / 4), 2 * np.log(4 / 3))).pvalue > 1e-3


def test_places_are_uniform_among_those_that_are_possible():
    boxes = drawn(CROP).boxes.reshape(-1, 4)
    for start, side in ((0, 2), (1, 3)):
        free = SIZE[0] - boxes[:, side] + 1
        assert (boxes[:, start] >= 0).all()
        assert (boxes[:, start] < free).all()
        inside = free > 100
        assert kstest((boxes[inside, start] + 0.5) / free[inside], "uniform").pvalue > 1e-3


def test_boxes_follow_torchvisions_distribution_where_some_do_not_fit():
    """Global views of an image of 300 x 400: its sampler is a second implementation of trying again."""
    import torch
    from scipy.stats import ks_2samp
    from torchvision.transforms import RandomResizedCrop

    image, scale, ratio = torch.zeros(3, 300, 400), [0.4, 1.0], [3 / 4, 4 / 3]
    torch.manual_seed(0)
    theirs = np.array([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(2 * NUMBER)])
    ours = drawn(CROP, (300, 400)).boxes[:, :2].reshape(-1, 4)
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    assert ks_2samp(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((10, 1000), (0, 493, 10, 13)),  # 10 * 4 / 3 = 13.3 wide
        ((1000, 10), (493, 0, 13, 10)),  # 10 / (3 / 4) = 13.3 high
    ],
)
def test_an_image_without_room_for_any_box_gives_its_middle(size, box):
    """Boxes of 40 % and more of a strip are higher, or wider, than the strip."""
    assert draw_views(CROP, size, 0, 1, 0).boxes[:2].tolist() == [list(box)] * 2


def test_a_single_pixel_is_its_own_view():
    assert draw_views(replace(CROP, global_scale=(1.0, 1.0)), (1, 1), 0, 1, 0).boxes[0].tolist() == [0, 0, 1, 1]


def test_probabilities_are_those_of_the_views():
    found = drawn(replace(CROP, channel_jitter=0.3, channel_shift=0.7))
    for values, views, odds in (
        (found.flipped, slice(0, 4), 0.5),
        (found.jittered, slice(0, 4), 0.8),
        (found.grey, slice(0, 4), 0.2),
        (found.channels_jittered, slice(0, 4), 0.3),
        (found.channels_shifted, slice(0, 4), 0.7),
        (found.sigma > 0, slice(1, 2), 0.1),
        (found.sigma > 0, slice(2, 4), 0.5),
        (found.solarized, slice(1, 2), 0.2),
    ):
        chosen = values[:, views]
        assert binomtest(int(chosen.sum()), chosen.size, odds).pvalue > 1e-3
    assert (found.sigma[:, 0] > 0).all()
    assert not found.solarized[:, [0, 2, 3]].any()


def test_amounts_are_uniform():
    found = drawn(CROP)
    for column, (low, high) in enumerate([(0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1)]):
        assert kstest(found.factors[..., column].ravel(), "uniform", args=(low, high - low)).pvalue > 1e-3
    assert kstest(found.sigma[found.sigma > 0], "uniform", args=(0.1, 1.9)).pvalue > 1e-3
    assert kstest(np.abs(found.channels).ravel(), "uniform", args=(0.5, 1.0)).pvalue > 1e-3
    assert kstest(found.means.ravel(), "uniform", args=(0.25, 0.5)).pvalue > 1e-3
    negative = found.channels < 0
    assert binomtest(int(negative.sum()), negative.size, 0.5).pvalue > 1e-3
    orders, counts = np.unique(found.order.reshape(-1, 4), axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 60  # of 100 expected; a standard deviation is 10


def test_the_three_channels_have_numbers_of_their_own():
    found = drawn(CROP)
    numbers = np.concatenate([found.channels, found.means], axis=-1).reshape(-1, 6)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(6)).max() < 0.09  # more than four standard errors
