"""Search space: the sweep file, its parameters and designs, and the identity of a trial.

Depends on pydantic and YAML only, so that a sweep can be checked, planned and tabulated without torch.
"""

from __future__ import annotations

from search_space.checks.section_checks import tuning_sweep
from search_space.designs import DESIGNS
from search_space.loading.json_schema import json_schema
from search_space.loading.load import SweepFile, load_again, load_studies, load_sweep, load_sweep_text
from search_space.loading.starter import template
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.identity import trial_id, variant_id
from search_space.schema.metrics import COST_NAMES, METRICS, Direction, Metric, direction_of
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints, Design, Prune, Published, Search, Sweep
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
