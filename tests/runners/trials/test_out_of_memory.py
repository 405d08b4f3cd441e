"""Lack of memory by class and by text, as torch, its libraries, Ray and the system write it, and other errors."""

from __future__ import annotations

import errno
import os
import signal
from multiprocessing import get_context

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from runners.trials.out_of_memory import lack_of_memory, says_out_of_memory
from runners.trials.outcome import failure_of

# As written by: the allocators of torch, the CUDA runtime and driver, cuBLAS, cuSOLVER, cuFFT, cuDNN 8 and 9, NCCL,
# Triton, ROCm, MPS, XPU, the allocators of hosts, a loader of torch, the memory monitor of Ray.
LACKS = [
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 31.75 GiB of which 14.75 MiB is "
    "free. Process 7 has 23.00 GiB memory in use.",
    "CUDA out of memory. Allocation was preemptively rejected because it would exceed per_process_memory_fraction "
    "limit. Requested size: 2097152",
    "Allocation on device 0 would exceed allowed memory. (out of memory)\nCurrently allocated     : 1.00 GiB",
    "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia.com/cuda/cuda-runtime-api"
    "/group__CUDART__TYPES.html for more information.\nCUDA kernel errors might be asynchronously reported",
    "CUDA driver error: out of memory",
    "CUDA ran out of memory outside PyTorch's allocator. If this workload uses many dynamic shapes, cuDNN may need",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, unhandled cuda error (run with "
    "NCCL_DEBUG=INFO for details), NCCL version 2.30.7\nncclUnhandledCudaError: Call to CUDA function failed.\n"
    "Last error:\nCuda failure 2 'out of memory'",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nFailed to CUDA calloc 6291456 bytes",
    "Triton Error [CUDA]: out of memory",
    "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 63.98 GiB",
    "HIP error: out of memory",
    "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
    "miopenStatusAllocFailed",
    "MPS backend out of memory (MPS allocated: 8.87 GB, other allocations: 224.00 KB, max allowed: 9.07 GB). Tried to "
    "allocate 256.00 MB on private pool.",
    "XPU out of memory. Tried to allocate 3.00 GiB. GPU 0 has a total capacity of 15.91 GiB",
    "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000000 bytes. Error code 12 (Cannot allocate memory)",
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to allocate 40 bytes.",
    "std::bad_alloc",
    "unable to mmap 1048576 bytes from file </torch_7_8>: Cannot allocate memory (12)",
    "unable to allocate shared memory(shm) for file </torch_7_8>: No space left on device (28)",
    "DataLoader worker (pid 7) is killed by signal: Killed. ",
    "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit.",
    "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\nRuntimeError: "
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9",
    "3 worker(s) were killed due to the node running low on memory. Memory on the node was 62.1GB / 62.8GB (0.989)",
]

OTHERS = [
    "CUDA error: device-side assert triggered",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: misaligned address",
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input.",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 1 'invalid argument'",
    "out of resource: shared memory, Required: 131072, Hardware limit: 101376. Reducing block sizes may help.",
    "DataLoader worker (pid 7) is killed by signal: Segmentation fault. ",
    "DataLoader worker (pid(s) 7) exited unexpectedly",
    "[Errno 28] No space left on device",
    "index 12 is out of bounds for dimension 0 with size 10",
    "the trial's process was ended by signal 11",
    "The actor died unexpectedly. Some common causes include: (1) the process was killed by the OOM killer due to high "
    "memory usage, (2) ray stop --force was called",
]


@pytest.mark.parametrize("text", LACKS)
def test_texts_that_say_that_memory_ran_out(text):
    assert says_out_of_memory(text)
    failure = failure_of(RuntimeError(text))
    assert (failure.type, failure.message) == ("OutOfMemory", text)


@pytest.mark.parametrize("text", OTHERS)
def test_texts_that_say_something_else(text):
    assert not says_out_of_memory(text)
    assert failure_of(RuntimeError(text)).type == "RuntimeError"


def test_errors_of_accelerators_differ_by_their_text():
    assert failure_of(torch.AcceleratorError("CUDA error: out of memory")).type == "OutOfMemory"
    assert failure_of(torch.AcceleratorError("CUDA error: device-side assert triggered")).type == "AcceleratorError"


def test_a_text_counts_in_errors_of_the_run_time_only():
    """A message about a sweep may quote anything."""
    assert failure_of(ValueError("the text 'CUDA out of memory' is no number")).type == "ValueError"


def test_a_host_without_memory_for_a_tensor():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert failure_of(caught.value).type == "OutOfMemory"


def test_a_system_without_memory_for_a_process():
    assert failure_of(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))).type == "OutOfMemory"
    assert failure_of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))).type == "OSError"


def fail_over_a_lack():
    try:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    except RuntimeError as err:
        raise KeyError("batch") from err


def fail_while_handling():
    try:
        fail_over_a_lack()
    except KeyError:
        raise ValueError("no batch")  # noqa: B904 - its context is what is tested


def fail_without_context():
    try:
        raise MemoryError
    except MemoryError:
        raise ValueError("no number") from None


def test_the_cause_of_an_error_counts_and_is_its_message():
    with pytest.raises(ValueError, match="no batch") as caught:
        fail_while_handling()
    failure = failure_of(caught.value)
    assert (failure.type, failure.message) == ("OutOfMemory", "CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert failure.traceback.endswith("ValueError: no batch")


def test_an_error_that_hides_its_context_is_by_itself():
    with pytest.raises(ValueError, match="no number") as caught:
        fail_without_context()
    assert lack_of_memory(caught.value) is None


def test_an_error_among_several_counts():
    lack = MemoryError("no room")
    assert lack_of_memory(ExceptionGroup("two", [ValueError("no"), ExceptionGroup("one", [lack])])) is lack


def test_a_cause_that_refers_to_itself_ends():
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    assert lack_of_memory(first) is None


class _Killed(Dataset):
    """Items whose reading ends the process that reads, as the kernel does where memory is out."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_loader_whose_worker_is_killed_lacks_memory():
    with pytest.raises(RuntimeError, match="DataLoader worker") as caught:
        next(iter(DataLoader(_Killed(), num_workers=1, multiprocessing_context=get_context("fork"))))
    failure = failure_of(caught.value)
    assert failure.type == "OutOfMemory"
    assert "is killed by signal: Killed" in failure.message
