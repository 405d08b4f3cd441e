"""Forms of the local kernel on attention maps, against sums over single entries written apart, with their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelzoo import ATTENTION, Slot, build_model, measure_cost
from modelzoo.attention.map_convolutions import RowColumnConvolution, SpatialConvolution, make_map_convolution
from modelzoo.attention.placebo import HeldConv2d
from modelzoo.attention.refiner import MapSharingAttention
from modelzoo.factory.other_size import model_at_size
from modelzoo.stacked import reason_not_stackable
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

GRID, MAPS, BATCH = (2, 3), 3, 2
FORMS = pytest.mark.parametrize("form", ["square", "spatial", "row_column"])
SIDES = pytest.mark.parametrize("side", [2, 3, 4, 5])
PREFIX = pytest.mark.parametrize("num_prefix", [0, 1, 2])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(form: str, side: int, num_prefix: int) -> nn.Module:
    module = make_map_convolution(form, MAPS, side, grid_size=GRID, num_prefix_tokens=num_prefix, dtype=torch.float64)
    for index, parameter in enumerate(module.parameters()):
        parameter.data = drawn(*parameter.shape, seed=index + 1)
    return module


def seen_keys(num_prefix: int, key: int, side: int):
    """Keys that a spatial kernel at a key sees, with their place in the kernel."""
    before = (side - 1) // 2
    if key < num_prefix:
        return [(key, before, before)]  # an image of one pixel
    row, column = divmod(key - num_prefix, GRID[1])
    places = [(row + a - before, column + b - before, a, b) for a in range(side) for b in range(side)]
    inside = [place for place in places if 0 <= place[0] < GRID[0] and 0 <= place[1] < GRID[1]]
    return [(num_prefix + i * GRID[1] + j, a, b) for i, j, a, b in inside]


def one_entry(form: str, kernels: list[torch.Tensor], maps: torch.Tensor, n: int, k: int, num_prefix: int):
    """Entry (n, k) of all convolved maps (B, M), as a sum over single entries."""
    total, size = torch.zeros(BATCH, MAPS, dtype=torch.float64), maps.shape[-1]
    if form == "spatial":
        for key, a, b in seen_keys(num_prefix, k, kernels[0].shape[-1]):
            total = total + kernels[0][:, 0, a, b] * maps[:, :, n, key]
    elif form == "square":
        side = kernels[0].shape[-1]
        for a in range(side):
            for b in range(side):
                row, column = n + a - (side - 1) // 2, k + b - (side - 1) // 2
                if 0 <= row < size and 0 <= column < size:
                    total = total + kernels[0][:, 0, a, b] * maps[:, :, row, column]
    else:
        along_rows, along_columns = kernels
        side = along_rows.shape[-1]
        for a in range(side):
            step = a - (side - 1) // 2
            if 0 <= k + step < size:
                total = total + along_rows[:, 0, 0, a] * maps[:, :, n, k + step]
            if 0 <= n + step < size:
                total = total + along_columns[:, 0, a, 0] * maps[:, :, n + step, k]
    return total


def by_entries(form: str, kernels: list[torch.Tensor], maps: torch.Tensor, num_prefix: int) -> torch.Tensor:
    size = maps.shape[-1]
    rows = [
        torch.stack([one_entry(form, kernels, maps, n, k, num_prefix) for k in range(size)], dim=-1)
        for n in range(size)
    ]
    return torch.stack(rows, dim=-2)


@FORMS
@SIDES
@PREFIX
def test_a_form_is_its_sum_over_entries_with_its_gradients(form, side, num_prefix):
    module = made(form, side, num_prefix)
    size = num_prefix + GRID[0] * GRID[1]
    maps, weight = drawn(BATCH, MAPS, size, size, seed=9).requires_grad_(), drawn(BATCH, MAPS, size, size, seed=10)
    found = module(maps)
    got = torch.autograd.grad((found * weight).sum(), [maps, *module.parameters()])
    kernels = [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]
    copy = maps.detach().clone().requires_grad_()
    want = by_entries(form, kernels, copy, num_prefix)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(got, torch.autograd.grad((want * weight).sum(), [copy, *kernels]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


OPTIONS = pytest.mark.parametrize(
    "options",
    [
        {"kernel_form": "spatial", "expansion": 1},
        {"kernel_form": "spatial", "expansion": 1.5, "kernel_size": 2, "identity": False},
        {"kernel_form": "row_column", "expansion": 2},
        {"kernel_form": "row_column", "expansion": 1, "kernel_size": 4, "reduction": False},
        {"kernel_form": "square", "linear": True, "identity": False},
        {"kernel_form": "square", "linear": True, "expansion": 1.5},
        {"kernel_form": "spatial", "linear": True, "expansion": 1, "reduction": False},
    ],
)
SLOT = Slot(dim=24, num_heads=4, grid_size=GRID, num_prefix_tokens=1, dtype=torch.float64)


def normalised(maps: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    if isinstance(norm, nn.Identity):  # `linear`
        return maps
    mean = maps.mean(dim=(0, 2, 3), keepdim=True)
    variance = (maps - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    shape = (1, -1, 1, 1)
    return (maps - mean) / (variance + 1e-5).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)


def refined(module, maps: torch.Tensor, form: str) -> torch.Tensor:
    """adapt_bn(DLA(maps)) in training, from the module's parameters and the sums above."""
    dla, incoming = module.DLA, maps
    is_linear = isinstance(module.adapt_bn, nn.Identity)
    assert is_linear == (not any(isinstance(part, nn.BatchNorm2d) for part in module.modules()))
    lowest, highest = (-torch.inf, torch.inf) if is_linear else (0, 6)
    if hasattr(dla, "conv_exp"):
        maps = torch.einsum("rm,bmnk->brnk", dla.conv_exp.weight[:, :, 0, 0], maps)
        maps = normalised(maps, dla.bn1).clamp(lowest, highest)
    size = maps.shape[-1]
    kernels = list(dla.depth_sep_conv.parameters())
    num_maps = maps.shape[1]
    entries = []
    for m in range(num_maps):  # the sums above are for MAPS maps at once; here each map is three times the same
        tripled = [kernel[m : m + 1].expand(MAPS, -1, -1, -1) for kernel in kernels]
        of_map = by_entries(form, tripled, maps[:, m : m + 1].expand(-1, MAPS, -1, -1), 1)
        entries.append(of_map[:, 0])
    maps = normalised(torch.stack(entries, dim=1), dla.bn2).clamp(lowest, highest)
    assert maps.shape[-1] == size
    if dla.reduces:
        maps = normalised(torch.einsum("rm,bmnk->brnk", dla.conv_pro.weight[:, :, 0, 0], maps), dla.bn3)
        maps = maps + incoming if dla.adds_identity else maps
    return normalised(maps, module.adapt_bn)


@OPTIONS
def test_refined_attention_with_each_form_and_its_gradients(options):
    torch.manual_seed(0)
    module, x = ATTENTION["refiner"](SLOT, **options).train(), drawn(BATCH, 7, 24, seed=3).requires_grad_()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bn" in name:
                parameter.add_(0.3 * drawn(*parameter.shape, seed=4) + (1.0 if name.endswith("bias") else 0.0))
    weight = drawn(BATCH, 7, 24, seed=5)
    found = module(x)
    got = torch.autograd.grad((found * weight).sum(), [x, *module.parameters()])

    q, k, v = (x @ module.qkv.weight.T + module.qkv.bias).chunk(3, dim=-1)
    heads = [each.reshape(BATCH, 7, 4, 6).transpose(1, 2) for each in (q, k)]
    maps = (heads[0] @ heads[1].transpose(2, 3) / 6**0.5).softmax(dim=-1)
    maps = refined(module, maps, options["kernel_form"])
    values = v.reshape(BATCH, 7, maps.shape[1], -1).transpose(1, 2)
    mixed = (maps @ values).transpose(1, 2).reshape(BATCH, 7, 24)
    want = mixed @ module.proj.weight.T + module.proj.bias
    torch.testing.assert_close(found, want, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(got, torch.autograd.grad((want * weight).sum(), [x, *module.parameters()]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


@OPTIONS
def test_shared_maps_are_refined_with_each_form(options):
    torch.manual_seed(0)
    module = MapSharingAttention(SLOT, **options).train()
    x, incoming = drawn(BATCH, 7, 24, seed=3), drawn(BATCH, 4, 7, 7, seed=6).softmax(dim=-1)
    maps = refined(module, incoming, options["kernel_form"]) / 6**0.5
    values = (x @ module.qkv.weight.T + module.qkv.bias).reshape(BATCH, 7, maps.shape[1], -1).transpose(1, 2)
    want = (maps @ values).transpose(1, 2).reshape(BATCH, 7, 24) @ module.proj.weight.T + module.proj.bias
    torch.testing.assert_close(module.attend(x, incoming)[0], want, rtol=1e-9, atol=1e-9)


def test_linear_maps_of_kernel_1_are_talking_heads():
    """Heads mixed after the softmax by a matrix, as Re-attention without norm and bias has it."""
    torch.manual_seed(0)
    options = {"linear": True, "expansion": 1, "kernel_size": 1, "identity": False}
    refiner = ATTENTION["refiner"](SLOT, **options)
    mixing = ATTENTION["reattention"](SLOT, norm="none", theta_bias=False)
    shared = {key: value for key, value in refiner.state_dict().items() if key.startswith(("qkv", "proj"))}
    scale = refiner.DLA.depth_sep_conv.weight[:, 0, 0, 0]
    theta = refiner.DLA.conv_pro.weight * scale.view(1, -1, 1, 1)
    mixing.load_state_dict({**shared, "reatten_matrix.weight": theta})
    x = drawn(BATCH, 7, 24, seed=3)
    torch.testing.assert_close(refiner(x), mixing(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["spatial", "row_column"])
@pytest.mark.parametrize("numerics", ["auto", "recompute"])
def test_kernels_of_maps_leave_other_forms_to_the_modules(form, numerics):
    """Bit for bit, with images enough for the kernels to be chosen, in training and in evaluation."""
    slot = Slot(dim=16, num_heads=4, grid_size=(14, 14), num_prefix_tokens=1)
    x = torch.randn(8, 197, 16, generator=torch.Generator().manual_seed(8))
    found = []
    for chosen in ("single", numerics):
        torch.manual_seed(9)
        module = ATTENTION["refiner"](slot, kernel_form=form)
        module.numerics = chosen
        trained = module.train()(x)
        with torch.no_grad():
            found.append((trained, module.eval()(x)))
    assert all(torch.equal(*each) for each in zip(*found, strict=True))


TINY = {"depth": 2, "embed_dim": 24, "num_heads": 4, "patch_size": 2}
REFINED = {
    "model": "refined_vit_small_patch16_224",
    **TINY,
    "img_size": [4, 6],
    "options": {"layout": ["refined", "sharing"], "dense_head": False, "mix_token": False},
}


def built(form: str | None, in_family: bool, **more):
    """Of images of 4 x 6 pixels, whose patches are 2 x 3."""
    given = {} if form is None else {"kernel_form": form}
    if in_family:
        fields = {**REFINED, "options": {**REFINED["options"], **given, **more}}
    else:
        fields = {**TINY, "attention": {"name": "refiner", **given, **more}}
    return ArchSpec.model_validate(fields)


@pytest.mark.parametrize("in_family", [False, True], ids=["vit", "refined_vit"])
@pytest.mark.parametrize(
    ("form", "kind", "shapes"),
    [
        ("spatial", SpatialConvolution, [(12, 1, 3, 3)]),
        ("row_column", RowColumnConvolution, [(12, 1, 1, 3), (12, 1, 3, 1)]),
    ],
)
def test_a_sweep_writes_the_form_in_both_kinds_of_host(in_family, form, kind, shapes):
    arch = built(form, in_family)
    model = build_model(arch, img_size=(4, 6), in_chans=3, num_classes=5)
    found = [part for part in model.modules() if isinstance(part, kind)]
    assert len(found) == 2
    assert all([tuple(each.shape) for each in part.parameters()] == shapes for part in found)
    if form == "spatial":
        assert {(part.grid_size, part.num_prefix_tokens) for part in found} == {((2, 3), 1)}
    assert model(torch.randn(2, 3, 4, 6)).isfinite().all()


@pytest.mark.parametrize(
    ("form", "of_maps"), [("square", 9 * 7 * 7), ("spatial", 9 * 7 * 6), ("row_column", 6 * 7 * 7)]
)
def test_multiply_accumulates_are_counted(form, of_maps):
    """Above the same model with kernels of 1, of 12 maps in each of two blocks."""
    cost, none = (
        measure_cost(built(kind, in_family=False, **more), img_size=(4, 6), in_chans=3, num_classes=5)
        for kind, more in ((form, {}), (None, {"kernel_size": 1}))
    )
    assert (cost.gmacs - none.gmacs) * 1e9 == pytest.approx(2 * 12 * (of_maps - 7 * 7))


@pytest.mark.parametrize("form", ["spatial", "row_column"])
def test_an_image_of_the_family_may_be_of_another_size_only_if_the_form_takes_it(form):
    arch = built(form, in_family=False)
    size = {"img_size": (4, 6), "in_chans": 3, "num_classes": 5}
    if form == "row_column":
        model_at_size(arch, (6, 4), **size)
        return
    for other in ((6, 4), (8, 8)):
        with pytest.raises(SpecError, match="cannot be evaluated at"):
            model_at_size(arch, other, **size)


@pytest.mark.parametrize("form", ["spatial", "row_column"])
def test_a_placebo_sees_no_neighbours_at_the_same_cost(form):
    torch.manual_seed(0)
    module = ATTENTION["refiner"](SLOT, kernel_form=form, placebo=True).eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.bias.fill_(3.0)  # between the ends of ReLU6
    assert all(isinstance(part, HeldConv2d) for part in module.DLA.modules() if isinstance(part, nn.Conv2d))
    maps = torch.rand(1, 4, 7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for key in (0, 5):  # of the prefix token and of a patch
        other = maps.clone()
        other[0, 1, 4, key] += 0.25
        with torch.no_grad():
            reached = (module.transform(maps) != module.transform(other))[0]
        assert reached.nonzero().tolist() == [[1, 4, key]]
    costs = [
        measure_cost(built(form, in_family=False, placebo=placebo), img_size=(4, 6), in_chans=3, num_classes=5)
        for placebo in (False, True)
    ]
    assert (costs[0].params_m, costs[0].gmacs) == (costs[1].params_m, costs[1].gmacs)


def test_other_forms_are_not_stacked_and_say_so():
    model = build_model(built("row_column", in_family=False), img_size=(4, 6), in_chans=3, num_classes=5)
    assert reason_not_stackable(model, batch_size=32, num_threads=1) == (
        "it has a layer that is not stacked: RowColumnConvolution (blocks.0.attn.DLA.depth_sep_conv)"
    )


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        ({"kernel_form": "spatial", "kernel_size": 1}, {}, "a kernel of 1 sees no neighbours"),
        ({"kernel_form": "spatial"}, {"options": {"dynamic_img_size": True}}, "needs every patch of a fixed grid"),
        (
            {"kernel_form": "spatial"},
            {"model": "pvt_v2_b0", "depth": None, "embed_dim": None, "num_heads": None, "patch_size": None},
            "kernel_form=spatial takes the keys as an image, but here they are no fixed grid of patches",
        ),
    ],
)
def test_forms_that_do_not_fit_are_refused(options, fields, message):
    arch = ArchSpec.model_validate({**TINY, **fields, "attention": {"name": "refiner", **options}})
    with torch.device("meta"), pytest.raises(SpecError, match=message):
        build_model(arch, img_size=32, in_chans=3, num_classes=5)


def test_an_unknown_form_of_the_family_names_those_that_there_are():
    with torch.device("meta"), pytest.raises(SpecError, match="unknown kernel_form 'cross'"):
        build_model(built("cross", in_family=True), img_size=(4, 6), in_chans=3, num_classes=5)


def test_maps_over_other_tokens_are_refused():
    with pytest.raises(ValueError, match="built for 1 prefix tokens and a 2x3 grid, but got maps over 9 keys"):
        ATTENTION["refiner"](SLOT, kernel_form="spatial")(drawn(1, 9, 24))
