"""Batches of a dataset in memory: completeness, pixel values, per-image augmentation, order by seed and epoch."""

from __future__ import annotations

import pytest
import torch
from timm.data.random_erasing import RandomErasing

from runners.data import DataInfo, Images
from runners.data.augmentation.repeats import epoch_order
from runners.data.decoding import resize
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.random_streams import generator, global_streams
from runners.data.tensor_loader import TensorBatches, TensorTrainBatches, crop_offsets, flipped, flips, shifted

CPU = torch.device("cpu")


def _info(in_chans: int = 1) -> DataInfo:
    return DataInfo("toy", (4, 4), in_chans, 3, 10, 0, 10, mean=(0.5,) * in_chans, std=(0.25,) * in_chans)


def _images(number: int = 10, side: int = 4) -> Images:
    """Images where image i has the value i / 100 in all pixels."""
    pixels = (torch.arange(number) / 100).view(-1, 1, 1, 1).expand(-1, 1, side, side).contiguous()
    return Images(pixels, torch.arange(number) % 3)


def _train(images: Images, **options) -> TensorTrainBatches:
    return TensorTrainBatches(
        images, **{"info": _info(), "img_size": (4, 4), "batch_size": 4, "device": CPU, "seed": 0, **options}
    )


def test_evaluation_yields_every_image_once_in_order_with_a_smaller_last_batch():
    batches = TensorBatches(_images(), info=_info(), img_size=(4, 4), batch_size=4, device=CPU)
    found = list(batches)
    assert [len(labels) for _, labels in found] == [4, 4, 2]
    assert len(batches) == 3
    values = torch.cat([images[:, 0, 0, 0] for images, _ in found])
    torch.testing.assert_close(values, (torch.arange(10) / 100 - 0.5) / 0.25)
    assert torch.cat([labels for _, labels in found]).tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


def test_bytes_are_read_as_255ths():
    images = Images(torch.full((1, 1, 4, 4), 51, dtype=torch.uint8), torch.zeros(1, dtype=torch.long))
    (pixels, _), *_ = TensorBatches(images, info=_info(), img_size=(4, 4), batch_size=1, device=CPU)
    torch.testing.assert_close(pixels, torch.full((1, 1, 4, 4), (0.2 - 0.5) / 0.25))


def test_images_are_resized_to_the_models_size():
    """Bilinear doubling of the ramp 0, 1 gives 0, 1/4, 3/4, 1 (half-pixel centres)."""
    ramp = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 1, 2, 2)
    images = Images(ramp, torch.zeros(1, dtype=torch.long))
    (pixels, _), *_ = TensorBatches(images, info=_info(), img_size=(4, 4), batch_size=1, device=CPU)
    expected = (torch.tensor([0.0, 0.25, 0.75, 1.0]) - 0.5) / 0.25
    torch.testing.assert_close(pixels[0, 0], expected.expand(4, 4))


def test_an_epoch_has_batches_of_equal_size_without_repeats():
    found = list(_train(_images()).epoch(1))
    assert [len(labels) for _, labels in found] == [4, 4]
    values = torch.cat([images[:, 0, 0, 0] for images, _ in found])
    assert len(values.unique()) == 8


def test_labels_stay_with_their_images():
    for images, labels in _train(_images()).epoch(1):
        numbers = ((images[:, 0, 0, 0] * 0.25 + 0.5) * 100).round().long()
        assert (numbers % 3).tolist() == labels.tolist()


def _order(batches: TensorTrainBatches, epoch: int) -> list[float]:
    return torch.cat([images[:, 0, 0, 0] for images, _ in batches.epoch(epoch)]).tolist()


def test_order_follows_from_seed_and_epoch_alone():
    first = _order(_train(_images()), 2)
    batches = _train(_images())
    _order(batches, 1)
    torch.rand(17)  # numbers drawn elsewhere do not matter
    assert _order(batches, 2) == first
    assert _order(batches, 1) != first
    assert _order(_train(_images(), seed=1), 2) != first


def test_augmentation_follows_from_seed_and_epoch_alone():
    options = {"crop_padding": 1, "hflip": 0.5, "reprob": 0.5}
    images = Images(torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(10).long())
    first = torch.cat([pixels for pixels, _ in _train(images, **options).epoch(1)])
    torch.manual_seed(99)
    again = torch.cat([pixels for pixels, _ in _train(images, **options).epoch(1)])
    plain = torch.cat([pixels for pixels, _ in _train(images).epoch(1)])
    assert torch.equal(first, again)
    assert not torch.equal(first, plain)


def test_augmentation_leaves_the_stored_images_alone():
    images = _images()
    before = images.pixels.clone()
    for _ in _train(images, crop_padding=2, hflip=1.0, reprob=1.0).epoch(1):
        pass
    assert torch.equal(images.pixels, before)


def test_crop_moves_each_image_by_its_own_offset_and_fills_with_black():
    images = torch.rand(40, 2, 5, 6) + 1  # no pixel is black
    moved = shifted(images, crop_offsets(40, 2, generator(0, "test")), 2)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    offsets = set()
    for image, source in zip(moved, padded, strict=True):
        matches = [
            (dy, dx) for dy in range(5) for dx in range(5) if torch.equal(source[:, dy : dy + 5, dx : dx + 6], image)
        ]
        assert len(matches) == 1
        offsets.add(matches[0])
    assert len(offsets) > 12  # of 25 possible ones, in 40 draws


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.3, 200, 400), (1.0, 1000, 1000)])
def test_flip_mirrors_each_image_with_the_given_probability(probability, low, high):
    images = torch.arange(3.0).expand(1000, 1, 2, 3)
    turned = flipped(images, flips(1000, probability, generator(0, "test")))
    is_mirrored = (turned == torch.tensor([2.0, 1.0, 0.0])).all((1, 2, 3))
    is_same = (turned == torch.tensor([0.0, 1.0, 2.0])).all((1, 2, 3))
    assert (is_mirrored | is_same).all()
    assert low <= is_mirrored.sum().item() <= high


def test_erasing_replaces_a_rectangle_by_the_mean_colour():
    images = Images(torch.ones(64, 1, 16, 16), torch.zeros(64).long())
    (pixels, _), *_ = _train(images, batch_size=64, img_size=(16, 16), reprob=0.5).epoch(1)
    # White is (1 - 0.5) / 0.25 = 2 after normalisation, the mean colour 0.
    assert set(pixels.unique().tolist()) == {0.0, 2.0}
    is_erased = (pixels == 0).any(-1).any(-1).squeeze(1)
    assert 16 < is_erased.sum().item() < 48


def test_label_maps_move_and_flip_with_their_images():
    """Each pixel has the colour of its label: afterwards it still has, and pixels from outside are ignored."""
    maps = torch.randint(1, 200, (32, 6, 7), dtype=torch.uint8)
    batches = _train(
        Images(maps.unsqueeze(1), maps), batch_size=32, img_size=(6, 7), crop_padding=2, hflip=0.5, ignore_label=255
    )
    (pixels, labels), *_ = batches.epoch(1)
    colours = (pixels.squeeze(1) * 0.25 + 0.5) * 255
    is_outside = labels == 255
    assert torch.allclose(colours[~is_outside], labels[~is_outside].float(), atol=1e-3)
    assert torch.allclose(colours[is_outside], torch.zeros(1), atol=1e-3)
    assert 0.1 < is_outside.float().mean() < 0.6
    assert labels.dtype == torch.uint8


def test_batches_of_another_seed_are_those_that_a_trial_of_it_reads():
    images = Images(torch.rand(40, 1, 8, 8), torch.arange(40))
    options = {"crop_padding": 1, "hflip": 0.5}
    shared = _train(images, seed=3, **options).of_seed(7)
    for (found, labels), (expected, theirs) in zip(
        shared.epoch(2), _train(images, seed=7, **options).epoch(2), strict=True
    ):
        assert torch.equal(found, expected)
        assert torch.equal(labels, theirs)


STRONG = {"crop_padding": 3, "hflip": 0.5, "vflip": 0.4, "reprob": 0.6, "remode": "pixel"}


def _one_by_one(images: Images, info: DataInfo, img_size: tuple[int, int], batch_size: int) -> torch.Tensor:
    """Epoch 1 of `STRONG`, every image for itself and scaled to 0..1 before anything else."""
    order = epoch_order(len(images), seed=0, epoch=1)
    stream = generator(0, "augmentation", 1)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (info.mean, info.std))
    found = []
    for start in range(0, len(order) // batch_size * batch_size, batch_size):
        (down, right), left_right, up_down = (
            crop_offsets(batch_size, 3, stream), flips(batch_size, 0.5, stream), flips(batch_size, 0.4, stream)
        )  # fmt: skip
        batch = []
        for place, index in enumerate(order[start : start + batch_size].tolist()):
            pixels = images.pixels[index]
            unit = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
            height, width = unit.shape[-2:]
            padded = torch.nn.functional.pad(unit, (3, 3, 3, 3))
            image = padded[:, down[place] :, right[place] :][:, :height, :width]
            image = image.flip(-1) if left_right[place] else image
            image = image.flip(-2) if up_down[place] else image
            batch.append((resize(image[None], img_size)[0] - mean) / std)
        with global_streams(int(torch.randint(2**62, (), generator=stream))):
            found.append(RandomErasing(0.6, mode="pixel", device="cpu")(torch.stack(batch)))
    return torch.cat(found)


@pytest.mark.parametrize("kind", ["bytes", "numbers"])
@pytest.mark.parametrize("img_size", [(96, 80), (48, 64)])
def test_a_batch_has_the_bits_of_its_images_made_one_by_one(kind, img_size):
    """Batches that are made in several parts; bytes stay bytes until they are scaled to 0..1."""
    pixels = torch.randint(0, 256, (45, 3, 96, 80), dtype=torch.uint8, generator=generator(0, "pixels"))
    images = Images(pixels if kind == "bytes" else pixels.float() / 255, torch.arange(45) % 3)
    info = DataInfo("toy", (96, 80), 3, 3, 45, 0, 45, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    batches = _train(images, info=info, img_size=img_size, batch_size=20, **STRONG)
    found = torch.cat([inputs for inputs, _ in batches.epoch(1)])
    assert torch.equal(found, _one_by_one(images, info, img_size, 20))
    assert found.is_contiguous()


@pytest.mark.parametrize("crop", [None, EvaluationCrop((40, 30), crop_pct=0.8, mode="center")])
def test_evaluated_images_have_the_bits_of_images_made_one_by_one(crop):
    pixels = torch.randint(0, 256, (9, 3, 96, 80), dtype=torch.uint8, generator=generator(0, "pixels"))
    info = DataInfo("toy", (96, 80), 3, 3, 9, 0, 9, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (info.mean, info.std))
    options = {"info": info, "img_size": crop.img_size if crop else (96, 80), "batch_size": 9, "device": CPU}
    ((found, _),) = TensorBatches(Images(pixels, torch.zeros(9).long()), crop=crop, **options)
    for image, ours in zip(pixels, found, strict=True):
        unit = image[None].float() / 255
        expected = unit if crop is None else crop.of(unit, mean.flatten())
        assert torch.equal(ours[None], (expected - mean) / std)
