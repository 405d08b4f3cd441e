"""A file is read once, and again when it may have changed."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from runners.machine.file_digests import FileDigests, FileFacts
from search_space import SpecError


@pytest.fixture
def read(monkeypatch):
    """Names of the files whose content is read."""
    found = []
    digest = hashlib.file_digest

    def recorded(stream, algorithm):
        found.append(os.path.basename(stream.name))
        return digest(stream, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", recorded)
    return found


def test_digests_are_sha256_in_the_order_asked(tmp_path):
    """Known answers: the empty text and `abc` (FIPS 180-2, appendix B)."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "abc").write_bytes(b"abc")
    paths = [str(tmp_path / name) for name in ("abc", "empty", "abc")]
    assert FileDigests(None).of("set", paths) == [
        (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ]


@pytest.mark.thorough
def test_a_second_look_reads_what_changed_only(tmp_path, read):
    files = [tmp_path / name for name in "abc"]
    for path in files:
        path.write_bytes(path.name.encode())
    paths = [str(path) for path in files]
    time.sleep(2.1)  # files of this moment are read again next time
    before = FileDigests(tmp_path / "index").of("set", paths)
    assert sorted(read) == ["a", "b", "c"]
    read.clear()
    assert FileDigests(tmp_path / "index").of("set", paths) == before
    assert read == []
    times = os.stat(files[1])
    files[1].write_bytes(b"B")
    os.utime(files[1], ns=(times.st_atime_ns, times.st_mtime_ns))  # as `cp -p` and `rsync -a` do
    after = FileDigests(tmp_path / "index").of("set", paths)
    assert read == ["b"]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_a_file_of_this_moment_is_read_again(tmp_path, read):
    """Two writes within one tick of the clock may have the same times."""
    path = tmp_path / "a"
    path.write_bytes(b"1")
    digests = FileDigests(None)
    first = digests.of("set", [str(path)])
    assert digests.of("set", [str(path)]) == first
    assert read == ["a", "a"]


@pytest.mark.parametrize("content", [b"", b"\x81", b"not an index"])
def test_an_index_that_cannot_be_read_is_none(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    expected = FileDigests(tmp_path / "index").of("set", [str(path)])
    (index,) = (tmp_path / "index").iterdir()
    index.write_bytes(content)
    assert FileDigests(tmp_path / "index").of("set", [str(path)]) == expected


def test_an_index_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert FileDigests(tmp_path / "file" / "index").of("set", [str(tmp_path / "file")])[0][0] == 3


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(SpecError, match="gone"):
        FileDigests(None).of("set", [str(tmp_path / "gone")])


def test_names_of_files_need_not_be_text(tmp_path):
    """A name in the encoding of another system; Python holds it as a lone surrogate."""
    path = os.path.join(os.fsencode(tmp_path), b"\xff.png")
    try:
        with open(path, "wb") as stream:
            stream.write(b"abc")
    except OSError:
        pytest.skip("this file system refuses such names")
    paths = [os.fsdecode(path)]
    expected = FileDigests(tmp_path / "index").of("set", paths)
    assert FileDigests(tmp_path / "index").of("set", paths) == expected


def test_a_fault_is_not_kept(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    facts = ["!broken", "whole"]
    found = FileFacts(tmp_path / "index", lambda _: facts.pop(0), lambda *_: "")
    assert [found.of("set", [str(path)])[0][1] for _ in range(2)] == ["!broken", "whole"]


def test_what_is_known_is_given_without_reading(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, ns=(0, 0))
    found = FileFacts(None, lambda _: "fact", lambda *_: "")
    assert found.known("set", [str(path)]) == [None]
    found.of("set", [str(path)])
    assert found.known("set", [str(tmp_path / "gone")]) == [None]
