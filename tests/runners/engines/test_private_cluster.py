"""A run without `--address` has a cluster of its own, which no other user can reach and of which nothing is left.

It writes into its directory, the cache and Ray's temporary folder, which is gone afterwards, and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runners.machine.scratch import PREFIX, SHORT_DIRECTORY, scratch_folder

SWEEP = """
name: private
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 4000, batch_size: 256}
space: {}
design: factorial
"""
# PyTorch makes the first when timm is imported, and leaves it empty; W&B, where it is installed, the others when Tune
# imports it, and they stay if the process is killed.
NOT_OURS = ("torchinductor_", "wandb-media", "wandb-artifacts")
FACTS = ("home/.cache/archsweep/code_parts.json", "home/.cache/archsweep/costs/")
"""What the cache knows of code and models, which a run adds to; it has no trial."""


def descendants(root):
    """The process and everything it started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening_addresses(pids):
    """Local addresses on which one of these processes listens, as /proc writes them: in hexadecimal."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(os.readlink(link))
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                addresses.add(fields[1].partition(":")[0])
    return addresses


def of_process(pid):
    """The temporary folders of the process that Ray's sockets lie in."""
    return [path.name for path in folders_of(pid, SHORT_DIRECTORY)]


def folders_of(pid, directory):
    return sorted(directory.glob(f"{PREFIX}*-{pid}-*"))


@pytest.fixture
def home(tmp_path):
    """A home, a temporary directory and a working directory, all unused."""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "work/sweep.yaml").write_text(SWEEP)
    return tmp_path


@pytest.fixture
def start(home):
    """Starts `archsweep run` there."""
    processes = []
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "ARCHSWEEP_", "XDG_"))}

    def start_(*options):
        command = [sys.executable, "-m", "runners.cli", "run", "sweep.yaml", "--quiet", *options]
        environment = {**kept, "HOME": str(home / "home"), "TMPDIR": str(home / "tmp")}
        environment["PYTHONPATH"] = str(Path(__file__).parents[3])
        process = subprocess.Popen(
            command, cwd=home / "work", env=environment, stdout=subprocess.DEVNULL, start_new_session=True, umask=0
        )
        processes.append(process)
        return process

    yield start_
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def written(home):
    """Every file and empty folder, except those in the run directory and facts in the cache."""
    found = [path for path in home.glob("*/**/*") if path.is_file() or not any(path.iterdir())]
    found = [path for path in found if not path.name.startswith(NOT_OURS[0]) and not path.name.endswith(NOT_OURS[1:])]
    names = sorted(str(path.relative_to(home)) for path in found)
    return [name for name in names if not name.startswith(("work/runs/private/", *FACTS))]


def wait_for_epochs(home, process):
    progress, deadline = home / "work/runs/private/progress.jsonl", time.monotonic() + 300
    while not (progress.exists() and '"epoch": 2,' in progress.read_text()):
        assert process.poll() is None, "it ended early"
        assert time.monotonic() < deadline, "no epoch in time"
        time.sleep(0.05)


def members(group):
    """Processes of the process group that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            state, _, of = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            if entry.name.isdigit() and int(of) == group and state != "Z":
                found.append((int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")[:80]))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads processes and sockets in /proc")


def assert_on_loopback_only(addresses):
    # 127.0.0.1 as itself and mapped into IPv6, ::1; every four bytes backwards
    assert addresses, "no socket was seen"
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def assert_no_process_left(*groups):
    # Ray's agents look for their parent now and then only.
    deadline = time.monotonic() + 300
    for group in groups:
        while left := members(group):
            assert time.monotonic() < deadline, (groups.index(group), left)
            time.sleep(0.1)


def start_and_kill(start, home):
    killed = start()
    wait_for_epochs(home, killed)
    killed.kill()
    killed.wait()
    return killed


@pytest.mark.ray
@pytest.mark.slow
@needs_proc
def test_stopped_by_ctrl_c_twice_it_leaves_nothing_outside(start, home):
    """Looked at, and stopped the impatient way. Its user has no umask; other users reach nothing nevertheless."""
    stopped = start()
    wait_for_epochs(home, stopped)
    scratch = [*folders_of(stopped.pid, SHORT_DIRECTORY), *folders_of(stopped.pid, home / "tmp")]
    assert {folder.name.split("-")[1] for folder in scratch} == {"forks", "ray", "tune"}
    assert {oct(stat.S_IMODE(folder.stat().st_mode)) for folder in scratch} == {"0o700"}
    (ray,) = [folder for folder in scratch if "-ray-" in folder.name]
    session = (ray / "r/session_latest").resolve()
    assert ray in session.parents  # Ray opens its own folders to everybody; they are inside of a closed one
    if os.geteuid() == 0:
        listing = subprocess.run(
            ["ls", session], user=65534, group=65534, extra_groups=(), capture_output=True, text=True
        )
        assert (listing.returncode, listing.stdout) == (2, "")
    assert_on_loopback_only(listening_addresses(descendants(stopped.pid)))
    stopped.send_signal(signal.SIGINT)
    while not list((home / "work/runs/private").glob(".stop-*")) and stopped.poll() is None:
        time.sleep(0.01)  # two signals at once are one
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(timeout=300) == 130
    assert written(home) == ["work/sweep.yaml"]
    # Processes of Ray that die a moment later may have made their folder again; then the next start removes it.
    with scratch_folder("ray", directory=SHORT_DIRECTORY):
        assert of_process(stopped.pid) == []


# Slow, because Ray's agents look for their parent now and then only, so that this takes up to a minute and a half. Of
# the default run, the last test of this file holds that the folder of a process that is gone is removed.
@pytest.mark.ray
@pytest.mark.slow
@needs_proc
def test_killed_it_leaves_no_process_and_its_folder_to_the_next_start(start, home):
    killed = start()
    wait_for_epochs(home, killed)
    killed.kill()
    killed.wait()
    assert of_process(killed.pid), "no other process may clear up before the next start"
    (home / "work/runs/private/progress.jsonl").unlink()
    again = start()
    wait_for_epochs(home, again)
    assert of_process(killed.pid) == []
    again.send_signal(signal.SIGINT)
    assert again.wait(timeout=300) == 130
    assert_no_process_left(killed.pid, again.pid)


@pytest.mark.ray
@pytest.mark.slow
@needs_proc
def test_at_its_end_it_leaves_the_cache_alone_outside(start, home):
    ended = start("--set", "train.epochs=60")
    seen, deadline = set(), time.monotonic() + 300
    while ended.poll() is None and time.monotonic() < deadline:
        seen |= listening_addresses(descendants(ended.pid))
        time.sleep(0.2)
    assert ended.wait(timeout=300) == 0
    assert_on_loopback_only(seen)
    assert of_process(ended.pid) == []
    (entry,) = [name for name in written(home) if name != "work/sweep.yaml"]
    assert entry.startswith("home/.cache/archsweep/v2/")
    assert_no_process_left(ended.pid)


def test_only_folders_of_dead_processes_of_ours_are_cleared_away(tmp_path):
    def holder(*, ends):
        script = "import sys\nfrom pathlib import Path\nfrom runners.machine.scratch import scratch_folder\n"
        script += "with scratch_folder('tune', directory=Path(sys.argv[1])) as folder:\n"
        script += "    (folder / 'file').touch()\n    print(folder, flush=True)\n    sys.stdin.readline()\n"
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        folder = Path(process.stdout.readline().strip())
        if ends:
            process.kill()
            process.wait()
        return process, folder

    living, used = holder(ends=False)
    _, left = holder(ends=True)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "asw-tune-1-link"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "asw-mine").mkdir()
    assert left.is_dir()
    with scratch_folder("ray", directory=tmp_path) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([used, tmp_path / "elsewhere", link, tmp_path / "asw-mine", folder])
    assert not folder.exists()
    living.communicate("\n", timeout=300)
    assert not used.exists()
