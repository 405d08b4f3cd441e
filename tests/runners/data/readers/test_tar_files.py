"""Class folders inside a .tar file: read in the order of timm, or refused."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from timm.data.readers.reader_image_in_tar import ReaderImageInTar

from runners.data.readers.tar_files import tar_file

from .conftest import noise, png


def write(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as out:
        for index, name in enumerate(names):
            content = png(noise(index))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("prefix", ["", "./", "a/train/"])
def test_images_order_and_labels_are_those_of_timm(tmp_path, prefix):
    names = [f"{prefix}{name}" for name in ("c10/9.png", "c10/10.jpg", "c2/a.png", "C1/b.JPEG")]
    path = write(tmp_path / "train.tar", *names)
    reader, faults = tar_file(path)
    theirs = ReaderImageInTar(str(path))
    assert faults == []
    assert [member.name for member, _ in reader.samples] == [sample[0].name for sample in theirs.samples]
    assert reader.targets.tolist() == theirs.targets.tolist() == [0, 1, 2, 2]
    assert [reader[index][0].read() for index in range(4)] == [theirs[index][0].read() for index in range(4)]


def test_formats_that_timm_leaves_out_are_read(tmp_path):
    reader, faults = tar_file(write(tmp_path / "a.tar", "ant/0.webp", "bee/0.tif", "cow/0.bmp"))
    assert (faults, reader.class_to_idx) == ([], {"ant": 0, "bee": 1, "cow": 2})


def test_hidden_and_other_files_are_not_read_and_are_named(tmp_path):
    names = ("ant/0.png", "ant/._0.png", "__MACOSX/ant/0.png", "bee/0.png", "README.txt")
    reader, faults = tar_file(write(tmp_path / "a.tar", *names))
    assert (faults, len(reader)) == ([], 2)
    assert reader.notes == (
        "2 hidden files not read: ant/._0.png, __MACOSX/ant/0.png",
        "1 other files not read: README.txt",
    )


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (("0.png", "ant/1.png"), "images beside the class folders (1): 0.png"),
        (("./0.png", "./1.png"), "images beside the class folders (2): ./0.png, ./1.png"),
        (("ant/a/0.png", "ant/b/0.png", "bee/0.png"), "folders of images inside a class folder (2): ant/a, ant/b"),
        (("x/ant/0.png", "y/bee/0.png"), "class folders in several folders, among them y"),
        (("ant/0.txt",), "no image in a class folder"),
        ((), "no image in a class folder"),
    ],
)
def test_images_in_the_wrong_place_are_refused(tmp_path, names, fault):
    assert tar_file(write(tmp_path / "a.tar", *names))[1] == [fault]


def test_what_is_no_tar_file_is_an_error(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(OSError, match=r"a\.tar"):
        tar_file(path)


def test_a_forked_process_has_its_own_position_in_the_file(tmp_path):
    """Workers of a loader read at the same time; with one position they would get each other's images."""
    reader, _ = tar_file(write(tmp_path / "a.tar", "ant/0.png", "bee/0.png"))
    stream, _ = reader[0]
    first = stream.read(10)
    child = os.fork()
    if child == 0:
        reader[1][0].read()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert first + stream.read() == png(noise(0))
