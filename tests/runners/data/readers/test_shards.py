"""WebDataset shards on this machine: read like a folder, or refused with every fault by shard and key."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from runners.data import describe_dataset, load_data
from runners.data.readers import shard_index
from runners.data.readers.labelled_images import UnreadableImage
from runners.data.readers.shard_info import expand_braces, shard_split
from runners.data.readers.split_folders import SplitNotFound
from runners.data.survey.survey import survey_dataset
from search_space import Resources, SpecError
from search_space.schema.trial import ClassificationSpec, TaskSpec, TimmDatasetSpec, TrainSpec

from .conftest import noise, png, write_shard, write_tar

IMAGES = [png(noise(index)) for index in range(8)]
TEST = [png(noise(index)) for index in range(100, 108)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))


def task(**options) -> TaskSpec:
    dataset = {"name": "wds/toy", "num_classes": 2, **options}
    return ClassificationSpec(dataset=TimmDatasetSpec.model_validate(dataset), val_fraction=0)


def write(root: Path, train: list, test: list, *, key: str = "png", says: int | None = None) -> Resources:
    """One shard for each split, with these labels."""
    found = {}
    for name, labels, images in (("train", train, IMAGES), ("validation", test, TEST)):
        write_shard(root / "toy" / f"{name}.tar", list(zip(labels, images, strict=False)), key=key)
        length = len(labels) if says is None or name == "validation" else says
        split = {"name": name, "num_samples": length, "filenames": [f"{name}.tar"], "shard_lengths": [length]}
        found[name] = split
    (root / "toy/_info.json").write_text(json.dumps({"splits": found}))
    return Resources(data_dir=str(root))


def refusals(resources: Resources, **options) -> list[str]:
    with pytest.raises(SpecError) as caught:
        survey_dataset(task(**options), resources)
    root = resources.data_dir
    return [
        problem.message.removeprefix("dataset 'wds/toy': ").replace(f"{root}/toy", "TOY")
        for problem in caught.value.problems
    ]


def samples(*kinds: str, count: int = 4) -> list[tuple[str, bytes]]:
    """Members of samples 0, 1, ...: images for kinds of images, else the text after `=`."""
    found = []
    for index in range(count):
        for kind in kinds:
            name, _, text = kind.partition("=")
            found.append((f"{index}.{name}", text.format(index % 2).encode() if text else IMAGES[index]))
    return found


def written_by(root: Path, members: list[tuple[str, bytes]]) -> Resources:
    """A training split of these members, and a good test split."""
    resources = write(root, [0, 1], [0, 1])
    write_tar(root / "toy/train.tar", members)
    (root / "toy/_info.json").unlink()
    return resources


BY_NAME = {"train_split": "train.tar", "test_split": "validation.tar"}


def test_classes_are_counted(tmp_path):
    found = survey_dataset(task(), write(tmp_path, [0, 1, 1, 1], [0, 1]))
    assert (found.train.counts, found.test.counts, found.test.majority) == ((1, 3), (1, 1), 0.5)


def test_names_of_images_are_those_of_shard_and_member(tmp_path):
    resources = write(tmp_path, [0, 1], [0, 1])
    write_tar(
        tmp_path / "toy/validation.tar", [("a/x.png", IMAGES[0]), ("a/x.cls", b"0"), *samples("png", "cls=1")[-2:]]
    )
    (pair,) = survey_dataset(task(), resources).duplicates.pairs
    assert pair == ("toy/train.tar/00000.png", "toy/validation.tar/a/x.png")


def test_a_validation_split_is_held_out_as_of_a_folder(tmp_path):
    resources = write(tmp_path, [0, 1] * 4, [0, 1])
    half = task().model_copy(update={"val_fraction": 0.5})
    data = load_data(half, TrainSpec(batch_size=2), resources, torch.device("cpu"), img_size=(16, 16), seed=0)
    assert (data.info.storage, data.info.num_train, data.info.num_val) == ("memory", 4, 4)
    assert data.info.train_counts == (4, 4)


@pytest.mark.parametrize("label", ["cat", "", "1.5", "[0]", "9" * 30])
def test_a_label_that_is_no_number_is_refused(tmp_path, label):
    """timm leaves such an image out, with a line in the log."""
    shown = label if len(label) < 9 else f"{label[:36]}"
    assert refusals(write(tmp_path, [0, 1, label, 1], [0, 1])) == [
        f"split 'train' below TOY: 1 sample with a label that is no number: train.tar: 00002 ({shown!r})"
    ]


@pytest.mark.parametrize(("label", "why"), [(-1, "below 0: -1"), (2, "not below num_classes, 2: 2")])
def test_a_number_of_no_class_is_refused(tmp_path, label, why):
    assert refusals(write(tmp_path, [0, 1, label, 1], [0, 1])) == [
        f"labels of the split 'train' are not numbers of classes: 1 of 4 are {why}"
    ]


@pytest.mark.parametrize("says", [3, 5, 400])
def test_a_wrong_number_of_images_is_refused(tmp_path, says):
    resources = write(tmp_path, [0, 1, 0, 1], [0, 1], says=says)
    assert refusals(resources) == [
        f"split 'train' below TOY: {says} samples are promised, and 4 are there",
        f"split 'train' below TOY: 1 shard of another length: train.tar ({says} promised, 4 there)",
    ]


def test_a_wrong_number_behind_the_bar_is_refused(tmp_path):
    resources = written_by(tmp_path, samples("png", "cls={}"))
    text = "split 'train.tar|7' below TOY: 7 samples are promised, and 4 are there"
    assert refusals(resources, train_split="train.tar|7", test_split="validation.tar|2") == [text]


def test_missing_shards_are_refused(tmp_path):
    resources = write(tmp_path, [0, 1, 0, 1], [0, 1])
    (tmp_path / "toy/train.tar").unlink()
    assert refusals(resources) == ["split 'train' below TOY: 1 of 1 shards are not there: train.tar"]
    several = {"train_split": "train-{0..5}.tar", "test_split": "validation.tar"}
    assert refusals(resources, **several) == [
        "split 'train-{0..5}.tar' below TOY: 6 of 6 shards are not there: "
        "train-0.tar, train-1.tar, train-2.tar and 3 more"
    ]


@pytest.mark.parametrize("key", ["jpeg", "JPG", "bmp", "webp", "tiff"])
def test_every_format_of_folders_is_read(tmp_path, key):
    """`.jpeg` ended in a StopIteration."""
    assert describe_dataset(task(), write(tmp_path, [0, 1], [0, 1], key=key)).num_train == 2


def test_all_faults_of_both_splits_are_said_at_once(tmp_path):
    resources = write(tmp_path, [0, 1], [0, 1])
    train = [*samples("png", "cls={}", count=2), ("2.cls", b"0"), ("3.cls", b"1"), ("4.png", IMAGES[4])]
    write_tar(tmp_path / "toy/train.tar", train)
    write_tar(tmp_path / "toy/validation.tar", [("0.png", b"-"), ("0.jpg", b"-"), ("0.cls", b"0")])
    assert refusals(resources) == [
        "split 'train' below TOY: 2 samples with no image: train.tar: 2 (only cls), train.tar: 3 (only cls)",
        "split 'train' below TOY: 1 sample with no label: train.tar: 4 (only png)",
        "split 'validation' below TOY: 1 sample with several images, of which input_key names none: "
        "validation.tar: 0 (jpg, png)",
    ]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([*samples("png", "cls={}"), *samples("png", "cls={}", count=1)], "a key that comes again: train.tar: 0"),
        ([("0.png", b"-"), ("0.PNG", b"-"), ("0.cls", b"0")], "two members of one name: train.tar: 0 (png)"),
        (samples("png", "json=3", count=1), "a .json that has no fields: train.tar: 0"),
        (samples("png", 'json={{"x": 1}}', count=1), "no field label or cls in .json: train.tar: 0 (only x)"),
        (samples("png", 'json={{"label": 1.0}}', count=1), "a label that is no number: train.tar: 0 (1.0)"),
        (samples("png", 'json={{"label": true}}', count=1), "a label that is no number: train.tar: 0 (True)"),
        (samples("png", 'json={{"label": "a"}}', count=1), "a label that is no number: train.tar: 0 ('a')"),
    ],
)
def test_faults_of_samples(tmp_path, members, fault):
    message = f"split 'train.tar' below TOY: 1 sample with {fault}"
    assert refusals(written_by(tmp_path, members), **BY_NAME) == [message]


@pytest.mark.parametrize("names", [[], ["README", ".0.png", "__meta__", "__a__/0.png"]])
def test_a_split_without_samples_is_refused(tmp_path, names):
    members = [(name, b"-") for name in names]
    message = "split 'train.tar' below TOY: no sample is in its shards"
    assert refusals(written_by(tmp_path, members), **BY_NAME) == [message]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda content: b"", "it is empty"),
        (lambda content: b"no archive" * 200, "it is no tar file"),
        (
            lambda content: b"\x1f\x8b" + content,
            "it is compressed (gzip), and images are read by their place: unpack it",
        ),
        # 16 x 16 PNGs have two blocks of 512 bytes, behind a header of one; labels one, behind one.
        (lambda content: content[: 5 * 512], "it is cut off or damaged after '0.cls'"),
        (lambda content: content[: 6 * 512 + 100], "it is cut off or damaged after '1.png'"),
        (lambda content: content[: 7 * 512 + 100], "it is cut off or damaged after '1.png'"),
        (lambda content: content[: 5 * 512] + b"x" * 512 + content[3072:], "it is cut off or damaged after '0.cls'"),
    ],
)
def test_shards_that_are_damaged(tmp_path, damage, fault):
    """Python's tarfile takes an archive that ends between two members, or has damaged headers, for a shorter one."""
    resources = written_by(tmp_path, samples("png", "cls={}"))
    path = tmp_path / "toy/train.tar"
    path.write_bytes(damage(path.read_bytes()))
    assert refusals(resources, **BY_NAME) == [f"split 'train.tar' below TOY: train.tar: {fault}"]


def test_one_sample_in_two_shards_is_refused_and_equal_numbers_are_not(tmp_path):
    """Shards may number their samples from 0, each for itself; a copy would be trained on or measured twice."""
    resources = write(tmp_path, [0, 1], [0, 1])
    train = {"train_split": "train-{0..1}.tar", "test_split": "validation.tar"}
    write_shard(tmp_path / "toy/train-0.tar", [(0, IMAGES[0]), (1, IMAGES[1])])
    write_shard(tmp_path / "toy/train-1.tar", [(0, IMAGES[2]), (1, IMAGES[3])])
    assert survey_dataset(task(**train), resources).train.images == 4
    write_shard(tmp_path / "toy/train-1.tar", [(0, IMAGES[2]), (1, IMAGES[1])])
    assert refusals(resources, **train) == [
        "split 'train-{0..1}.tar' below TOY: the same sample is in two shards: "
        "TOY/train-0.tar/00001.png and TOY/train-1.tar/00001.png"
    ]


def test_a_shard_that_is_named_twice_is_refused(tmp_path):
    resources = write(tmp_path, [0, 1], [0, 1])
    split = {"train_split": "train.tar::./train.tar", "test_split": "validation.tar"}
    (message,) = refusals(resources, **split)
    assert message.endswith("shards are named twice: ./train.tar, train.tar")


def test_a_shard_of_both_splits_is_refused(tmp_path):
    resources = write(tmp_path, [0, 1], [0, 1])
    assert refusals(resources, train_split="{train,validation}.tar", test_split="validation.tar") == [
        "the splits '{train,validation}.tar' and 'validation.tar' have shards in common: validation.tar"
    ]


@pytest.mark.parametrize(
    ("kinds", "keys"),
    [
        (("png", "cls={}"), {}),
        (("png", 'json={{"label": {}}}'), {}),
        (("png", 'json={{"cls": {}}}'), {}),
        (("png", "cls={}", 'json={{"label": 7}}'), {}),
        (("png", "cls=7", 'json={{"fine": {}}}'), {"target_key": "fine"}),
        (("png", 'json={{"fine": {{"id": {}}}}}'), {"target_key": "fine/id"}),
        (("png", "cls=7", "fine={}"), {"target_key": "fine"}),
        (("png", "cls={}"), {"target_key": "cls"}),
        (("png", "cls={}"), {"target_key": "fine;cls"}),
        (("a.png", "cls={}"), {"input_key": "a.png"}),
        (("png", "cls={}"), {"input_key": "jpg;png;webp"}),
        (("seg.png", "png", "cls={}"), {}),
        (("x.cls=7", "png", "cls={}"), {}),
    ],
)
def test_images_and_labels_are_found_by_their_names(tmp_path, kinds, keys):
    resources = written_by(tmp_path, samples(*kinds))
    test = [(name, TEST[int(name[0])] if content in IMAGES else content) for name, content in samples(*kinds, count=2)]
    write_tar(tmp_path / "toy/validation.tar", test)
    found = survey_dataset(task(**BY_NAME, **keys), resources)
    assert (found.train.images, found.train.counts) == (4, (2, 2))


def test_a_field_that_info_names_holds_the_labels(tmp_path):
    resources = written_by(tmp_path, samples("png", "cls=9", 'json={{"kind": {}}}'))
    split = {"filenames": ["train.tar"], "alt_label": "kind"}
    (tmp_path / "toy/info.json").write_text(json.dumps({"splits": {"train": split}}))
    assert describe_dataset(task(test_split="validation.tar"), resources).train_counts == (2, 2)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    """32,896 of 65,535 is 128 of 255 (257 * 128); timm's reader clipped it to white."""
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 16), 257 * 128, np.uint16)).save(stream, "PNG")
    resources = write(tmp_path, [0, 1], [0, 1])
    write_shard(tmp_path / "toy/validation.tar", [(0, stream.getvalue()), (1, stream.getvalue())])
    for limit in (1 << 30, 0):
        train = TrainSpec(batch_size=2)
        shape = {"img_size": (16, 16), "seed": 0, "in_memory_bytes": limit}
        ((images, _),) = load_data(task(), train, resources, torch.device("cpu"), **shape).test
        np.testing.assert_allclose(((images[:, 0] * 0.229 + 0.485) * 255).numpy(), 128, atol=0.1)


def test_a_shard_that_shrinks_during_a_trial_is_an_error(tmp_path):
    resources = write(tmp_path, [0, 1], [0, 1])
    shape = {"img_size": (16, 16), "seed": 0, "in_memory_bytes": 0}
    data = load_data(task(), TrainSpec(batch_size=2), resources, torch.device("cpu"), **shape)
    path = tmp_path / "toy/validation.tar"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableImage, match=r"validation\.tar/00000\.png: the shard ends too early"):
        list(data.test)


@pytest.mark.thorough
def test_an_index_is_kept_and_made_again_when_the_shard_changes(tmp_path, monkeypatch):
    read, opened = [], tarfile.open

    def recorded(*args, **options):
        read.append(os.path.basename(options["fileobj"].name))
        return opened(*args, **options)

    resources = write(tmp_path, [0, 1, 1], [0, 1])
    time.sleep(2.1)  # files of this moment are read again next time
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", recorded)
        for _ in range(2):
            shard_index.forget()  # what another process does not know
            assert describe_dataset(task(), resources).train_counts == (1, 2)
    assert read == ["train.tar", "validation.tar"]
    write(tmp_path, [0, 1, 0, 0], [0, 1])
    assert describe_dataset(task(), resources).train_counts == (3, 1)


def test_shards_of_the_data_directory_itself_are_read_and_named(tmp_path):
    write(tmp_path, [0, 1, 0, 1], [0, 1])
    found = survey_dataset(task(), Resources(data_dir=str(tmp_path / "toy")))
    assert found.notes == (f"there is no {tmp_path / 'toy/toy'}: the shards are those of {tmp_path / 'toy'}",)


class TestInfo:
    def test_braces_are_those_of_the_package_braceexpand(self):
        theirs = pytest.importorskip("braceexpand").braceexpand
        for pattern in ("a-{000..011}.tar", "a{1..3}{x,y}", "{5..2}", "{0..10..5}", "{-1..1}", "n{,o}", "{01..1}", "a"):
            assert expand_braces(pattern) == list(theirs(pattern))

    @pytest.mark.parametrize("pattern", ["{a{0..1},b}", "{a..c}.tar", "a{b,c", "{x}", "a}"])
    def test_other_braces_are_refused(self, pattern):
        with pytest.raises(SplitNotFound, match="are no list of names"):
            expand_braces(pattern)

    @pytest.mark.parametrize("pattern", ["{0..9999999}", "{000..999}{000..999}{0..9}", "{0..99999999999999999999}"])
    def test_names_by_the_million_are_refused(self, pattern):
        with pytest.raises(SplitNotFound, match="means more than 1000000 shards"):
            expand_braces(pattern)

    def test_braces_of_a_command_are_its_own(self):
        assert expand_braces("pipe:curl ${A}{1..2}") == ["pipe:curl ${A}1", "pipe:curl ${A}2"]

    def test_lengths_of_shards_that_the_file_knows_are_promised(self):
        info = {"splits": {"train": {"filenames": ["a-0.tar", "a-1.tar"], "shard_lengths": [5, 7], "num_samples": 12}}}
        found = shard_split("a-{1..1}.tar", lambda name: json.dumps(info).encode())
        assert (found.names, found.num_samples, found.lengths) == (("a-1.tar",), 7, (7,))

    @pytest.mark.parametrize(
        ("content", "split", "message"),
        [
            (None, "train", "there is no _info.json or info.json, so the shards of 'train' are not known"),
            (b'{"splits": {}}', "train", "_info.json has no split 'train'"),
            (b'{"splits": []}', "train", "_info.json cannot be read: Expected `object`, got `array` - at `$.splits`"),
            (
                b'{"splits": {"train": {}}}',
                "train",
                "_info.json cannot be read: Object missing required field `filenames`",
            ),
            (b"{", "train", "_info.json cannot be read: Input data was truncated"),
            (None, "a.tar|many", "the number of samples behind the bar is 'many', no number"),
        ],
    )
    def test_what_names_no_shards(self, content, split, message):
        with pytest.raises(SplitNotFound) as caught:
            shard_split(split, lambda name: content if name == "_info.json" else None)
        assert str(caught.value).startswith(message)
