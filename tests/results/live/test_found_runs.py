"""Finding the runs below a folder, whatever else is there."""

from __future__ import annotations

import os

import pytest

from results.live.found_runs import find_runs, short_key


def make_run(folder):
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    return folder


def names(folder):
    return [run.name for run in find_runs(folder).runs.values()]


def test_runs_are_found_at_several_depths_by_their_paths(tmp_path):
    for name in ("b", "a", "project/month/c"):
        make_run(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    make_run(tmp_path / ".hidden" / "run")
    make_run(tmp_path / "a" / "trials" / "inside")  # of a run, nothing below is a run of its own
    assert names(tmp_path) == ["a", "b", "project/month/c"]


def test_the_folder_may_itself_be_a_run(tmp_path):
    make_run(tmp_path / "alone")
    assert names(tmp_path / "alone") == ["alone"]


def test_a_run_is_found_by_its_ledger_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ledger.jsonl").touch()
    assert names(tmp_path) == ["run"]


def test_links_in_circles_end_and_no_folder_is_listed_twice(tmp_path):
    runs = tmp_path / "runs"
    make_run(runs / "real")
    (runs / "deep").mkdir()
    (runs / "deep" / "up").symlink_to(runs)
    (runs / "again").symlink_to(runs / "real")
    (runs / "nowhere").symlink_to(tmp_path / "missing")
    assert names(runs) == ["again"]  # the first of two names of one folder


def test_pipes_and_files_beside_runs_are_passed_by(tmp_path):
    make_run(tmp_path / "run")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd" / "plan.json")  # its page says what is wrong with it
    assert names(tmp_path) == ["odd", "run"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_without_permission_is_named(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)
    found = find_runs(tmp_path)
    assert [run.name for run in found.runs.values()] == ["run"]
    assert found.unreadable == ("closed",)
    (tmp_path / "closed").chmod(0o700)


def test_a_folder_that_is_not_there_is_no_error(tmp_path):
    found = find_runs(tmp_path / "later")
    assert (found.runs, found.is_there) == ({}, False)


def test_keys_are_letters_and_digits_whatever_the_name(tmp_path):
    keys = [short_key(name) for name in ("a", "../../etc/passwd", "\u202e<script>", "a\nb", "\udcff")]
    assert len(set(keys)) == 5
    assert all(key.isalnum() and key.isascii() and len(key) == 16 for key in keys)
