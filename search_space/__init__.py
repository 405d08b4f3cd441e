"""Search space: the sweep file, its parameters and designs, and the identity of a trial.

Depends on pydantic and YAML only, so that a sweep can be checked, planned and tabulated without torch. A name is
imported on use: verbs that read no sweep need no pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from search_space.parsing.names_on_use import names_on_use

if TYPE_CHECKING:
    from search_space.checks.section_checks import tuning_sweep
    from search_space.designs import DESIGNS
    from search_space.loading.json_schema import json_schema
    from search_space.loading.load import SweepFile, load_again, load_studies, load_sweep, load_sweep_text
    from search_space.loading.starter import template
    from search_space.parsing.errors import Problem, SpecError, did_you_mean
    from search_space.schema.attention import ATTENTION_SPECS
    from search_space.schema.design import Design
    from search_space.schema.identity import trial_id, variant_id
    from search_space.schema.metrics import COST_NAMES, METRICS, Direction, Metric, direction_of
    from search_space.schema.resources import Resources
    from search_space.schema.sweep import Checkpoints, Prune, Published, Search, Sweep
    from search_space.schema.tracking import TRACKER_SPECS
    from search_space.schema.trial import ArchSpec, ClassificationSpec, Setting, TaskSpec, TrainSpec, TrialSpec
    from search_space.settings.naming import describe_parameter
    from search_space.settings.paths import MISSING, value_at
    from search_space.variants.finite_space import all_params, space_size
    from search_space.variants.matching import ImpossibleValue, match_step, with_matched_value
    from search_space.variants.per_variant import possible_resources, resources_for
    from search_space.variants.requirements import needs_cost, unmet_requirements
    from search_space.variants.suggestion import InvalidVariant, baseline_params, params_of, suggest
    from search_space.variants.variant import Variant, count_upper, variants

_MODULES = {
    "ATTENTION_SPECS": "search_space.schema.attention",
    "COST_NAMES": "search_space.schema.metrics",
    "DESIGNS": "search_space.designs",
    "METRICS": "search_space.schema.metrics",
    "MISSING": "search_space.settings.paths",
    "TRACKER_SPECS": "search_space.schema.tracking",
    "ArchSpec": "search_space.schema.trial",
    "Checkpoints": "search_space.schema.sweep",
    "ClassificationSpec": "search_space.schema.trial",
    "Design": "search_space.schema.design",
    "Direction": "search_space.schema.metrics",
    "ImpossibleValue": "search_space.variants.matching",
    "InvalidVariant": "search_space.variants.suggestion",
    "Metric": "search_space.schema.metrics",
    "Problem": "search_space.parsing.errors",
    "Prune": "search_space.schema.sweep",
    "Published": "search_space.schema.sweep",
    "Resources": "search_space.schema.resources",
    "Search": "search_space.schema.sweep",
    "Setting": "search_space.schema.trial",
    "SpecError": "search_space.parsing.errors",
    "Sweep": "search_space.schema.sweep",
    "SweepFile": "search_space.loading.load",
    "TaskSpec": "search_space.schema.trial",
    "TrainSpec": "search_space.schema.trial",
    "TrialSpec": "search_space.schema.trial",
    "Variant": "search_space.variants.variant",
    "all_params": "search_space.variants.finite_space",
    "baseline_params": "search_space.variants.suggestion",
    "count_upper": "search_space.variants.variant",
    "describe_parameter": "search_space.settings.naming",
    "did_you_mean": "search_space.parsing.errors",
    "direction_of": "search_space.schema.metrics",
    "json_schema": "search_space.loading.json_schema",
    "load_again": "search_space.loading.load",
    "load_studies": "search_space.loading.load",
    "load_sweep": "search_space.loading.load",
    "load_sweep_text": "search_space.loading.load",
    "match_step": "search_space.variants.matching",
    "needs_cost": "search_space.variants.requirements",
    "params_of": "search_space.variants.suggestion",
    "possible_resources": "search_space.variants.per_variant",
    "resources_for": "search_space.variants.per_variant",
    "space_size": "search_space.variants.finite_space",
    "suggest": "search_space.variants.suggestion",
    "template": "search_space.loading.starter",
    "trial_id": "search_space.schema.identity",
    "tuning_sweep": "search_space.checks.section_checks",
    "unmet_requirements": "search_space.variants.requirements",
    "value_at": "search_space.settings.paths",
    "variant_id": "search_space.schema.identity",
    "variants": "search_space.variants.variant",
    "with_matched_value": "search_space.variants.matching",
}

__all__ = [
    "ATTENTION_SPECS",
    "COST_NAMES",
    "DESIGNS",
    "METRICS",
    "MISSING",
    "TRACKER_SPECS",
    "ArchSpec",
    "Checkpoints",
    "ClassificationSpec",
    "Design",
    "Direction",
    "ImpossibleValue",
    "InvalidVariant",
    "Metric",
    "Problem",
    "Prune",
    "Published",
    "Resources",
    "Search",
    "Setting",
    "SpecError",
    "Sweep",
    "SweepFile",
    "TaskSpec",
    "TrainSpec",
    "TrialSpec",
    "Variant",
    "all_params",
    "baseline_params",
    "count_upper",
    "describe_parameter",
    "did_you_mean",
    "direction_of",
    "json_schema",
    "load_again",
    "load_studies",
    "load_sweep",
    "load_sweep_text",
    "match_step",
    "needs_cost",
    "params_of",
    "possible_resources",
    "resources_for",
    "space_size",
    "suggest",
    "template",
    "trial_id",
    "tuning_sweep",
    "unmet_requirements",
    "value_at",
    "variant_id",
    "variants",
    "with_matched_value",
]

# The function has the name of a folder of ours, which would be bound to it when the folder is first imported: later.
importlib.import_module("search_space.variants")
del globals()["variants"]


__getattr__ = names_on_use(__name__, _MODULES)
