"""Feature maps and symbolic traces as of timm's own models.

Every name of the zoo is built at a small size; the default run has one of each kind, `slow` the others.
"""

from __future__ import annotations

import pytest
import torch
from timm.models import create_feature_extractor, get_graph_node_names, get_notrace_functions, get_notrace_modules
from torchvision.models.feature_extraction import NodePathTracer

SLOW = pytest.mark.slow


def traced(model, tracer="timm"):
    """Graph of a model: of torch's own tracer, or of the one that timm's feature extractors use."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9):
        pytest.skip("torch 2.8 refuses the proxies of a trace in its own functions: scaled_dot_product_attention, cat")
    if tracer == "torch":
        return torch.fx.symbolic_trace(model)
    leaves = {"leaf_modules": get_notrace_modules(), "autowrap_functions": get_notrace_functions()}
    return torch.fx.GraphModule(model, NodePathTracer(**leaves).trace(model))


def as_map(output, like):
    """Output of a module as a map (B, C, H, W): of tokens after a class token, of (B, H, W, C), or as it is."""
    if output.ndim == 3:
        return output[:, 1:].transpose(1, 2).reshape(like.shape)
    return output if output.shape[1] == like.shape[1] else output.permute(0, 3, 1, 2)


def expected_maps(model, images):
    with torch.no_grad():
        return model.forward_intermediates(images, intermediates_only=True)


@pytest.mark.parametrize(
    "feature_cls", ["default", "hook", *(pytest.param(way, marks=SLOW) for way in ("getter", "fx"))]
)
@pytest.mark.zoo
def test_maps_are_the_same_whichever_way_timm_takes_them(small_model, small_images, name, feature_cls):
    """Symptom: hooks gave RegionViT's regional maps as local ones, and none of GroupMixFormer."""
    images, indices = small_images(name), (0, 1, 2, 3)
    if feature_cls == "fx" and name.startswith("refined_vit_"):
        pytest.skip("a block is one node of the graph, whose value is a pair of tokens and map")
    way = {} if feature_cls == "default" else {"feature_cls": feature_cls}
    # Without stochastic depth, whose warning about two graphs is timm's Swin's too.
    extractor = small_model(name, features_only=True, out_indices=indices, drop_path_rate=0.0, **way).eval()
    expected = expected_maps(small_model(name).eval(), images)
    with torch.no_grad():
        maps = extractor(images)
    assert len(maps) == len(expected) == 4
    info = extractor.feature_info
    for output, want, channels, reduction in zip(maps, expected, info.channels(), info.reduction(), strict=True):
        got = as_map(output, want)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
        assert got.shape == (2, channels, images.shape[2] // reduction, images.shape[3] // reduction)


@pytest.mark.parametrize("feature_cls", ["getter", "hook"])
@pytest.mark.zoo
def test_some_maps_in_the_order_of_the_network(small_model, small_images, name, feature_cls):
    images = small_images(name)
    extractor = small_model(name, features_only=True, out_indices=(1, 3), feature_cls=feature_cls).eval()
    expected = expected_maps(small_model(name).eval(), images)
    with torch.no_grad():
        maps = extractor(images)
    assert len(maps) == 2
    for output, want in zip(maps, (expected[1], expected[3]), strict=True):
        torch.testing.assert_close(as_map(output, want), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("tracer", "train"),
    [
        ("timm", True),
        ("torch", False),
        *(pytest.param(*kind, marks=SLOW) for kind in (("timm", False), ("torch", True))),
    ],
)
@pytest.mark.zoo
def test_a_symbolic_trace_computes_what_the_model_does(small_model, small_images, name, tracer, train):
    """Outputs for any number of images, gradients of all parameters, and running statistics."""
    model, reference = (small_model(name, drop_path_rate=0.0).train(train) for _ in range(2))
    graph = traced(model, tracer)
    for num_images in (2, 3):
        images = small_images(name, num_images)
        output, want = graph(images), reference(images)
        torch.testing.assert_close(output, want, rtol=1e-5, atol=1e-6)
    output.square().sum().backward()
    want.square().sum().backward()
    of_model = dict(model.named_parameters())
    for key, parameter in reference.named_parameters():
        assert of_model[key].grad is not None, key
        torch.testing.assert_close(of_model[key].grad, parameter.grad, rtol=1e-4, atol=1e-5, msg=key)
    buffers = dict(model.named_buffers())
    assert all(torch.equal(buffers[key], value) for key, value in reference.named_buffers())


@pytest.mark.zoo(slow="none")
def test_a_trace_has_the_state_of_its_model(small_model, small_images, name):
    """No weight and no saved index is fixed in the graph: another state gives the output of that state."""
    graph, other = traced(small_model(name).eval()), small_model(name).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, value in other.state_dict().items():
            if "nearest_index" in key:
                value.copy_(value.flip(0))
            elif value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator), alpha=0.1)
        graph.load_state_dict(other.state_dict(), strict=False)
        torch.testing.assert_close(graph(small_images(name)), other(small_images(name)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["deepvit_16b_patch16_224", "refined_vit_small_patch16_224"])
def test_timms_tracer_keeps_the_precision_of_maps_under_autocast(small_model, small_images, name):
    """torch's own tracer records arithmetic alone, and autocast rounds the maps in its graph."""
    model, images = small_model(name).eval(), small_images(name)
    graph = create_feature_extractor(model, [get_graph_node_names(model)[1][-1]])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (output,) = graph(images).values()
        assert torch.equal(output, model(images))
        assert not torch.equal(traced(model, "torch")(images), model(images))


@pytest.mark.parametrize("name", ["deepvit_16b_patch16_224", "refined_vit_small_patch16_224"])
def test_a_trace_refuses_a_mask_as_the_model_does(small_model, small_images, name):
    graph = traced(small_model(name).eval(), "torch")
    with pytest.raises(ValueError, match="does not support an attention mask"):
        graph(small_images(name), torch.ones(17, 17))


@pytest.mark.parametrize("name", ["focal_tiny_patch4_window7_224", "deepvit_small_patch16_224"])
def test_a_trace_refuses_images_of_another_size(small_model, small_images, name):
    graph = traced(small_model(name).eval(), "torch")
    side = small_images(name).shape[-1]
    with pytest.raises(ValueError, match=f"built for images of \\({side}, {side}\\), but got \\(16, 16\\)"):
        graph(torch.zeros(1, 3, 16, 16))
