"""Plug-ins travel with the launch file where the cluster does not see the folders of this machine."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from search_space.plugins.plugin import sources_of

PLUGINS = {
    "launched_one.py": 'def write(table, stream):\n    stream.write("\\t")\n\nPLUGINS = {"exporter": {"one": write}}\n',
    "launched lab/launched_lab/__init__.py": 'from . import inner\n\nPLUGINS = {"exporter": {"lab": inner.write}}\n',
    "launched lab/launched_lab/inner.py": "def write(table, stream):\n    pass\n",
}
PLACES = ("launched_one.py", "launched lab/launched_lab")
ENOUGH = {
    "job": ["--address", "http://head:8265", "--out", "/shared/tiny"],
    "kuberay": ["--image", "me/archsweep:1", "--claim", "runs", "--cpus-per-node", "8"],
    "ray-cluster": [
        *("--provider", "local", "--head", "10.0.0.1", "--worker", "10.0.0.2"),
        *("--setup", "pip install archsweep.whl", "--out", "/shared/tiny"),
    ],
    "slurm": ["--cpus-per-node", "8", "--time", "1:00:00"],
}


@pytest.fixture
def written(launch, tmp_path):
    """Function that gives the launch file of a sweep with a file and a folder as plug-ins."""
    for name, text in PLUGINS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def write(kind: str) -> str:
        allowed = [word for place in PLACES for word in ("--plugin", str(tmp_path / place))]
        return launch(kind, *ENOUGH[kind], *allowed)

    return write


def same(folder: Path, tmp_path: Path) -> None:
    """The folder has the plug-ins, and nothing else, with the content that identifies them."""
    assert sorted(path.name for path in folder.iterdir()) == ["launched_lab", "launched_one.py"]
    for place in map(Path, PLACES):
        original, copy = sources_of(tmp_path / place, place.stem), sources_of(folder / place.name, place.stem)
        assert copy == original


def test_a_job_has_them_in_its_working_directory(written, tmp_path):
    """The lines of the script before the submission, carried out by bash."""
    script = written("job")
    copying, _, submitting = script.partition("code=0\n")
    copying = copying.replace("trap 'rm -rf -- \"$folder\"' EXIT\n", "")
    shell = ["bash", "-c", f'{copying}echo "$folder"']
    done = subprocess.run(
        shell,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        text=True,
        capture_output=True,
        check=True,
    )
    same(Path(done.stdout.strip()) / "plugins", tmp_path)
    assert "--plugin plugins/launched_one.py --plugin plugins/launched_lab " in submitting


def test_pods_have_them_beside_the_sweep(written, tmp_path):
    """The volume as Kubernetes makes it of the ConfigMap: a file for each item."""
    config, job = yaml.safe_load_all(written("kuberay"))
    for group in (job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (volume,) = [each["configMap"] for each in pod["volumes"] if each["name"] == "sweep"]
        assert volume["name"] == config["metadata"]["name"]
        folder = tmp_path / group.get("groupName", "head")
        for item in volume["items"]:
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(config["data"][item["key"]])
        assert (folder / "sweep.yaml").is_file()
        same(folder / "plugins", tmp_path)
        (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "sweep"]
        words = shlex.split(job["spec"]["entrypoint"])
        named = [words[at + 1] for at, word in enumerate(words) if word == "--plugin"]
        assert named == [f"{mount['mountPath']}/plugins/{Path(place).name}" for place in PLACES]


def test_the_head_of_a_cluster_has_them_in_its_home(written, tmp_path):
    text = written("ray-cluster")
    mounts = yaml.safe_load(text)["file_mounts"]
    copies = {f"~/archsweep-plugins/{Path(place).name}": str(tmp_path / place) for place in PLACES}
    assert {path: mounts[path] for path in copies} == copies
    line = next(line for line in text.splitlines() if line.startswith("#   ray exec"))
    command = shlex.split(line.removeprefix("#   "))[3]
    for path in copies:
        assert f" --plugin {path} " in command  # unquoted: the shell of the head expands `~`


def test_slurm_reads_them_where_they_are(written, tmp_path):
    text = written("slurm")
    for place in PLACES:
        assert str(tmp_path / place) in text


def test_sources_that_no_config_map_can_hold_are_refused(launch, tmp_path):
    big = tmp_path / "launched_big.py"
    big.write_text(f'"""{"x" * 1_000_000}"""\n{PLUGINS["launched_one.py"]}')
    with pytest.raises(Exception, match="the sweep file and the sources of the plug-ins are larger than a ConfigMap"):
        launch("kuberay", *ENOUGH["kuberay"], "--plugin", str(big))
