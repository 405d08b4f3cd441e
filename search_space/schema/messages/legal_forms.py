"""Legal forms of the values of a sweep file, as text: what an error suggests to write at a path."""

from __future__ import annotations

from search_space.parsing.errors import did_you_mean
from search_space.plugins.families import on_change
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.comparison.seeds import MAX_SEEDS
from search_space.schema.design import DESIGN_SPECS

__all__ = ["NODE_FORMS", "PARAMETER_FORM", "Path", "form_of", "missing_hint"]

Path = tuple[str | int, ...]

NODE_FORMS = {
    "arch.attention": f"one of {', '.join(sorted(ATTENTION_SPECS))}, or {{name: NAME, ...options}}",
    "blocks": "all, {last: k}, {first: k}, {every: k} or a list of block numbers",
    "dataset": "a name, or {name: NAME, ...options}",
    "design.orders": "all, or an even number",
    "design": "a name, or {name: list, rows: [...]}",
    "match.tolerance": "a share, such as 2 % or 0.02",
    "retune.seeds": "a list of seeds",
    "table.digits": "a number of decimals, or metric -> decimals",
    "seeds.values": f"a count from 1 to {MAX_SEEDS}, or a list of seeds",
    "seeds.vary": "a list of sources: init, order, augmentation, dropout, split",
    "seeds.crossed": "source -> number of levels, of two sources or more: {init: 4, order: 4}",
    "seeds.futility": "`1.5 SD`, {smallest: 0.3}, strong or none",
    "seeds": f"a count from 1 to {MAX_SEEDS}, a list of seeds, or {{max: 12, looks: [3, 5, 8, 12], futility: 1.5 SD}}",
    "img_size": "a side, or [height, width]",
    "test_img_size": "a side, or [height, width]",
    "crop_pct": "a number above 0 and at most 2, or model",
}
_SECTION_FORMS = {
    "prune": "{pruner: median, ...options}",
    "search": "{sampler: tpe, num_trials: 50}",
    "match": "{params_m: baseline, by: arch.embed_dim}",
    "retune": "{parameters: {train.lr: {min: 1e-4, max: 1e-2, log: true}}, num_trials: 8, seeds: [100]}",
    "track": "a tracker, {name: TRACKER, ...options}, or a list of these",
}
PARAMETER_FORM = "a list of values, {min, max, step|log} (in a search) or {off: VALUE, on: VALUE}"


def _with_plugins() -> None:
    NODE_FORMS["arch.attention"] = f"one of {', '.join(sorted(ATTENTION_SPECS))}, or {{name: NAME, ...options}}"


on_change(_with_plugins)


def form_of(path: Path) -> str:
    """Legal forms of the value at a path; empty if there is only one."""
    names = [str(part) for part in path if isinstance(part, str)]
    if (len(path) == 2 and path[0] == "space") or path[:2] == ("retune", "parameters"):
        return PARAMETER_FORM
    if path and path[-1] in _SECTION_FORMS and len(path) == 1:
        return _SECTION_FORMS[str(path[-1])]
    if path and path[0] == "blocks":
        return (
            "{PATH: [value, value, ...]}"
            if len(path) == 1
            else "a list of two or more values"
            if len(path) == 2
            else ""
        )
    joined = ".".join(names)
    for name, form in NODE_FORMS.items():
        if joined == name or joined.endswith("." + name):
            return form
    return ""


def missing_hint(path: Path) -> str:
    """Hint for a missing key; empty if there is none."""
    hints: dict[Path, str] = {
        ("name",): "every sweep has a name; it names the folder of the run",
        ("baseline",): "baseline: {arch: {...}, task: {...}, train: {...}}",
        ("design",): did_you_mean("", DESIGN_SPECS),
        ("search", "num_trials"): "how many trials in all, for example  num_trials: 50",
        ("match", "by"): "the number of the architecture to solve for, for example  by: arch.embed_dim",
        ("retune", "parameters"): "for example  parameters: {train.lr: {min: 1e-4, max: 1e-2, log: true}}",
        ("retune", "num_trials"): "how many settings to try for every variant, for example  num_trials: 8",
        ("retune", "seeds"): "a list of seeds that are not reported, for example  seeds: [100]",
        ("prune", "pruner"): "for example  prune: {pruner: median, n_startup_trials: 4}",
    }
    return hints.get(path, "")
