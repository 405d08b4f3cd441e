"""JSON Schema and starter file: shipped, current, and consistent with the loader."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from search_space import SpecError, load_sweep, load_sweep_text, variants
from search_space.loading.json_schema import SCHEMA_FILE, json_schema, schema_text
from search_space.loading.starter import template
from search_space.schema.sweep import NULLABLE_SECTIONS

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
SHORT_FORMS = """
name: short
baseline:
  arch: {attention: refiner, img_size: 32}
  task: {dataset: builtin/digits}
space:
  arch.attention: [softmax, {name: groupmix, blocks: {last: 2}}, {value: refiner, name: r, with: {expansion: [1, 2]}}]
  arch.depth: [2, {value: 4, name: deep}]
  arch.options.init_values: [0.1]
  tricks: {off: {train.mixup: 0}, on: {train.mixup: 0.2}}
design: factorial
seeds: 3
prune: {pruner: percentile, percentile: 25.0}
"""


def errors(content: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(json.loads(json.dumps(content)))]


def test_the_shipped_schema_is_current() -> None:
    """To update it, run: archsweep schema > search_space/sweep.schema.json"""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_shipped_sweeps_load_and_satisfy_the_schema(path: Path) -> None:
    file = load_sweep(path)
    assert errors(file.resolved) == []
    assert load_sweep(path, profile="smoke").sweep.baseline.train.epochs <= 2
    header = path.read_text()
    assert all(f"# {word}:" in header for word in ("Question", "Expected", "Cost", "Run"))


def test_short_forms_satisfy_the_schema() -> None:
    assert errors(load_sweep_text(SHORT_FORMS).resolved) == []


def test_studies_satisfy_the_schema() -> None:
    """A file with studies needs no top-level design; a study has no profiles of its own."""
    study = {"space": {"arch.depth": [2, 4]}, "design": {"name": "fractional", "resolution": 3}, "seeds": 3}
    assert errors({"name": "a", "baseline": {}, "studies": {"depth": study}}) == []
    assert errors({"name": "a", "baseline": {}, "studies": {"depth": study | {"profiles": {}}}}) != []
    assert errors({"name": "a", "baseline": {}, "studies": {}}) != []
    assert errors({"name": "a", "baseline": {}}) != []


def test_match_and_retune_satisfy_the_schema() -> None:
    match = {"params_m": "baseline", "by": "arch.embed_dim", "tolerance": "2 %"}
    retune = {"parameters": {"train.lr": {"min": 1e-4, "max": 1e-2, "log": True}}, "num_trials": 8, "seeds": [100]}
    sweep = {"name": "a", "baseline": {}, "design": "one_factor"}
    assert errors(sweep | {"match": match, "retune": retune}) == []
    assert errors(sweep | {"match": match | {"params_m": "basline"}}) != []
    assert errors(sweep | {"retune": retune | {"seeds": 2}}) != []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a", "design": "factorial"},
        {"name": "a", "design": "factoral", "baseline": {}},
        {"name": "a", "design": "factorial", "baseline": {"arch": {"depht": 3}}},
        {"name": "a", "design": "factorial", "baseline": {"arch": {"attention": "refinr"}}},
        {"name": "a", "design": "factorial", "baseline": {"arch": {"attention": {"expansion": 2}}}},
        {"name": "a", "design": "factorial", "baseline": {"arch": {"depth": 0}}},
        {"name": "a", "design": "factorial", "baseline": {}, "space": {"arch.depht": [1, 2]}},
        {"name": "a", "design": "factorial", "baseline": {}, "seeds": "three"},
        {"name": "a", "design": "factorial", "baseline": {}, "profiles": {"/../esc": {"train.epochs": 2}}},
        {"name": "a", "baseline": {}, "studies": {"../esc": {"design": "factorial"}}},
    ],
)
def test_the_schema_detects_mistakes(wrong: dict) -> None:
    assert errors(wrong) != []
    with pytest.raises(SpecError):
        load_sweep_text(json.dumps(wrong))


def test_every_field_is_described_or_plain() -> None:
    """Editors show descriptions; the sections of the file must have one."""
    properties = json_schema()["properties"]
    assert [name for name, field in properties.items() if "description" not in field and "$ref" not in field] == []


def test_quickstart_compares_the_four_mechanisms() -> None:
    sweep = load_sweep(ROOT / "sweeps" / "quickstart.yaml").sweep
    found = list(variants(sweep))
    assert [variant.name for variant in found] == [
        "baseline",
        "attention=reattention",
        "attention=refiner",
        "attention=groupmix",
    ]
    assert (sweep.seeds, sweep.prune, sweep.baseline.task.dataset.name) == ((0, 1, 2), None, "builtin/digits")


def test_the_starter_loads_under_the_given_name() -> None:
    text = template("heads_and_depth")
    sweep = load_sweep_text(text).sweep
    assert sweep.name == "heads_and_depth"
    assert "my_sweep" not in text
    assert errors(load_sweep_text(text).resolved) == []
    assert len(list(variants(sweep))) == 3
    assert load_sweep_text(text, profile="smoke").sweep.seeds == (0,)


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "a" * 101, "a\n"])
def test_a_starter_needs_a_name_that_can_be_a_folder(name: str) -> None:
    with pytest.raises(SpecError, match="cannot name a sweep"):
        template(name)


@pytest.mark.parametrize("section", NULLABLE_SECTIONS)
def test_a_section_of_comments_only_is_one_that_is_left_out(section: str) -> None:
    text = f"name: a\nbaseline: {{}}\ndesign: one_factor\n{section}:\n  # nothing yet\n"
    file = load_sweep_text(text)
    assert file.sweep == load_sweep_text("name: a\nbaseline: {}\ndesign: one_factor\n").sweep
    assert errors({**file.resolved, section: None}) == []
