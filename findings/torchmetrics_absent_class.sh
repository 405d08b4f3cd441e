#!/usr/bin/env bash
# torchmetrics 1.9.0: what a class without a labelled image counts in a macro mean depends on the metric.
#
# Behaviour: `multiclass_accuracy` and `multiclass_recall` with `average="macro"` leave out a class that is neither
# labelled nor predicted. One wrong prediction of that class makes it a member of the mean, with a recall of 0, although
# it has no image to be recalled. `multiclass_auroc` counts it as 0 in any case, with a warning, and
# `multiclass_average_precision` leaves it out. For a ranking without an error among the classes present, the first is
# 0.67 and the second 1.
# Guess that was wrong: a macro mean is over the classes that the labels have, like scikit-learn's
# `balanced_accuracy_score`, or at least over the same classes in each metric of one library.
# Consequence for us: balanced accuracy and AUROC are means over the classes that the split has; they are computed by
# our own code (runners/tasks/metrics/classification.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torchmetrics==1.9.0 torch==2.15.0 scikit-learn==1.9.1 numpy >/dev/null 2>&1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sklearn
import torch
import torchmetrics
from sklearn.metrics import balanced_accuracy_score
from torchmetrics.functional import classification as metrics

print(f"torchmetrics {torchmetrics.__version__}, scikit-learn {sklearn.__version__}: 4 classes, class 3 is not in the labels")
labels = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
found = []
for case, predicted in (("not predicted", [0, 0, 1, 1, 2, 2, 0, 0]), ("predicted once", [0, 0, 1, 1, 2, 2, 0, 3])):
    classes = torch.tensor(predicted)
    ours = [f(classes, labels, 4, average="macro").item() for f in (metrics.multiclass_accuracy, metrics.multiclass_recall)]
    balanced = balanced_accuracy_score(labels, classes)
    print(f"  class 3 {case}: macro accuracy {ours[0]:.4f}, macro recall {ours[1]:.4f}, balanced_accuracy_score {balanced:.4f}")
    found += [round(value, 4) for value in (*ours, balanced)]

labels = torch.tensor([0, 0, 1, 1])
scores = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1]])
for name in ("multiclass_auroc", "multiclass_average_precision"):
    macro, each = (getattr(metrics, name)(scores, labels, 3, average=kind) for kind in ("macro", "none"))
    print(f"  3 classes, class 2 is not in the labels, no error: {name} macro {macro:.4f}, each {each.tolist()}")
    found.append(round(macro.item(), 4))
assert found == [0.8333] * 3 + [0.625, 0.625, 0.8333] + [0.6667, 1.0], "the behaviour has changed"
PYTHON
