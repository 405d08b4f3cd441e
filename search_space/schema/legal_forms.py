"""What may stand at a place of a sweep file that takes more than one form, in words for messages."""

from __future__ import annotations

from typing import get_args

from search_space.parsing.errors import did_you_mean
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.sweep import MAX_SEEDS, DesignName

__all__ = ["NODE_FORMS", "PARAMETER_FORM", "form_of", "missing_hint"]

Path = tuple[str | int, ...]

NODE_FORMS = {
    "arch.attention": f"one of {', '.join(sorted(ATTENTION_SPECS))}, or {{name: NAME, ...options}}",
    "blocks": "all, {last: k}, {first: k}, {every: k} or a list of block numbers",
    "dataset": "a name, or {name: NAME, ...options}",
    "design": "a name, or {name: list, rows: [...]}",
    "match.tolerance": "a share, such as 2 % or 0.02",
    "retune.seeds": "a list of seeds",
    "seeds": f"a count from 1 to {MAX_SEEDS}, or a list of seeds",
    "img_size": "a side, or [height, width]",
}
_SECTION_FORMS = {
    "prune": "{pruner: median, ...options}",
    "search": "{sampler: tpe, num_trials: 50}",
    "match": "{params_m: baseline, by: arch.embed_dim}",
    "retune": "{parameters: {train.lr: {min: 1e-4, max: 1e-2, log: true}}, num_trials: 8, seeds: [100]}",
    "track": "a tracker, {name: TRACKER, ...options}, or a list of these",
}
PARAMETER_FORM = "a list of values, {min, max, step|log} (in a search) or {off: VALUE, on: VALUE}"


def form_of(path: Path) -> str:
    """What may stand at a place that takes several forms; empty if it takes one only."""
    names = [str(part) for part in path if isinstance(part, str)]
    if (len(path) == 2 and path[0] == "space") or path[:2] == ("retune", "parameters"):
        return PARAMETER_FORM
    if path and path[-1] in _SECTION_FORMS and len(path) == 1:
        return _SECTION_FORMS[str(path[-1])]
    joined = ".".join(names)
    for name, form in NODE_FORMS.items():
        if joined == name or joined.endswith("." + name):
            return form
    return ""


def missing_hint(path: Path) -> str:
    """What to write at a place where something is missing; empty if nobody knows."""
    hints = {
        ("name",): "every sweep has a name; it names the folder of the run",
        ("baseline",): "baseline: {arch: {...}, task: {...}, train: {...}}",
        ("design",): did_you_mean("", get_args(DesignName)),
        ("search", "num_trials"): "how many trials in all, for example  num_trials: 50",
        ("match", "by"): "the number of the architecture that is solved, for example  by: arch.embed_dim",
        ("retune", "parameters"): "for example  parameters: {train.lr: {min: 1e-4, max: 1e-2, log: true}}",
        ("retune", "num_trials"): "how many settings to try for every arm, for example  num_trials: 8",
        ("retune", "seeds"): "a list of seeds that are not reported, for example  seeds: [100]",
        ("prune", "pruner"): "for example  prune: {pruner: median, n_startup_trials: 4}",
    }
    return hints.get(path, "")
