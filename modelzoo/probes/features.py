"""Block features, and their similarity to those of the last block.

Paper:   DeepViT: Towards Deeper Vision Transformer, Zhou et al. 2021, arXiv:2103.11886, figure 4.
Source:  written from the paper.
Differs: in pyramids only blocks whose output has the shape of the last block's can be compared.

Shapes:  L blocks, B images, N tokens, D dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["block_features", "block_grams", "feature_similarity"]


def block_features(model: nn.Module, images: Any) -> dict[str, Tensor]:
    """Output tokens (B, N, D) of every block in evaluation mode, by module path, in forward order.

    A block is a module with `Block` in its class name (`SwinTransformerBlock`, ...) that is not inside another block.
    """
    return _recorded(model, images, of_tokens=lambda tokens_BND: tokens_BND)[1]


def block_grams(model: nn.Module, images: Any) -> tuple[Tensor, list[Tensor]]:
    """Gram matrices (B, B) of the images' features, of all tokens together, before the first block and after each.

    They take no memory, while the features of all blocks do.
    """
    first, blocks = _recorded(model, images, of_tokens=_gram)
    return next(iter(first.values()), torch.zeros(0)), list(blocks.values())


def _gram(tokens_BND: Tensor) -> Tensor:
    features_BF = tokens_BND.flatten(1).double()
    return features_BF @ features_BF.T


@torch.no_grad()
def _recorded(
    model: nn.Module, images: Any, *, of_tokens: Callable[[Tensor], Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What `of_tokens` gives for the input of the first block that runs, and for the output of every block."""
    modes = {module: module.training for module in model.modules()}
    first: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    handles = []
    for name, module in _blocks(model):

        def begin(_module: nn.Module, args: Any, name: str = name) -> None:
            tokens = _tokens(args)
            if not first and tokens is not None:
                first[name] = of_tokens(tokens)

        def keep(_module: nn.Module, _args: Any, output: Any, name: str = name) -> None:
            tokens = _tokens(output)
            if tokens is not None:
                found[name] = of_tokens(tokens)

        handles.append(module.register_forward_pre_hook(begin))
        handles.append(module.register_forward_hook(keep))
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager"):
            model(images)
    finally:
        for handle in handles:
            handle.remove()
        for module, was_training in modes.items():
            module.training = was_training
    return first, found


def feature_similarity(features_BND: Sequence[Tensor]) -> Tensor:
    """Cosine (L, B, N) of each token after each block with the same token after the last block."""
    last_BND = features_BND[-1].double()
    return torch.stack([F.cosine_similarity(one.double(), last_BND, dim=-1) for one in features_BND])


def _blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if "Block" in type(module).__name__ and not is_inside:
            found.append((name, module))
    return found


def _tokens(output: Any) -> Tensor | None:
    """Tokens (B, N, D) from tokens, a map (B, h, w, D), or the first tensor of several outputs."""
    if isinstance(output, tuple | list):
        output = next((one for one in output if isinstance(one, Tensor)), None)
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        return None
    return output if output.ndim == 3 else output.flatten(1, 2)
