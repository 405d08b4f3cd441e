"""Pause of the cyclic collector in a worker's forkserver while it imports torch and timm. Preloaded there, first.

Imports make a million objects and no rubbish, and the collector would look through them again and again: a fifth of the
time. `forkserver_signals`, which is preloaded last, lets it go on.
"""

from __future__ import annotations

import gc

gc.disable()
