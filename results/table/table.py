"""Data model of an ablation table, with one row per variant. `build.py` makes it from a plan and records.

The table holds numbers at full precision without formatting, which `results/layout` adds for readers and the CSV
exporter for programs. A row counts every planned seed as exactly one of completed, pruned, failed, infeasible or
missing; only completed ones enter means and differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from results.plan.comparison import Analysis, PublishedRow, Rounds, SeedSources, TableFormat
from results.plan.datasets import DataSummary, Imported
from results.plan.run_plan import BlockedDesign, Retuned
from results.plan.stored import Preregistered
from results.stats.paired import PairedDelta, Summary, is_measured
from results.stats.sequential.evidence import looks_of
from results.stats.sequential.standing import Stopped
from results.stats.verdicts import TESTED, Verdict
from results.store.records import TrialRecord
from results.table.asked.path import PathSteps
from search_space.schema.metrics import Metric
from search_space.settings.table_columns import COSTS, at_block

__all__ = ["AblationTable", "DroppedVariant", "Row", "Study", "Tuned", "values_by_seed"]


def values_by_seed(records: Iterable[TrialRecord], metric: str) -> dict[int, float]:
    """Finite values of the completed trials by seed."""
    values = {record.seed: record.metrics.get(metric) for record in records if record.status == "completed"}
    return {seed: value for seed, value in values.items() if value is not None and is_measured(value)}


@dataclass(frozen=True)
class Tuned:
    """What `retune` gained for a variant.

    Attributes:
        is_own: whether its own setting was the best of those tried, so that there is no gap.
        gap: metric of the chosen minus that of its own setting, on the test split, paired by tuning seed; None where no
            completed trial has its own setting.
        changed: path -> value of its own and of the chosen setting.
    """

    is_own: bool
    gap: PairedDelta | None = None
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """Row of one variant, over all blocks where the design has them.

    Attributes:
        metrics: name -> mean and standard deviation over the completed seeds.
        delta: difference of the table's metric to the baseline; None for the baseline itself and without a shared seed.
        other_deltas: the same of every other metric with a direction; there is no test of them.
        p, p_corrected: p-value of the difference, before and after the correction for multiple arms; None without test.
        p_equivalence, p_equivalence_corrected: the same of the equivalence; None without a margin.
        verdict: None for the baseline and for fewer than 3 planned seeds.
        cost_changes: `params_m`, `gmacs`, ... relative to the baseline (0.1: 10 % more).
        rests_on_changes: whether its comparison rests on a decision that was made after results were seen.
        study: name of the study, where a sweep holds several.
        front: in a search for several objectives, the front of a complete row (1: the Pareto front); else None.
        train_seconds: mean over the completed seeds.
        pruned_epochs: epoch at which each pruned seed stopped, in the order of the seeds.
        records: deciding record of each seed, in the order of the seeds.
        num_tried: different settings that `retune` tried for the variant; None without it, or before it ended.
        trainable_params_m: parameters in millions that the training changed; None where no record has it.
        image_error: standard error of `delta` over the test images, for these trained models; None without predictions.
        blocks: name of a block -> the row within it, against the baseline in it; empty without blocks. There `metrics`
            and `delta` are means over the blocks of the means over their seeds, with the standard deviation over folds
            (none over blocks of different kind), and counts are those of all trials.
        num_blocks: planned blocks; 0 without blocks.
        stopped: in a sequential design, why the row gets no further seeds; there `num_planned` is what it has to have
            by the results so far.
        placebo_of: the component of which the row has the placebo; else empty.
        tuned: what `retune` gained for it; None without it, or before it ended.
        published: published numbers that are compared with ours.
        order_only: those of another setting, of which only the order of the rows is compared.
    """

    name: str
    variant_id: str
    changes: Mapping[str, Any]
    components: Mapping[str, bool]
    is_baseline: bool
    num_planned: int
    num_completed: int
    num_pruned: int
    num_failed: int
    num_infeasible: int
    metrics: Mapping[str, Summary]
    delta: PairedDelta | None
    params_m: float | None
    gmacs: float | None
    train_seconds: float | None
    pruned_epochs: tuple[int, ...]
    published: tuple[PublishedRow, ...]
    records: tuple[TrialRecord, ...]
    p: float | None = None
    p_corrected: float | None = None
    p_equivalence: float | None = None
    p_equivalence_corrected: float | None = None
    verdict: Verdict | None = None
    cost_changes: Mapping[str, float] = field(default_factory=dict)
    study: str = ""
    rests_on_changes: bool = False
    front: int | None = None
    num_tried: int | None = None
    image_error: float | None = None
    other_deltas: Mapping[str, PairedDelta] = field(default_factory=dict)
    trainable_params_m: float | None = None
    blocks: Mapping[str, Row] = field(default_factory=dict)
    num_blocks: int = 0
    stopped: Stopped = ""
    placebo_of: str = ""
    tuned: Tuned | None = None
    order_only: tuple[PublishedRow, ...] = ()

    @property
    def cells(self) -> Mapping[str, Row]:
        """The rows within the blocks by name; this one under the empty name without blocks."""
        return self.blocks or {"": self}

    def values(self, metric: str) -> dict[int, float]:
        """Finite values of its completed trials by seed; of a row without blocks."""
        return values_by_seed(self.records, metric)

    def value_of(self, name: str) -> float | None:
        """Its mean of a metric, or its cost of that name; None where it has none."""
        if name in COSTS:
            return getattr(self, name)
        return self.metrics[name].mean if name in self.metrics else None

    def minus_published(self, there: PublishedRow, name: str) -> float | None:
        """Its value minus a published one; None where one of both is missing."""
        ours, theirs = self.value_of(name), there.values.get(name)
        return None if ours is None or theirs is None else ours - theirs

    @property
    def num_planned_pairs(self) -> int:
        """Differences that `delta` has where nothing is missing: one a block, or one a seed."""
        return self.num_blocks or self.num_planned

    @property
    def num_missing(self) -> int:
        return self.num_planned - self.num_completed - self.num_pruned - self.num_failed - self.num_infeasible

    @property
    def is_partly_frozen(self) -> bool:
        """Whether a part of the model is not trained."""
        trained, whole = self.trainable_params_m, self.params_m
        return trained is not None and whole is not None and trained < whole

    @property
    def is_exploratory(self) -> bool:
        """Whether the verdict is no test of what was planned before the first result."""
        return self.rests_on_changes and self.verdict in TESTED

    @property
    def status(self) -> str:
        """Common status of all planned seeds, or `partial` where they differ."""
        counts = {
            "completed": self.num_completed,
            "pruned": self.num_pruned,
            "failed": self.num_failed,
            "infeasible": self.num_infeasible,
            "missing": self.num_missing,
        }
        present = [status for status, count in counts.items() if count]
        return present[0] if len(present) == 1 else "partial"


@dataclass(frozen=True)
class DroppedVariant:
    """Variant that was dropped before training, with the reason."""

    name: str
    reason: str
    components: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """One run in a merged table: its name in `Row.study`, its design, properties that differ between the runs, and its
    `AblationTable.orders` and `path`."""

    name: str
    design: str
    particulars: str = ""
    orders: tuple[tuple[str, ...], ...] = ()
    path: PathSteps | None = None


@dataclass(frozen=True)
class AblationTable:
    """Ablation table of one run, or of several (see merge.py).

    Attributes:
        metric: metric of the sweep; deltas are differences of it.
        other_metrics: further metrics of the completed trials.
        components: names of the on/off components, for designs that have them.
        ordered_by: for a search, the metric that orders the rows; else empty, in the order of the plan.
        objectives: objectives of a search for a Pareto front, as measured (`val_top1`); else empty.
        is_foreign: whether the user's own code trained, so that nothing is known of its data and seeds.
        num_superseded: number of records that do not count, because data, code or software changed.
        num_foreign: number of records of the ledger that belong to no trial of the plan.
        without_metric: number of completed trials without a finite value of `metric`.
        unmatched: published rows without a matching row.
        analysis: settings of the comparison, and the selection rule of the weights.
        retuned: tuning of every arm before the comparison; None without it, or if the runs differ in it.
        num_test_images: size of the test set; None if unknown, or not the same for all rows.
        data: images, classes and particulars of the datasets; empty for runs of an archsweep before 0.3.
        preregistered: name of the run in a merged table (else empty) -> date, hash and differences of a frozen plan.
        changed_later: what was planned before the first result and changed after it, as texts.
        imported: name of the run in a merged table (else empty) -> where its runs come from; only of imported ones.
        blocks: blocks of the design; None without them, and in a merged table.
        orders: sampled orders of the components, for `shapley`; empty where it is exact, and in a merged table.
        format: columns, order and texts for readers, which change no number.
        rounds: looks of a sequential design; None without them, and in a merged table of runs that differ in it.
        path: the steps so far, for `path`; None for other designs, and in a merged table. `seeds` are its judging ones
            then, and the rows those that are judged.
        seed_sources: what a seed decides; None: all but the splits of the data.
        csv_columns: columns to which the CSV is restricted, by the same names; empty: it is complete.
        studies: the runs of a merged table, else empty. There `seeds`, `dataset`, `epochs`, `profile`, `design` and
            `ordered_by` are empty unless all runs agree.
    """

    sweep: str
    profile: str
    design: str
    metric: Metric
    other_metrics: tuple[str, ...]
    components: tuple[str, ...]
    seeds: tuple[int, ...]
    dataset: str
    epochs: int | None
    steps: int | None
    rows: tuple[Row, ...]
    dropped: tuple[DroppedVariant, ...]
    ordered_by: str
    num_foreign: int
    num_superseded: int
    without_metric: int
    unmatched: tuple[PublishedRow, ...]
    analysis: Analysis
    studies: tuple[Study, ...] = ()
    retuned: Retuned | None = None
    changed_later: tuple[str, ...] = ()
    preregistered: Mapping[str, Preregistered] = field(default_factory=dict)
    objectives: tuple[str, ...] = ()
    num_test_images: int | None = None
    data: tuple[DataSummary, ...] = ()
    is_foreign: bool = False
    imported: Mapping[str, Imported] = field(default_factory=dict)
    blocks: BlockedDesign | None = None
    orders: tuple[tuple[str, ...], ...] = ()
    format: TableFormat = field(default_factory=TableFormat)
    csv_columns: tuple[str, ...] = ()
    rounds: Rounds | None = None
    path: PathSteps | None = None
    seed_sources: SeedSources | None = None

    def within_block(self, column: str) -> tuple[str, str] | None:
        """Column (`delta` or a metric) and block of the name of such a column; None for other names."""
        found = at_block(column)
        return found if found is not None and self.blocks is not None and found[1] in self.blocks.names else None

    @property
    def parts(self) -> tuple[AblationTable, ...]:
        """Tables by run, each with its own baseline; only this one for a single run."""
        if not self.studies:
            return (self,)
        rows = {study.name: tuple(row for row in self.rows if row.study == study.name) for study in self.studies}
        return tuple(
            replace(
                self,
                design=study.design,
                rows=rows[study.name],
                components=tuple(c for c in self.components if any(c in row.components for row in rows[study.name])),
                studies=(),
                orders=study.orders,
                path=study.path,
                dropped=tuple(one for one in self.dropped if one.name.startswith(f"{study.name}: ")),
                imported={"": self.imported[study.name]} if study.name in self.imported else {},
            )
            for study in self.studies
        )

    @property
    def records(self) -> list[TrialRecord]:
        """Deciding records behind the table: those of its rows, and those that chose the steps of a path."""
        paths = [part.path for part in self.parts if part.path is not None]
        chose = [record for path in paths for _, record in path.choosing_records]
        return [
            *(record for row in self.rows for record in row.records),
            *(record for record in chose if isinstance(record, TrialRecord)),
        ]

    @property
    def baseline(self) -> Row | None:
        """Row of the baseline; of several runs the first one's."""
        return next((row for row in self.rows if row.is_baseline), None)

    def imported_as(self, row: Row) -> Imported | None:
        """Where the runs of the row come from, if another program trained them."""
        return self.imported.get(row.study if self.studies else "")

    @property
    def is_untrained(self) -> bool:
        """Whether every trial measured weights as they are, without training (`train.epochs: 0`)."""
        records = self.records
        return bool(records) and all(record.spec.get("train", {}).get("epochs") == 0 for record in records)

    @property
    def is_all_imported(self) -> bool:
        return len(self.imported) == max(1, len(self.studies))

    @property
    def is_sequential(self) -> bool:
        """Whether tests and intervals allow for several looks at the results."""
        return looks_of(self.analysis, self.rounds) is not None

    @property
    def has_tests(self) -> bool:
        return any(row.verdict in TESTED for row in self.rows)
