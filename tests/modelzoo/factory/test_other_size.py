"""Trained models at other input sizes: the same tensors as a model built for that size, and refusals."""

from __future__ import annotations

import pytest
import torch

from modelzoo import at_size, build_model, evaluation_crop
from modelzoo.factory.other_size import model_at_size
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

VIT = {"model": "vit", "patch_size": 4, "embed_dim": 20, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0}
SHAPE = {"in_chans": 3, "num_classes": 7}


def on_meta(arch: ArchSpec, size: tuple[int, int]) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(arch, img_size=size, **SHAPE)


@pytest.mark.parametrize(
    ("arch", "own", "size"),
    [
        (VIT, (16, 16), (24, 20)),
        ({**VIT, "attention": {"name": "reattention"}}, (16, 16), (24, 20)),
        ({**VIT, "attention": {"name": "refiner"}}, (16, 16), (24, 20)),
        ({"model": "deit_tiny_patch16_224", "depth": 1}, (224, 224), (256, 288)),
        ({"model": "refined_vit_small_patch16_224", "depth": 3}, (224, 224), (256, 288)),
        ({"model": "deepvit_16b_patch16_224", "depth": 1}, (224, 224), (256, 288)),
    ],
    ids=["vit", "reattention", "refiner", "deit", "refined_vit", "deepvit"],
)
def test_positions_get_the_shapes_of_a_model_built_for_the_size(arch, own, size) -> None:
    spec = ArchSpec.model_validate(arch)
    resized = model_at_size(spec, size, img_size=own, **SHAPE)
    built = on_meta(spec.model_copy(update={"img_size": size}), size)
    assert {name: tensor.shape for name, tensor in resized.state_dict().items()} == {
        name: tensor.shape for name, tensor in built.state_dict().items()
    }


def test_the_trained_model_itself_is_left_as_it_is() -> None:
    model = build_model(ArchSpec.model_validate(VIT), img_size=16, seed=0, **SHAPE).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    assert at_size(model, (24, 20))(images).shape == (2, 7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(at_size(model, (16, 16))(images[..., :16, :16]), model(images[..., :16, :16]))


def test_a_model_of_any_size_is_not_copied() -> None:
    model = on_meta(ArchSpec(model="resnet18"), (224, 224))
    assert at_size(model, (256, 288)) is model


@pytest.mark.parametrize(
    ("arch", "own", "size", "reason"),
    [
        ({"model": "cait_xxs24_224", "depth": 1}, (224, 224), (256, 256), "doesn't match model"),
        ({"model": "focal_tiny_patch4_window7_224"}, (224, 224), (256, 256), "built for images of (224, 224)"),
        ({**VIT, "attention": {"name": "groupmix"}, "class_token": False}, (16, 16), (24, 24), "16x16"),
        ({**VIT, "attention": {"name": "groupmix"}, "class_token": False}, (16, 16), (8, 32), "aggregators"),
        (VIT, (16, 16), (18, 18), "trained on images of 16x16 and cannot be evaluated at 18x18"),
    ],
    ids=["cait", "focal", "groupmix", "same number of tokens", "patches"],
)
def test_a_model_of_one_size_is_refused_with_its_reason(arch, own, size, reason) -> None:
    with pytest.raises(SpecError) as caught:
        model_at_size(ArchSpec.model_validate(arch), size, img_size=own, **SHAPE)
    (problem,) = caught.value.problems
    assert problem.path == "task.test_img_size"
    assert reason in problem.message
    assert problem.message.startswith(f"{arch['model']!r} is trained on images of ")


@pytest.mark.parametrize(
    ("model", "crop"),
    [
        # The released configurations (docs/models.md): S 0.9, M 1.0, and 1.13 for L at 448 alone.
        ("refined_vit_small_patch16_224", (0.9, "center")),
        ("refined_vit_medium_patch16_224", (1.0, "center")),
        ("swin_tiny_patch4_window7_224", (0.9, "center")),
        ("resnet50", (0.95, "center")),
    ],
)
def test_the_crop_of_a_model_is_that_of_its_configuration(model, crop) -> None:
    assert evaluation_crop(ArchSpec(model=model)) == crop
