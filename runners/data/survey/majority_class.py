"""What the most frequent class of the training split, always predicted, reaches on the test split.

A model must be better than this line to have learnt anything from its inputs. It is counted when a run is planned, from
the labels, and kept in the plan, because a table is made without the data. The class comes from the training split: one
chosen on the test split would be an answer that no training gives. Of equally frequent classes it is the first.

With the share p of the test samples that are of the class, k classes that the test split has, and F1 and recall 0 of
every other class: accuracy p, balanced accuracy 1 / k, macro F1 2 p / (1 + p) / k; AUROC 1/2, because all scores are
equal; Matthews correlation 0 by convention. All are 0 but AUROC where the test split lacks the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from results.plan.datasets import MajorityClass
from runners.data.survey.result import Survey
from search_space.schema.task import TaskSpec

__all__ = ["majority_class", "majority_metrics"]

_ACCURACIES = ("top1", "accuracy", "knn_top1", "linear_top1")


def majority_class(task: TaskSpec, survey: Survey) -> MajorityClass | None:
    """The class and what it reaches; None where it is not known, or samples have no single class."""
    train, test = survey.train.counts, survey.test.counts
    if task.labelled not in ("images", "texts") or not survey.info.num_classes or not sum(train) or not sum(test):
        return None
    label = train.index(max(train))
    names = survey.class_names or survey.info.class_names
    metrics = {name: value for name, value in majority_metrics(label, test).items() if name in task.measured}
    return MajorityClass(name=names[label] if len(names) == len(train) else str(label), metrics=metrics)


def majority_metrics(label: int, test_counts: Sequence[int]) -> Mapping[str, float]:
    """Metrics in % of always predicting one class.

    Args:
        test_counts: samples of every class of the test split.
    """
    share = test_counts[label] / sum(test_counts)
    present = sum(count > 0 for count in test_counts)
    f1 = 2 * share / (1 + share)
    several = {"auroc": 50.0} if present > 1 else {}
    return {
        **dict.fromkeys(_ACCURACIES, 100 * share),
        "balanced_accuracy": 100 / present if share else 0.0,
        "macro_f1": 100 * f1 / present,
        "f1": 100 * f1 if label == 1 else 0.0,
        "mcc": 0.0,
        **several,
    }
