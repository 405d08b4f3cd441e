"""`map_precision: as_amp` is refused where nothing is rounded, and `recompute_maps` beside what forbids it."""

from __future__ import annotations

import pytest

from search_space.schema.trial import Setting
from search_space.settings.training_relations import broken_relations

LEFT = {"map_precision": "as_amp"}


def messages(arch, train) -> list[str]:
    found = broken_relations(Setting.model_validate({"arch": arch, "train": train}))
    return [broken.message for broken in found if broken.path == "train.map_precision"]


@pytest.mark.parametrize("arch", [{"attention": "refiner"}, {"model": "refined_vit_small_patch16_224"}])
@pytest.mark.parametrize("amp", ["auto", "bfloat16", "float16", "tf32"])
def test_maps_may_be_left_to_whatever_rounds(arch, amp):
    assert messages(arch, {"amp": amp, **LEFT}) == []


def test_nothing_is_rounded_in_float32():
    assert messages({"attention": "reattention"}, {"amp": "off", **LEFT}) == [
        "`amp: off` rounds nothing, so map_precision=as_amp would have no effect"
    ]


@pytest.mark.parametrize("attention", ["softmax", "groupmix"])
def test_attention_without_such_maps_is_trained_beside_mechanisms_that_have_them(attention):
    assert messages({"attention": attention}, LEFT) == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"numerics": "single"}, "`numerics: single` keeps the order of operations of earlier versions"),
        ({"amp": "bfloat16", **LEFT}, "maps that are recomputed are in float32"),
    ],
)
def test_maps_are_not_recomputed_beside_what_forbids_it(other, message):
    arch = {"attention": "refiner"}
    found, allowed = (
        broken_relations(Setting.model_validate({"arch": arch, "train": {"recompute_maps": recompute, **other}}))
        for recompute in (True, False)
    )
    (only,) = found
    assert (only.path, allowed) == ("train.recompute_maps", [])
    assert only.message.startswith(message)
