"""SIGTERM handling of a worker's forkserver: ignore the signal. Preloaded there, imported nowhere else.

A cluster that reclaims its machines sends SIGTERM to every process at once. Trials take it as the request to save a
checkpoint; the forkserver would be terminated by it, and its children with it.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
