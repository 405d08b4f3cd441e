"""Prefix tokens of Group-Mix attention where several processes train one model: the result of one on all images.

`nn.SyncBatchNorm` refuses CPUs, so a norm in its place computes what it computes with PyTorch's own differentiable
collectives, for gloo.
"""

from __future__ import annotations

import os
import socket

import pytest
import torch
from torch import multiprocessing, nn
from torch.distributed.nn.functional import all_reduce

from modelzoo.attention.groupmix_aggregators import Aggregator

GRID, PREFIX, CHANNELS = (4, 3), 2, 5
CLOSE = {"atol": 1e-6, "rtol": 1e-6}


class NormOfAllProcesses(nn.SyncBatchNorm):
    def forward(self, x):
        num = all_reduce(torch.tensor(float(x[:, 0].numel()), dtype=x.dtype))
        mean = all_reduce(x.sum(dim=(0, 2, 3))) / num
        centred = x - mean[:, None, None]
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / num
        scaled = centred / (variance + self.eps).sqrt()[:, None, None]
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


def tokens():
    """q, k and v of three images; patches and prefix far apart, and each image with other statistics."""
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(3, 3, PREFIX + GRID[0] * GRID[1], 2 * CHANNELS, generator=stream, dtype=torch.float64)
    x[:, :, :PREFIX] += 2
    return x * torch.tensor([0.5, 1, 3])[:, None, None] + torch.tensor([1, 0, -2])[:, None, None]


def aggregator():
    torch.manual_seed(1)
    made = Aggregator(CHANNELS, (3,), local_kernel_size=None).double().train()
    for name, weight in made.named_parameters():
        if name.startswith("norm"):
            weight.data += torch.linspace(-0.3, 0.4, len(weight))
    return made


def outcome(module, x):
    x = x.requires_grad_()
    output, _ = module(x, GRID, PREFIX)
    # The loss depends on every token in its own way, and on the prefix most of all.
    slopes = torch.linspace(-1, 2, output[0, 0].numel()).reshape(output[0, 0].shape)
    (output.square() * slopes).sum().backward()
    return {"output": output.detach(), "x": x.grad, **{name: w.grad for name, w in module.named_parameters()}}


def _of_one_process(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    module = aggregator()
    for name in ("norm0", "norm1"):
        norm = NormOfAllProcesses(CHANNELS).double()
        norm.load_state_dict(getattr(module, name).state_dict())
        setattr(module, name, norm)
    part = slice(0, 1) if rank == 0 else slice(1, 3)
    torch.save(outcome(module, tokens()[:, part].clone()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_what_one_gives_on_all_images(tmp_path):
    """Values and gradients. One process has one image, the other two; gradients of weights are summed."""
    whole = outcome(aggregator(), tokens())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_of_one_process, args=(port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, expected in whole.items():
        of_images = name in ("output", "x")
        found = torch.cat([first[name], second[name]], dim=1) if of_images else first[name] + second[name]
        torch.testing.assert_close(found, expected, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
    assert whole["x"][:, :, :PREFIX].abs().min() > 1e-6  # the prefix takes part
