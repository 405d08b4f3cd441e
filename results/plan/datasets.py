"""Data and metrics of a plan: what is trained on, what is measured, and where runs of other programs come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from results.plan.stored import Stored

__all__ = ["DataSummary", "Imported", "MajorityClass", "Measured"]


class MajorityClass(Stored):
    """The most frequent class of a training split, and what always predicting it reaches on the test split."""

    name: str
    metrics: dict[str, float] = Field(description="those of the task that are defined for it")


class DataSummary(Stored):
    """A dataset that trials of the run train on and are measured on, as it was when the run was started."""

    dataset: str = Field(description="its name, with what it varies in where there are several")
    num_classes: int = Field(description="0: labels are numbers to predict")
    train_images: int = Field(description="without those of the validation split")
    val_images: int = 0
    test_images: int
    majority: float | None = Field(
        default=None, ge=0, le=1, description="share of the most frequent class of the test split; None: not looked at"
    )
    majority_class: MajorityClass | None = Field(
        default=None,
        # Not written where it is not known: plans of such data are as they always were.
        exclude_if=lambda known: known is None,
        description="None: samples have no single class, or the labels were not looked at",
    )
    labelled: Literal["images", "pixels", "objects", "texts"] = Field(
        default="images", description="what has one label each"
    )
    notes: list[str] = Field(default_factory=list, description="what a reader of the numbers must know, as sentences")


class Measured(Stored):
    """A metric of a training of the user's own, as the sweep defines it."""

    direction: Literal["maximize", "minimize"]
    unit: str = ""
    decimals: int = 4
    meaning: str = ""


class Imported(Stored):
    """Where the runs of a plan come from that another program trained: `archsweep import-runs`."""

    source: str = Field(description="names of the files and folders, without where they were")
    kind: str = Field(description="`csv`, `wandb`, `mlflow`, `tensorboard`, or several of these")
    date: str = Field(description="of the import, ISO 8601")
    value: Literal["last", "best"] = Field(
        default="last", description="the last value of a run, or the best one of its history by the metric"
    )
    baseline: str = Field(default="", description="configuration of the baseline, as far as it varies")
