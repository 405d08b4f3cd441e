"""Studies share what they share, and a leave_one_out is written around the best trial of a real search."""

from __future__ import annotations

import pytest

from results import Run
from runners.driver.ablate_best import ablate_best
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import SpecError, load_studies, load_sweep, load_sweep_text, variants

SEARCH = """
    name: search
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {val_fraction: 0.2}
      train: {epochs: 1, batch_size: 256, lr: 0.0001}
    space:
      arch.depth: [2, 3]
      arch.attention: [reattention, {value: groupmix, with: {kernel_sizes: [[3, 3, 3], [3, 5, 3]]}}]
      train.lr: {min: 0.002, max: 0.02, log: true}
    design: search
    search: {sampler: random, num_trials: 3, seed: 1}
    require: ["params_m <= 1"]
    seeds: [7]
    metric: top1
"""


def test_shared_trials_are_taken_over_and_say_from_where(write_sweep, tmp_path, studies):
    folders = []
    for file in load_studies(write_sweep(studies)):
        folders.append(tmp_path / file.sweep.name)
        result = run_sweep(make_plan(file), folders[-1], engine="in-process", siblings=list(folders))
        assert result.remaining == 0
    depth, mechanism = (Run.open(folder) for folder in folders)
    assert [record.cached_from for record in depth.records] == [""] * 4
    assert [(record.variant, record.seed, record.cached_from) for record in mechanism.records] == [
        ("baseline", 0, "tiny-depth"),
        ("baseline", 1, "tiny-depth"),
        ("attention=reattention", 0, ""),
        ("attention=reattention", 1, ""),
        ("baseline", 2, ""),
        ("attention=reattention", 2, ""),
    ]
    original = {record.trial_id: record for record in depth.records}
    for record in mechanism.records[:2]:
        assert record.metrics == original[record.trial_id].metrics
        assert record.curve == original[record.trial_id].curve
    again = run_sweep(
        make_plan(load_studies(write_sweep(studies))[1]), folders[1], engine="in-process", siblings=folders
    )
    assert (again.started, len(Run.open(folders[1]).records)) == (0, 6)


def test_taken_over_rows_have_the_names_of_their_new_table(write_sweep, tmp_path, studies):
    """What is a change in one study is the baseline of another."""
    text = studies.replace("mechanism:", "deep:").replace(
        "{arch.attention: [softmax, reattention]}, design: one_factor, seeds: 3",
        "{arch.depth: {off: 2, on: 1}}, design: add_one_in",
    )
    one, two = load_studies(write_sweep(text))
    run_sweep(make_plan(one), tmp_path / "a", engine="in-process")
    result = run_sweep(make_plan(two), tmp_path / "b", engine="in-process", siblings=[tmp_path / "a"])
    assert (result.started, dict(result.counts)) == (0, {"completed": 4})
    found = {(record.variant, tuple(record.changes.items())) for record in Run.open(tmp_path / "b").records}
    assert found == {("baseline", ()), ("+ depth", (("arch.depth", 1),))}


@pytest.fixture
def searched(write_sweep, tmp_path):
    run_sweep(make_plan(load_sweep(write_sweep(SEARCH))), tmp_path / "search", engine="in-process")
    return tmp_path / "search"


@pytest.mark.thorough
def test_ablate_best_of_a_search_leads_back_to_its_baseline(searched, tmp_path):
    text = ablate_best(searched, "why")
    sweep = load_sweep_text(text).sweep
    full, *others = variants(sweep)
    best = max(Run.open(searched).records, key=lambda record: record.metrics["val_top1"])
    assert full.variant_id == best.variant_id
    assert full.name == "full"
    assert (sweep.name, sweep.design.name, sweep.seeds) == ("why", "leave_one_out", (8, 9, 10, 11, 12))
    assert sweep.require == ("params_m <= 1",)
    assert {variant.name for variant in others} == {"- depth", "- attention", "- lr"}
    off = {variant.name: variant.setting for variant in others}
    assert off["- depth"].arch.depth == 1
    assert off["- attention"].arch.attention.name == "softmax"
    assert off["- lr"].train.lr == 0.0001
    assert off["- lr"].arch == full.setting.arch


@pytest.mark.slow
@pytest.mark.thorough
def test_ablate_best_of_a_search_runs(searched, tmp_path):
    path = tmp_path / "why.yaml"
    path.write_text(ablate_best(searched, "why"))
    plan = make_plan(load_sweep(path, overrides=["seeds=[8]"]))
    assert dict(run_sweep(plan, tmp_path / "why", engine="in-process").counts) == {"completed": 4}


def test_ablate_best_is_for_searches_only(write_sweep, tmp_path):
    run_sweep(
        make_plan(load_sweep(write_sweep(), overrides=["seeds=1"])), tmp_path / "run", engine="in-process", limit=1
    )
    with pytest.raises(SpecError) as caught:
        ablate_best(tmp_path / "run", "why")
    assert caught.value.problems[0].message == "is no search, but a 'one_factor'"


def test_search_that_found_nothing_better_is_reported(write_sweep, tmp_path):
    """The first trial of a search is its baseline, where that is inside the space; here it is the only one."""
    inside = SEARCH.replace("arch.depth: [2, 3]", "arch.depth: [1, 2]").replace(
        "      arch.attention: [reattention, {value: groupmix, with: {kernel_sizes: [[3, 3, 3], [3, 5, 3]]}}]\n", ""
    )
    plan = make_plan(load_sweep(write_sweep(inside.replace("min: 0.002", "min: 0.0001"))))
    run_sweep(plan, tmp_path / "run", engine="in-process", limit=1)
    with pytest.raises(SpecError) as caught:
        ablate_best(tmp_path / "run", "why")
    assert caught.value.problems[0].message == "the best trial of 1 is the baseline of the search itself"
