"""Contract of a model: what timm's registry and a trial ask of it."""

from __future__ import annotations

import copy
from typing import Any

import timm
import torch
from torch import nn

from archsweep.testing.member import expect
from modelzoo.factory.build import build_model
from modelzoo.factory.cost import measure_cost
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

__all__ = ["check_model"]

_CLASSES = 5


def check_model(name: str, *, img_size: tuple[int, int] | None = None, in_chans: int = 3) -> None:
    """Check a model that is registered with timm, as trials build it.

    Args:
        img_size: height and width of the images. Default: those of its `default_cfg`.

    Raises:
        AssertionError: a condition does not hold; the message says which.
    """
    if not timm.is_model(name):
        raise AssertionError(f"{name}: timm has no such model: decorate its function with timm.models.register_model")
    arch = ArchSpec(model=name)
    try:
        sized: Any = img_size
        if sized is None:
            own: Any = timm.get_pretrained_cfg_value(name, "input_size")
            sized = tuple((own or (3, 224, 224))[1:])
        model = build_model(arch, img_size=sized, in_chans=in_chans, num_classes=_CLASSES, seed=0)
        same = build_model(arch, img_size=sized, in_chans=in_chans, num_classes=_CLASSES, seed=0)
    except SpecError as err:
        raise AssertionError(f"{name}: cannot be built: {err}") from err
    except Exception as err:
        hint = "its function takes pretrained, and hands num_classes, in_chans and other **kwargs on; default_cfgs has "
        hint += "its input_size"
        raise AssertionError(f"{name}: cannot be built: {type(err).__name__}: {err}; {hint}") from err
    state, other = model.state_dict(), same.state_dict()
    drawn = [key for key in state if not torch.equal(state[key], other[key])]
    expect(not drawn, name, f"equal seeds give other weights: {', '.join(drawn[:5])}; draw from torch's generator")
    x = torch.randn(2, in_chans, *sized, generator=torch.Generator().manual_seed(1))
    _forward(name, model, x)
    _gradients(name, same, x)
    try:
        cost = measure_cost(arch, img_size=sized, in_chans=in_chans, num_classes=_CLASSES)
    except SpecError as err:
        raise AssertionError(f"{name}: its cost cannot be measured on the meta device: {err}") from err
    params = sum(each.numel() for each in model.parameters()) / 1e6
    expect(abs(cost.params_m - params) < 1e-9, name, f"{params} million parameters, measured {cost.params_m}")


def _forward(name: str, model: nn.Module, x: torch.Tensor) -> None:
    model = model.eval()
    with torch.no_grad():
        logits = model(x)
        expect(isinstance(logits, torch.Tensor), name, f"in evaluation it gives {type(logits).__name__}, not a tensor")
        wanted = (2, _CLASSES)
        expect(logits.shape == wanted, name, f"the logits of 2 images and 5 classes are {tuple(logits.shape)}")
        expect(bool(logits.isfinite().all()), name, "the logits are NaN or infinite")
        expect(torch.equal(model(x), logits), name, "two calls in evaluation differ")
        alone = model(x[:1])
        close = torch.allclose(alone, logits[:1], rtol=1e-3, atol=1e-4)
        expect(close, name, "one image sees another: the logits of image 0 depend on image 1")
        expect(not torch.allclose(logits[0], logits[1]), name, "the logits do not depend on the image")
        try:
            duplicate = copy.deepcopy(model)
        except Exception as err:
            raise AssertionError(f"{name}: copy.deepcopy raised {type(err).__name__}: {err}") from err
        expect(torch.equal(duplicate(x), logits), name, "a deep copy computes something else")
    expect(hasattr(model, "num_classes"), name, "it has no attribute num_classes, which timm's models have")


def _gradients(name: str, model: nn.Module, x: torch.Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        out = model.train()(x)
    logits = out[0] if isinstance(out, tuple | list) else out
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1]))
    loss.backward()
    unused = [key for key, each in model.named_parameters() if each.requires_grad and each.grad is None]
    expect(not unused, name, f"parameters that no gradient reaches: {', '.join(unused[:5])}")
