"""Comparison with recorded cases: every tensor of a case, relative to its own magnitude."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

# Noise of float32 against float64 is about 1e-6 on these cases, and up to 2e-5 on gradients.
RELATIVE, RELATIVE_GRADIENT = 1e-5, 5e-5


def relative_errors(seen: dict[str, torch.Tensor], answers: dict[str, torch.Tensor]) -> dict[str, float]:
    """Relative error max |seen - answer| / max |answer|; for gradients that are rounding noise, of the largest one.

    (A bias before a BatchNorm in training mode has the gradient 0, which float32 records as noise.)
    """
    gradients = [value.abs().max().item() for key, value in answers.items() if key.startswith("grad")]
    errors = {}
    for key, want in answers.items():
        got = seen[key].detach().to(want.dtype)
        assert got.shape == want.shape, key
        size = want.abs().max().item()
        if key.startswith("grad") and size < 1e-5 * max(gradients):
            size = max(gradients)
        errors[key] = (got - want).abs().max().item() / max(size, 1e-30)
    return errors


@pytest.fixture
def check_parity() -> Callable[..., None]:
    """Parity check `check_parity(golden, seen, "input", ...)`: `seen` has all tensors but state and inputs."""

    def check(golden, seen: dict[str, torch.Tensor], *given: str) -> None:
        answers = {key: value for key, value in golden.tensors.items() if not key.startswith("state")}
        answers = {key: value for key, value in answers.items() if key not in given}
        assert "output" in answers
        errors = relative_errors(seen, answers)
        print(f"worst relative error {max(errors.values()):.1e} in {max(errors, key=errors.__getitem__)}")
        limit = {key: RELATIVE_GRADIENT if key.startswith("grad") else RELATIVE for key in errors}
        assert {key: error for key, error in errors.items() if error > limit[key]} == {}

    return check
