"""Contract of attention mechanisms, tested for every mechanism of the table."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch

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
    ],
    "refiner": [
        {"identity": False, "expansion": 1.5, "kernel_size": 2},
        {"reduction": False, "expansion": 2},
    ],
    "groupmix": [
        {"aggregator": "maxpool", "kernel_sizes": (3, 2, 4)},
        {"aggregator": "avgpool", "crpe": False},
        {"identity_segment": False, "num_segments": 5, "position_windows": (5, 2)},
        {"local_branch": False, "kernel_sizes": (1, 3, 3, 5)},
        {"token_ensemble": False, "local_kernel_size": 5},
        {"head_layout": "straddle"},
        {"kernel_sizes": (), "local_branch": True},
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
def test_every_option_is_tested_with_a_non_default_value(name):
    fields = set(ATTENTION_SPECS[name].model_fields) - {"name", "blocks"} - ATTENTION[name].layout
    assert {option for options in OPTIONS.get(name, []) for option in options} == fields


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_the_search_space(name):
    options = keyword_only(name)
    for field_name, field in ATTENTION_SPECS[name].model_fields.items():
        if field_name not in {"name", "blocks"} | ATTENTION[name].layout:
            assert options[field_name].default == field.get_default()


@for_every_case
@pytest.mark.parametrize("num_prefix", [0, 1, 2])
@pytest.mark.parametrize("grid", [(2, 3), (3, 3), (1, 4)])
def test_output_has_the_shape_and_dtype_of_the_input(name, options, num_prefix, grid):
    slot = Slot(dim=40, num_heads=4, grid_size=grid, num_prefix_tokens=num_prefix)
    x = tokens(slot=slot)
    y = attention(name, slot, options=options)(x)
    assert y.shape == x.shape
    assert y.isfinite().all()


@for_every_case
def test_one_image_does_not_see_another(name, options):
    """A change of image 1 must not change the output of image 0."""
    module, x = attention(name, options=options).eval(), tokens(2)
    before = module(x)
    x[1] = 100.0
    after = module(x)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=1e-6)
    assert not torch.allclose(after[1], before[1])


@for_every_case
def test_every_token_sees_every_other(name, options):
    """This includes attention of the prefix to the patches, and of the patches to the prefix."""
    module, x = attention(name, options=options).double().eval(), tokens(1).double()
    for changed in range(x.shape[1]):
        other = x.clone()
        other[0, changed] += 1.0
        moved = (module(other) - module(x)).abs().amax(dim=-1)[0]
        assert (moved > 1e-12).all()


@for_every_case
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_gradient_reaches_every_parameter(name, options, training):
    module, x = attention(name, options=options).double().train(training), tokens().double().requires_grad_()
    (module(x) * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    silent = [key for key, p in module.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []


@for_every_case
def test_double_precision_agrees_with_single(name, options):
    module, x = attention(name, options=options).eval(), tokens()
    single = module(x)
    torch.testing.assert_close(copy.deepcopy(module).double()(x.double()).float(), single, rtol=1e-4, atol=1e-5)


@for_every_case
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_runs_under_autocast(name, options, training):
    module, x = attention(name, options=options).train(training), tokens()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert y.isfinite().all()
    y.float().sum().backward()


@for_every_case
def test_state_makes_the_module(name, options):
    first, second, x = attention(name, seed=0, options=options), attention(name, seed=1, options=options), tokens()
    first(x)  # changes the running statistics from their initial values
    second.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(second.eval()(x), first.eval()(x), rtol=0, atol=0)


@for_every_case
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_duplicates_compute_the_same(name, options, duplicate):
    module, x = attention(name, options=options).eval(), tokens()
    torch.testing.assert_close(duplicate(module)(x), module(x), rtol=0, atol=0)


@for_every_case
def test_evaluation_repeats_itself(name, options):
    slot = Slot(dim=40, num_heads=4, grid_size=(2, 3), num_prefix_tokens=1, attn_drop=0.5, proj_drop=0.5)
    module, x = attention(name, slot, options=options).eval(), tokens()
    torch.testing.assert_close(module(x), module(x), rtol=0, atol=0)


@for_every_case
@pytest.mark.parametrize("which", ["attn_drop", "proj_drop"])
def test_dropouts_act_in_training(name, options, which):
    slot = Slot(dim=40, num_heads=4, grid_size=(2, 3), num_prefix_tokens=1, **{which: 0.5})
    module, x = attention(name, slot, options=options).train(), tokens()
    assert not torch.allclose(module(x), module(x))


@for_every_case
def test_without_dropout_training_repeats_itself(name, options):
    module, x = attention(name, options=options).train(), tokens()
    torch.testing.assert_close(module(x), module(x), rtol=0, atol=0)


@for_every_case
def test_attend_gives_the_tokens_of_forward(name, options):
    module, x = attention(name, options=options).eval(), tokens()
    together, handed_on = module.attend(x)
    torch.testing.assert_close(together, module(x), rtol=1e-5, atol=1e-6)
    assert handed_on is None or handed_on.shape[-2:] == (x.shape[1], x.shape[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bias", [False, True])
def test_biases_follow_the_slot(name, bias):
    slot = Slot(dim=40, num_heads=4, grid_size=(2, 3), num_prefix_tokens=1, qkv_bias=bias, proj_bias=bias)
    keys = set(attention(name, slot).state_dict())
    assert ({"qkv.bias", "proj.bias"} <= keys) is bias


@for_every_case
def test_meta_device_gives_shapes_without_memory(name, options):
    with torch.device("meta"):
        module = ATTENTION[name](SLOT, **options)
        y = module(torch.empty(3, 7, 40))
    assert y.shape == (3, 7, 40)
    assert all(tensor.is_meta for tensor in [y, *module.parameters(), *module.buffers()])


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
