"""Sections `match`, `retune`, `resources` and `studies`: legal content, and the messages for illegal content."""

from __future__ import annotations

import pytest

from search_space import SpecError, load_studies, load_sweep_text, possible_resources, variants, with_matched_value
from search_space.checks.section_checks import tuning_sweep

HEAD = """
name: t
baseline:
  arch: {depth: 4, embed_dim: 40, num_heads: 4}
  task: {val_fraction: 0.2}
"""
SPACE = "space: {arch.attention: [softmax, refiner]}\ndesign: one_factor\n"
RETUNE = "retune: {parameters: {train.lr: {min: 1e-4, max: 1e-2, log: true}}, num_trials: 8, seeds: [100]}\n"


def problems(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(HEAD + text)
    return [(problem.path, problem.message, problem.hint) for problem in caught.value.problems]


@pytest.mark.parametrize(("written", "share"), [("2 %", 0.02), ("0.5%", 0.005), ("0.1", 0.1)])
def test_tolerance_is_a_share_or_a_percentage(written: str, share: float) -> None:
    match = f"match: {{params_m: baseline, by: arch.embed_dim, tolerance: {written}}}\n"
    assert load_sweep_text(HEAD + SPACE + match).sweep.match.tolerance == pytest.approx(share)


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("0.5", 0.5), ("90s", 90), ("30m", 1800), ("1.5 h", 5400), ("2d", 172_800)]
)
def test_duration_is_seconds_or_has_a_unit(written: str, seconds: float) -> None:
    sweep = load_sweep_text(HEAD + SPACE + f"resources: {{time_limit: {written}}}\n").sweep
    assert sweep.resources.time_limit == seconds


def test_duration_without_a_known_unit_is_refused() -> None:
    expected = "a duration is a number of seconds, or a number with a unit: `90s`, `30m`, `2h`, `1d`, but got '3 weeks'"
    assert [message for _, message, _ in problems(SPACE + "resources: {time_limit: 3 weeks}\n")] == [expected]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("gpus: 4", None),
        ("processes: 2", None),
        ("gpus: 1.5", "a number of GPUs above 1 must be whole, but got 1.5"),
        (
            "gpus: 2, processes: 4",
            "every process of a trial needs its own GPU, but there are 4 processes and 2 GPUs",
        ),
        (
            "gpus: 0.5, processes: 2",
            "every process of a trial needs its own GPU, but there are 2 processes and 0.5 GPUs",
        ),
        ("gpu_memory: auto, processes: 2", "`gpu_memory` is legal only for trials with one process"),
        (
            "gpus: auto, processes: 2",
            "every process of a trial needs its own GPU, but `gpus: auto` is one at most, for 2 processes",
        ),
    ],
)
def test_every_process_of_a_trial_has_a_whole_gpu_or_none(written, expected) -> None:
    found = [message for _, message, _ in problems(SPACE + f"resources: {{{written}}}\n")] if expected else []
    assert found == ([expected] if expected else [])
    if expected is None:
        assert load_sweep_text(HEAD + SPACE + f"resources: {{{written}}}\n").sweep.resources.num_processes > 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("device: cpu", None),
        ("device: cuda, gpus: 1", None),
        ("device: cuda, gpus: auto", None),
        ("device: cuda, gpu_memory: 4", None),
        ("device: mps", None),
        ("device: cuda", "`device: cuda` needs GPUs, but a trial asks for none"),
        ("device: cpu, gpus: 1", "`device: cpu` uses no GPU, but a trial asks for `gpus: 1`"),
        ("device: cpu, gpus: auto", "`device: cpu` uses no GPU, but a trial asks for `gpus: auto`"),
        ("device: cpu, gpu_memory: auto", "`device: cpu` uses no GPU, but a trial asks for `gpu_memory: auto`"),
        (
            "device: mps, gpus: 0.5",
            "`device: mps` is one device for one trial at a time, but a trial asks for `gpus: 0.5`",
        ),
        ("device: xpu, processes: 2", "`device: xpu` trains a trial in one process, but got processes: 2"),
        ("gpus: auto, gpu_memory: 4", "`gpu_memory` and `gpus` both set a trial's share of a GPU"),
        (
            "device: cpu, per_variant: [{where: arch.depth > 3, gpus: 1}]",
            "`device: cpu` uses no GPU, but a trial asks for `gpus: 1`",
        ),
    ],
)
def test_a_device_that_contradicts_the_gpus_is_refused(written, expected) -> None:
    found = [message for _, message, _ in problems(SPACE + f"resources: {{{written}}}\n")] if expected else []
    assert found == ([expected] if expected else [])
    if expected is None:
        load_sweep_text(HEAD + SPACE + f"resources: {{{written}}}\n")


def test_what_computes_in_float64_is_refused_where_devices_lack_it() -> None:
    probed = HEAD.replace("val_fraction: 0.2", "val_fraction: 0.2, probes: [attention_distance]")
    with pytest.raises(SpecError) as caught:
        load_sweep_text(probed + SPACE + "resources: {device: mps}\n")
    assert [problem.message for problem in caught.value.problems] == [
        "`task.probes` computes in float64, which `device: mps` lacks"
    ]


def test_auto_is_one_gpu_for_each_trial_where_there_are_any() -> None:
    written = (
        "resources: {gpus: auto, per_variant: [{where: arch.depth > 3, gpus: 4}, {where: arch.depth > 9, cpus: 2}]}"
    )
    resources = load_sweep_text(HEAD + SPACE + written + "\n").sweep.resources
    assert (resources.is_auto, resources.num_processes) == (True, 1)
    for here, expected in ((0, [0, 4, 0]), (1, [1, 4, 1]), (8, [1, 4, 1])):
        found = resources.where_gpus_are(here)
        assert [each.num_gpus for each in possible_resources(found)] == expected
        assert not found.is_auto
    ruled = "resources: {gpu_memory: 4, per_variant: [{where: arch.depth > 3, gpus: auto}]}"
    found = load_sweep_text(HEAD + SPACE + ruled + "\n").sweep.resources.where_gpus_are(2)
    assert [(each.num_gpus, each.gpu_memory) for each in possible_resources(found)] == [(0, 4), (1, None)]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (
            "{by: arch.embed_dim}",
            (
                "match",
                "must name one of params_m and gmacs, but got neither",
                "for example  match: {params_m: baseline, by: arch.embed_dim}",
            ),
        ),
        (
            "{params_m: 2, gmacs: 1, by: arch.embed_dim}",
            (
                "match",
                "must name one of params_m and gmacs, but got both",
                "for example  match: {params_m: baseline, by: arch.embed_dim}",
            ),
        ),
        (
            "{params_m: baseline, by: train.lr}",
            ("match.by", "train.lr does not change the cost of a model", "for example  arch.embed_dim"),
        ),
        (
            "{params_m: baseline, by: arch.attention.expansion}",
            (
                "match.by",
                "arch.attention.expansion must be a number in the baseline, which has none",
                "write the number there: the search for a match starts from it",
            ),
        ),
        (
            "{params_m: baseline, by: arch.embed_dim, step: 0.5}",
            ("match.step", "must be a whole number, as arch.embed_dim is, but got 0.5", ""),
        ),
        (
            "{params_m: baselin, by: arch.embed_dim}",
            (
                "match.params_m",
                "unknown value 'baselin'",
                "known: baseline.  Did you mean 'baseline'?",
            ),
        ),
        (
            "{params_m: baseline, by: arch.embed_dim, tolerance: some}",
            ("match.tolerance", "must be a share, such as 2 % or 0.02, but got 'some'", ""),
        ),
    ],
)
def test_invalid_match_sections_are_refused(match: str, expected: tuple[str, str, str]) -> None:
    assert problems(SPACE + f"match: {match}\n") == [expected]


def test_a_varied_value_cannot_be_solved() -> None:
    text = "space: {arch.embed_dim: [40, 80]}\ndesign: one_factor\nmatch: {gmacs: baseline, by: arch.embed_dim}\n"
    assert problems(text) == [
        (
            "match.by",
            "arch.embed_dim is varied by the sweep, so it cannot be solved for",
            "solve for another number, for example  arch.mlp_ratio",
        )
    ]


def test_solved_value_is_in_name_changes_and_setting() -> None:
    match = "match: {params_m: baseline, by: arch.embed_dim}\n"
    sweep = load_sweep_text(HEAD + SPACE + match).sweep
    reference, refiner = variants(sweep)
    solved = with_matched_value(sweep, refiner, 36, reference=reference.setting)
    assert solved.name == "attention=refiner, embed_dim=36"
    assert solved.changes == {"arch.attention": "refiner", "arch.embed_dim": 36}
    assert (solved.setting.arch.embed_dim, solved.setting.arch.attention.name) == (36, "refiner")
    assert with_matched_value(sweep, refiner, 40, reference=reference.setting) == refiner


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            RETUNE.replace("[100]", "[100, 1]") + "seeds: 3\n",
            (
                "retune.seeds[1]",
                "the seed 1 is also reported: the trials that select a setting must not evaluate it",
                "choose another one, for example 101",
            ),
        ),
        (RETUNE.replace("[100]", "2"), ("retune.seeds", "must be a list of seeds, but got 2", "")),
        (
            RETUNE.replace("train.lr: {min: 1e-4, max: 1e-2, log: true}", "arch.depth: [2, 4]"),
            (
                "retune.parameters.arch.depth",
                "only training parameters can be retuned, not 'arch.depth'",
                "a changed architecture would be another variant; for example  train.lr",
            ),
        ),
        (
            RETUNE.replace("train.lr: {min: 1e-4, max: 1e-2, log: true}", "train.epochs: [2, 4]"),
            (
                "retune.parameters.train.epochs",
                "the number of epochs cannot be retuned",
                "all variants must train equally long, or the longer ones would win",
            ),
        ),
        (
            RETUNE.replace("min: 1e-4, max: 1e-2", "min: 1e-2, max: 1e-4"),
            ("retune.parameters.train.lr.max", "must be greater than min=0.01, but got 0.0001", ""),
        ),
        (
            RETUNE.replace("seeds: [100]", "seeds: [100], samplr: tpe"),
            ("retune.samplr", "unknown key 'samplr' in `retune`", "Did you mean 'sampler'?"),
        ),
        (
            "retune: {num_trials: 8, seeds: [100]}\n",
            (
                "retune.parameters",
                "is missing",
                "for example  parameters: {train.lr: {min: 1e-4, max: 1e-2, log: true}}",
            ),
        ),
    ],
)
def test_invalid_retune_sections_are_refused(text: str, expected: tuple[str, str, str]) -> None:
    assert problems(SPACE + text) == [expected]


def test_retuning_needs_a_validation_split() -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep_text((HEAD + SPACE + RETUNE).replace("val_fraction: 0.2", "val_fraction: 0"))
    (problem,) = caught.value.problems
    expected = "needs a validation split: selecting settings on the test split would bias its metrics upwards"
    assert (problem.path, problem.message) == ("retune", expected)


def test_a_varied_parameter_cannot_be_retuned() -> None:
    text = "space: {train.lr: [1e-3, 2e-3]}\ndesign: one_factor\n" + RETUNE
    expected = ("retune.parameters.train.lr", "'train.lr' is also varied by the sweep", "remove it here or there")
    assert problems(text) == [expected]


def test_search_of_a_variant_starts_from_its_setting() -> None:
    sweep = load_sweep_text(HEAD + SPACE + RETUNE.replace("seeds: [100]", "seeds: [100], n_startup_trials: 4")).sweep
    _, refiner = variants(sweep)
    tuning = tuning_sweep(sweep, refiner.setting)
    assert (tuning.baseline, tuning.seeds, list(tuning.space)) == (refiner.setting, (100,), ["train.lr"])
    assert (tuning.search.sampler, tuning.search.num_trials, tuning.search.options) == (
        "tpe",
        8,
        {"n_startup_trials": 4},
    )


STUDIES = """
seeds: 3
studies:
  depth: {space: {arch.depth: [2, 4, 6]}, design: one_factor}
  heads: {space: {arch.num_heads: [2, 4]}, design: one_factor, seeds: 5}
profiles:
  smoke: {train.epochs: 1, seeds: 1}
"""


@pytest.fixture
def studies(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(HEAD + STUDIES)
    return path


def test_each_study_is_a_sweep_of_its_own(studies) -> None:
    depth, heads = load_studies(studies)
    assert [(file.study, file.sweep.name, len(file.sweep.seeds)) for file in (depth, heads)] == [
        ("depth", "t-depth", 3),
        ("heads", "t-heads", 5),
    ]
    assert depth.sweep.baseline == heads.sweep.baseline
    assert [variant.name for variant in variants(heads.sweep)] == ["baseline", "num_heads=2"]
    assert [file.study for file in load_studies(studies, study="heads")] == ["heads"]


def test_a_study_may_have_another_task_or_training(tmp_path) -> None:
    path = tmp_path / "s.yaml"
    own = "  own: {design: one_factor, space: {arch.depth: [2]}, baseline: {train: {epochs: 7}}}\n"
    path.write_text(HEAD + STUDIES.replace("profiles:", own + "profiles:"))
    depth, _, other = load_studies(path)
    assert other.sweep.baseline.train.epochs == 7
    assert other.sweep.baseline.arch == depth.sweep.baseline.arch
    assert other.sweep.baseline.task == depth.sweep.baseline.task
    assert load_studies(path, profile="smoke")[2].sweep.baseline.train.epochs == 1


def test_profiles_and_overrides_reach_every_study(studies) -> None:
    files = load_studies(studies, profile="smoke", overrides=["train.lr=0.01"])
    found = [(file.sweep.seeds, file.sweep.baseline.train.epochs, file.sweep.baseline.train.lr) for file in files]
    assert found == [((0,), 1, 0.01)] * 2


def test_problems_of_all_studies_are_reported_at_their_place() -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(
            "name: t\n"
            "baseline: {arch: {dept: 2}}\n"
            "studies:\n"
            "  a b: {design: one_factor}\n"
            "  depth: {space: {arch.depth: [0]}, design: one_factor, profiles: {}}\n"
            "  heads: {space: {arch.heads: [2]}}\n",
            "s.yaml",
        )
    assert [(problem.where, problem.message) for problem in caught.value.problems] == [
        ("s.yaml:2:19", "unknown key 'dept' in `arch`"),
        ("s.yaml:4:3", "a study cannot be named 'a b'"),
        ("s.yaml:5:32", "must be at least 1, but got 0"),
        ("s.yaml:5:57", "unknown key 'profiles' in a study"),
        ("s.yaml:6:10", "is missing"),
        ("s.yaml:6:19", "unknown path 'arch.heads'"),
    ]


def test_unknown_study_is_refused_with_a_message(studies) -> None:
    with pytest.raises(SpecError) as caught:
        load_studies(studies, study="head")
    assert str(caught.value) == "--study head: unknown study 'head'\n  known: depth, heads.  Did you mean 'heads'?"
    with pytest.raises(SpecError) as caught:
        load_sweep_text(HEAD + SPACE, study="a")
    assert str(caught.value) == "--study a: unknown study 'a'\n  the sweep has no `studies`"


def test_loading_one_sweep_of_several_studies_needs_a_choice() -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(HEAD + STUDIES, "s.yaml")
    assert str(caught.value) == "s.yaml: studies: has several studies: depth, heads\n  choose one of them"


@pytest.mark.parametrize(
    ("written", "path", "name"),
    [
        ("metric: accuracy/cat\n", "metric", "accuracy/cat"),
        ("metric: val_accuracy/3\n", "metric", "val_accuracy/3"),
        ("search: {num_trials: 4, objectives: [top1, accuracy/cat]}\n", "search.objectives[1]", "accuracy/cat"),
    ],
    ids=["metric", "of the validation split", "objective"],
)
def test_the_accuracy_of_one_class_ranks_no_variants(written: str, path: str, name: str) -> None:
    space = SPACE if "search" not in written else SPACE.replace("one_factor", "search")
    text = f"{name!r} is the accuracy of one class: it is measured once, after the last epoch, and ranks no variants"
    hint = (
        "write balanced_accuracy, the mean over classes; the class is a column of the table: "
        f"--columns 'variant,top1,{name.removeprefix('val_')}'\n"
        "to rank by one class, make it a metric of yours: archsweep new metric NAME"
    )
    assert problems(space + written) == [(path, text, hint)]
