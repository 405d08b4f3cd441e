"""`resources.data_dir` does not depend on the working directory of the command or of the trial."""

from __future__ import annotations

from search_space import load_sweep

TEXT = """
name: data
baseline: {task: {dataset: folder/flowers}}
space: {arch.depth: [2]}
design: factorial
metric: top1
resources: {data_dir: DIRECTORY}
"""


def test_relative_data_dir_is_resolved_from_the_sweep_file(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "data.yaml"
    path.write_text(TEXT.replace("DIRECTORY", "../images"))
    monkeypatch.chdir("/")
    assert load_sweep(path).sweep.resources.data_dir == str(tmp_path.resolve() / "images")


def test_absolute_data_dir_is_unchanged(tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(TEXT.replace("DIRECTORY", "/data/images"))
    assert load_sweep(path).sweep.resources.data_dir == "/data/images"
