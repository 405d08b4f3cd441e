"""The mechanisms of the table agree with their specs, and pass what authors of plug-ins test theirs with."""

from __future__ import annotations

import inspect

import pytest
import torch

from archsweep.testing.attention import CONDITIONS, Case
from archsweep.testing.attention_options import check_options
from modelzoo import ATTENTION, Slot, TokenAttention, build_model
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.trial import ArchSpec

SLOT = Slot(dim=40, num_heads=4, grid_size=(2, 3), num_prefix_tokens=1)
NAMES = sorted(ATTENTION)
# Every option has a non-default value at least once, with sizes that fit 40 channels and 4 heads.
OPTIONS = {
    "reattention": [
        {"theta_bias": False, "norm": "none"},
        {"theta_init": "identity", "norm": "layer"},
        {"norm_momentum": 0.5, "transform_scale": True},
        {"placebo": True},
    ],
    "refiner": [
        {"identity": False, "expansion": 1.5, "kernel_size": 2},
        {"reduction": False, "expansion": 2},
        {"kernel_form": "spatial", "kernel_size": 2},
        {"kernel_form": "row_column"},
        {"linear": True},
        {"placebo": True},
    ],
    "groupmix": [
        {"aggregator": "maxpool", "kernel_sizes": (3, 2, 4)},
        {"aggregator": "avgpool", "crpe": False},
        {"identity_segment": False, "num_segments": 5, "position_windows": (5, 2)},
        {"local_branch": False, "kernel_sizes": (1, 3, 3, 5)},
        {"token_ensemble": False, "local_kernel_size": 5},
        {"head_layout": "straddle"},
        {"kernel_sizes": ()},
        {"placebo": True},
    ],
}
CASES = [pytest.param(name, {}, id=name) for name in NAMES] + [
    pytest.param(name, options, id=f"{name}-{'-'.join(options)}")
    for name, variants in OPTIONS.items()
    for options in variants
]
for_every_case = pytest.mark.parametrize(("name", "options"), CASES)


def attention(name: str, slot: Slot = SLOT, seed: int = 0, options: dict | None = None) -> TokenAttention:
    torch.manual_seed(seed)
    return ATTENTION[name](slot, **(options or {}))


def tokens(batch: int = 3, slot: Slot = SLOT) -> torch.Tensor:
    assert slot.grid_size is not None
    num_tokens = slot.num_prefix_tokens + slot.grid_size[0] * slot.grid_size[1]
    return torch.randn(batch, num_tokens, slot.dim, generator=torch.Generator().manual_seed(1))


def keyword_only(name: str) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(ATTENTION[name].__init__).parameters
    return {key: value for key, value in parameters.items() if value.kind is inspect.Parameter.KEYWORD_ONLY}


def test_table_has_the_mechanisms_of_the_search_space():
    assert set(ATTENTION) == set(ATTENTION_SPECS)


@pytest.mark.parametrize("name", NAMES)
def test_each_mechanism_is_in_the_file_of_its_name(name):
    assert ATTENTION[name].__module__ == f"modelzoo.attention.{name}"


@pytest.mark.parametrize("name", NAMES)
def test_options_are_those_a_sweep_can_write(name):
    """`name` selects the mechanism, `blocks` its sites, and the fields of `layout` connect these; every other field is
    an option of the constructor."""
    fields = set(ATTENTION_SPECS[name].model_fields) - {"name", "blocks"}
    assert ATTENTION[name].layout <= fields
    fields -= ATTENTION[name].layout
    assert set(keyword_only(name)) == fields | ATTENTION[name].unswept
    assert not fields & ATTENTION[name].unswept


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_search_space(name):
    options = keyword_only(name)
    for field_name, field in ATTENTION_SPECS[name].model_fields.items():
        if field_name not in {"name", "blocks"} | ATTENTION[name].layout:
            assert options[field_name].default == field.get_default()


@for_every_case
@pytest.mark.parametrize("condition", sorted(CONDITIONS))
def test_mechanism(name, options, condition):
    CONDITIONS[condition](Case(ATTENTION[name], options))


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_tried_and_acts(name):
    check_options(ATTENTION[name], OPTIONS.get(name, []))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"softmax"}))
def test_masks_are_refused(name):
    with pytest.raises(ValueError, match="does not support an attention mask; only softmax attention does"):
        attention(name)(tokens(), is_causal=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("class_token", [False, True])
def test_works_inside_a_vit(name, class_token):
    arch = ArchSpec.model_validate(
        {
            "depth": 2,
            "embed_dim": 40,
            "num_heads": 4,
            "patch_size": 2,
            "class_token": class_token,
            "attention": name,
        }
    )
    model = build_model(arch, img_size=(4, 6), in_chans=3, num_classes=5, seed=0)
    assert [type(block.attn) for block in model.blocks] == [ATTENTION[name]] * 2
    logits = model(torch.randn(3, 3, 4, 6))
    logits.sum().backward()
    assert logits.shape == (3, 5)


def test_groupmix_refuses_another_number_of_tokens():
    with pytest.raises(ValueError, match="tokens") as caught:
        attention("groupmix")(torch.zeros(1, 9, 40))
    assert str(caught.value) == (
        "Group-Mix attention was built for 1 prefix tokens and a 2x3 grid, 7 tokens in total, but got 9; "
        "build the model for the size of its images"
    )


def test_groupmix_takes_another_grid_at_a_call():
    """As in pyramids: one module for feature maps of any size."""
    module = attention("groupmix", Slot(dim=40, num_heads=4)).eval()
    wide, _ = module.attend(torch.zeros(1, 8, 40), grid_size=(2, 4))
    assert wide.shape == (1, 8, 40)
    with pytest.raises(ValueError, match=r"pass grid_size=\(height, width\)"):
        module(torch.zeros(1, 8, 40))


def test_groupmix_statistics_do_not_include_the_prefix():
    """In training, the running statistics after a step are those of the patches only."""
    slots = [Slot(dim=40, num_heads=4, grid_size=(2, 3), num_prefix_tokens=p) for p in (0, 2)]
    plain, prefixed = (attention("groupmix", slot).train() for slot in slots)
    patches = tokens(slot=slots[0])
    plain(patches)
    prefixed(torch.cat([torch.full((3, 2, 40), 50.0), patches], dim=1))
    for (key, want), got in zip(plain.named_buffers(), prefixed.buffers(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6, msg=key)
