"""`archsweep launch` on a small sweep."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from runners.cli.app import app
from search_space import SpecError

SWEEP = """
name: tiny
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  train: {epochs: 1, batch_size: 512, lr: 0.003}
space: {arch.attention: [softmax, reattention]}
design: one_factor
seeds: 2
metric: top1
"""


@pytest.fixture
def sweep_text():
    return SWEEP


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Function that writes the edited sweep to a file and returns the output of `archsweep launch`."""
    monkeypatch.chdir(tmp_path)

    def launch_(name, *options, file="tiny.yaml", edit=str):
        (tmp_path / file).write_text(edit(SWEEP))
        result = CliRunner().invoke(app, ["launch", name, file, *options])
        if isinstance(result.exception, SpecError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return launch_
