"""Named random number streams: reproducible, independent, without effect on the global generators."""

from __future__ import annotations

import random

import numpy as np
import torch

from runners.data.random_streams import generator, global_streams, stream_seed


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_equal_names_give_equal_numbers_and_others_do_not():
    assert torch.equal(
        torch.rand(4, generator=generator(3, "order", 1)), torch.rand(4, generator=generator(3, "order", 1))
    )
    others = {
        stream_seed(3, "order", 1),
        stream_seed(3, "order", 2),
        stream_seed(4, "order", 1),
        stream_seed(3, "mix", 1),
    }
    assert len(others) == 4


def test_stream_seed_never_changes():
    """Golden value: first 8 bytes of SHA-256 of '3/order/1', without the lowest bit."""
    assert stream_seed(3, "order", 1) == 5970557047402141468


def test_global_generators_are_seeded_and_restored():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = [_draw(), _draw()]
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    first = _draw()
    with global_streams(7):
        inside = _draw()
    with global_streams(7):
        assert _draw() == inside
    assert [first, _draw()] == expected


def test_global_generators_are_restored_after_an_error():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    try:
        with global_streams(7):
            torch.rand(5)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.rand(3), expected)
