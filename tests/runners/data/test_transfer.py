"""Transfer of tensors to a device: pinned and without waiting on a GPU, nothing at all on a CPU."""

from __future__ import annotations

import torch

from runners.data.transfer import on_device, sent

GPU, CPU = torch.device("cuda"), torch.device("cpu")


class Recorded:
    """A tensor of the CPU or of a GPU that records what becomes of it."""

    def __init__(self, device):
        self.device, self.calls = device, []

    def pin_memory(self):
        self.calls.append("pinned")
        return self

    def to(self, device, *, non_blocking=False):
        self.calls.append((str(device), non_blocking))
        return self


def test_a_tensor_goes_to_a_gpu_from_pinned_memory_without_waiting():
    tensor = Recorded(CPU)
    sent(tensor, GPU)
    assert tensor.calls == ["pinned", ("cuda", True)]


def test_a_tensor_of_a_gpu_is_not_pinned():
    tensor = Recorded(torch.device("cuda:0"))
    sent(tensor, GPU)
    assert tensor.calls == [("cuda", False)]


def test_on_a_cpu_it_is_the_same_tensor():
    tensor = torch.arange(3)
    assert sent(tensor, CPU) is tensor


def test_batches_of_a_loader_are_moved_with_all_that_they_hold():
    one, two, three = (Recorded(CPU) for _ in range(3))
    ((inputs, targets),) = on_device([([one, two], {"masks": three, "name": "a"})], GPU)
    assert (inputs, targets) == ([one, two], {"masks": three, "name": "a"})
    assert all(each.calls == [("cuda", True)] for each in (one, two, three))
