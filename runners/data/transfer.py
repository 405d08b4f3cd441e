"""Transfer of batches to their device, which on a GPU waits for nothing.

A copy from pageable memory makes the process wait until the GPU has done all that it was given before; three such
copies a step, however small, and the GPU is idle while the next step is prepared. From pinned memory a copy is one more
entry in the GPU's queue. PyTorch keeps the pinned memory until the copy is done, and uses it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from runners.data.dataset_info import Batch

__all__ = ["on_device", "sent"]


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, without waiting for a GPU; on the device where it is already, the tensor itself."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def on_device(loader: Iterable[tuple[Any, Any]], device: torch.device) -> Iterator[Batch]:
    """The batches of a loader, on a device; the loader pins their memory."""
    for inputs, targets in loader:
        yield _moved(inputs, device), _moved(targets, device)


def _moved(content: Any, device: torch.device) -> Any:
    """The same with its tensors, and what can be moved as they can, on the device."""
    if hasattr(content, "to"):
        return content.to(device, non_blocking=True)
    if type(content) is list:
        return [_moved(each, device) for each in content]
    return {key: _moved(each, device) for key, each in content.items()} if isinstance(content, dict) else content
