"""First weights of a trial: the file that `arch.weights` means, and the digest of its content.

A run keeps the weights of a trial where its sweep says `checkpoints: {keep: last}` (or `best`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from safetensors import safe_open

from results.plan.run_plan import RunPlan
from results.store.ledger import read_summaries
from results.store.record_summary import latest_by_trial
from results.store.records import CONTINUED_NOTE
from results.store.run import read_plan
from results.store.run_layout import RunDir
from runners.data.fingerprint import DataChanged
from runners.data.first_weights.continuation import continued_trial
from runners.data.first_weights.timm_releases import fetch_release, find_release
from runners.data.holdout import with_own_test_split
from runners.data.random_streams import seed_of
from runners.machine.file_digests import FileDigests, user_file_digests
from search_space.parsing.errors import Problem, SpecError, did_you_mean, first_of
from search_space.schema.pretrained import CONTINUED, WeightsSource, parse_weights, release_of, weights_seed
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting, TrialSpec

__all__ = [
    "WEIGHTS_MARK",
    "are_expected",
    "check_weights",
    "fetch_weights",
    "find_weights",
    "kept_weights",
    "missing_seeds",
    "weights_digest",
    "weights_note",
]

WEIGHTS_MARK = "+weights:"
"""Between the digest of a trial's data and that of its first weights, in its origin."""

_DIGITS = 16
_SHOWN_DIGITS = 8
_MOST_SEEDS = 5
_IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")
"""Names under which Hugging Face's libraries save a model."""


def find_weights(spec: TrialSpec, resources: Resources) -> Path:
    """The file with the first weights of a trial, which has `arch.weights`.

    Raises:
        SpecError: there is none, or the trial that should have kept them has not.
    """
    assert spec.arch.weights is not None
    source = parse_weights(spec.arch.weights)
    if source.kind == "file":
        return _file(Path(resources.data_dir or "") / Path(source.place).expanduser())
    if source.kind == "timm":
        return find_release(release_of(spec.arch.model, source))
    if source.kind == "run" and (whole := _run_without_variant(source, resources)):
        summaries, _ = read_summaries(whole.ledger)
        names = sorted({each.variant for each in summaries if each.status == "completed"})
        known = f", of which are completed: {', '.join(names)}" if names else ""
        raise _problem(f"{spec.arch.weights!r} names no variant", f"write {spec.arch.weights}/VARIANT{known}")
    run_dir, seed = _run_of(source, resources), weights_seed(source, spec.train.seeding, spec.seed)
    if source.variant == CONTINUED:
        return _weights_of(run_dir, continued_trial(spec, run_dir, seed).trial_id)
    return kept_weights(source, run_dir, seed)


def fetch_weights(setting: Setting, resources: Resources) -> None:
    """Download the weights of `timm:TAG` where they are not on this machine and `resources.download` allows it.

    Raises:
        SpecError: timm has no such weights, or the download failed.
    """
    if setting.arch.weights is not None and resources.download:
        source = parse_weights(setting.arch.weights)
        if source.kind == "timm":
            fetch_release(release_of(setting.arch.model, source))


def weights_note(spec: TrialSpec, resources: Resources) -> list[str]:
    """Name and digest of a trial's first weights, or the trial that kept them or is continued, as a phrase; where
    nothing is trained, that they are measured as they are.

    Raises:
        SpecError: the weights are not there, or were trained on test images of this trial.
    """
    assert spec.arch.weights is not None
    source = parse_weights(spec.arch.weights)
    what = "first weights: " if spec.train.epochs else _measured_how(spec, source)
    if source.kind in ("run", "study"):
        with safe_open(find_weights(spec, resources), "pt") as file:
            metadata = file.metadata() or {}
        _check_splits(spec, metadata.get("spec", ""))
        epoch = metadata.get("epoch", "some")
        if source.variant == CONTINUED:
            return [f"{CONTINUED_NOTE}{source.place} after epoch {epoch}, with a new schedule"]
        return [f"{what}{spec.arch.weights}, after epoch {epoch}"]
    name = release_of(spec.arch.model, source) if source.kind == "timm" else Path(source.place).name
    digest = weights_digest(spec, resources, user_file_digests())
    return [f"{what}{name} (sha256 {digest[:_SHOWN_DIGITS]})"]


def _measured_how(spec: TrialSpec, source: WeightsSource) -> str:
    """What is said of weights that are not trained: where no seed decides them, seeds are one measurement, and the
    spread of 0 between them says nothing."""
    is_of_a_seed = source.kind in ("run", "study") and source.seed is None
    is_equal = not is_of_a_seed and "split" not in spec.train.seeding.varied
    return f"measured without training{', the same at every seed' if is_equal else ''}: "


def _check_splits(spec: TrialSpec, kept_by: str) -> None:
    """Raises SpecError where archsweep draws the test split, and that of the trial that kept the weights was another
    one of the same images: another seed's, `split_seed` or fold.

    Args:
        kept_by: spec of that trial as JSON.
    """
    try:
        other = TrialSpec.model_validate_json(kept_by)
    except ValidationError:  # of an archsweep with other options
        return
    ours, theirs = (with_own_test_split(each.task, seed_of(each)).dataset for each in (spec, other))
    if not ours.draws_test_split or ours.name != theirs.name or ours.test_set() == theirs.test_set():
        return
    text = (
        f"the weights of {spec.arch.weights} with seed {other.seed} were trained on test images of seed {spec.seed}, "
        "whose test split is another one"
    )
    hint = "take weights of a run with the same test split of task.dataset"
    if any("split" in each.train.seeding.varied for each in (spec, other)):
        hint = "vary init and split in both, so that every seed takes the weights of its own split"
    raise _problem(text, hint)


def are_expected(spec: TrialSpec, resources: Resources) -> bool:
    """Whether first weights that are not there may still be kept: by a study of this file, which trains first, or by
    another run that has not been started or plans their variant.
    """
    assert spec.arch.weights is not None
    source = parse_weights(spec.arch.weights)
    if source.kind != "run":
        return source.kind == "study"
    try:
        find_weights(spec, resources)
    except SpecError:
        pass
    else:
        return False
    if _run_without_variant(source, resources):
        return False
    run_dir, seed = _run_of(source, resources), weights_seed(source, spec.train.seeding, spec.seed)
    try:
        plan = read_plan(run_dir)
    except SpecError:
        return True
    if not plan.variants:  # of a search
        return True
    left = _variants_left(plan, run_dir, seed)
    return bool(left) if source.variant == CONTINUED else source.variant in left


def _variants_left(plan: RunPlan, run_dir: RunDir, seed: int) -> set[str]:
    """Names and ids of the planned variants that have no completed trial with this seed yet."""
    if seed not in plan.seeds:
        return set()
    summaries = latest_by_trial(each for each in read_summaries(run_dir.ledger)[0] if not each.role).values()
    done = {each.variant_id for each in summaries if each.status == "completed" and each.seed == seed}
    left = [each for each in plan.variants if not each.dropped and each.variant_id not in done]
    return {name for each in left for name in (each.name, each.variant_id)}


def missing_seeds(setting: Setting, seeds: Sequence[int], resources: Resources) -> list[Problem]:
    """What is wrong where the run whose weights are taken seed by seed neither has nor plans some of the seeds."""
    if setting.arch.weights is None:
        return []
    source = parse_weights(setting.arch.weights)
    if source.kind != "run" or source.seed is not None:
        return []
    run_dir = _run_of(source, resources)
    try:
        planned = read_plan(run_dir).seeds
    except SpecError:
        return []
    known = {*planned, *(each.seed for each in read_summaries(run_dir.ledger)[0] if not each.role)}
    wanted = dict.fromkeys(weights_seed(source, setting.train.seeding, seed) for seed in seeds)
    missing = [str(seed) for seed in wanted if seed not in known]
    if not missing:
        return []
    text = f"{run_dir.path} has no trials with the seeds {first_of(missing, _MOST_SEEDS)}: each takes those of its own"
    hint = f"its seeds: {first_of([str(seed) for seed in sorted(known)], _MOST_SEEDS)}; train the others there as well"
    return [Problem(text, path="arch.weights", hint=hint)]


def weights_digest(spec: TrialSpec, resources: Resources, digests: FileDigests) -> str:
    """Digest of the content of a trial's first weights; `missing` where they are not there (yet).

    The trial itself then fails with the reason, and those with weights are trained.
    """
    try:
        path = find_weights(spec, resources)
    except SpecError:
        return "missing"
    ((_, digest),) = digests.of(str(path), [str(path)])
    return digest[:_DIGITS]


def check_weights(spec: TrialSpec, resources: Resources, expected: str) -> None:
    """Compare the first weights on this machine with those that the driver saw when it started.

    Raises:
        DataChanged: they are others.
    """
    found = weights_digest(spec, resources, user_file_digests())
    if found != expected:
        raise DataChanged(
            f"{spec.arch.weights} has the digest {found} here, and had {expected} when the driver started: the file "
            "was changed, or this node has another one"
        )


def _file(path: Path) -> Path:
    if path.is_dir():
        for name in _IN_FOLDERS:
            if (path / name).is_file():
                return (path / name).resolve()
        raise _problem(f"the folder {path} has none of {', '.join(_IN_FOLDERS)}", "name the file itself")
    if path.exists() and not path.is_file():
        raise _problem(f"{path} is no file, but a pipe, a socket or a device, which is not read", "name a file")
    if not path.is_file():
        raise _problem(f"there is no file {path}", "relative paths are below resources.data_dir")
    return path.resolve()


def _run_without_variant(source: WeightsSource, resources: Resources) -> RunDir | None:
    """The run where `run:DIRECTORY` was written, of which the last folder was read as the variant."""
    whole = RunDir(Path(resources.runs_dir or "") / Path(source.place).expanduser() / source.variant)
    return whole if whole.ledger.is_file() else None


def _run_of(source: WeightsSource, resources: Resources) -> RunDir:
    if source.kind == "run":
        return RunDir.of(Path(resources.runs_dir or "") / Path(source.place).expanduser())
    study_runs = resources.study_runs
    if source.place not in study_runs:
        hint = did_you_mean(source.place, list(study_runs)) if study_runs else "the file has no studies"
        raise _problem(f"unknown study {source.place!r}", hint)
    return RunDir(Path(study_runs[source.place]))


def kept_weights(source: WeightsSource, run_dir: RunDir, seed: int) -> Path:
    """The weights that the trial of the variant with this seed kept.

    Raises:
        SpecError: there is no such trial, or it kept none.
    """
    summaries = latest_by_trial(each for each in read_summaries(run_dir.ledger)[0] if not each.role)
    completed = [each for each in summaries.values() if each.status == "completed"]
    of_variant = [each for each in completed if source.variant in (each.variant, each.variant_id)]
    if not of_variant:
        names = sorted({each.variant for each in completed})
        hint = did_you_mean(source.variant, names) if names else _first(source)
        raise _problem(f"{run_dir.path} has no completed trial of {source.variant!r}", hint)
    of_seed = [each for each in of_variant if each.seed == seed]
    if not of_seed:
        seeds = ", ".join(str(each.seed) for each in of_variant)
        other = f"{source.variant}@{of_variant[0].seed}"
        hint = f"completed seeds: {seeds}; train that one as well, or take another seed ({other})"
        raise _problem(f"{run_dir.path} has no completed trial of {source.variant!r} with seed {seed}", hint)
    return _weights_of(run_dir, of_seed[0].trial_id)


def _weights_of(run_dir: RunDir, trial_id: str) -> Path:
    path = run_dir.trial(trial_id).weights
    if not path.is_file():
        text = f"the trial {trial_id} of {run_dir.path} kept no weights"
        raise _problem(text, "write checkpoints: {keep: last} for that run, and train it again with --no-cache")
    return path.resolve()


def _first(source: WeightsSource) -> str:
    if source.kind == "study":
        return f"run the study {source.place!r} first: without --study, studies run in the order of the file"
    return "run it first"


def _problem(text: str, hint: str) -> SpecError:
    return SpecError(Problem(text, path="arch.weights", hint=hint))
