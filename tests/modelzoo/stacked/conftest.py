"""Small models of every kind that is stacked, and their training alone: the second implementation of a stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo import build_model
from modelzoo.stacked import Stacked
from search_space.schema.trial import ArchSpec

SMALL: dict[str, Any] = {
    **{"model": "vit", "depth": 2, "embed_dim": 40, "num_heads": 4, "mlp_ratio": 2, "patch_size": 2},
    **{"class_token": False, "proj_drop_rate": 0.1, "drop_path_rate": 0.2, "attn_drop_rate": 0.1},
}
SIDE, CLASSES, BATCH = 8, 10, 16


def _case(attention: Any, **arch: Any) -> dict[str, Any]:
    return {"attention": attention, **arch}


MECHANISMS = {
    "softmax": _case("softmax"),
    "reattention": _case("reattention"),
    "refiner": _case("refiner"),
    "groupmix": _case("groupmix"),
}
OPTIONS = {
    "softmax without dropout": _case("softmax", attn_drop_rate=0, proj_drop_rate=0, drop_path_rate=0),
    "class token": _case("softmax", class_token=True, options={"pos_drop_rate": 0.3}),
    "register tokens": _case("softmax", class_token=True, options={"reg_tokens": 2, "no_embed_class": True}),
    "pool map": _case("softmax", global_pool="map"),
    "pool avgmax": _case("softmax", global_pool="avgmax"),
    "pool max": _case("softmax", global_pool="max"),
    "norms of q and k": _case(
        "softmax", qkv_bias=False, options={"qk_norm": True, "scale_attn_norm": True, "scale_mlp_norm": True}
    ),
    "other dropouts": _case(
        "softmax", options={"pos_drop_rate": 0.3, "drop_rate": 0.1, "patch_drop_rate": 0.25, "init_values": 0.1}
    ),
    "other layers": _case("softmax", options={"pre_norm": True, "act_layer": "relu", "proj_bias": False}),
    "no positions": _case("softmax", options={"pos_embed": "none", "fc_norm": False}),
    "reattention: norm of heads": _case(
        {"name": "reattention", "norm": "layer", "transform_scale": True, "theta_bias": False, "theta_init": "identity"}
    ),
    "reattention: no norm": _case({"name": "reattention", "norm": "none"}, class_token=True),
    "reattention: norms of q and k": _case("reattention", options={"qk_norm": True, "scale_attn_norm": True}),
    "refiner: all maps": _case({"name": "refiner", "expansion": 2.5, "kernel_size": 2, "reduction": False}),
    "refiner: last block": _case({"name": "refiner", "expansion": 1, "identity": False, "blocks": {"last": 1}}),
    "refiner: sharing": _case({"name": "refiner", "sharing": "alternate"}),
    "refiner: linear": _case({"name": "refiner", "linear": True, "identity": False}),
    "refiner: reused maps": _case({"name": "refiner", "sharing": 2, "refine_shared": False}, depth=4),
    "refiner: residual map": _case({"name": "refiner", "residual_map": True}, class_token=True),
    "groupmix: class token": _case("groupmix", class_token=True),
    "groupmix: pooling": _case(
        {"name": "groupmix", "aggregator": "maxpool", "kernel_sizes": [2, 3, 5], "position_windows": [2, 5]}
        | {"head_layout": "straddle"}
    ),
    "groupmix: attention only": _case(
        {"name": "groupmix", "aggregator": "avgpool", "local_branch": False, "num_segments": 5}
        | {"token_ensemble": False, "crpe": False}
    ),
    "groupmix: no tokens": _case(
        {"name": "groupmix", "identity_segment": False, "kernel_sizes": [1, 3], "num_segments": 5}
        | {"local_kernel_size": 5},
        class_token=True,
    ),
    "groupmix: norms of q and k": _case("groupmix", options={"qk_norm": True}),
}


def build_small(case: dict[str, Any], seed: int) -> nn.Module:
    arch = ArchSpec.model_validate(SMALL | case)
    return build_model(arch, img_size=SIDE, in_chans=1, num_classes=CLASSES, seed=seed)


def batches(steps: int, members: int, dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    """Images (K, B, 1, 8, 8) and labels (K, B): those of a member do not depend on how many there are."""
    found = []
    for step in range(steps):
        drawn = [torch.Generator().manual_seed(1000 * step + member) for member in range(members)]
        images = torch.stack([torch.randn(BATCH, 1, SIDE, SIDE, generator=each) for each in drawn])
        labels = torch.stack([torch.randint(CLASSES, (BATCH,), generator=each) for each in drawn])
        found.append((images.to(dtype), labels))
    return found


def stack_of(models: list[nn.Module], seeds: list[int] | None = None) -> Stacked:
    seeds = list(range(len(models))) if seeds is None else seeds
    return Stacked(models, generators=[torch.Generator().manual_seed(seed) for seed in seeds]).train()


def losses_of(logits_KBC: Tensor, labels_KB: Tensor) -> Tensor:
    """(K,)"""
    each = F.cross_entropy(logits_KBC.flatten(0, 1), labels_KB.flatten(), reduction="none")
    return each.view(labels_KB.shape).mean(dim=1)


def optimizer_of(module: nn.Module) -> torch.optim.Optimizer:
    """One that computes every entry by itself, the same for any shape."""
    return torch.optim.AdamW(module.parameters(), lr=3e-3, foreach=True)


Train = Callable[..., list[list[float]]]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train_stack(stack: Stacked, given: list[tuple[Tensor, Tensor]], optimizer: Any = None) -> Tensor:
    """Losses (steps, K) of a stack."""
    optimizer = optimizer or optimizer_of(stack)
    losses = []
    for images, labels in given:
        optimizer.zero_grad()
        loss_K = losses_of(stack(images), labels)
        loss_K.sum().backward()
        optimizer.step()
        losses.append(loss_K.detach())
    return torch.stack(losses)


def train_alone(model: nn.Module, given: list[tuple[Tensor, Tensor]], *, seed: int) -> Tensor:
    """Losses (steps,) of a model that draws from torch's global generator."""
    optimizer, losses = optimizer_of(model), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for images, labels in given:
            optimizer.zero_grad()
            loss = F.cross_entropy(model.train()(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses)
