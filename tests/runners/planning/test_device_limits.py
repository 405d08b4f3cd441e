"""What a device cannot do is refused with the plan, before a trial fails of it."""

from __future__ import annotations

import pytest

from runners.planning.plan import make_plan
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


def planned(*, amp="auto", space="train.lr: [0.01]", gpus=0):
    text = SWEEP.replace("AMP", amp).replace("SPACE", space).replace("GPUS", str(gpus))
    return [variant.name for variant in make_plan(load_sweep_text(text)).variants]


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
