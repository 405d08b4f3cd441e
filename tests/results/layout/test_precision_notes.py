"""Caption and footnotes say what trials were computed with: precision, repeatability, mixed devices."""

from __future__ import annotations

import pytest

from results import ablation_table
from results.layout.caption import caption
from results.layout.footnotes import footnotes

GPU = {"device": "NVIDIA H200", "precision": "bfloat16"}
CPU = {"device": "cpu", "precision": "float32"}
ROUNDED = "bfloat16; attention maps that a mechanism transforms in float32."


@pytest.fixture
def table(plan, planned, record):
    def build(baseline, wide, train=None):
        places = {"baseline": baseline, "wide": wide}
        records = [
            record(name, seed, 90.0 + seed, train_seconds=60.0, spec={"seed": seed, "train": train or {}}, **where)
            for name, where in places.items()
            for seed in range(3)
        ]
        return ablation_table(plan(planned("baseline", is_baseline=True), planned("wide")), records)

    return build


def compute(table) -> list[str]:
    sentences = [sentence.text for sentence in caption(table)]
    return sentences[next(index for index, text in enumerate(sentences) if text.startswith("Compute")) :]


def mixed(table) -> list[str]:
    return [note for note in footnotes(table) if note.startswith("Mixed")]


def test_float32_on_a_cpu_needs_no_word(table):
    found = table(CPU, CPU)
    assert compute(found) == ["Compute: 0.1 h of optimisation in all (6 trials), on cpu."]
    assert mixed(found) == []


def test_precision_and_repeatability_on_a_gpu(table):
    free = "Kernels of a GPU could add in any order (deterministic: false), so a seed repeats to rounding only."
    start = "Compute: 0.1 h of optimisation in all (6 trials), on NVIDIA H200, in "
    assert compute(table(GPU, GPU)) == [start + ROUNDED, free]
    assert compute(table(GPU, GPU, {"deterministic": True})) == [start + ROUNDED]
    assert compute(table(GPU, GPU, {"map_precision": "as_amp", "deterministic": True})) == [f"{start}bfloat16."]
    assert mixed(table(GPU, GPU)) == []


def test_a_comparison_across_devices_says_so(table):
    assert mixed(table(GPU, CPU)) == [
        "Mixed: 3 trials on NVIDIA H200 in bfloat16; 3 trials on cpu in float32. Their differences may be differences "
        "of device or precision."
    ]
    # An archsweep before this one recorded no precision.
    assert mixed(table({"device": "NVIDIA A100"}, GPU))[0].startswith("Mixed: 3 trials on NVIDIA A100; 3 trials on")
    unknown = {"device": "NVIDIA H200"}
    assert mixed(table(unknown, GPU))[0].startswith(
        "Mixed: 3 trials on NVIDIA H200; 3 trials on NVIDIA H200 in bfloat16."
    )
    assert compute(table(unknown, GPU))[0].endswith("on NVIDIA H200, in bfloat16.")
    assert compute(table(GPU, CPU))[0].endswith(f"on NVIDIA H200, cpu, in bfloat16 and float32{ROUNDED[8:]}")


def test_the_caption_says_which_trials_trained_fused(table):
    fused = {**CPU, "numerics": "fused"}
    assert compute(table(fused, fused))[1:] == [
        "All trials trained fused, as one stacked model with others of their shape."
    ]
    assert compute(table(CPU, fused))[1:] == [
        "3 of 6 trials trained fused, as one stacked model with others of their shape."
    ]
