"""`check_dataset` finds each fault that the contract of datasets names; each class below has one."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from archsweep.testing import check_dataset


class Sound:
    """Two classes of drawn images, in memory.

    Args:
        dark: darker images
    """

    classes = ("round", "long")

    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        generator = np.random.default_rng(0 if split == "train" else 1)
        self.split = split
        self.images = generator.integers(0, 256, (12, 6, 8), dtype=np.uint8) // (2 if dark else 1)
        self.targets = np.arange(12) % 2

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


class LabelOfNoClass(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        self.targets = np.arange(12) % 2 + 1


class TextLabels(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        self.targets = np.array(["round", "long"] * 6)


class OtherLabels(Sound):
    def __getitem__(self, index):
        return self.images[index], 1 - self.targets[index]


class FewerTargets(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        self.targets = self.targets[:5]


class Shrinks(Sound):
    """Another number of images each time that it is opened."""

    opened = 0

    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        type(self).opened += 1
        self.images = self.images[: 12 - self.opened % 3]
        self.targets = self.targets[: len(self.images)]


class ShrinksWhileRead(Sound):
    """An iterator in disguise: what was read is gone."""

    def __getitem__(self, index):
        self.read = getattr(self, "read", 0) + 1
        return super().__getitem__(index)

    def __len__(self):
        return 12 - (getattr(self, "read", 0) > 20)


class Augments(Sound):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image ^ np.random.default_rng().integers(0, 256, image.shape, dtype=np.uint8), label


class RandomSplit(Sound):
    """Another part of the images each time that it is opened."""

    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        self.images = self.images[np.random.default_rng().permutation(12)]


class ReadsInOrder(Sound):
    """The next image of a file, whatever the index is."""

    def __getitem__(self, index):
        if index == 0 and getattr(self, "place", 0) > 11:
            self.place = 0
        place = self.place = getattr(self, "place", -1) + 1
        return self.images[min(place // 3, 11)], self.targets[index]


class HasLock(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        self.lock = threading.Lock()


class ForgetsWhenPickled(Sound):
    def __getstate__(self):
        return {**vars(self), "images": 255 - self.images}


class OneSplit(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__("train", data_dir, dark)


class Floats(Sound):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return (image / 255.0 - 0.5) / 0.25, label


class Tuples(Sound):
    def __getitem__(self, index):
        return self.images[index]


class Raises(Sound):
    def __getitem__(self, index):
        return super().__getitem__(index if index != 3 else 99)


class Empty(Sound):
    def __len__(self):
        return 0


class NoFile(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        (Path("nowhere") / split).read_bytes()


class RandomFingerprint(Sound):
    @property
    def fingerprint(self):
        return np.random.default_rng().integers(2**60)


class Ignores(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir)


class NotOfTraining(Sound):
    training_only = ("dark",)


class NamesNoOption(Sound):
    training_only = ("drak",)


class NoAnnotation(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark=False):
        super().__init__(split, data_dir, dark)


class OtherClasses(Sound):
    def __init__(self, split: str, data_dir: Path | None, dark: bool = False):
        super().__init__(split, data_dir, dark)
        self.classes = ("round", "long") if split == "train" else ("long", "round")


DARK = [{"dark": True}]


def test_a_sound_dataset_passes():
    check_dataset(Sound, options=DARK, in_chans=1)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (
            LabelOfNoClass,
            "looking at it: labels of the split 'train' are not numbers of classes: 6 of 12 are not below",
        ),
        (TextLabels, "looking at it: labels of the split 'train' are not numbers of classes: 12 of 12 are text"),
        (OtherLabels, "split 'train': image 0 has the label 1, and `targets` has 0"),
        (FewerTargets, "looking at it: train: `targets` has the shape (5,) for 12 images"),
        (Shrinks, " when it is opened again"),
        (ShrinksWhileRead, "split 'train': has 12 images, and 11 after it has been read twice"),
        (Augments, "looking at it: image 0 is another one when it is read again: leave random augmentation to"),
        (RandomSplit, "is another one when the split is opened again: draw random numbers with a seed"),
        (ReadsInOrder, "is another one when it is read again"),
        (HasLock, "split 'train': cannot be pickled, as `resources.num_workers` needs it: TypeError: cannot pickle"),
        (ForgetsWhenPickled, "split 'train': image 0 is another one in another process, after pickling"),
        (OneSplit, "the splits 'train' and 'test' have the same images and labels: the argument `split` is ignored"),
        (Floats, "numbers of 8 bits, or from 0 to 1, not normalised"),
        (Tuples, "gave an object of ndarray, not an image and its label"),
        (Raises, "looking at it: train[3]: IndexError: index 99 is out of bounds"),
        (Empty, "looking at it: the split 'train' has no image"),
        (NoFile, "raised FileNotFoundError: [Errno 2] No such file or directory: 'nowhere/train'"),
        (RandomFingerprint, " when the split is opened again"),
        (NotOfTraining, "(dark=True): the option dark is named in training_only, and changes the test split"),
        (NamesNoOption, "training_only names what is no option: drak"),
        (Ignores, "(dark=True): the option dark changes neither images nor labels: it is accepted and ignored"),
        (NoAnnotation, "its options: option 'dark' of dataset 'checked/dataset' has no annotation"),
        (OtherClasses, "looking at it: the splits have different classes: ['round', 'long'] and ['long', 'round']"),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_a_fault_is_named(made, sentence):
    with pytest.raises(AssertionError) as caught:
        check_dataset(made, options=DARK, in_chans=1)
    assert str(caught.value).startswith(made.__name__)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("made", "options", "sentence"),
    [
        (3, [], "3: the dataset 'checked/dataset' must be a class or function (split, data_dir, options), but is 3"),
        (Sound, [], "Sound: give options=[...] with other values than the default for: dark"),
        (Sound, [{"dark": False}], "Sound: dark has its default: give another value"),
        (Sound, [{"drak": True}], "Sound: there is no option drak; its options: dark"),
        (Sound, [{"dark": "very"}], "Sound(dark='very'): no sweep can write these options: dark: "),
    ],
    ids=["no class", "untried", "default", "unknown", "type"],
)
def test_a_fault_of_options_is_named(made, options, sentence):
    with pytest.raises(AssertionError) as caught:
        check_dataset(made, options=options, in_chans=1)
    assert str(caught.value).startswith(sentence)


def test_nothing_stays_in_the_table():
    """A sweep that is checked afterwards does not know the dataset."""
    from search_space.schema.datasets import LABELLED_IMAGES

    before = set(LABELLED_IMAGES)
    check_dataset(Sound, options=DARK, in_chans=1)
    with pytest.raises(AssertionError):
        check_dataset(Empty, options=DARK, in_chans=1)
    assert set(LABELLED_IMAGES) == before
