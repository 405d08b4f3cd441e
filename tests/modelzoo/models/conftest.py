"""Comparison with recorded cases: every tensor of a case, relative to its own magnitude."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch

from modelzoo.official.checkpoints import zoo_models

# Noise of float32 against float64 is about 1e-6 on these cases, and up to 2e-5 on gradients.
RELATIVE, RELATIVE_GRADIENT = 1e-5, 5e-5


def relative_errors(seen: dict[str, torch.Tensor], answers: dict[str, torch.Tensor]) -> dict[str, float]:
    """Relative error max |seen - answer| / max |answer|; for gradients that are rounding noise, of the largest one.

    (A bias before a BatchNorm in training mode has the gradient 0, which float32 records as noise.)
    """
    gradients = [value.abs().max().item() for key, value in answers.items() if key.startswith("grad")]
    errors = {}
    for key, want in answers.items():
        got = seen[key].detach().to(want.dtype)
        assert got.shape == want.shape, key
        size = want.abs().max().item()
        if key.startswith("grad") and size < 1e-5 * max(gradients):
            size = max(gradients)
        errors[key] = (got - want).abs().max().item() / max(size, 1e-30)
    return errors


@pytest.fixture
def check_parity() -> Callable[..., None]:
    """Parity check `check_parity(golden, seen, "input", ...)`: `seen` has all tensors but state and inputs."""

    def check(golden, seen: dict[str, torch.Tensor], *given: str) -> None:
        answers = {key: value for key, value in golden.tensors.items() if not key.startswith("state")}
        answers = {key: value for key, value in answers.items() if key not in given}
        assert "output" in answers
        errors = relative_errors(seen, answers)
        print(f"worst relative error {max(errors.values()):.1e} in {max(errors, key=errors.__getitem__)}")
        limit = {key: RELATIVE_GRADIENT if key.startswith("grad") else RELATIVE for key in errors}
        assert {key: error for key, error in errors.items() if error > limit[key]} == {}

    return check


# Sizes of every family's models that build in a few milliseconds: four stages, or as many blocks.
SMALL_SIZES: dict[str, dict[str, Any]] = {
    "deepvit_": {"embed_dim": 24, "depth": 4, "num_heads": 3, "img_size": 32, "patch_size": 8},
    "deepvit_small_": {"reattention_blocks": 2},
    "deepvit_large_": {"reattention_blocks": 2},
    "refined_vit_": {"embed_dim": 24, "depth": 4, "num_heads": 3, "img_size": 32, "patch_size": 8},
    "groupmixformer_": {
        "embed_dims": (20, 20, 40, 40),
        "depths": (1, 2, 1, 1),
        "mlp_ratios": (2, 2, 2, 2),
        "num_heads": 4,
        "img_size": 64,
    },
    "focal": {
        "embed_dim": 12,
        "depths": (1, 2, 1, 1),
        "num_heads": (1, 2, 2, 4),
        "window_size": 4,
        "focal_windows": (3, 3, 1, 1),
        "expand_sizes": 1,
        "img_size": 64,
    },
    "regionvit_": {
        "embed_dim": (8, 8, 16, 16, 32),
        "depths": (1, 2, 1, 1),
        "num_heads": (1, 2, 2, 4),
        "window_size": 4,
        "img_size": 64,
    },
    # The map of 16 x 16 tokens does not fill windows of 7, so windows are padded and masked.
    "regionvit_base_": {"window_size": 7},
    "lg_transformer_": {
        "embed_dim": 12,
        "depths": (2, 2, 1, 1),
        "num_heads": (1, 2, 2, 4),
        "window_size": 4,
        "img_size": 64,
    },
}


# A name of each kind: models that differ in what is built and traced.
KINDS = (
    "deepvit_small_patch16_224",
    "focal_tiny_patch4_window7_224",
    "focalv2_tiny_conv_patch4_window7_224",
    "groupmixformer_tiny_224",
    "lg_transformer_tiny_224",
    "refined_vit_small_patch16_224",
    "regionvit_base_w14_peg_224",
    "regionvit_tiny_224",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`@pytest.mark.zoo(*others, default=KINDS, slow="all")`: one test per `name` of `default` in the default run, and
    in `slow` one per other name of the zoo (`all`), of each kind (`kinds`) or none; and one per name of `others`."""
    marker = metafunc.definition.get_closest_marker("zoo")
    if marker is not None:
        default = marker.kwargs.get("default", KINDS)
        rest = {"all": zoo_models(), "kinds": KINDS, "none": ()}[marker.kwargs.get("slow", "all")]
        slow = [pytest.param(name, marks=pytest.mark.slow) for name in rest if name not in default]
        metafunc.parametrize("name", [*marker.args, *default, *slow])


@pytest.fixture(scope="session")
def small_model() -> Callable[..., Any]:
    """Function `small_model(name, **options)` that builds a zoo model at a small size with timm, without weights drawn
    by chance."""

    def build(name: str, **options: Any) -> Any:
        torch.manual_seed(0)
        sizes: dict[str, Any] = {}
        for prefix, given in SMALL_SIZES.items():
            if name.startswith(prefix):
                sizes |= given
        return timm.create_model(name, **{**sizes, "num_classes": 5, **options})

    return build


@pytest.fixture(scope="session")
def small_images() -> Callable[..., torch.Tensor]:
    """Function that draws images of the size that a model of `small_model` was built for."""

    def draw(name: str, batch: int = 2, **like: Any) -> torch.Tensor:
        side = 32 if name.startswith(("deepvit_", "refined_vit_")) else 64
        return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch), **like)

    return draw
