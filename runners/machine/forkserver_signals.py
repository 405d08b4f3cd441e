"""Preloaded by the forkserver of a worker, and by nothing else: it ignores SIGTERM.

A cluster that takes its machines back sends SIGTERM to every process at once. The trials understand it as a wish to
save themselves; the forkserver would die of it, and its children with it.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
