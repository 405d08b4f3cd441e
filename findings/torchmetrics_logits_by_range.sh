#!/usr/bin/env bash
# torchmetrics 1.9.0: the values of the scores decide whether they are logits, so that AUROC depends on their scale.
#
# Behaviour: `binary_auroc`, `multiclass_auroc` and the calibration errors take a tensor for logits where a value is
# outside [0, 1], and for probabilities where none is; no argument says which they are. Logits go through a sigmoid or a
# softmax in their own type first. In float32 the sigmoid of 17 and more is 1, so that images of a confident model tie:
# scores that rank every pair right have an area of 0.5 (chance), and of 1 when they are divided by 100. Logits that are
# all in [0, 1] are taken as confidences as they are.
# Guess that was wrong: an area under the ROC curve does not change when all scores are multiplied by one positive
# number, and a calibration error of logits is that of their sigmoid.
# Consequence for us: a model's outputs are logits whatever their range, and AUROC ranks probabilities in float64
# (runners/tasks/metrics/classification.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torchmetrics==1.9.0 torch==2.15.0 scikit-learn==1.9.1 numpy >/dev/null 2>&1
"$folder/venv/bin/python" - <<'PYTHON'
import sklearn
import torch
import torchmetrics
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error, multiclass_auroc

print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}")
labels = torch.tensor([0, 1, 1, 1])
logits = torch.tensor([20.0, 21.0, 22.0, 30.0])
areas = {
    "roc_auc_score": float(roc_auc_score(labels, logits)),
    "binary_auroc": binary_auroc(logits, labels).item(),
    "binary_auroc of the logits / 100": binary_auroc(logits / 100, labels).item(),
    "binary_auroc of the logits as float64": binary_auroc(logits.double(), labels).item(),
    "multiclass_auroc of [0, logit]": multiclass_auroc(torch.stack([0 * logits, logits], 1), labels, 2).item(),
}
print(f"logits {logits.tolist()}, labels {labels.tolist()}")
for name, area in areas.items():
    print(f"  {name}: {area:.4f}")
assert list(areas.values()) == [1.0, 0.5, 1.0, 1.0, 0.75], "the behaviour has changed"

logits = torch.tensor([0.2, 0.9, 0.8, 0.4])
print(f"logits {logits.tolist()}, labels {labels.tolist()}")
taken = binary_calibration_error(logits, labels).item()
exact = binary_calibration_error(logits.sigmoid(), labels).item()
print(f"  binary_calibration_error: {taken:.4f}; of their sigmoid: {exact:.4f}")
assert abs(taken - 0.275) < 1e-4 and abs(exact - 0.1869) < 1e-4, "the behaviour has changed"
PYTHON
