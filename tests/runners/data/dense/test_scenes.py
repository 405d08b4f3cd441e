"""`builtin/scenes`: deterministic; shapes, label maps, instances and the mark as documented."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runners.data.dense.scenes import TEST, TRAIN, class_names, draw_scenes, shape_masks

OPTIONS = {"split": TRAIN, "side": 64, "seed": 0, "context": False}


def draw(number: int, **options):
    return draw_scenes(number, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def many():
    return draw(2000)


@pytest.fixture(scope="module")
def plain():
    return draw(400)


@pytest.fixture(scope="module")
def marked():
    return draw(400, context=True)


def picture(text: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in line] for line in text.split()])


DISK = """
    .......
    ...#...
    ..###..
    .#####.
    ..###..
    ...#...
    ......."""
SQUARE = """
    .......
    .......
    ..###..
    ..###..
    ..###..
    .......
    ......."""
# Rows -1, 0, 1 of |dy| <= 1.8 from the centre; half a width of 0.55 (dy + 1.8): 0.44, 0.99 and 1.54.
TRIANGLE = """
    .......
    .......
    ...#...
    ...#...
    ..###..
    .......
    ......."""


@pytest.mark.parametrize(("label", "expected"), [(1, DISK), (2, SQUARE), (3, TRIANGLE)])
def test_shapes_of_radius_2_are_those_drawn_by_hand(label, expected):
    found = shape_masks(np.array([label]), np.array([[3.0, 3.0]]), np.array([2.0]), side=7)
    assert np.array_equal(found[0], picture(expected))


def test_the_apex_of_a_triangle_is_above_and_its_base_below():
    """r = 10 around (12, 12): rows 3 to 21; the half width at row 21 is 0.55 * 18 = 9.9, at row 3 it is 0."""
    found = shape_masks(np.array([3]), np.array([[12.0, 12.0]]), np.array([10.0]), side=24)[0]
    assert np.flatnonzero(found.any(1)).tolist() == list(range(3, 22))
    assert np.flatnonzero(found[3]).tolist() == [12]
    assert np.flatnonzero(found[21]).tolist() == list(range(3, 22))


def test_each_image_has_the_shape_of_its_own_class():
    centers, radii = np.full((3, 2), 3.0), np.full(3, 2.0)
    found = shape_masks(np.array([3, 1, 2]), centers, radii, side=7)
    assert [int(mask.sum()) for mask in found] == [5, 13, 9]


def test_same_seed_gives_the_same_scenes_and_another_seed_others():
    first, again, other = draw(20), draw(20), draw(20, seed=1)
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.label_maps, again.label_maps)
    assert not (first.pixels == other.pixels).flatten(1).all(1).any()


def test_a_larger_set_begins_with_the_smaller_one_and_a_later_part_continues_it(plain):
    # 400 images are drawn in several parts, 20 in one.
    few, later = draw(20), draw(20, first=300)
    for name in ("pixels", "label_maps", "object_maps"):
        assert torch.equal(getattr(few, name), getattr(plain, name)[:20])
        assert torch.equal(getattr(later, name), getattr(plain, name)[300:320])


def test_train_and_test_share_no_image():
    images = {image.numpy().tobytes() for split in (TRAIN, TEST) for image in draw(200, split=split).pixels}
    assert len(images) == 400


@pytest.mark.parametrize("side", [32, 45, 200])
def test_any_side_from_32_on(side):
    scenes = draw(3, side=side)
    assert (scenes.pixels.shape, scenes.label_maps.shape) == ((3, 3, side, side), (3, side, side))
    assert (scenes.pixels.dtype, scenes.label_maps.dtype) == (torch.uint8, torch.uint8)


def test_a_smaller_side_is_a_mistake_of_the_caller():
    with pytest.raises(AssertionError, match="scenes of 31 pixels"):
        draw(1, side=31)


def test_background_has_the_share_that_another_implementation_measured(many):
    """86.6 % on 750 images, whose standard error is 0.3 points."""
    assert (many.label_maps == 0).double().mean().item() == pytest.approx(0.866, abs=0.005)


def test_classes_and_numbers_of_objects_are_equally_frequent(many):
    """Classes by the image's front object; 2,000 draws of a third have a standard deviation of 21, of a fourth 19."""
    object_maps, label_maps = many.object_maps.flatten(1), many.label_maps.flatten(1)
    numbers = object_maps.amax(1)  # the front object is always seen, and is the last
    front = object_maps == numbers[:, None]
    labels = torch.where(front, label_maps, 0).amax(1)
    assert np.abs(np.bincount(labels)[1:] - 2000 / 3).max() < 4 * 21
    assert np.abs(np.bincount(numbers)[1:] - 500).max() < 4 * 19


def test_objects_lie_inside_so_that_a_front_square_is_as_high_as_wide(many):
    checked = 0
    for index in range(200):
        objects, labels = many.object_maps[index], many.label_maps[index]
        front = objects == objects.max()
        rows, columns = (torch.nonzero(front.any(axis)).flatten() for axis in (1, 0))
        if int(labels[front][0]) == 2:
            # 1.8 r with r between 0.08 and 0.2 of the side, to the pixel
            height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
            assert abs(height - width) <= 1
            assert 0.144 * 64 - 1 <= height <= 0.36 * 64 + 1
            assert int(front.sum()) == height * width
            checked += 1
    assert checked > 30


def test_objects_differ_from_the_background_in_one_channel_by_half_the_range(plain):
    """Mean colour of an object against that of the pixels around it; the noise averages out."""
    for index in range(100):
        image, objects = plain.pixels[index].double() / 255, plain.object_maps[index]
        mask = objects == objects.max()
        box = plain.instances(index).boxes[-1].int().tolist()
        around = torch.zeros_like(mask)
        around[max(box[1] - 3, 0) : box[3] + 3, max(box[0] - 3, 0) : box[2] + 3] = True
        around &= objects == 0
        if int(around.sum()) > 40:
            difference = (image[:, mask].mean(1) - image[:, around].mean(1)).abs().max().item()
            assert difference > 0.3  # 0.5 less the shading between the centre and the rim


def test_instances_are_the_visible_pixels_and_agree_with_the_label_map(plain):
    for index in range(len(plain)):
        label_map, found = plain.label_maps[index], plain.instances(index)
        assert bool((found.masks.sum(0) <= 1).all())
        for label, mask, box in zip(found.labels, found.masks, found.boxes, strict=True):
            assert set(label_map[mask].tolist()) == {int(label)}
            ys, xs = np.nonzero(mask.numpy())
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        covered = found.masks.any(0)
        hidden = (label_map > 0) & ~covered  # objects of which too little is seen
        assert int(hidden.sum()) < 4 * 12


def test_an_object_of_fewer_than_12_visible_pixels_is_no_instance(many):
    """Over 500 images the objects that are seen at all are the instances and those of 1 to 11 pixels."""
    sizes = [np.bincount(objects.flatten().numpy(), minlength=5)[1:] for objects in many.object_maps[:500]]
    few = sum(int(((size > 0) & (size < 12)).sum()) for size in sizes)
    seen = sum(int((size > 0).sum()) for size in sizes)
    assert few > 0
    assert sum(len(many.instances(index).labels) for index in range(500)) == seen - few


def test_an_image_without_instances_has_empty_tensors():
    """Its only object, if any, is too small: at 32 pixels a triangle may have 11."""
    scenes = draw(500, side=32)
    found = [each for each in (scenes.instances(index) for index in range(500)) if not len(each.labels)]
    assert found
    assert (found[0].masks.shape, found[0].boxes.shape) == ((0, 32, 32), (0, 4))


def test_outside_the_mark_the_context_changes_no_pixel(plain, marked):
    """So no patch that does not touch the corner carries any information about the class of a triangle."""
    outside = torch.ones(64, 64, dtype=torch.bool)
    outside[:8, :8] = False
    assert torch.equal(marked.pixels[:, :, outside], plain.pixels[:, :, outside])
    # The label maps differ in nothing but the number of the triangles.
    assert torch.equal(marked.label_maps[:, outside].clamp(max=3), plain.label_maps[:, outside])
    assert int(marked.label_maps[:, :8, :8].max()) == 0
    assert int(marked.object_maps[:, :8, :8].max()) == 0


def test_triangles_have_class_4_exactly_where_the_mark_is_bright(marked):
    """0.95 and 0.05 of 255 are 242 and 13; the mean of 192 noisy pixels is off by a few."""
    brightness = marked.pixels[:, :, :8, :8].double().mean((1, 2, 3))
    assert bool(((brightness > 225) | (brightness < 30)).all())
    is_bright = brightness > 127
    has = [(marked.label_maps == label).flatten(1).any(1) for label in (3, 4)]
    assert not (has[0] & is_bright).any()
    assert not (has[1] & ~is_bright).any()
    assert int(has[0].sum()) > 50
    assert int(has[1].sum()) > 50


def test_half_of_the_images_are_marked_independently_of_what_is_in_them(marked):
    """400 flips of a fair coin have a standard deviation of 10; a correlation one of 0.05."""
    is_bright = (marked.pixels[:, :, :8, :8].double().mean((1, 2, 3)) > 127).double().numpy()
    assert abs(is_bright.sum() - 200) < 30
    content = [(marked.label_maps == label).flatten(1).double().mean(1).numpy() for label in (1, 2)]
    content += [marked.object_maps.flatten(1).amax(1).numpy(), marked.pixels[:, 0, 8:].double().mean((1, 2)).numpy()]
    assert all(abs(np.corrcoef(is_bright, each)[0, 1]) < 0.15 for each in content)


def test_classes_have_names():
    assert class_names(context=False) == ("background", "disk", "square", "triangle")
    assert class_names(context=True)[4] == "triangle in a marked image"
