"""Norms over the entries of real tokens: those of torch on these entries alone, or on all where all are valid."""

from __future__ import annotations

import os
import socket

import pytest
import torch
from torch import multiprocessing, nn

from modelzoo.attention.recomputed_batchnorm import BatchNorm2dOfOnePass
from modelzoo.attention.valid_entries import normalised, times

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def maps(num: int = 3) -> torch.Tensor:
    return torch.randn(num, 4, 6, 5, generator=torch.Generator().manual_seed(0)) * 3 + 2


def validity(num: int = 3) -> torch.Tensor:
    """Each map has another number of real queries and keys."""
    valid = torch.zeros(num, 1, 6, 5)
    for index in range(num):
        valid[index, :, : 2 + index, : 3 + index % 2] = 1
    return valid


def norm_with_numbers(momentum: float | None = 0.1) -> BatchNorm2dOfOnePass:
    norm = BatchNorm2dOfOnePass(4, momentum=momentum)
    for at, values in enumerate((norm.weight, norm.bias)):
        values.data = torch.linspace(0.5 - at, 1.5, 4)
    return norm


def on_entries_alone(norm: nn.BatchNorm2d, x: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, nn.BatchNorm1d]:
    """torch's norm on a list of the valid entries, (entries, maps)."""
    plain = nn.BatchNorm1d(4, momentum=norm.momentum)
    plain.load_state_dict(norm.state_dict())
    return plain(x.movedim(1, -1)[valid[:, 0].bool()]), plain


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_those_of_the_valid_entries_alone(momentum):
    norm, x, valid = norm_with_numbers(momentum), maps().requires_grad_(), validity()
    expected, plain = on_entries_alone(norm, x, valid)
    weights = torch.linspace(-1, 1, expected.numel()).reshape(expected.shape)
    by_torch = torch.autograd.grad((expected * weights).sum(), (x, plain.weight, plain.bias))
    found = normalised(norm, x, valid).movedim(1, -1)[valid[:, 0].bool()]
    ours = torch.autograd.grad((found * weights).sum(), (x, norm.weight, norm.bias))
    torch.testing.assert_close(found, expected, **TOLERANCE)
    torch.testing.assert_close(ours, by_torch, **TOLERANCE)
    torch.testing.assert_close(norm.state_dict(), plain.state_dict(), **TOLERANCE)


def test_where_all_entries_are_valid_it_is_the_norm_of_torch():
    norm, twin, x = norm_with_numbers(), norm_with_numbers(), maps()
    torch.testing.assert_close(normalised(norm, x, torch.ones(3, 1, 6, 5)), twin(x), **TOLERANCE)
    torch.testing.assert_close(norm.state_dict(), twin.state_dict(), **TOLERANCE)


def test_without_a_mask_or_in_evaluation_the_norm_itself_is_called():
    norm, twin, x = norm_with_numbers(), norm_with_numbers(), maps()
    assert torch.equal(normalised(norm, x, None), twin(x))
    assert torch.equal(normalised(norm.eval(), x, validity()), twin.eval()(x))


def test_the_same_map_comes_back_where_all_entries_are_valid():
    x = maps()
    assert times(x, None) is x
    assert torch.equal(times(x, validity())[0, :, 2:], torch.zeros(4, 4, 5))


def test_recomputing_a_block_leaves_the_running_statistics_alone():
    norm, twin, x = norm_with_numbers(), norm_with_numbers(), maps().requires_grad_()
    normalised(twin, x, validity())
    torch.utils.checkpoint.checkpoint(normalised, norm, x, validity(), use_reentrant=False).sum().backward()
    torch.testing.assert_close(norm.state_dict(), twin.state_dict())


def _of_one_process(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    norm = nn.SyncBatchNorm.convert_sync_batchnorm(norm_with_numbers())
    part = slice(0, 1) if rank == 0 else slice(1, 3)
    x = maps()[part].requires_grad_()
    output = normalised(norm, x, validity()[part])
    output.square().mul(validity()[part]).sum().backward()
    torch.save({"output": output, "gradient": x.grad, "state": norm.state_dict()}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_that_train_together_share_the_statistics(tmp_path):
    """One process has one map, the other two, of other numbers of valid entries, against all three at once."""
    norm, x, valid = norm_with_numbers(), maps().requires_grad_(), validity()
    output = normalised(norm, x, valid)
    output.square().mul(valid).sum().backward()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_of_one_process, args=(port, str(tmp_path)), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(torch.cat([part["output"] for part in parts]), output, **TOLERANCE)
    torch.testing.assert_close(torch.cat([part["gradient"] for part in parts]), x.grad, atol=1e-4, rtol=1e-4)
    for part in parts:
        torch.testing.assert_close(part["state"], norm.state_dict(), **TOLERANCE)
