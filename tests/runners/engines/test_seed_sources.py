"""What a seed decides is the same in every engine, to the last digit, and is what the records say."""

from __future__ import annotations

import pytest

from results import Run
from results.views.variance import run_variance
from runners.engines import ENGINES
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep

pytestmark = pytest.mark.thorough

SWEEP = """
    name: sources
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 16, num_heads: 2, mlp_ratio: 1, patch_size: 4, drop_path_rate: 0.2}
      task: {dataset: builtin/digits, val_fraction: 0.2}
      train: {epochs: 1, batch_size: 256, hflip: 0.5}
    design: factorial
    metric: loss
    seeds: SEEDS
"""


@pytest.fixture
def losses(write_sweep, tmp_path):
    """Loss of every seed, as an engine has trained it."""

    def losses_(seeds, engine="in-process", **options):
        plan = make_plan(load_sweep(write_sweep(SWEEP.replace("SEEDS", seeds))))
        folder = tmp_path / f"{engine}-{len(list(tmp_path.iterdir()))}"
        run_sweep(plan, folder, engine=engine, **options)
        return folder, {record.seed: record.metrics["loss"] for record in Run.open(folder).records}

    return losses_


# Slow, because workers of Ray start. Of the default run, test_engine_contract.py holds that both engines make the same
# records of a seed.
@pytest.mark.slow
def test_engines_have_the_same_streams(losses, ray_cluster):
    found = [losses("{values: 2, vary: [order, split]}", engine)[1] for engine in sorted(ENGINES)]
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_seeds_that_vary_another_source_are_other_trials_and_share_seed_0(losses):
    """Seed 0 has all streams of seed 0, so its loss is that of all three; the ids are not, so nothing is taken over."""
    _, usual = losses("2")
    _, init = losses("{values: 2, vary: [init]}")
    _, order = losses("{values: 2, vary: [order]}")
    assert usual[0] == init[0] == order[0]
    assert len({usual[1], init[1], order[1]}) == 3


def test_a_crossed_design_goes_on_where_it_was_stopped(losses):
    """Four of six combinations, then the other two: the shares are those of a run that was not stopped."""
    folder, whole = losses("{crossed: {init: 2, order: 3}}")
    assert len(set(whole.values())) == 6
    parts = run_variance(Run.open(folder)).components
    assert parts is not None
    other, some = losses("{crossed: {init: 2, order: 3}}", limit=4)
    assert some == {seed: whole[seed] for seed in range(4)}
    assert run_variance(Run.open(other)).num_missing == 2
    run_sweep(make_plan(load_sweep(other / "sweep.yaml")), other, engine="in-process")
    assert run_variance(Run.open(other)).components == parts
