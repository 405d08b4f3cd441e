"""Keeping Hugging Face's libraries off the network while a dataset is opened that nobody asked to download.

`datasets.load_dataset` downloads unasked. Its switch, the environment variable HF_HUB_OFFLINE, is read when the
libraries are imported, and timm has imported them long before; so the values they read it into are set instead, and
put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

__all__ = ["hub_offline"]

_SWITCHES = (("datasets.config", "HF_HUB_OFFLINE"), ("huggingface_hub.constants", "HF_HUB_OFFLINE"))


@contextmanager
def hub_offline() -> Iterator[None]:
    """Inside, the Hub's libraries read local files and their cache only.

    Raises:
        ImportError: the package `datasets` is not installed.
    """
    modules = [(import_module(module), name) for module, name in _SWITCHES]
    before = [getattr(module, name) for module, name in modules]
    for module, name in modules:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(modules, before, strict=True):
            setattr(module, name, value)
