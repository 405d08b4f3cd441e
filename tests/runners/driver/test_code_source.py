"""What a report may say of the copy of archsweep that ran: real repositories, and what pip writes beside a package."""

from __future__ import annotations

import json
import subprocess

import pytest

from runners.driver.code_source import source_of_distribution, source_of_repository


@pytest.fixture
def repository(tmp_path):
    """A git repository with one commit; `git(...)` carries out a command in it."""
    root = tmp_path / "archsweep"
    root.mkdir()

    def git(*arguments):
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        done = subprocess.run(["git", *who, *arguments], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    (root / "code.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return root, git


def test_a_checkout_without_a_remote_is_its_revision(repository):
    root, git = repository
    assert source_of_repository(root) == {
        "kind": "git",
        "url": "",
        "revision": git("rev-parse", "HEAD"),
        "dirty": False,
        "is_pushed": False,
    }


def test_uncommitted_changes_are_reported(repository, tmp_path):
    root, git = repository
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "elsewhere.git"))
    git("remote", "add", "origin", str(tmp_path / "elsewhere.git"))
    git("fetch", "--quiet", "origin")
    found = source_of_repository(root)
    assert (found["is_pushed"], found["dirty"], found["url"]) == (True, False, ""), "a path is of this machine only"
    (root / "code.py").write_text("x = 2\n")
    (root / "notes.txt").write_text("not code\n")
    assert source_of_repository(root)["dirty"]
    git("commit", "--quiet", "-a", "-m", "second")
    found = source_of_repository(root)
    assert (found["is_pushed"], found["dirty"]) == (False, False)


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://me:secret@host.org/me/a.git", "https://host.org/me/a.git"),
        ("https://token@host.org:8443/me/a.git?key=secret", "https://host.org:8443/me/a.git"),
        ("git@host.org:me/a.git", "ssh://git@host.org/me/a.git"),
        ("ssh://git@host.org/me/a.git", "ssh://git@host.org/me/a.git"),
        ("file:///srv/a.git", ""),
    ],
)
def test_an_address_is_named_without_passwords(repository, remote, url):
    root, git = repository
    git("remote", "add", "origin", remote)
    assert source_of_repository(root)["url"] == url


def test_a_folder_in_another_repository_is_not_its_checkout(repository):
    root, _ = repository
    (root / "vendored").mkdir()
    assert source_of_repository(root / "vendored") is None
    assert source_of_repository(root.parent) is None


@pytest.mark.parametrize(
    ("direct_url", "source"),
    [
        (None, {"kind": "index"}),
        (
            {
                "url": "file:///home/me/dist/archsweep-0.1.0-py3-none-any.whl",
                "archive_info": {"hash": "sha256=f00", "hashes": {"sha256": "f00"}},
            },
            {"kind": "file", "name": "archsweep-0.1.0-py3-none-any.whl", "url": "", "sha256": "f00"},
        ),
        (
            {"url": "https://host.org/archsweep-0.1.0.tar.gz", "archive_info": {}},
            {
                "kind": "file",
                "name": "archsweep-0.1.0.tar.gz",
                "url": "https://host.org/archsweep-0.1.0.tar.gz",
                "sha256": "",
            },
        ),
        (
            {"url": "https://host.org/me/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            {
                "kind": "git",
                "url": "https://host.org/me/a.git",
                "revision": "abc",
                "dirty": False,
                "is_pushed": True,
            },
        ),
        ({"url": "file:///home/me/archsweep", "dir_info": {}}, {"kind": "folder"}),
        ([], {"kind": "unknown"}),
    ],
)
def test_an_installation_is_what_pip_was_given(direct_url, source):
    """Texts after the examples of the specification (PEP 610, "Direct URL Data Structure")."""
    assert source_of_distribution(direct_url if direct_url is None else json.dumps(direct_url)) == source
