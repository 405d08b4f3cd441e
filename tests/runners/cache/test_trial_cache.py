"""An equal trial is trained once, whichever sweep asks; anything that could change its numbers makes it another."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results import Run
from runners.cache.code_version import code_version, modules_of
from runners.cache.origin import Origins
from runners.cache.trial_cache import TrialCache, device_of
from runners.machine.gpus import local_gpus
from runners.machine.user_cache import default_directory, size
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import Resources, TrialSpec, load_sweep, variants

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[3]
ROOMS = ("search_space", "modelzoo", "results", "runners")
SMALL = {"depth: 2": "depth: 1", "seeds: 2": "seeds: 1", "[softmax, reattention, groupmix]": "[softmax, reattention]"}


@pytest.fixture
def cache(tmp_path):
    return TrialCache(tmp_path / "cache", "cpu", Origins(Resources()))


@pytest.fixture
def run(write_sweep, tmp_path, cache):
    def run_(name, text=None, *, using=cache, **replacements):
        path = write_sweep(**{**SMALL, **replacements}) if text is None else write_sweep(text)
        result = run_sweep(make_plan(load_sweep(path)), tmp_path / name, engine="in-process", cache=using)
        return result, Run.open(tmp_path / name)

    return run_


def test_an_equal_trial_of_another_sweep_is_taken_over(run, tmp_path, capsys):
    _, first = run("first")
    result, second = run("second", **{"name: tiny": "name: another", "[softmax, reattention]": "[softmax, groupmix]"})
    assert (result.started, dict(result.counts)) == (1, {"completed": 2})
    (taken,) = [record for record in second.records if record.cached_from]
    (origin,) = [record for record in first.records if record.variant == "baseline"]
    assert taken.cached_from == f"{tmp_path / 'first'} ({origin.finished_at[:10]})"
    assert taken.model_copy(update={"cached_from": ""}) == origin
    assert capsys.readouterr().err == (
        "archsweep: 1 trial was not trained but taken over from studies of this file or the cache "
        f"({tmp_path / 'cache'}); --no-cache trains again\n"
    )


def test_without_the_cache_everything_is_trained(run):
    run("first")
    result, _ = run("second", using=None)
    assert result.started == 2


@pytest.mark.thorough
def test_numbers_of_another_device_are_not_served(run, cache):
    run("first")
    other = TrialCache(cache.directory, "NVIDIA H200", cache.origins)
    assert run("second", using=other)[0].started == 2  # and on a CPU: so it is remembered, whatever was expected
    assert run("third", using=other)[0].started == 2
    for record in run("third", using=None)[1].records:
        on_gpu = record.model_copy(update={"device": "NVIDIA H200"})
        other.put(TrialSpec.model_validate(record.spec), on_gpu, cache.directory)
    assert run("fourth", using=other)[0].started == 0
    assert run("fifth", using=TrialCache(cache.directory, None, cache.origins))[0].started == 2


def test_records_of_another_origin_are_not_served(run, cache):
    """Images of the same name, code, or packages that differ."""
    _, first = run("first")
    for record in first.records:
        spec = TrialSpec.model_validate(record.spec)
        assert cache.get(spec) is not None
        for name in ("data", "code", "software"):
            cache.origins.of = lambda setting, name=name, own=record.origin: own.model_copy(update={name: "another"})
            assert cache.get(spec) is None
            cache.put(spec, record, cache.directory)  # of the former origin: not remembered as of the present one
            assert cache.get(spec) is None
            del cache.origins.of


@pytest.mark.parametrize(
    ("resources", "device"),
    [
        ("{cpus: 1}", "cpu"),
        ("{gpus: 1}", None),  # of a cluster: what kind they are is not known here
        ("{gpu_memory: auto}", None),
        ("{per_variant: [{where: arch.attention.name == 'softmax', gpus: 1}]}", None),
        ("{per_variant: [{where: arch.depth > 99, gpus: 1}]}", "cpu"),
    ],
)
@pytest.mark.skipif(bool(local_gpus()), reason="of a driver without a GPU")
def test_what_trials_train_on_is_known_from_their_resources(write_sweep, resources, device):
    path = write_sweep(**{"design: one_factor": f"design: one_factor\nresources: {resources}"})
    plan = make_plan(load_sweep(path))
    assert device_of(plan) == device


def test_trials_that_leave_files_behind_are_not_served(run):
    """A copied record would have no weights and no maps beside it."""
    keeps = {"design: one_factor": "design: one_factor\ncheckpoints: {keep: last}"}
    run("first", **keeps)
    assert run("second", **keeps)[0].started == 2


SAMPLES = {"design: one_factor": "design: one_factor\nkeep_samples: 2"}


def test_trials_that_keep_samples_are_trained_whatever_is_known(run, write_sweep, tmp_path):
    """Neither the cache nor another study of the file has the pictures, which are no part of a record."""
    run("first", **SAMPLES)
    assert run("second", **SAMPLES)[0].started == 2
    plan = make_plan(load_sweep(write_sweep(**{**SMALL, **SAMPLES})))
    assert run_sweep(plan, tmp_path / "third", engine="in-process", siblings=[tmp_path / "first"]).started == 2
    assert len(list((tmp_path / "third").glob("trials/*/samples.npz"))) == 2
    without = make_plan(load_sweep(write_sweep(**SMALL)))
    assert run_sweep(without, tmp_path / "fourth", engine="in-process", siblings=[tmp_path / "first"]).started == 0


PREDICTIONS = {"design: one_factor": "design: one_factor\nkeep_predictions: true"}


def test_a_sweep_that_keeps_predictions_is_served_records_that_have_them(run):
    run("first")
    trained, second = run("second", **PREDICTIONS)
    assert trained.started == 2  # the entries had none; now they have
    served, third = run("third", **PREDICTIONS)
    assert served.started == 0
    as_trained = {record.trial_id: record.model_copy(update={"session": ""}) for record in second.records}
    for record in third.records:
        assert record.correct
        assert record.model_copy(update={"cached_from": "", "session": ""}) == as_trained[record.trial_id]


def test_a_sweep_without_predictions_is_served_records_as_it_would_make_them(run, tmp_path):
    _, first = run("first", **PREDICTIONS)
    assert all(record.correct for record in first.records)
    assert run("second")[0].started == 0
    assert "correct" not in (tmp_path / "second" / "ledger.jsonl").read_text()


def test_predictions_that_were_edited_are_not_served(run, cache):
    """A run that took them over could not be read any more."""
    run("first", **PREDICTIONS)
    for path in cache.directory.rglob("*.json"):
        entry = json.loads(path.read_text())
        entry["record"]["correct"] = "9:rIA="
        path.write_text(json.dumps(entry))
    assert run("second", **PREDICTIONS)[0].started == 2


def test_studies_of_a_file_share_records_with_predictions_only(write_sweep, tmp_path):
    def started(name, siblings, **replacements):
        plan = make_plan(load_sweep(write_sweep(**{**SMALL, **replacements})))
        return run_sweep(plan, tmp_path / name, engine="in-process", siblings=siblings).started

    assert started("without", []) == 2
    assert started("with", [tmp_path / "without"], **PREDICTIONS) == 2
    assert started("again", [tmp_path / "without", tmp_path / "with"], **PREDICTIONS) == 0
    assert started("neither", [tmp_path / "with"]) == 0
    found = {name: {bool(r.correct) for r in Run.open(tmp_path / name).records} for name in ("again", "neither")}
    assert found == {"again": {True}, "neither": {False}}


def test_a_search_is_served_too(run):
    text = """
    name: searched
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 1, batch_size: 256}
    space: {train.lr: [0.001, 0.01]}
    design: search
    search: {sampler: random, num_trials: 2, seed: 3}
    """
    _, first = run("first", text)
    result, second = run("second", text)
    assert result.started == 0
    assert [(r.trial_id, r.number, r.metrics) for r in second.records] == [
        (r.trial_id, r.number, r.metrics) for r in first.records
    ]
    assert all(record.cached_from for record in second.records)


@pytest.mark.default_run("{", '{"record": {"trial_id": "x"}, "run": "r"}')
@pytest.mark.thorough
@pytest.mark.parametrize("content", ["", "{", "[]", '{"record": {"trial_id": "x"}, "run": "r"}'])
def test_what_cannot_be_read_is_no_entry(run, cache, content):
    run("first")
    for path in cache.directory.rglob("*.json"):
        path.write_text(content)
    assert run("second")[0].started == 2


def test_an_entry_of_another_trial_is_not_believed(run, cache):
    run("first")
    one, other = sorted(cache.directory.rglob("*.json"))
    shutil.copy(one, other)
    assert run("second")[0].started == 1


def test_failed_trials_are_not_remembered(run, cache):
    run("first", **{"lr: 0.003": "lr: 1.0e+30"})
    assert size(cache.directory) == (0, 0)


def test_a_cache_that_cannot_be_written_costs_no_trial(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    result, _ = run("first", using=TrialCache(tmp_path / "file" / "cache", "cpu", Origins(Resources())))
    assert dict(result.counts) == {"completed": 2}
    assert "archsweep: warning: the cache was not written: " in capsys.readouterr().err


def test_the_folder_is_named_by_the_environment(monkeypatch):
    monkeypatch.setenv("ARCHSWEEP_CACHE", "/shared/cache")
    assert default_directory() == Path("/shared/cache")
    monkeypatch.setenv("ARCHSWEEP_CACHE", "off")
    assert default_directory() is None
    monkeypatch.delenv("ARCHSWEEP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/cache")
    assert default_directory() == Path("/home/me/cache/archsweep")


@pytest.fixture
def specs(write_sweep):
    sweep = load_sweep(write_sweep(**{"[softmax, reattention, groupmix]": "[softmax, refiner]"})).sweep
    softmax, refiner = (variant.setting.with_seed(0) for variant in variants(sweep))
    return softmax, refiner


def test_only_the_plug_ins_of_a_trial_count(specs):
    softmax, refiner = (set(modules_of(spec)) for spec in specs)
    assert softmax ^ refiner == {
        "modelzoo.attention.softmax",
        "modelzoo.attention.refiner",
        "modelzoo.attention.distributed_local_attention",
        *(
            f"modelzoo.attention.map_kernels.{name}"
            for name in ("folded", "mixed_norm", "refinement", "refinement_parts")
        ),
        "modelzoo.attention.map_convolutions",
        "modelzoo.attention.placebo",
        "modelzoo.attention.process_sums",
        "modelzoo.attention.same_padding",
        "modelzoo.attention.valid_entries",
    }
    assert {
        "runners.training.trial",
        "runners.training.loop",
        "runners.data.images.digits",
        "modelzoo.factory.build",
    } <= softmax & refiner
    assert not any(name.startswith(("runners.engines", "runners.cli", "results")) for name in softmax)


@pytest.mark.slow
def test_comments_do_not_count_and_code_does(specs, tmp_path):
    """A copy of the sources, in which softmax gets another comment and Refiner another line."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    attention = tmp_path / "modelzoo" / "attention"
    with (attention / "softmax.py").open("a") as stream:
        stream.write("\n# a remark\n")
    with (attention / "refiner.py").open("a") as stream:
        stream.write("\nANOTHER = 1\n")
    code = (
        "import sys; from runners.cache.code_version import code_version; from search_space import TrialSpec\n"
        "print(*(code_version(TrialSpec.model_validate_json(line)) for line in sys.stdin))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(spec.model_dump_json() for spec in specs),
        capture_output=True, text=True, check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    softmax, refiner = done.stdout.split()
    assert softmax == code_version(specs[0])
    assert refiner != code_version(specs[1])


def test_entries_hold_the_whole_record(run, cache):
    _, first = run("first")
    stored = [json.loads(path.read_text())["record"] for path in cache.directory.rglob("*.json")]
    assert {entry["trial_id"] for entry in stored} == {record.trial_id for record in first.records}
