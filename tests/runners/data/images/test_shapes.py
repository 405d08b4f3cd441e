"""`builtin/shapes`: deterministic, balanced, and its two properties are local and global as documented."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from runners.data import describe_dataset
from runners.data.images.shapes import draw_shapes
from search_space.schema.resources import Resources
from search_space.schema.trial import ClassificationSpec, ShapesSpec

OPTIONS = {"side": 16, "in_chans": 3, "noise": 0.1, "seed": 0}


def test_same_seed_gives_the_same_images_and_another_seed_others():
    first, again = (draw_shapes(40, split=0, **OPTIONS) for _ in range(2))
    other = draw_shapes(40, split=0, **{**OPTIONS, "seed": 1})
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)


def test_a_larger_set_begins_with_the_smaller_one():
    # 300 images are drawn in two chunks, 40 in one.
    few, many = (draw_shapes(number, split=0, **OPTIONS) for number in (40, 300))
    assert torch.equal(few.pixels, many.pixels[:40])
    assert torch.equal(few.labels, many.labels[:40])


def test_every_class_is_equally_frequent():
    assert torch.bincount(draw_shapes(80, split=0, **OPTIONS).labels).tolist() == [10] * 8


@pytest.mark.parametrize("side", [8, 16])
def test_train_and_test_share_no_image_even_without_noise(side):
    train, test = (draw_shapes(400, split=split, **{**OPTIONS, "side": side, "noise": 0.0}) for split in (0, 1))
    rows = lambda images: {image.numpy().tobytes() for image in images.pixels}  # noqa: E731
    assert len(rows(train)) == len(rows(test)) == 400
    assert not rows(train) & rows(test)


@pytest.mark.parametrize(("side", "in_chans"), [(8, 1), (33, 3), (64, 1)])
def test_any_size_and_number_of_channels(side, in_chans):
    images = draw_shapes(8, split=0, side=side, in_chans=in_chans, noise=0.1, seed=0)
    assert images.pixels.shape == (8, in_chans, side, side)
    assert images.pixels.dtype == torch.uint8


def test_facts_follow_the_spec():
    spec = ShapesSpec(img_size=24, num_train=80, num_test=16, in_chans=1)
    info = describe_dataset(ClassificationSpec(dataset=spec), Resources())
    assert (info.img_size, info.in_chans, info.num_classes) == ((24, 24), 1, 8)
    assert (info.num_train, info.num_test, info.mean, info.std) == (80, 16, (0.5,), (0.25,))


def _marks(images) -> list[list[int]]:
    """Brightness of the marks of each noiseless image: connected components of pixel values that only marks have."""
    from scipy.ndimage import label

    found = []
    for image in images.pixels[:, 0].numpy():
        # Stripes stay within 0.5 +- 0.25 of full scale: 63..192. Marks are 0.05 and 0.95 of it.
        bright, dark = (label(mask)[1] for mask in (image > 230, image < 25))
        found.append([1] * bright + [0] * dark)
    return found


def test_label_encodes_whether_the_two_marks_are_alike():
    images = draw_shapes(64, split=0, side=32, in_chans=1, noise=0.0, seed=5)
    marks = _marks(images)
    assert [len(pair) for pair in marks] == [2] * 64
    assert [int(pair[0] != pair[1]) for pair in marks] == (images.labels % 2).tolist()


def test_label_encodes_the_orientation_of_the_stripes():
    """The strongest frequency of the spectrum is along the normal of the stripes."""
    images = draw_shapes(64, split=0, side=64, in_chans=1, noise=0.0, seed=5)
    spectrum = np.abs(np.fft.fft2(images.pixels[:, 0].numpy() - 127.5))
    frequency = np.fft.fftfreq(64)
    fy, fx = np.meshgrid(frequency, frequency, indexing="ij")
    spectrum[:, fy**2 + fx**2 < 0.2**2] = 0  # the marks are large and so have low frequencies only
    strongest = spectrum.reshape(64, -1).argmax(1)
    angle = np.arctan2(fy.ravel()[strongest], fx.ravel()[strongest]) % np.pi
    assert (np.rint(angle / (np.pi / 4)).astype(int) % 4).tolist() == (images.labels // 2).tolist()


def _patch_statistics(images) -> np.ndarray:
    """Mean over all 4x4 patches of their pixels and of all products of two of their pixels."""
    patches = torch.nn.functional.unfold(images.pixels[:, :1].float() / 255 - 0.5, 4).transpose(1, 2)
    products = torch.einsum("npi,npj->nij", patches, patches) / patches.shape[1]
    return torch.cat([patches.mean(1), products.flatten(1)], dim=1).numpy()


def test_local_patch_statistics_predict_the_texture_but_not_the_relation():
    options = {"side": 32, "in_chans": 1, "noise": 0.1, "seed": 0}
    train, test = (draw_shapes(number, split=split, **options) for number, split in ((1600, 0), (800, 1)))
    features = [_patch_statistics(images) for images in (train, test)]
    center, scale = features[0].mean(0), features[0].std(0)
    train_x, test_x = ((rows - center) / scale for rows in features)

    def accuracy(target):
        model = LogisticRegression(C=0.1, max_iter=500).fit(train_x, target(train.labels))
        return model.score(test_x, target(test.labels))

    assert accuracy(lambda labels: labels // 2) > 0.99
    # The mean of 800 fair coin flips is below 0.55 with a probability of 99.8 %.
    assert accuracy(lambda labels: labels % 2) < 0.55
