#!/usr/bin/env bash
# torch 2.15.0: with `foreach=True`, SGD with Nesterov's momentum writes its direction into `.grad` of weights without decay.
#
# Behaviour: after `step()` the gradients of a group with weight_decay=0 are not those that `backward()` left there, but
# gradient + momentum * buffer. The loop (`foreach=False`), the fused kernel (`fused=True`), SGD without `nesterov` and any
# weight decay above 0 leave them as they were. On a GPU `foreach` is what is chosen where nothing is said.
# Guess that was wrong: an optimizer reads gradients and never changes them, and its implementations differ in speed alone.
# Consequence for us: `foreach` is never asked for (runners/training/optimization/optimizer.py); whoever reads norms of gradients
# after a step reads them where they are still gradients.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.15.0 numpy >/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import torch


def is_changed(**options):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, **options)
    found = []
    for _ in range(3):
        gradient = torch.randn(5)
        weight.grad = gradient.clone()
        optimizer.step()
        found.append(not torch.equal(weight.grad, gradient))
    assert len(set(found)) == 1
    return found[0]


print(f"torch {torch.__version__}; are gradients changed by a step of SGD with momentum?")
nesterov = {"nesterov": True}
rows = {
    "nesterov, foreach=False": (is_changed(foreach=False, **nesterov), False),
    "nesterov, fused=True": (is_changed(fused=True, **nesterov), False),
    "nesterov, foreach=True": (is_changed(foreach=True, **nesterov), True),
    "nesterov, foreach=True, weight_decay=0.1": (is_changed(foreach=True, weight_decay=0.1, **nesterov), False),
    "foreach=True": (is_changed(foreach=True), False),
}
for name, (found, _) in rows.items():
    print(f"  {name:42} {'changed' if found else 'unchanged'}")
assert all(found == expected for found, expected in rows.values())
PYTHON
