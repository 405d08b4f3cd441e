"""Plan of a sweep: its variants, their cost, and the dropped variants with the reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from modelzoo.probes import check_cosine_regulariser
from results import Analysis, PlannedVariant, PublishedRow, RunPlan, TableFormat
from results.store.records import DataSummary, Origin
from runners.data import DataInfo, describe_dataset
from runners.data.survey.survey import Survey, survey_dataset
from runners.machine.gpus import num_gpus_here
from runners.planning.auto_gpus import Say, with_gpus_found
from runners.planning.checks.fine_tuning import fine_tuning_problems, notes_on_fine_tuning
from runners.planning.checks.precisions import PRECISION_HINT, equal_precisions, with_precision
from runners.planning.checks.refused_choices import located, planned_relations, refused_choices
from runners.planning.checks.same_experiment import is_same_experiment
from runners.planning.known_costs import known_cost
from runners.planning.match_solver import Unmatched, match_variant
from runners.planning.shard import Shard
from runners.planning.stored_plan import (
    blocked_design,
    data_summary,
    dataset_names,
    length_of,
    measures_of,
    planned_variant,
    retuned_of,
)
from runners.tasks import TASKS
from runners.training.device import kind_of_device
from runners.training.foreign.files import missing_files
from runners.training.foreign.function import foreign_relations
from runners.training.gpu.cuda_graph import WITHOUT_GRAPH, reason_against_graph
from runners.training.precision import reason_against_precision
from runners.trials.form import ALONE, Form, stack_of
from search_space import (
    Problem,
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
    variants,
)
from search_space.schema.task import ForeignSpec
from search_space.settings.training_relations import BrokenRelation

__all__ = ["Entry", "Plan", "make_plan"]


@dataclass(frozen=True)
class Entry:
    """Variant of the design; it is dropped if there are `reasons`. `num_tried`: settings that `retune` tried for it."""

    variant: Variant
    reasons: tuple[str, ...] = ()
    num_tried: int | None = None


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
        # The evaluation's sizes depend on the model's input.
        arch = setting.arch.model_dump_json(include={"model", "img_size"})
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
            more = {"num_tried": entry.num_tried, "cost": cost, "numerics": numerics}
            planned.append(planned_variant(entry.variant, entry.reasons, **more))
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
            published=[PublishedRow(when=row.when, values=row.values, source=row.source) for row in sweep.published],
            analysis=Analysis(**sweep.analysis.model_dump()),
            table=TableFormat(**sweep.table.model_dump()),
            dataset=dataset_names(sweep, self._baselines),
            measures=measures_of(sweep),
            own_training=self.is_foreign,
            num_test_images=self.num_test_images(),
            epochs=epochs,
            steps=steps,
            blocks=blocked_design(sweep, self._baselines, self.describe),
            retuned=retuned_of(sweep),
            superseded=list(superseded),
            data=self.data(),
            forms={stack: form.numerics for stack, form in self.forms.items()},
        )


def make_plan(file: SweepFile, *, say: Say = lambda text: None, num_gpus: Callable[[], int] = num_gpus_here) -> Plan:
    """Enumerate, check and cost the variants of a sweep, and look at their data, without training.

    Args:
        say: called with a message before much data is read, and with what `gpus: auto` means.
        num_gpus: counts the GPUs for `gpus: auto`; default: those of this machine.

    Raises:
        SpecError: training options or model options that cannot be trained, missing data, a baseline that cannot be
            built, or no variant left.
    """
    plan = Plan(with_gpus_found(file, num_gpus, say=say), say=say)
    sweep = plan.sweep
    if of_baseline := plan.training_relations(sweep.baseline):
        raise SpecError([file.problem(f"baseline.{each.path}", each.message, each.hint) for each in of_baseline])
    if refused := refused_choices(sweep, with_precision(plan.training_relations, sweep.resources), plan.cost_of):
        raise SpecError([file.problem(each.path, each.message, each.hint, at_key=each.at_key) for each in refused])
    if against := _against_device(plan, sweep.baseline, sweep.resources):
        raise SpecError(against)
    if sweep.search:
        if not plan.is_foreign and (
            wrong := fine_tuning_problems(file, sweep.baseline, plan.describe(sweep.baseline.task))
        ):
            raise SpecError(wrong)
        return plan
    untrainable: dict[str, Problem] = {}  # by message: only the first variant with a fault is named
    for variant in variants(sweep):
        if sweep.match:
            variant, reasons = _matched(plan, variant)
        else:
            reasons, _ = plan.reasons_against(variant)
        if not unmet_requirements(sweep, variant.setting, None):
            processes = None if reasons else plan.resources_of(variant).num_processes
            for broken in plan.training_relations(variant.setting, num_processes=processes):
                text = f"the variant {variant.name!r} cannot be trained: {broken.path}: {broken.message}"
                hint = "; ".join(filter(None, (broken.hint, "or drop such variants by `require`")))
                untrainable.setdefault(broken.message, file.problem(("space",), text, hint, at_key=True))
        if sweep.metric not in variant.setting.task.measured:
            text = f"the variant {variant.name!r} has no metric {sweep.metric!r}, by which the sweep compares"
            hint = f"it has {', '.join(variant.setting.task.measured)}"
            untrainable.setdefault(sweep.metric, file.problem(("metric",), text, hint))
        if not reasons and (against := _against_device(plan, variant.setting, plan.resources_of(variant))):
            untrainable.setdefault(against.message, against)
        if not reasons and not plan.is_foreign:
            name = "" if variant.is_baseline else variant.name
            for wrong in fine_tuning_problems(file, variant.setting, plan.dataset_of(variant), name=name):
                untrainable.setdefault(wrong.message.partition(": ")[2] if name else wrong.message, wrong)
        if not reasons and (twin := _twin(plan, variant)):
            reasons = [f"builds the same model as {twin!r} and trains it the same way: no experiment"]
        if sweep.retune and variant.setting.task.val_fraction == 0:
            reasons = [*reasons, "retune needs task.val_fraction > 0"]
        plan.entries.append(Entry(variant, tuple(reasons)))
        if reasons and variant.is_baseline:
            with located(file):
                plan.cost_of(variant)  # raises with place and reason if the baseline cannot be built
            problems = [f"the baseline cannot run: {reason}" for reason in reasons]
            raise SpecError([file.problem(("baseline",), text, "deltas refer to the baseline") for text in problems])
    if untrainable:
        raise SpecError(untrainable.values())
    if not plan.variants:
        raise SpecError([Problem("no variant is left to run", hint="see `require` and `space`")])
    equal_precisions(((each, plan.resources_of(each)) for each in plan.variants), say=say)
    return plan


def _against_device(plan: Plan, setting: Setting, resources: Resources) -> Problem | None:
    """What the device of these resources cannot do for a setting."""
    if plan.is_foreign:
        return None
    if reason := reason_against_precision(setting.train.amp, kind_of_device(resources)):
        place = "baseline.train.amp" if setting.train.amp == plan.sweep.baseline.train.amp else ("space", "train.amp")
        return plan.file.problem(place, reason, PRECISION_HINT)
    if reason := reason_against_graph(setting, plan.describe(setting.task), resources):
        return plan.file.problem("resources.cuda_graph", reason, WITHOUT_GRAPH)
    return None


def _twin(plan: Plan, variant: Variant) -> str:
    """Name of an earlier variant that is the same experiment under other words; empty if there is none."""
    if plan.is_foreign:
        return ""  # other values are another experiment: what the code makes of them is not known
    cost = plan.cost_of(variant)
    for entry in plan.entries:
        if entry.reasons or entry.variant.block != variant.block or plan.cost_of(entry.variant) != cost:
            continue
        if is_same_experiment(entry.variant.setting, variant.setting, plan.describe):
            return entry.variant.name
    return ""


def _matched(plan: Plan, variant: Variant) -> tuple[Variant, list[str]]:
    """Variant with its matched value, and the reasons why it cannot run (empty if it can)."""
    match = plan.sweep.match
    assert match is not None
    reference = plan.entries[0].variant if plan.entries else variant
    if match.target == "baseline" and variant.is_baseline:
        return variant, plan.reasons_against(variant)[0]
    target = plan.cost_of(reference)[match.cost] if match.target == "baseline" else float(match.target)

    def cost_of(candidate: Variant) -> float | None:
        reasons, cost = plan.reasons_against(candidate)
        return None if reasons else cost[match.cost]

    found = match_variant(plan.sweep, variant, target, reference=reference.setting, cost_of=cost_of)
    if isinstance(found, Unmatched):
        return variant, [found.reason]
    if variant.is_baseline:
        found = replace(found, changes={})
    same = next((entry.variant.name for entry in plan.entries if entry.variant.variant_id == found.variant_id), None)
    return found, [f"is the same as {same!r} once it is matched"] if same else []
