"""Shares of a GPU and what is left of them for tensors; peaks as the allocator counts them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runners.planning.gpu_share import CONTEXT_GIB, allocator_fraction, share_of
from search_space import SpecError


@pytest.mark.parametrize(
    ("share", "total", "fraction"),
    [
        (0.5, 80, 0.490625),  # (40 - 0.75) / 80
        (0.25, 24, 0.21875),  # (6 - 0.75) / 24
        (0.05, 80, 0.040625),  # (4 - 0.75) / 80
    ],
)
def test_the_allocator_gets_the_share_without_the_context(share, total, fraction):
    assert allocator_fraction(share, total) == pytest.approx(fraction, abs=1e-12)


@pytest.mark.parametrize("total", [8, 24, 40, 80, 141])
@pytest.mark.parametrize("peak", [0.01, 0.5, 3.3, 6.0])
def test_trials_that_share_a_gpu_fit_on_it_with_their_contexts(peak, total):
    """Each may grow to its limit, which holds the peak; all limits and contexts together are no more than the GPU."""
    share = share_of(peak, total)
    at_once = int(1 / share + 1e-9)
    limit = allocator_fraction(share, total) * total
    assert limit >= peak
    assert at_once * (limit + CONTEXT_GIB) <= total + 1e-9


def test_a_share_without_room_for_tensors_is_refused():
    with pytest.raises(SpecError) as caught:
        allocator_fraction(0.05, 8)
    (problem,) = caught.value.problems
    assert problem.path == "resources.gpus"
    assert problem.message == (
        "0.05 of a GPU of 8 GiB is 0.4 GiB, and the CUDA context of a trial alone takes about 0.75 GiB"
    )
    assert problem.hint == "give more than 0.094, or gpu_memory in GiB, which adds the context itself"


PEAK = """
import json, torch
calls = []
def record(name, answer=None):
    return lambda *arguments: calls.append([name, *map(str, arguments)]) or answer
for name, answer in {
    "init": None, "is_initialized": True, "empty_cache": None, "reset_peak_memory_stats": None,
    "max_memory_reserved": 3 * 2**20, "max_memory_allocated": 2 * 2**20,
}.items():
    setattr(torch.cuda, name, record(name, answer))
from runners.planning.peak_memory import PeakMemory
found = PeakMemory(torch.device("cuda:1")).mib()
on_cpu = PeakMemory(torch.device("cpu")).mib()
print(json.dumps([found, on_cpu, calls]))
"""


@pytest.mark.slow
def test_a_peak_is_what_was_reserved_on_the_device_since_cuda_began():
    """In a process of its own, because torch.cuda is replaced. The index asks for an initialised CUDA."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    found, on_cpu, calls = json.loads(done.stdout)
    assert (found, on_cpu) == (3.0, None)
    assert calls == [
        ["init"],
        ["is_initialized"],
        ["empty_cache"],
        ["reset_peak_memory_stats", "cuda:1"],
        ["max_memory_reserved", "cuda:1"],
    ]


UNREACHABLE = """
import torch
from runners.planning.peak_memory import free_unused
class Held: pass
import weakref, gc
gc.disable()
one, other = Held(), Held()
one.other, other.one, one.tensor = other, one, torch.zeros(3)
seen = weakref.ref(one.tensor)
del one, other
assert seen() is not None
order = []
torch.cuda.is_initialized = lambda: True
torch.cuda.empty_cache = lambda: order.append(seen() is None)
free_unused()
print(order)
"""


@pytest.mark.slow
def test_what_is_out_of_reach_is_freed_before_the_cache_is_emptied():
    done = subprocess.run([sys.executable, "-c", UNREACHABLE], capture_output=True, text=True, check=True)
    assert done.stdout == "[True]\n"
