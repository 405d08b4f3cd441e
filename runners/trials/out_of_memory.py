"""Lack of memory, recognised by the class of an exception or by its text.

Only PyTorch's own allocator raises a class of its own. What a second process on a full GPU gets when its context or its
cuBLAS handle is made, what cuDNN and NCCL say, and what a CPU without memory says are a `RuntimeError` with a text.

Source:  the texts are in the binaries of torch 2.15 (c10, c10_cuda, torch_cuda, torch_python), NCCL 2.30 and Ray 2.60,
         the names of status codes in the headers of cuBLAS 13, cuSOLVER, cuFFT and cuDNN 9.26; those of ROCm, MPS and
         XPU are not from a build that was at hand, and were not checked.
Differs: Hugging Face's `accelerate` also counts CUDNN_STATUS_NOT_SUPPORTED, which cuDNN returns for shapes as well.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

__all__ = ["lack_of_memory", "says_out_of_memory"]

_TEXTS = re.compile(
    "|".join(
        (
            # Of devices: the caching allocators, the runtime and the driver (also as code names), Triton.
            r"\b(?:CUDA|HIP|XPU|MPS backend) out of memory",
            r"\b(?:CUDA|HIP|XPU)(?: driver)? error: out of memory",
            r"\bTriton Error \[\w+\]: out of memory",
            r"would exceed allowed memory\. \(out of memory\)",
            r"CUDA ran out of memory outside PyTorch's allocator",
            r"\b(?:CUDA_ERROR|UR_RESULT_ERROR)_OUT_OF_(?:DEVICE_|HOST_)?MEMORY\b",
            # Of their libraries: CUBLAS_STATUS_ALLOC_FAILED, CUFFT_ALLOC_FAILED,
            # CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, ...
            r"\b[A-Z]\w*_ALLOC(?:ATION)?_FAILED\b",
            r"\bmiopenStatusAllocFailed\b|\brocblas_status_memory_error\b",
            r"\bCuda failure (?:\d+ )?'out of memory'",
            r"\bFailed to CUDA calloc\b",
            # Of the host. Windows says "not enough memory".
            r"DefaultCPUAllocator: (?:can't allocate|not enough) memory",
            r"\bCannot allocate memory\b",
            r"\bstd::bad_alloc\b",
            r"unable to mmap memory: you tried to mmap",
            r"unable to allocate shared memory\(shm\)",
            r"workers are out of shared memory",
            r"DataLoader worker \(pid \d+\) is killed by signal: Killed",
            r"killed due to the node running low on memory",
        )
    )
)


def lack_of_memory(err: BaseException) -> BaseException | None:
    """The exception that says that memory ran out: this one or one that it was raised from or while handling.

    A loader says "DataLoader worker (pid(s) 7) exited unexpectedly" because of one that says how the worker ended.
    """
    return next((each for each in _with_causes(err) if _is_lack(each)), None)


def says_out_of_memory(text: str) -> bool:
    """Whether a message of torch, its libraries, Ray or the system says that memory ran out."""
    return _TEXTS.search(text) is not None


def _is_lack(err: BaseException) -> bool:
    # By name: torch and Ray have a class of this name each, and this module imports neither.
    if isinstance(err, MemoryError) or type(err).__name__ == "OutOfMemoryError":
        return True
    if isinstance(err, OSError) and err.errno == errno.ENOMEM:
        return True
    return isinstance(err, RuntimeError | OSError) and says_out_of_memory(str(err))


def _with_causes(err: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from, as a traceback shows them."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [err]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting.append(each.__context__ if each.__cause__ is None and not each.__suppress_context__ else each.__cause__)
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions)
