"""Files that the trials of a run share on a node: whole or not there, one maker, closed to others, gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from runners.machine.node_files import VARIABLE, node_files_kept, node_folder, shared_value

HEADER = """
import os, resource, signal, sys, time
from pathlib import Path
from runners.machine.node_files import node_files_kept, node_folder, shared_value

def shared(make, write=lambda text, path: path.write_text(text), size=1):
    return shared_value("value", make=make, read=Path.read_text, write=write, num_bytes=lambda text: size)
"""

PIPES = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The folder, in a directory of the test's own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    found = node_folder()
    assert found is not None
    assert found.parent == tmp_path
    return found


def _process(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", HEADER + textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, text=True, **PIPES)


def _exit_code(process: subprocess.Popen) -> int:
    process.communicate(timeout=60)
    return process.returncode


def _shared(text: str, *, num_bytes: int = 1, made: list[str] | None = None) -> str:
    def make() -> str:
        if made is not None:
            made.append(text)
        return text

    return shared_value(
        "value",
        make=make,
        read=Path.read_text,
        write=lambda value, path: path.write_text(value),
        num_bytes=lambda _: num_bytes,
    )


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".in-use", "value.lock"}


def test_the_first_value_is_made_and_the_next_one_read(folder):
    made: list[str] = []
    with node_files_kept():
        assert [_shared("first", made=made), _shared("second", made=made)] == ["first", "first"]
        assert made == ["first"]
        assert _names(folder) == {"value"}
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_nothing_is_written_that_no_run_would_remove(folder):
    assert _shared("first") == "first"
    assert not folder.exists()
    folder.mkdir(mode=0o700)
    assert _shared("second") == "second"
    assert os.listdir(folder) == []


def test_two_processes_at_once_make_a_value_once(folder, tmp_path):
    """Both wait until both are there; the maker takes its time."""
    script = """
        place = Path(sys.argv[1])
        def make():
            (place / f"made-{os.getpid()}").touch()
            time.sleep(0.3)
            return str(os.getpid())
        (place / f"ready-{os.getpid()}").touch()
        while len(list(place.glob("ready-*"))) < 2:
            time.sleep(0.01)
        print(shared(make))
    """
    with node_files_kept():
        processes = [_process(script, tmp_path) for _ in range(2)]
        found = [process.communicate(timeout=60) for process in processes]
    assert [err for _, err in found] == ["", ""]
    assert len({out for out, _ in found}) == 1
    assert len(list(tmp_path.glob("made-*"))) == 1


def test_a_killed_writer_leaves_no_half_file_that_is_read(folder):
    script = """
        def write(text, path):
            path.write_text(text[:4])
            os.kill(os.getpid(), signal.SIGKILL)
        shared(lambda: "first value", write)
    """
    with node_files_kept():
        assert _exit_code(_process(script)) == -signal.SIGKILL
        assert {name.rpartition(".")[2] for name in _names(folder)} == {"part"}
        assert _shared("second value") == "second value"
        assert _names(folder) == {"value"}


def test_a_disk_without_room_for_twice_the_file_is_left_alone(folder, capsys):
    with node_files_kept():
        assert _shared("value", num_bytes=1 << 60) == "value"
        assert _names(folder) == set()
    assert "GiB free, and 2147483648.00 are asked for" in capsys.readouterr().err


def test_a_write_that_fails_leaves_nothing(folder):
    """The system refuses the rest of the file, as a full disk does."""
    script = """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        print(shared(lambda: "x" * 1000))
    """
    with node_files_kept():
        out, err = _process(script).communicate(timeout=60)
        assert out == "x" * 1000 + "\n"
        assert "value cannot be written: File too large" in err
        assert _names(folder) == set()


@pytest.mark.parametrize("fault", ["open to others", "a link", "a file"])
def test_a_folder_that_others_may_have_prepared_is_not_used(fault, folder, tmp_path, capsys):
    if fault == "open to others":
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    elif fault == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.touch(mode=0o600)
    with node_files_kept():
        assert _shared("value") == "value"
    assert folder.is_file() or list(folder.iterdir()) == []
    assert f"{folder} is not a folder of this user alone" in capsys.readouterr().err


def test_it_can_be_switched_off(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, "off")
    with node_files_kept():
        assert node_folder() is None
        assert _shared("value") == "value"
    assert not folder.exists()


def test_a_damaged_file_is_made_again(folder, capsys):
    def read(path: Path) -> str:
        text = path.read_text()
        if text != "good":
            raise ValueError("damaged")
        return text

    def found() -> str:
        write = {"write": lambda value, path: path.write_text(value), "num_bytes": len}
        return shared_value("value", make=lambda: "good", read=read, **write)

    with node_files_kept():
        assert found() == "good"
        (folder / "value").chmod(0o600)
        (folder / "value").write_text("goo")
        assert found() == "good"
        assert (folder / "value").read_text() == "good"
    assert "value cannot be read: damaged" in capsys.readouterr().err


def test_the_last_of_two_runs_removes_the_files(folder):
    script = """
        with node_files_kept():
            print(shared(lambda: "other"), flush=True)
            sys.stdin.read()
    """
    other = _process(script)
    assert other.stdout is not None
    assert other.stdout.readline() == "other\n"
    with node_files_kept():
        assert _shared("ours") == "other"
    assert _names(folder) == {"value"}
    other.communicate(timeout=60)  # closes its input
    assert not folder.exists()


def test_a_file_stays_while_one_run_lives_whenever_others_begin_and_end(folder):
    """Ends of some meet beginnings of others: between opening the lock and having it, the folder may be another one."""
    script = """
        for turn in range(300):
            with node_files_kept():
                shared(lambda: "value")
                assert Path(sys.argv[1], "value").exists(), turn
    """
    processes = [_process(script, folder) for _ in range(4)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 4
    assert not folder.exists()


def test_what_a_killed_run_left_is_removed_by_the_next(folder):
    script = """
        with node_files_kept():
            shared(lambda: "old")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert _exit_code(_process(script)) == -signal.SIGKILL
    assert _names(folder) == {"value"}
    with node_files_kept():
        assert _names(folder) == set()
        assert _shared("new") == "new"


def test_an_error_of_the_maker_is_its_own(folder):
    def make() -> str:
        raise ValueError("cannot be made")

    options = {"read": Path.read_text, "write": lambda value, path: path.write_text(value), "num_bytes": len}
    with node_files_kept():
        with pytest.raises(ValueError, match="cannot be made"):
            shared_value("value", make=make, **options)
        assert _shared("value") == "value"  # the lock is free again
    assert not folder.exists()
