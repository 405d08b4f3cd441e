"""Placebos have the parameters and the cost of their mechanism, and nothing of what it does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo import ATTENTION, Slot, build_model, measure_cost
from modelzoo.attention.distributed_local_attention import DistributedLocalAttention
from modelzoo.attention.placebo import HeldConv2d, moved, owners
from search_space import ArchSpec, SpecError

SLOT = Slot(dim=40, num_heads=4, grid_size=(3, 3), num_prefix_tokens=0)
OF_MAPS = {
    "reattention": [{}, {"norm": "none"}, {"theta_init": "identity", "theta_bias": False}],
    "refiner": [{}, {"expansion": 1}, {"expansion": 1.5, "kernel_size": 2}, {"identity": False, "kernel_size": 5}],
}
MAPS = [pytest.param(name, options, id=f"{name}-{options}") for name, each in OF_MAPS.items() for options in each]
EVERY = [*MAPS, pytest.param("refiner", {"reduction": False, "expansion": 2}), pytest.param("groupmix", {})]
EVERY += [pytest.param("groupmix", {"kernel_sizes": (2, 3, 2), "position_windows": (4, 5)})]


def made(name: str, options: dict, *, placebo: bool):
    """In evaluation, so that norms act on each entry by itself, and with weights that no activation cuts off: norms
    give numbers about 3, between the ends of ReLU6."""
    torch.manual_seed(0)
    module = ATTENTION[name](SLOT, placebo=placebo, **options).eval().double()
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        is_norm = isinstance(part, nn.BatchNorm2d)
        for key, parameter in part.named_parameters(recurse=False):
            drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) - 0.5
            parameter.data = 3 + drawn if is_norm and key == "bias" else drawn / 4
    return module


def changed_entries(module, num_heads: int = 4) -> torch.Tensor:
    """Which entries of the maps (heads, queries, keys) change where one entry of head 1 does."""
    maps = torch.rand(1, num_heads, 9, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    other = maps.clone()
    other[0, 1, 4, 5] += 0.25
    with torch.no_grad():
        return (module.transform(maps) != module.transform(other))[0]


@pytest.mark.parametrize(("name", "options"), MAPS)
def test_an_entry_of_a_map_reaches_no_other_entry(name, options):
    """Of the mechanism it reaches other heads, or neighbours."""
    reached = changed_entries(made(name, options, placebo=True))
    assert reached[1, 4, 5]
    assert reached.sum() == 1
    assert changed_entries(made(name, options, placebo=False)).sum() > 1


def test_unreduced_maps_are_those_of_their_own_head():
    """Expanded from 4 heads to 8 maps, of which 2 and 3 are head 1's."""
    reached = changed_entries(made("refiner", {"reduction": False, "expansion": 2}, placebo=True))
    assert reached.any(dim=(1, 2)).tolist() == [False, False, True, True, False, False, False, False]
    assert reached[2:4].sum(dim=0).nonzero().tolist() == [[4, 5]]


@pytest.mark.parametrize("options", [{}, {"kernel_sizes": (2, 3, 2), "position_windows": (4, 5)}])
def test_tokens_of_group_mix_are_a_set(options):
    """Without neighbours a permutation of the tokens permutes the output and does nothing else."""
    x = torch.randn(2, 9, 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        for placebo in (True, False):
            module = made("groupmix", options, placebo=placebo)
            is_equal = torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-12)
            assert is_equal == placebo


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_every_parameter_of_the_mechanism_is_there_and_is_trained(name, options):
    """Also in the same shapes; every one has a gradient, so none is idle weight."""
    real, fake = made(name, options, placebo=False), made(name, options, placebo=True)
    assert sorted(map(tuple, (p.shape for p in real.parameters()))) == sorted(
        map(tuple, (p.shape for p in fake.parameters()))
    )
    x = torch.randn(2, 9, 40, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    fake(x).square().sum().backward()
    for key, parameter in fake.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key
    for part in fake.modules():
        assert not isinstance(part, HeldConv2d) or (part.weight.grad != 0).all()


@pytest.mark.parametrize("name", ["reattention", "refiner", "groupmix"])
def test_a_model_of_the_placebo_costs_the_same(name):
    shape = {"img_size": 8, "in_chans": 1, "num_classes": 10}
    costs = [
        measure_cost(
            ArchSpec.model_validate(
                {"depth": 2, "embed_dim": 40, "num_heads": 4, "patch_size": 2}
                | {"attention": {"name": name, "placebo": placebo}}
            ),
            **shape,
        )
        for placebo in (False, True)
    ]
    assert (costs[0].params_m, costs[0].gmacs) == (costs[1].params_m, costs[1].gmacs)


def test_a_weight_is_moved_to_where_it_may_be_by_hand():
    """Two outputs of three inputs, of which the first may see two: 3 / 2 to each; the second one: 4 + 6 to it."""
    kept = torch.tensor([[True, True, False], [False, True, False]])[:, :, None, None]
    weight = torch.tensor([[1.0, 2, 3], [4, 5, 6]])[:, :, None, None]
    assert moved(weight, kept)[:, :, 0, 0].tolist() == [[2.5, 3.5, 0], [0, 15, 0]]


@pytest.mark.parametrize("name", ["reattention", "refiner", "groupmix"])
def test_equal_seeds_give_the_placebo_the_weights_of_the_mechanism(name):
    """And leave the generator where it was: what is drawn next is the same."""
    drawn = []
    for placebo in (False, True):
        torch.manual_seed(7)
        module = ATTENTION[name](SLOT, placebo=placebo)
        drawn.append((module.state_dict(), torch.rand(1)))
    (real, next_real), (fake, next_fake) = drawn
    assert real.keys() == fake.keys()
    assert all(torch.equal(real[key], fake[key]) for key in real)
    assert torch.equal(next_real, next_fake)


@pytest.mark.parametrize("numerics", ["auto", "recompute"])
@pytest.mark.parametrize("name", ["reattention", "refiner"])
def test_kernels_of_maps_do_not_take_the_placebo_for_its_mechanism(name, numerics):
    """Their training step is that of the modules; of images enough for the kernels to be chosen."""
    slot = Slot(dim=16, num_heads=4, grid_size=(14, 14), num_prefix_tokens=0)
    x = torch.randn(8, 196, 16, generator=torch.Generator().manual_seed(8))
    found = []
    for chosen in ("single", numerics):
        torch.manual_seed(9)
        module = ATTENTION[name](slot, placebo=True).train()
        module.numerics = chosen
        found.append(module(x))
    assert torch.equal(*found)


def test_expanded_maps_belong_to_heads_as_evenly_as_possible():
    assert owners(12, 4) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert owners(6, 4) == [0, 0, 1, 2, 2, 3]
    assert owners(4, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("reattention", {"norm": "layer"}, "norm: no placebo has this option: a norm over the heads mixes their maps"),
        ("refiner", {"expansion": 0.5}, "expansion: no placebo has this option: 2 expanded maps of 4 heads each mix"),
        ("groupmix", {"aggregator": "maxpool"}, "aggregator: no placebo has this option: a pooling has no weights"),
    ],
)
def test_options_that_would_keep_a_part_of_the_mechanism_are_refused(name, options, message):
    with pytest.raises(SpecError, match=message):
        ATTENTION[name](SLOT, placebo=True, **options)


@pytest.mark.parametrize("name", ["reattention", "refiner", "groupmix"])
def test_a_model_of_the_placebo_is_copied_and_saved(name):
    """Checkpoints and averaged weights are copies."""
    import copy

    sizes = {"depth": 2, "embed_dim": 40, "num_heads": 4, "patch_size": 2}
    arch = {**sizes, "attention": {"name": name, "placebo": True}}
    model = build_model(ArchSpec.model_validate(arch), img_size=8, in_chans=1, num_classes=10).eval()
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(6))
    other = copy.deepcopy(model)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(image), other(image))


@pytest.mark.parametrize("layout", [{"sharing": "alternate"}, {"residual_map": True}])
def test_blocks_that_pass_maps_on_have_the_placebo_as_well(layout):
    """Of refining and of sharing blocks every convolution of maps is held."""
    attention = {"name": "refiner", "placebo": True, **layout}
    sizes = {"depth": 2, "embed_dim": 40, "num_heads": 4, "patch_size": 2}
    arch = ArchSpec.model_validate({**sizes, "attention": attention})
    model = build_model(arch, img_size=8, in_chans=1, num_classes=10)
    refinements = [part for part in model.modules() if isinstance(part, DistributedLocalAttention)]
    assert len(refinements) == (1 if "sharing" in layout else 2)
    for each in refinements:
        assert all(isinstance(part, HeldConv2d) for part in each.modules() if isinstance(part, nn.Conv2d))


@pytest.mark.parametrize(
    ("num_heads", "attention", "why"),
    [
        (1, {"name": "reattention"}, "one head has none to exchange its map with"),
        (1, {"name": "refiner", "kernel_size": 1}, "its kernels reach no neighbour, and heads are not mixed"),
        (1, {"name": "refiner", "kernel_size": 1, "sharing": "alternate"}, "its kernels reach no neighbour"),
        (4, {"name": "groupmix", "kernel_sizes": [1], "local_branch": False, "crpe": False}, "no kernel of these"),
    ],
)
def test_a_placebo_that_would_be_the_mechanism_is_refused(num_heads, attention, why):
    sizes = {"depth": 2, "embed_dim": 40, "num_heads": num_heads, "patch_size": 2}
    shape = {"img_size": 8, "in_chans": 1, "num_classes": 10}
    build_model(ArchSpec.model_validate({**sizes, "attention": attention}), **shape)
    with pytest.raises(SpecError, match=f"arch.attention.placebo: the placebo would be the mechanism itself: {why}"):
        build_model(ArchSpec.model_validate({**sizes, "attention": {**attention, "placebo": True}}), **shape)


def test_stages_of_one_head_leave_the_placebo_to_the_others():
    arch = ArchSpec.model_validate({"model": "pvt_v2_b0", "attention": {"name": "reattention", "placebo": True}})
    build_model(arch, img_size=64, in_chans=3, num_classes=10)
