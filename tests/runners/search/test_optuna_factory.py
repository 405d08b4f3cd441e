"""Factory of Optuna's samplers and pruners: every class by name, options, error messages."""

from __future__ import annotations

import optuna
import pytest

from runners.search.optuna_factory import PRUNERS, SAMPLERS, make_pruner, make_sampler
from search_space import SpecError

REQUIRED_OPTIONS = {"patient": {"wrapped_pruner": "median", "patience": 2}, "percentile": {"percentile": 25.0}}


@pytest.mark.parametrize("name", sorted(PRUNERS))
def test_every_pruner_of_optuna_can_be_made_by_name(name):
    options = {"threshold": {"lower": 0.1}, **REQUIRED_OPTIONS}.get(name, {})
    assert type(make_pruner(name, options)) is PRUNERS[name]


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"gp", "cma_es"}))
def test_every_sampler_of_optuna_can_be_made_by_name(name):
    assert type(make_sampler(name, {}, seed=3)) is SAMPLERS[name]


def test_class_names_and_papers_spellings_are_accepted():
    assert type(make_pruner("MedianPruner", {})) is optuna.pruners.MedianPruner
    assert type(make_pruner("successive-halving", {})) is optuna.pruners.SuccessiveHalvingPruner
    assert type(make_sampler("NSGA-II", {}, seed=0)) is optuna.samplers.NSGAIISampler
    assert type(make_sampler("TPE", {}, seed=0)) is optuna.samplers.TPESampler


def test_seed_reaches_the_sampler():
    """Two samplers with one seed draw the same numbers; with another seed others."""

    def draws(seed):
        study = optuna.create_study(sampler=make_sampler("random", {}, seed=seed))
        return [study.ask().suggest_float("x", 0, 1) for _ in range(3)]

    assert draws(5) == draws(5) != draws(6)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(SpecError) as caught:
        make_pruner("medain", {})
    assert [problem.path for problem in caught.value.problems] == ["prune.pruner"]
    assert caught.value.problems[0].message == "unknown pruner 'medain'"
    known = "hyperband, median, nop, patient, percentile, successive_halving, threshold, wilcoxon"
    assert caught.value.problems[0].hint == f"known: {known}.  Did you mean 'median'?"


def test_unknown_options_are_all_named_at_once():
    with pytest.raises(SpecError) as caught:
        make_pruner("median", {"n_startup": 1, "warmup": 2})
    assert [problem.path for problem in caught.value.problems] == ["prune.n_startup", "prune.warmup"]


def test_refusal_of_optuna_becomes_a_problem():
    with pytest.raises(SpecError, match="ThresholdPruner refuses its options: Either lower or upper must be specified"):
        make_pruner("threshold", {})


def test_nested_pruner_takes_its_own_options():
    options = {"wrapped_pruner": {"pruner": "percentile", "percentile": 30.0}, "patience": 1}
    assert type(make_pruner("patient", options)) is optuna.pruners.PatientPruner


def test_nested_pruner_of_another_kind_is_refused():
    with pytest.raises(SpecError, match=r"wrapped_pruner is a pruner: write its name or \{pruner: NAME, ...\}, not 3"):
        make_pruner("patient", {"wrapped_pruner": 3, "patience": 1})


def test_samplers_that_need_objects_are_refused_with_an_alternative():
    with pytest.raises(SpecError) as caught:
        make_sampler("GridSampler", {}, seed=0)
    assert str(caught.value) == "search.sampler: GridSampler cannot be written in a file\n  use `design: factorial`"


def test_seed_among_the_options_is_refused():
    with pytest.raises(SpecError, match=r"the seed of a search is `search.seed`"):
        make_sampler("tpe", {"seed": 1}, seed=0)
