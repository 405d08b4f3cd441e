"""Plan of a sweep: its variants, their cost, and the dropped variants with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from modelzoo.probes import check_cosine_regulariser
from results import Analysis, PlannedVariant, PublishedRow, RunPlan, TableFormat
from results.plan.datasets import DataSummary
from results.plan.stored import Origin
from runners.data import DataInfo, describe_dataset
from runners.data.survey.survey import Survey, survey_dataset
from runners.planning.auto_gpus import Say
from runners.planning.checks.fine_tuning import notes_on_fine_tuning
from runners.planning.checks.refused_choices import planned_relations
from runners.planning.known_costs import known_cost
from runners.planning.shard import Shard
from runners.planning.stored_plan import (
    blocked_design,
    data_summary,
    dataset_names,
    length_of,
    measures_of,
    path_seeds_of,
    planned_variant,
    retuned_of,
    rounds_of,
    seed_sources_of,
)
from runners.tasks import TASKS
from runners.training.foreign.files import missing_files
from runners.training.foreign.function import foreign_relations
from runners.trials.form import ALONE, Form, stack_of
from search_space import (
    Resources,
    Setting,
    SpecError,
    Sweep,
    SweepFile,
    TaskSpec,
    Variant,
    possible_resources,
    resources_for,
    space_size,
    unmet_requirements,
)
from search_space.designs.shapley import orders_of
from search_space.schema.task import ForeignSpec
from search_space.settings.training_relations import BrokenRelation

__all__ = ["Entry", "Plan"]


@dataclass(frozen=True)
class Entry:
    """Variant of the design; it is dropped if there are `reasons`.

    `num_tried`: settings that `retune` tried for it; `untuned_id`: id of its own one.
    """

    variant: Variant
    reasons: tuple[str, ...] = ()
    num_tried: int | None = None
    untuned_id: str = ""


@dataclass
class Plan:
    """Variants of a sweep in table order, with cached costs and datasets. Without entries for a search.

    `say` is called with a message before much data is read. `shard`: the share of the trials that is trained here; the
    plan has all of them. `forms`: of the trainings, by their stacks (`stack_of`), once `runners/forms` has decided.
    """

    file: SweepFile
    entries: list[Entry] = field(default_factory=list)
    say: Say = lambda text: None
    shard: Shard | None = None
    forms: Mapping[str, Form] = field(default_factory=dict)
    _costs: dict[str, dict[str, float]] = field(default_factory=dict)
    _datasets: dict[str, DataInfo] = field(default_factory=dict)
    _surveys: dict[str, Survey] = field(default_factory=dict)
    _relations: dict[tuple[str, str, int], list[BrokenRelation]] = field(default_factory=dict)

    @property
    def sweep(self) -> Sweep:
        return self.file.sweep

    @property
    def profile(self) -> str:
        return self.file.profile

    @property
    def variants(self) -> list[Variant]:
        """Variants that will run."""
        return [entry.variant for entry in self.entries if not entry.reasons]

    @property
    def is_foreign(self) -> bool:
        """Whether the training is the user's own, so that nothing is known of network and data."""
        return isinstance(self.sweep.baseline.task, ForeignSpec)

    @property
    def dropped(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.reasons]

    @property
    def _baselines(self) -> list[Variant]:
        """The baseline of the plan, or those of its blocks."""
        return [entry.variant for entry in self.entries if entry.variant.is_baseline]

    @property
    def num_trials(self) -> int:
        if self.sweep.search:
            return self.num_suggestions * len(self.sweep.seeds)
        return len(self.variants) * len(self.sweep.seeds)

    @property
    def num_suggestions(self) -> int:
        """Suggestions that a search trains: its budget, at most those of a finite space."""
        assert self.sweep.search is not None
        budget, size = self.sweep.search.num_trials, space_size(self.sweep)
        return budget if size is None else min(budget, size)

    def dataset_of(self, variant: Variant) -> DataInfo:
        return self.describe(variant.setting.task)

    def training_relations(self, setting: Setting, *, num_processes: int | None = None) -> list[BrokenRelation]:
        """Relations that the training options of a setting break, found once; empty if there are none.

        Args:
            num_processes: processes of a trial; default: those of a trial without a rule.
        """
        processes = self.sweep.resources.num_processes if num_processes is None else num_processes
        if isinstance(setting.task, ForeignSpec):
            return [*foreign_relations(setting), *missing_files(setting.task, self.sweep.resources)]
        # The evaluation's sizes depend on the model's input; without training there must be weights.
        arch = setting.arch.model_dump_json(include={"model", "img_size", "weights"})
        key = (arch + setting.task.model_dump_json(), setting.train.model_dump_json(), processes)
        if key not in self._relations:
            self._relations[key] = planned_relations(self.sweep, setting, self.describe, processes)
        return self._relations[key]

    def cost_of(self, variant: Variant) -> dict[str, float]:
        """Cost of the variant (`params_m`, `gmacs`), measured once; empty where the user's own code builds it.

        Raises:
            SpecError: the architecture cannot be built, or lacks the attention maps that the regulariser needs.
        """
        if isinstance(variant.setting.task, ForeignSpec):
            return {}
        if variant.variant_id not in self._costs:
            data = self.dataset_of(variant)
            cost = known_cost(variant.setting, data)
            regulariser = variant.setting.train.cosine_regulariser
            if regulariser is not None:
                check_cosine_regulariser(
                    variant.setting.arch,
                    pairs=regulariser.pairs,
                    img_size=data.img_size,
                    in_chans=data.in_chans,
                    num_classes=data.num_classes,
                )
            self._costs[variant.variant_id] = cost
        return self._costs[variant.variant_id]

    def notes_on(self, variant: Variant) -> list[str]:
        """What its mechanism replaces in the host, first weights, what is frozen; only of one that can be built."""
        if self.is_foreign:
            return []
        setting, data = variant.setting, self.dataset_of(variant)
        tuned = notes_on_fine_tuning(setting, data, self.sweep.resources, self.sweep.seeds[0])
        return [*TASKS[setting.task.name].notes(setting, data), *tuned]

    def resources_of(self, variant: Variant) -> Resources:
        """Resources of each trial of the variant."""
        return resources_for(self.sweep.resources, variant.setting, lambda: self.cost_of(variant))

    def form_of(self, setting: Setting) -> Form:
        """Form of the trainings of a setting: by themselves, unless something else was decided for its shape."""
        return self.forms.get(stack_of(setting), ALONE) if self.forms else ALONE

    def num_test_images(self) -> int | None:
        """Size of the test set; None if the variants do not share one, or if it is unknown before the run."""
        if self.sweep.blocks:
            return None  # even splits of one size are of other images
        settings = [variant.setting for variant in self.variants] or [self.sweep.baseline]
        try:
            sizes = {self.describe(setting.task).num_test for setting in settings}
        except SpecError:  # a search, whose trials then say what is wrong with the data; or the data is the user's own
            return None
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def kinds_of_resources(self) -> list[Resources]:
        """Distinct resources of the trials; for a search, those of each rule by itself."""
        has_rules = bool(self.sweep.resources.per_variant)
        found = (
            map(self.resources_of, self.variants)
            if has_rules and self.variants
            else possible_resources(self.sweep.resources)
        )
        return list({each.model_dump_json(): each for each in found}.values())

    def reasons_against(self, variant: Variant) -> tuple[list[str], Mapping[str, float]]:
        """Reasons why the variant cannot run (empty if it can), and its cost where it could be measured."""
        reasons = unmet_requirements(self.sweep, variant.setting, None)
        reasons += [broken.message for broken in self.training_relations(variant.setting)]
        if reasons:
            return reasons, {}
        try:
            cost = self.cost_of(variant)
        except SpecError as err:
            return [problem.message for problem in err.problems], {}
        return unmet_requirements(self.sweep, variant.setting, cost or None), cost

    def describe(self, task: TaskSpec) -> DataInfo:
        """Sizes and counts of a task's dataset, read once.

        Raises:
            SpecError: the data is missing, or its numbers would not be what they say.
        """
        key = task.model_dump_json()
        if key not in self._datasets:
            info = describe_dataset(task, self.sweep.resources)
            self._survey(task, info)
            self._datasets[key] = info
        return self._datasets[key]

    def data(self) -> list[DataSummary]:
        """The datasets of the variants (of a search, of its baseline); empty where one cannot be read."""
        tasks = [variant.setting.task for variant in self.variants] or [self.sweep.baseline.task]
        try:
            found = [self._summary(task) for task in {task.model_dump_json(): task for task in tasks}.values()]
        except SpecError:  # a search, whose trials then say what is wrong with the data
            return []
        return list({each.model_dump_json(): each for each in found}.values())

    def _survey(self, task: TaskSpec, info: DataInfo) -> Survey:
        key = task.dataset.model_dump_json()
        if key not in self._surveys:
            self._surveys[key] = survey_dataset(task, self.sweep.resources, say=self.say, info=info)
        return self._surveys[key]

    def _summary(self, task: TaskSpec) -> DataSummary:
        info = self.describe(task)
        return data_summary(task, replace(self._survey(task, info), info=info))

    def as_run_plan(self, *, num_trials: int | None = None, superseded: Iterable[Origin] = ()) -> RunPlan:
        """Plan in the form stored in the run directory, including dropped variants.

        Args:
            num_trials: of a search that has found the end of its space, or of a shard; default: those that are planned.
            superseded: origins whose records do not count.
        """
        sweep = self.sweep
        planned: list[PlannedVariant] = []
        for entry in self.entries:
            cost = self._costs.get(entry.variant.variant_id, {})
            numerics = self.form_of(entry.variant.setting).numerics
            tried = {"num_tried": entry.num_tried, "untuned_id": entry.untuned_id}
            planned.append(planned_variant(entry.variant, entry.reasons, **tried, cost=cost, numerics=numerics))
        epochs, steps = length_of(sweep, self._baselines)
        return RunPlan(
            sweep=sweep.name,
            profile=self.profile,
            design=sweep.design.name,
            metric=sweep.metric,
            seeds=list(sweep.seeds),
            variants=planned,
            num_trials=num_trials or (self.num_trials if sweep.search else None),
            objectives=list(sweep.search.objectives) if sweep.search else [],
            published=[
                PublishedRow(when=row.when, values=row.values, source=row.source, compare=row.compare)
                for row in sweep.published
            ],
            analysis=Analysis(**sweep.analysis.model_dump()),
            table=TableFormat(**sweep.table.model_dump()),
            dataset=dataset_names(sweep, self._baselines),
            measures=measures_of(sweep),
            own_training=self.is_foreign,
            num_test_images=self.num_test_images(),
            epochs=epochs,
            steps=steps,
            orders=list(map(list, orders_of(sweep))) if sweep.design.name == "shapley" else [],
            path=path_seeds_of(sweep),
            blocks=blocked_design(sweep, self._baselines, self.describe),
            rounds=rounds_of(sweep),
            seed_sources=seed_sources_of(sweep),
            retuned=retuned_of(sweep),
            superseded=list(superseded),
            data=self.data(),
            forms={stack: form.numerics for stack, form in self.forms.items()},
        )
