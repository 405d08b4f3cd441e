"""Samplers and pruners from files of the user's, by name and as `module:Class`; a sweep alone executes nothing."""

from __future__ import annotations

import pytest

from results import Run


@pytest.mark.slow
def test_a_search_by_the_classes_of_a_plug_in(type_, example):
    """No accuracy reaches the pruner's limit of 200 %, so every trial is pruned after its first epoch of two."""
    path = example("seek.yaml")
    run = ["run", "seek.yaml", "--plugin", example("my_search.py"), "--engine", "in-process"]
    type_(*run)
    records = Run.open(path.parent / "runs" / "seek").records
    assert [(record.status, record.epochs) for record in records] == [("pruned", 1)] * 3
    example("seek.yaml", to="module.yaml", **{"sampler: half_random": "sampler: 'my_search:HalfRandomSampler'"})
    other = path.parent / "module.yaml"
    other.write_text(other.read_text().replace("name: seek", "name: module"))
    type_("run", "module.yaml", *run[2:])
    by_module = Run.open(path.parent / "runs" / "module").records
    # The same class with the same seed proposes the same settings.
    assert [record.spec["train"]["lr"] for record in by_module] == [record.spec["train"]["lr"] for record in records]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "sampler: 'os:system'",
            "search.sampler: 'os:system' would execute 'os', and a sweep executes nothing by itself",
        ),
        (
            "sampler: 'my_search:HalfRandom'",
            "search.sampler: 'my_search' of the plug-in 'my_search' has no sampler 'HalfRandom'",
        ),
        ("sampler: half_randm", "search.sampler: unknown sampler 'half_randm'"),
        ("wrong: 1, sampler: half_random", "search.wrong: not an option of HalfRandomSampler"),
    ],
)
def test_what_is_no_sampler_is_refused(type_, example, written, said):
    example("seek.yaml", **{"sampler: half_random": written})
    err = type_("plan", "seek.yaml", "--plugin", example("my_search.py"), returns=2).stderr
    assert said in err
    assert "HalfRandomSampler" in err or "half_random" in err or "--plugin" in err


@pytest.mark.slow
def test_a_sampler_of_optunahub_from_a_local_registry(type_, example, tmp_path):
    pytest.importorskip("optunahub")
    package = tmp_path / "registry" / "samplers" / "my_sampler"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import optuna\n\n\nclass MySampler(optuna.samplers.RandomSampler):\n"
        "    def __init__(self, seed: int | None = None):\n        super().__init__(seed=seed)\n"
    )
    path = example("seek.yaml", **{"my_search": "my_hub", "half_random": "hub", ", n_startup_trials: 2": ""})
    path.write_text(path.read_text().replace("prune: {pruner: limit, limit: 200}\n", ""))
    type_("run", "seek.yaml", "--plugin", example("my_hub.py"), "--engine", "in-process")
    records = Run.open(tmp_path / "runs" / "seek").records
    assert [record.status for record in records] == ["completed"] * 3
