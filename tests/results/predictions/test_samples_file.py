"""Samples on disk: what is written is read again, equal samples give equal bytes, and no file can do harm."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from results.predictions.samples import LabelMap, Objects, OneClass, Sample, Samples
from results.predictions.samples_file import UnreadableSamples, read_samples, write_samples

NAN = float("nan")


def image(height, width):
    return np.arange(height * width * 3).reshape(height, width, 3).astype(np.uint8)


def objects(*boxes, scores=None, masks=None):
    num = len(boxes)
    return Objects(
        boxes=np.array(boxes, dtype=np.float32).reshape(num, 4),
        labels=np.arange(num, dtype=np.int32),
        scores=np.array([NAN] * num if scores is None else scores, dtype=np.float32),
        masks=masks,
    )


def a_mask(height, width, *pixels):
    found = np.zeros((1, height, width), dtype=bool)
    for row, column in pixels:
        found[0, row, column] = True
    return found


SAMPLES = {
    "one_class": Samples(
        "one_class",
        (
            Sample(3, image(2, 3), OneClass(1), OneClass(0, 0.25)),
            Sample(9, image(1, 1), OneClass(2), OneClass(2, 1.0)),
        ),
        {0: "cat", 1: "<b>dog</b>", 2: "\u202eeel", 7: "never seen"},
    ),
    "label_map": Samples(
        "label_map",
        (
            Sample(0, image(2, 2), LabelMap(np.uint8([[0, 1], [255, 1]])), LabelMap(np.uint8([[0, 1], [1, 1]]))),
            Sample(5, image(1, 3), LabelMap(np.uint8([[1, 1, 0]])), LabelMap(np.uint8([[0, 0, 0]]))),
        ),
        {0: "background", 1: "thing"},
        ignored=255,
    ),
    "objects": Samples(
        "objects",
        (
            Sample(
                0,
                image(3, 5),
                objects((0, 0, 2, 2.5), masks=a_mask(3, 5, (0, 1), (2, 4))),
                objects(masks=np.zeros((0, 3, 5), dtype=bool)),
            ),
            Sample(
                1,
                image(2, 2),
                objects(masks=np.zeros((0, 2, 2), dtype=bool)),
                objects((0, 0, 1, 1), scores=[0.75], masks=a_mask(2, 2, (1, 1))),
            ),
        ),
        {0: "disk"},
        least_score=0.5,
    ),
    "boxes": Samples("objects", (Sample(0, image(2, 2), objects((0, 0, 1, 1)), objects()),), least_score=0.5),
    "none": Samples("label_map", ()),
}


def written(samples):
    stream = io.BytesIO()
    write_samples(stream, samples)
    return stream.getvalue()


@pytest.fixture
def read(tmp_path):
    def of(content):
        (tmp_path / "samples.npz").write_bytes(content)
        return read_samples(tmp_path / "samples.npz")

    return of


def plain(value):
    """A value as lists and numbers that can be compared, NaN as None."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), np.where(np.isnan(value), -9, value).tolist() if value.size else list(value.shape)]
    if isinstance(value, OneClass):
        return [value.label, None if np.isnan(value.probability) else value.probability]
    if isinstance(value, LabelMap | Objects | Sample | Samples):
        return {name: plain(each) for name, each in vars(value).items()}
    return [plain(each) for each in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_is_written_is_read_again(name, read):
    """But for names of classes that do not occur."""
    samples = SAMPLES[name]
    found = read(written(samples))
    occurring = {label: text for label, text in samples.names.items() if label in (0, 1, 2)}
    assert plain(found) == plain(replace(samples, names=occurring))


def test_equal_samples_give_equal_bytes_without_a_pickle():
    for samples in SAMPLES.values():
        content = written(samples)
        assert content == written(samples)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays)


def changed(name, **arrays):
    """The file with some arrays replaced (None: left out)."""
    with np.load(io.BytesIO(written(SAMPLES[name]))) as found:
        whole = {key: found[key] for key in found} | arrays
    stream = io.BytesIO()
    np.savez(stream, **{key: value for key, value in whole.items() if value is not None})
    return stream.getvalue()


def with_header(shape):
    """A file whose pixels say that they have this shape, and hold nothing."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    stream = io.BytesIO(changed("label_map", pixels=None))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("pixels.npy", header.getvalue())
    return stream.getvalue()


def bomb():
    stream = io.BytesIO(changed("label_map", pixels=None))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("pixels.npy", "w") as entry:
        for _ in range(65):
            entry.write(bytes(1 << 20))
    return stream.getvalue()


HOSTILE = {
    "nothing": b"",
    "no archive": b"PK no archive",
    "cut off": written(SAMPLES["objects"])[:-40],
    "damaged": written(SAMPLES["objects"]).replace(b"truth_boxes", b"truth_bases"),
    "pickles": changed("one_class", truth_labels=np.array([{}, {}], dtype=object)),
    "an unknown kind": changed("one_class", kind=np.array("pictures")),
    "an array too few": changed("one_class", found_scores=None),
    "a terabyte of pixels": with_header((1 << 40,)),
    "a negative number of pixels": with_header((-1,)),
    "a bomb": bomb(),
    "images larger than samples": changed("label_map", sizes=np.int32([[1 << 16, 1 << 16], [1, 3]])),
    "more pixels than with masks": changed(
        "objects", sizes=np.int32([[1024, 513], [2, 2]]), pixels=np.zeros(3 * (1024 * 513 + 4), dtype=np.uint8)
    ),
    "images of no pixel": changed("label_map", sizes=np.int32([[0, 2], [1, 3]])),
    "sizes whose product overflows": changed("label_map", sizes=np.int64([[1 << 62, 4], [1, 3]])),
    "too few pixels": changed("label_map", pixels=np.zeros(5, dtype=np.uint8)),
    "16 bits": changed("label_map", pixels=np.zeros(21, dtype=np.uint16)),
    "more images than samples": changed("label_map", positions=np.arange(65)),
    "an image twice": changed("label_map", positions=np.int64([4, 4])),
    "a map too small": changed("label_map", truth_labels=np.zeros(3, dtype=np.uint8)),
    "a negative label": changed("one_class", truth_labels=np.int32([-1, 0])),
    "a label beyond all": changed("objects", found_labels=np.int32([1 << 30])),
    "more boxes than counted": changed("objects", found_boxes=np.zeros((7, 4), dtype=np.float32)),
    "a negative count": changed("objects", found_counts=np.int32([-1, 2])),
    "a thousand objects": changed("objects", found_counts=np.int32([1000, 1])),
    "a box that is not finite": changed("objects", found_boxes=np.float32([[0, 0, np.inf, 1]])),
    "masks of other objects": changed("objects", found_masks=np.zeros(9, dtype=np.uint8)),
    "a name too few": changed("label_map", names=np.array(["a"])),
    "a threshold that is not finite": changed("objects", least_score=np.float32("nan")),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_damaged_or_foreign_file_is_refused(name, read):
    with pytest.raises(UnreadableSamples):
        read(HOSTILE[name])


def test_long_names_are_cut(read):
    named = replace(SAMPLES["one_class"], names={0: "n" * 5000})
    assert len(read(written(named)).names[0]) == 100


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(UnreadableSamples):
        read_samples(tmp_path / "nowhere.npz")
