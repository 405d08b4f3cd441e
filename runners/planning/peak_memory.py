"""Peak memory of a piece of work on a GPU, as PyTorch's allocator reserves it from the device.

Reserved and not allocated: the limit of a share (`torch.cuda.set_per_process_memory_fraction`) counts what the
allocator holds, with the gaps between tensors and the workspaces of cuDNN and cuBLAS that it hands out.
"""

from __future__ import annotations

import gc

import torch

__all__ = ["PeakMemory", "free_unused"]

_MIB = 2**20


class PeakMemory:
    """Measurement of the peak on a device, from now on. On a CPU nothing is measured.

    Args:
        device: `cuda`, `cuda:1`, ...; another kind is not measured.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if self._is_measured:
            # The statistics of a device that is named by its index can be reset only once CUDA is initialised.
            torch.cuda.init()
            free_unused()
            torch.cuda.reset_peak_memory_stats(device)

    def mib(self) -> float | None:
        """Most MiB that were reserved at once; None where it is not measured."""
        return torch.cuda.max_memory_reserved(self._device) / _MIB if self._is_measured else None

    @property
    def _is_measured(self) -> bool:
        return self._device.type == "cuda"


def free_unused() -> None:
    """Return the memory of tensors that are out of reach to the GPUs of this process.

    To be called after an `except` block for lack of memory, not inside: its traceback holds the tensors of every frame.
    """
    gc.collect()  # models and optimisers hold themselves in circles
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
