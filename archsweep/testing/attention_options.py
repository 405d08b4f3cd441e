"""Options of an attention mechanism: that a sweep can write each of them, and that none is ignored."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archsweep.testing.attention_case import Case, expect
from modelzoo.attention.contract import TokenAttention
from search_space.parsing.errors import SpecError
from search_space.plugins.signature import constructor_options, spec_of
from search_space.schema.attention import ATTENTION_SPECS, Spec

__all__ = ["acts", "check_options"]


def check_options(made: type[TokenAttention], options: Sequence[Mapping[str, Any]]) -> None:
    """Check the constructor of a mechanism, and that each option of each set acts.

    Raises:
        AssertionError: an option is not keyword-only, cannot be written in a sweep, has no default, is not tried with
            another value, or changes nothing.
    """
    plain = Case(made)
    parameters = [each for each in constructor_options(made) if each.name not in made.unswept]
    loose = [each.name for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    expect(not loose, plain, f"options must be keyword-only, behind a `*`: {', '.join(loose)}")
    bare = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    expect(not bare, plain, f"options need a default, so that a sweep can name the mechanism alone: {', '.join(bare)}")
    spec = next((each for name, each in ATTENTION_SPECS.items() if _is_ours(made, name)), None)
    if spec is None:
        try:
            spec = spec_of("attention", made.__name__, made, Spec, where=made.__module__)
        except SpecError as err:
            raise AssertionError(f"{plain.name}: {err}") from err
    names = {each.name for each in parameters}
    tried: set[str] = set()
    for given in options:
        case = Case(made, given)
        unknown = sorted(set(given) - names)
        expect(not unknown, case, f"there is no option {', '.join(unknown)}; its options: {', '.join(sorted(names))}")
        try:
            spec.model_validate({"name": spec.model_fields["name"].default, **given})
        except ValueError as err:
            raise AssertionError(f"{case.name}: no sweep can write these options: {err}") from err
        defaults = {each.name: each.default for each in parameters}
        same = [option for option, value in given.items() if value == defaults[option]]
        expect(not same, case, f"{', '.join(same)} has its default: give another value")
        tried |= set(given)
        for option in given:
            expect(acts(case, option), case, f"the option {option} changes nothing: it is accepted and ignored")
    untried = sorted(names - tried)
    expect(not untried, plain, f"give options=[...] with other values than the default for: {', '.join(untried)}")


def _is_ours(made: type[TokenAttention], name: str) -> bool:
    return made.__module__ == f"modelzoo.attention.{name}"


def acts(case: Case, option: str) -> bool:
    """Whether the option's value changes weights, output, or what a training step leaves."""
    rest = {key: value for key, value in case.options.items() if key != option}
    without = Case(case.made, rest)
    try:
        before = _behaviour(without)
    except (SpecError, ValueError):  # the others are legal only together with it
        before = _behaviour(Case(case.made))
    after = _behaviour(case)
    if before.keys() != after.keys():
        return True
    return any(before[key].shape != after[key].shape or not torch.equal(before[key], after[key]) for key in before)


def _behaviour(case: Case) -> dict[str, torch.Tensor]:
    """Initial state, output in training, state after a step, and output in evaluation; the first and the second call,
    with dropouts, whose random numbers are the same each time."""
    with torch.random.fork_rng(devices=[]):
        module, x = case.built(case.slot(attn_drop=0.3, proj_drop=0.3)).double(), case.tokens().double()
        found = {f"initial {key}": value.clone() for key, value in module.state_dict().items()}
        torch.default_generator.manual_seed(0)
        found["training"] = module.train()(x)
        found["training"].square().sum().backward()
        found |= {f"later {key}": value.clone() for key, value in module.state_dict().items()}
        found |= {f"gradient {key}": each.grad for key, each in module.named_parameters() if each.grad is not None}
        found["evaluation"] = module.eval()(x)
    return {key: value.detach() for key, value in found.items()}
