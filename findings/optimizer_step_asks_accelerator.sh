#!/usr/bin/env bash
# torch 2.15.0: a step of AdamW asks the accelerator for its current stream, also when all weights are on the CPU.
#
# Behaviour: optimizers that can be captured in a graph (Adam, AdamW, RMSprop and others, not SGD) check before each step
# whether one is being captured. Where a GPU is visible they ask for the current stream of that accelerator, whatever device
# their weights have, which starts the GPU in this process. A process that trains on the CPU of a machine with GPUs therefore
# takes memory of the first one. An explicit `device="cpu"` does not prevent it; hiding the GPUs (CUDA_VISIBLE_DEVICES="") does.
# Guess that was wrong: a training whose tensors are all on the CPU does not touch a GPU.
# Consequence for us: trials on the CPU do not see the machine's GPUs (docs/decisions/0017-device-by-resources.md).
#
# No GPU is needed: the accelerator is pretended, and what is asked of it is recorded.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.15.0 numpy >/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
from types import SimpleNamespace

import torch

asked = []


def current_stream(*arguments):
    asked.append("current_stream")
    return SimpleNamespace(is_capturing=lambda: False)


weight = torch.nn.Parameter(torch.zeros(3))
optimizers = {kind.__name__: kind([weight], lr=0.1) for kind in (torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop)}
weight.sum().backward()
print(f"torch {torch.__version__}; weights on {weight.device}")
for pretended in (None, torch.device("cuda")):
    torch.accelerator.current_accelerator = lambda check_available=False, found=pretended: found
    torch.accelerator.current_stream = current_stream
    for name, optimizer in optimizers.items():
        asked.clear()
        optimizer.step()
        print(f"  accelerator {pretended}, one step of {name}: asked for {asked or 'nothing'}")
        assert bool(asked) == (pretended is not None and name != "SGD")
PYTHON
