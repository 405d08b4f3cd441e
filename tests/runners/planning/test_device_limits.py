"""What a device cannot do is refused with the plan, before a trial fails of it."""

from __future__ import annotations

import pytest

from runners.planning.make_plan import make_plan
from search_space import SpecError, load_sweep_text

SWEEP = """
name: limits
baseline:
  arch: {model: vit, depth: 1, embed_dim: 8, num_heads: 2, patch_size: 4, mlp_ratio: 1}
  train: {epochs: 1, amp: AMP}
space: {SPACE}
design: one_factor
seeds: 1
resources: {gpus: GPUS}
"""
HINT = "write auto, bfloat16 or off, or give the trials a GPU (--gpus-per-trial 1)"


def planned(*, amp="auto", space="train.lr: [0.01]", gpus: object = 0, say=lambda text: None):
    text = SWEEP.replace("AMP", amp).replace("SPACE", space).replace("GPUS", str(gpus))
    return [variant.name for variant in make_plan(load_sweep_text(text), say=say).variants]


@pytest.mark.parametrize("amp", ["tf32", "float16"])
def test_a_precision_of_gpus_needs_one(amp):
    with pytest.raises(SpecError) as caught:
        planned(amp=amp)
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == (f"{amp!r} needs a GPU, but the trial runs on 'cpu'", HINT)
    assert problem.where.endswith(":5:27")
    assert planned(amp=amp, gpus=1) == ["baseline", "lr=0.01"]


def test_a_precision_of_gpus_as_a_value_of_the_space_needs_one():
    with pytest.raises(SpecError) as caught:
        planned(space="train.amp: [bfloat16, tf32, float16]")
    assert [problem.message for problem in caught.value.problems] == [
        "'tf32' needs a GPU, but the trial runs on 'cpu'",
        "'float16' needs a GPU, but the trial runs on 'cpu'",
    ]
    assert {problem.where.split(":")[1] for problem in caught.value.problems} == {"6"}
    assert planned(space="train.amp: [bfloat16]") == ["baseline", "amp=bfloat16"]


SEARCH = "search: {sampler: random, num_trials: 4}\n"


def test_a_search_over_a_precision_of_gpus_is_refused_before_its_first_trial():
    text = SWEEP.replace("one_factor", "search").replace("AMP", "auto").replace("GPUS", "0") + SEARCH
    with pytest.raises(SpecError) as caught:
        make_plan(load_sweep_text(text.replace("SPACE", "train.amp: [auto, tf32]")))
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == ("'tf32' needs a GPU, but the trial runs on 'cpu'", HINT)
    assert problem.where.endswith(":6:27")


def test_so_is_the_tuning_of_every_variant():
    text = SWEEP.replace("AMP", "auto").replace("SPACE", "train.lr: [0.01]").replace("GPUS", "0")
    text = text.replace("baseline:\n", "baseline:\n  task: {dataset: builtin/digits, val_fraction: 0.1}\n")
    text += "retune: {parameters: {train.amp: [auto, float16]}, num_trials: 2, seeds: [9]}\n"
    with pytest.raises(SpecError, match="'float16' needs a GPU, but the trial runs on 'cpu'"):
        make_plan(load_sweep_text(text))


def test_a_rule_may_give_such_trials_a_gpu():
    resources = "{gpus: 0, per_variant: [{where: \"train.amp == 'tf32'\", gpus: 1}]}"
    text = SWEEP.replace("resources: {gpus: GPUS}", f"resources: {resources}").replace("AMP", "auto")
    plan = make_plan(load_sweep_text(text.replace("SPACE", "train.amp: [auto, tf32]")))
    assert [variant.name for variant in plan.variants] == ["baseline", "amp=tf32"]


def test_two_names_of_one_precision_are_said_to_give_equal_rows():
    said: list[str] = []
    planned(space="train.amp: [auto, 'off', bfloat16]", say=said.append)
    assert said == [
        "warning: 'baseline' (train.amp: auto) and 'amp=off' (train.amp: off) are both float32 on 'cpu': "
        "their rows will be equal"
    ]
    said.clear()
    planned(space="train.amp: [auto, 'off', bfloat16]", gpus=1, say=said.append)
    assert [text.partition(" are both ")[2] for text in said] == ["bfloat16 on 'cuda': their rows will be equal"]
