"""Contract of a dataset: a class or function (split, data_dir, options) that gives a map-style dataset."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from archsweep.testing.member import as_member, check_tried, expect, raised, titled, validated
from runners.data.images.plugin_datasets import PluginImages, describe, open_splits
from runners.data.loading import IN_MEMORY_BYTES
from runners.data.readers.image_facts import pixel_digest
from search_space.plugins.signature import constructor_options
from search_space.schema.datasets import LABELLED_IMAGES
from search_space.schema.resources import Resources

__all__ = ["check_dataset"]

_NAME = "checked/dataset"
_OWN_WORDS = (f"dataset {_NAME!r}: ", f"{_NAME} ")


class _Seen(NamedTuple):
    """What is seen of a split: its length, and size, pixels and label of some images by their index."""

    length: int
    images: Mapping[int, tuple[tuple[int, int], str, Any]]


def check_dataset(
    made: Callable[..., Any],
    data_dir: str | Path | None = None,
    *,
    options: Sequence[Mapping[str, Any]] = (),
    train_split: str = "train",
    test_split: str = "test",
    in_chans: int = 3,
    most: int = 200,
) -> None:
    """Check a dataset on data of yours: images and labels can be read, are the same each time, in any order and in
    another process, and its options act.

    Args:
        data_dir: the folder that it gets; a small one, or files that the test writes.
        options: sets of options that together give every option a value that is not its default.
        most: images of a split that are looked at, at equal distances.

    Raises:
        AssertionError: a condition does not hold; the message names dataset, options and condition.
    """
    title = titled(made)
    parameters = {} if not callable(made) else {each.name: each.default for each in constructor_options(made, 2)}
    bare = [name for name, default in parameters.items() if default is inspect.Parameter.empty]
    resources = Resources(data_dir=None if data_dir is None else str(data_dir))
    shape = {"name": _NAME, "in_chans": in_chans, "train_split": train_split, "test_split": test_split}
    with as_member("dataset", made, _NAME):
        with raised(title, "its options"):
            spec = LABELLED_IMAGES[_NAME]
        check_tried(title, parameters, options)
        training_only = getattr(made, "training_only", ())
        unknown = sorted(set(training_only) - parameters.keys())
        expect(not unknown, title, f"training_only names what is no option: {', '.join(unknown)}")
        for given in [*([] if bare else [{}]), *options]:
            name = titled(made, given)
            found = _checked(validated(spec, {**shape, **given}, name), resources, name, most)
            for option in sorted(given.keys() - set(bare)):
                rest = {key: value for key, value in given.items() if key != option}
                plain = _looked_at(validated(spec, {**shape, **rest}, name), resources, name, most)
                text = f"the option {option} changes neither images nor labels: it is accepted and ignored"
                expect(found != plain, name, text)
                text = f"the option {option} is named in training_only, and changes the test split"
                expect(found[1] == plain[1] or option not in training_only, name, text)


def _checked(dataset: Any, resources: Resources, name: str, most: int) -> tuple[_Seen, _Seen]:
    """Check a dataset with one set of options; gives what is seen of its splits."""
    with raised(name, "looking at it", without=_OWN_WORDS):
        describe(dataset, resources, IN_MEMORY_BYTES)
        opened, again = open_splits(dataset, resources), open_splits(dataset, resources)
    splits: list[_Seen] = []
    for split, other, which in zip(opened, again, (dataset.train_split, dataset.test_split), strict=True):
        at = f"{name}, split {which!r}"
        with raised(at, "reading images", without=_OWN_WORDS):
            expect(len(split) == len(other), at, f"has {len(split)} images, and {len(other)} when it is opened again")
            seen = _seen(split, most)
            _compare(at, seen, _seen(split, most, backwards=True), "when it is read again in another order")
            expect(
                len(split) == seen.length,
                at,
                f"has {seen.length} images, and {len(split)} after it has been read twice",
            )
            _compare(at, seen, _seen(other, most), "when the split is opened again: draw random numbers with a seed")
            _check_targets(at, split, seen)
            _check_fingerprint(at, split, other)
            _compare(at, seen, _seen(_unpickled(at, split), most), "in another process, after pickling")
        splits.append(seen)
    train, test = splits
    text = f"the splits {dataset.train_split!r} and {dataset.test_split!r} have the same images and labels"
    expect(train != test, name, f"{text}: the argument `split` is ignored")
    return train, test


def _looked_at(dataset: Any, resources: Resources, name: str, most: int) -> tuple[_Seen, _Seen]:
    with raised(name, "looking at it", without=_OWN_WORDS):
        train, test = open_splits(dataset, resources)
        return _seen(train, most), _seen(test, most)


def _seen(split: PluginImages, most: int, *, backwards: bool = False) -> _Seen:
    rows = np.linspace(0, len(split) - 1, min(len(split), most)).round().astype(int).tolist()
    found: dict[int, tuple[tuple[int, int], str, Any]] = {}
    for index in reversed(rows) if backwards else rows:
        image, label = split.item(index)
        found[index] = (image.size, pixel_digest(image), label)
    return _Seen(len(split), {index: found[index] for index in rows})


def _compare(at: str, one: _Seen, other: _Seen, when: str) -> None:
    for index, (size, pixels, label) in one.images.items():
        size_, pixels_, label_ = other.images[index]
        expect(size == size_, at, f"image {index} has the size {size}, and {size_} {when}")
        expect(pixels == pixels_, at, f"image {index} is another one {when}")
        expect(label == label_, at, f"image {index} has the label {label!r}, and {label_!r} {when}")


def _check_targets(at: str, split: PluginImages, seen: _Seen) -> None:
    labels = split.raw_targets()
    for index, (_, _, label) in seen.images.items():
        text = f"image {index} has the label {label!r}, and `targets` has {labels[index]!r}"
        expect(labels[index] == label, at, text)


def _check_fingerprint(at: str, split: PluginImages, other: PluginImages) -> None:
    known, again = split.fingerprint, other.fingerprint
    if known is not None:
        expect(known == again, at, f"fingerprint is {known!r}, and {again!r} when the split is opened again")


def _unpickled(at: str, split: PluginImages) -> PluginImages:
    try:
        return pickle.loads(pickle.dumps(split))
    except Exception as err:
        text = f"cannot be pickled, as `resources.num_workers` needs it: {type(err).__name__}: {err}"
        hint = "open files in __getitem__, or leave them out in __getstate__"
        raise AssertionError(f"{at}: {text}; {hint}") from err
