"""`retune`: a small search over training parameters for every arm, so that arms meet at their own optimum.

What the section may say, and the search of one arm as a sweep of its own. Who trains it: `runners/retune.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from search_space.checks.space_checks import parameter_complaints
from search_space.schema.sweep import Design, Search, Sweep
from search_space.schema.trial import Setting
from search_space.settings.candidates import Complaint
from search_space.settings.naming import touched_paths
from search_space.settings.paths import is_path, leaf_paths, overlap, path_hint

__all__ = ["retune_complaints", "tuning_sweep"]


def retune_complaints(sweep: Sweep) -> Iterator[Complaint]:
    """What is wrong with the section `retune`."""
    retune = sweep.retune
    if retune is None:
        return
    if sweep.design.name == "search":
        yield Complaint(("retune",), "`retune` has no meaning in a search", "put its parameters into `space`")
    varied = touched_paths(sweep)
    for path, parameter in retune.parameters.items():
        place = ("retune", "parameters", path)
        if not is_path(path):
            yield Complaint(place, f"unknown path {path!r}", path_hint(path), at_key=True)
        elif not path.startswith("train.") or path not in leaf_paths():
            message = f"only training parameters can be retuned, not {path!r}"
            yield Complaint(place, message, "a changed architecture would be another arm; for example  train.lr", True)
        elif path == "train.epochs":
            hint = "every arm trains equally long, or the longer ones would win"
            yield Complaint(place, "the number of epochs cannot be retuned", hint, at_key=True)
        elif any(overlap(path, other) for other in varied):
            yield Complaint(place, f"{path!r} is also varied by the sweep", "remove it here or there", at_key=True)
        else:
            yield from parameter_complaints(sweep, path, place, parameter)
    for key in ("objectives", "warm_start"):
        if key in retune.options:
            yield Complaint(("retune", key), f"unknown key {key!r} in `retune`", "it belongs to `search`", at_key=True)
    for index, seed in enumerate(retune.seeds):
        if seed in sweep.seeds:
            message = f"the seed {seed} is also reported: a trial that chose a setting must not vouch for it"
            free = max(*sweep.seeds, *retune.seeds) + 1
            yield Complaint(("retune", "seeds", index), message, f"choose another one, for example {free}")
    if sweep.baseline.task.val_fraction == 0:
        message = "needs a validation split: settings chosen on the test split would make its numbers too good"
        yield Complaint(("retune",), message, "set  task.val_fraction: 0.1  (or more) in the baseline")


def tuning_sweep(sweep: Sweep, arm: Setting) -> Sweep:
    """The search of one arm: its setting as baseline, `retune.parameters` as space."""
    retune = sweep.retune
    assert retune is not None
    search = Search(sampler=retune.sampler, num_trials=retune.num_trials, seed=retune.seed, **retune.options)
    return Sweep(
        name=sweep.name,
        baseline=arm,
        space=dict(retune.parameters),
        design=Design(name="search"),
        seeds=retune.seeds,
        metric=sweep.metric,
        search=search,
        resources=sweep.resources,
        checkpoints=sweep.checkpoints.model_copy(update={"keep": "none"}),
    )
