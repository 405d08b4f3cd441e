"""SIGTERM handling of a worker's forkserver: ignore the signal. Preloaded there as the last one, imported nowhere else.

A cluster that reclaims its machines sends SIGTERM to every process at once. Trials take it as the request to save a
checkpoint; the forkserver would be terminated by it, and its children with it. It also ends with the worker, which may
die of the signal before a busy trial has run its handler: it waits, so that the trial can detach itself first.
"""

from __future__ import annotations

import atexit
import gc
import signal
import time

_DETACH_SECONDS = 2.0

signal.signal(signal.SIGTERM, signal.SIG_IGN)
atexit.register(time.sleep, _DETACH_SECONDS)

# What is imported by now belongs to no collection: its pages stay shared between the trials.
gc.freeze()
atexit.register(gc.unfreeze)  # libraries of torch complain at the end of what was not collected
gc.enable()
