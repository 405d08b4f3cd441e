"""The forecast of a plan as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from results.plan.datasets import DataSummary
from runners.cache.reuse import CACHE, STUDIES
from runners.cli.plan.coalitions import planned_coalitions
from runners.cli.plan.path_steps import path_sentences, path_warnings
from runners.cli.plan.seeds import seed_sentences
from runners.data.epochs import updates_of_an_epoch
from runners.planning.detection.sequential import RoundsAhead, rounds_ahead
from runners.planning.forecast import Detectable, Forecast
from runners.training.optimization.schedule import peak_learning_rate
from search_space import METRICS, Resources, Setting
from search_space.designs.fractional import alias_structure
from search_space.parsing.errors import first_of
from search_space.variants.blocks import blocks_of

__all__ = ["data_lines", "plan_rows", "plan_sentences", "plan_warnings"]

_HEADERS = ("variant", "params (M)", "GMACs", "act. (MiB)", "mem (MiB)", "s/trial", "trials")
_MOST_ALIASES = 12
_MOST_NAMES = 3
_MOST_BLOCKS = 10
_CORRECTIONS = {"holm": "after Holm for", "bh": "after Benjamini-Hochberg for", "dunnett": "by Dunnett's test of"}


def plan_rows(forecast: Forecast) -> list[tuple[str, ...]]:
    """Header and one line per row of the plan; `act.` is for one image, `mem` for the training of a batch."""
    rows: list[tuple[str, ...]] = [_HEADERS]
    for each in forecast.variants:
        rows.append(
            (
                each.variant.name,
                _number(each.params_m),
                _number(each.gmacs),
                _number(each.activation_mib),
                _number(each.training_mib),
                _number(each.seconds) + ("?" if each.source.startswith("mean") else ""),
                str(each.num_planned),
            )
        )
    return rows


def plan_sentences(forecast: Forecast, *, run_dir: str, cache_dir: str | None = None) -> Iterator[str]:
    """What the table does not say, a sentence a line."""
    sweep = forecast.plan.sweep
    for each in forecast.variants:
        if each.reasons:
            yield f"dropped: {each.variant.name}: {'; '.join(each.reasons)}"
    for each in forecast.variants:
        if each.notes:
            yield f"note: {each.variant.name}: {'; '.join(each.notes)}"
    yield from data_lines(forecast.plan.data())
    yield from _forms(forecast)
    yield from seed_sentences(sweep)
    if not sweep.search:
        yield from _trials(forecast)
    if forecast.num_left < forecast.num_trials:
        yield f"{forecast.num_trials - forecast.num_left} trials are done in {run_dir}, {forecast.num_left} are left"
    if forecast.num_trained_again:
        number = forecast.num_trained_again
        yield (
            f"{number} of them {'is' if number == 1 else 'are'} of trainings that have ended, which are done again: "
            "weights are not kept for other ways of measuring"
        )
    yield from _taken_over(forecast, cache_dir)
    if not forecast.plan.is_foreign and _trained(forecast):
        yield _peak(forecast)
    yield from _other_resources(forecast)
    yield from _time(forecast)
    if forecast.peak_mib is not None:
        at_once = _size(forecast.peak_mib * forecast.concurrency)
        together = f", {at_once} for {forecast.concurrency} at a time" if _several(forecast) else ""
        group = max(each.num_together for each in forecast.kept if each.together_mib == forecast.peak_mib)
        what = "trial" if group == 1 else f"group of {group} trials"
        largest = f"about {_size(forecast.peak_mib)} for the largest {what}"
        less = forecast.recomputed_peak_mib
        instead = "" if less is None else f"; about {_size(less)} with train.recompute_maps"
        yield f"memory: {largest}{together}, data and libraries not counted{instead}"
    yield f"disk: about {_size(max(0.1, forecast.disk_mib))}"
    ahead = rounds_ahead(sweep, forecast.detectable.num_arms, forecast.detectable.std)
    if ahead is not None:
        yield from _rounds(ahead, forecast)
    elif not sweep.search and forecast.detectable.num_arms > 0 and (_trained(forecast) or len(forecast.seeds) > 1):
        yield from _detection(forecast)
    if sweep.design.name == "fractional":
        yield from _aliases(forecast)
    yield from _coalitions(forecast)
    yield from path_sentences(forecast)


def _forms(forecast: Forecast) -> Iterator[str]:
    """Which variants train fused, and why others train alone; variants of one reason on one line."""
    found: dict[tuple[str, str], list[tuple[str, float | None]]] = {}
    plan = forecast.plan
    settings = {each.variant.name: each.variant.setting for each in forecast.kept}
    if plan.sweep.search:  # its one shape, or none in common
        settings = {"": plan.sweep.baseline}
    for name, setting in settings.items() if _trained(forecast) else ():
        form = plan.form_of(setting)
        if form.why:
            found.setdefault((form.numerics, form.why), []).append((name, form.gain))
    for (numerics, why), own in found.items():
        whose = "" if len(own) == len(settings) else f"{first_of([name for name, _ in own], _MOST_NAMES)}: "
        how = "trains together with others of its shape (fused)" if numerics == "fused" else "trains alone"
        gains = sorted(gain for _, gain in own if gain is not None)
        times = "" if not gains else f", {gains[0]:.2f}" + (f" to {gains[-1]:.2f}" if len(gains) > 1 else "") + " times"
        yield f"form: {whose}{how}: {why}{times}"


def data_lines(data: Sequence[DataSummary]) -> Iterator[str]:
    """Images of the splits of every dataset, and what a constant answer reaches."""
    for each in data:
        held_out = f"{each.val_images} validation, " if each.val_images else ""
        unit = "texts" if each.labelled == "texts" else "images"
        labels = f"of {each.num_classes} classes" if each.num_classes else "with a number each"
        text = f"data: {each.dataset}: {each.train_images} training, {held_out}{each.test_images} test {unit}"
        most = "" if each.majority is None else f"; {100 * each.majority:.1f} % of the test {each.labelled}"
        yield f"{text} {labels}{most}" + (" are of one class" if most else "")


def plan_warnings(forecast: Forecast) -> list[str]:
    """What makes the numbers of such a run worse than they look."""
    sweep = forecast.plan.sweep
    found = [f"data: {note}" for each in forecast.plan.data() for note in each.notes]
    if forecast.plan.is_foreign:
        if sweep.search or sweep.prune:
            found.append(
                "searches and pruners look at the reported metric: report one of a validation split as "
                f"`val_{sweep.metric}`, or the best trial's number is too good"
            )
    elif sweep.search and sweep.baseline.task.val_fraction == 0:
        found.append(
            "val_fraction is 0: the search selects on the test split, so the numbers of its best trials are too good; "
            "set task.val_fraction: 0.1"
        )
    elif sweep.prune and sweep.baseline.task.val_fraction == 0:
        found.append("val_fraction is 0: the pruner looks at the test split; set task.val_fraction: 0.1")
    if sweep.design.name == "fractional":
        structure = alias_structure([each.variant.components for each in forecast.kept])
        if not structure.is_orthogonal:
            found.append("rows of the fraction are dropped: main effects are no longer clear of each other")
    coalitions = planned_coalitions(sweep, (each.variant for each in forecast.kept))
    if coalitions is not None and coalitions.not_computable:
        number, lost = coalitions.num_needed - coalitions.num_coalitions, coalitions.not_computable
        found.append(f"{number} coalitions are dropped: the Shapley values of {', '.join(lost)} are not computable")
    return found + path_warnings(forecast)


def _trials(forecast: Forecast) -> Iterator[str]:
    kept, seeds = len(forecast.kept), len(forecast.seeds)
    dropped = len(forecast.variants) - kept
    if forecast.plan.sweep.blocks:
        yield from _blocks(forecast, dropped)
    else:
        most = "" if forecast.plan.sweep.rounds is None else " at most"
        text = f"{kept} variants x {seeds} seeds = {kept * seeds} trials{most}"
        if forecast.path is not None:
            text = f"{kept} combinations, of which at most {forecast.num_trials} trials are trained"
        yield text + (f"; {dropped} variants dropped" if dropped else "")
    ways = sorted({len(group) for group in forecast.trainings})
    if not _trained(forecast):
        loaded = len(forecast.trainings) * seeds
        yield f"nothing is trained: the trials measure weights as they are, which are loaded {_times(loaded)}"
    elif ways and ways[-1] > 1:
        number = f"{ways[0]} to {ways[-1]}" if len(ways) > 1 else str(ways[0])
        yield f"{kept * seeds} trials take {len(forecast.trainings) * seeds} trainings, each measured {number} ways"
    if forecast.num_retune:
        retune = forecast.plan.sweep.retune
        assert retune is not None
        each = retune.num_trials * len(retune.seeds)
        yield f"retune: {kept} variants x {each} tuning trials = {forecast.num_retune} more trials before them"


def _blocks(forecast: Forecast, dropped: int) -> Iterator[str]:
    """The blocks of the design, and the trials that they make."""
    sweep = forecast.plan.sweep
    (path,) = sweep.blocks
    names = [block.name for block in blocks_of(sweep)]
    yield f"blocks: {len(names)} of {path}: {first_of(names, _MOST_BLOCKS)}; differences are taken within each"
    treatments = len({each.variant.treatment for each in forecast.variants})
    kept, seeds = len(forecast.kept), len(forecast.seeds)
    text = f"{treatments} variants x {len(names)} blocks x {seeds} seeds = {treatments * len(names) * seeds} trials"
    yield text + (f"; {dropped} variants dropped in a block, {kept * seeds} trials remain" if dropped else "")
    yield "detectable: not computed for a design with blocks, as the spread over the blocks is not known before"


def _trained(forecast: Forecast) -> list[Setting]:
    """Settings that have a training; the others measure weights as they are."""
    settings = [each.variant.setting for each in forecast.kept] or [forecast.plan.sweep.baseline]
    return [each for each in settings if forecast.plan.is_foreign or each.train.epochs]


def _peak(forecast: Forecast) -> str:
    """Largest learning rate of the trainings; below `lr` where the schedule runs under the warm-up."""
    plan = forecast.plan
    trained = _trained(forecast)
    distinct = {(each.task.model_dump_json(), each.train.model_dump_json()): each for each in trained}
    rates: list[float] = []
    is_reached = True
    for setting in distinct.values():
        updates = updates_of_an_epoch(setting.train, plan.describe(setting.task).num_train)
        rates.append(peak_learning_rate(setting.train, updates_per_epoch=updates))
        is_reached = is_reached and rates[-1] > 0.9995 * setting.train.peak_lr
    low, high = f"{min(rates):.3g}", f"{max(rates):.3g}"
    of = "" if not plan.sweep.search else " (of the baseline)"
    why = "" if is_reached else "; the schedule runs under the warm-up and does not reach lr, see train.warmup_prefix"
    return f"peak learning rate{of}: {low if low == high else f'{low} to {high}'}{why}"


def _taken_over(forecast: Forecast, cache_dir: str | None) -> Iterator[str]:
    whole = f"{forecast.num_left} trials" + (" left" if forecast.num_left < forecast.num_trials else "")
    for name, where in ((STUDIES, "other studies of this file"), (CACHE, f"the cache ({cache_dir})")):
        if number := forecast.provided.get(name, 0):
            yield f"{number} of {whole} {'is' if number == 1 else 'are'} in {where} and would be taken over"


def _other_resources(forecast: Forecast) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for each in forecast.kept:
        if (text := _resources(each.resources)) != _resources(forecast.usual):
            names.setdefault(text, []).append(each.variant.name)
    for text, own in names.items():
        yield f"resources: a trial of {first_of(own, _MOST_NAMES)} takes {text}"
    if names:
        yield f"  every other takes {_resources(forecast.usual)}"


def _resources(resources: Resources) -> str:
    texts = [f"{resources.cpus:g} CPUs"]
    if resources.gpu_memory is not None:
        given = resources.gpu_memory
        texts.append("as much of a GPU as is measured" if isinstance(given, str) else f"{given:g} GiB of a GPU")
    elif resources.num_gpus:
        texts.append(f"{resources.num_gpus:g} GPUs")
    if resources.device not in (None, "cuda"):
        texts.append(f"on {resources.device}")
    texts += [f"{resources.processes} processes"] if resources.processes else []
    return ", ".join(texts) + (f", for {_hours(resources.time_limit / 3600)} at most" if resources.time_limit else "")


def _time(forecast: Forecast) -> Iterator[str]:
    if forecast.trial_hours is None or forecast.hours is None:
        yield "time: unknown; --probe measures a few steps on this machine, or run a part (archsweep run ... --limit 2)"
        return
    resources = forecast.plan.sweep.resources
    costs = [f"{_hours(forecast.cpu_hours)} of CPUs"] if forecast.cpu_hours or resources.cpus else []
    if forecast.is_gpu_bound:
        why = "the share is measured later" if resources.gpu_memory == "auto" else "GPU memory unknown here"
        costs += [f"at most {_hours(forecast.gpu_hours)} of GPUs, if each trial took a whole one: {why}"]
    elif forecast.uses_gpus:
        is_share = resources.gpu_memory is not None and not resources.per_variant
        share = f" ({forecast.usual.num_gpus:g} of a GPU per trial)" if is_share else ""
        costs += [f"{_hours(forecast.gpu_hours)} of GPUs{share}"]
    sources = sorted({each.source for each in forecast.kept if each.source})
    source_note = f" (from {', '.join(sources)})" if sources else ""
    pace = f"{_hours(forecast.hours)} with {forecast.concurrency} at a time"
    yield f"time: {pace}; {', '.join(costs) or 'no resources'}{source_note}"


def _rounds(ahead: RoundsAhead, forecast: Forecast) -> Iterator[str]:
    """Expected trainings and power of a sequential design, or of tests at any number of seeds."""
    effect, arms = f"{ahead.effect:.3g} SD of the differences", _variants(forecast.detectable.num_arms)
    if forecast.plan.sweep.rounds is not None:
        looks = ", ".join(map(str, ahead.looks))
        yield (
            f"rounds: looks with {looks} seeds; of at most {ahead.most} trials about {ahead.without_effect:.0f} are "
            f"trained if no variant differs, {ahead.with_effect:.0f} if one differs by {effect}"
        )
    by = "" if forecast.plan.sweep.analysis.correction == "none" else f" {_CORRECTIONS['holm']} {arms}"
    how = "at any number of seeds" if ahead.is_anytime else "at the looks"
    yield (
        f"power: tests {how} find a difference of {effect} with {100 * ahead.power:.0f} %{by}; one test of all "
        f"{ahead.looks[-1]} seeds, with {100 * ahead.power_at_once:.0f} % (simulated, {ahead.num_studies} studies)"
    )


def _detection(forecast: Forecast) -> Iterator[str]:
    metric = METRICS[forecast.plan.sweep.metric]
    now, then = forecast.detectable, forecast.one_more
    if now.std is None:
        yield f"detectable: unknown; how much {metric.name} differs between seeds is not known before some have ended"
        yield f"one more seed: {forecast.num_of_a_seed} trials more"
        return
    if now.single is None or now.worst is None:
        yield f"detectable: nothing; fewer than 3 seeds are not tested, and there are {now.num_seeds}"
    else:
        yield (
            f"detectable: with {now.num_seeds} seeds a true difference of {_amount(now.single, metric.unit)} is found "
            f"with 80 % power (paired t, alpha {now.alpha:g}: {now.single / now.std:.3g} SD of the differences)"
            f"{_worst(now, metric.unit)}"
        )
    yield f"  the differences of equal seeds have a standard deviation of {_std(now, metric.unit)}"
    cost = "" if forecast.seed_hours is None else f" ({_hours(forecast.seed_hours)} of trials)"
    buys = (
        "still no test"
        if then.single is None or then.worst is None
        else f"detects {_amount(then.single, metric.unit)}{_worst(then, metric.unit)}"
    )
    yield f"one more seed: {forecast.num_of_a_seed} trials more{cost}; {buys}"


def _worst(found: Detectable, unit: str) -> str:
    if found.worst is None or found.num_arms == 1 or found.correction == "none":
        return ""
    by = _CORRECTIONS[found.correction]
    return f"; {by} {_variants(found.num_arms)}, {_amount(found.worst, unit)} in the worst case"


def _std(found: Detectable, unit: str) -> str:
    assert found.std is not None
    if found.spread is None:
        images = "" if found.granularity is None else f"; one test image is {_amount(found.granularity, unit)}"
        return f"{_amount(found.std, unit)}: assumed, there is no history{images}"
    pairs, variants = found.spread.num_pairs, _variants(found.spread.num_arms)
    return f"{_amount(found.std, unit)}, from {pairs} pairs of {variants} in the ledger"


def _aliases(forecast: Forecast) -> Iterator[str]:
    found = alias_structure([each.variant.components for each in forecast.kept])
    yield f"fraction: {found}"
    lines = found.lines()
    for line in lines[:_MOST_ALIASES]:
        yield f"  {line}"
    if len(lines) > _MOST_ALIASES:
        yield f"  ... and {len(lines) - _MOST_ALIASES} more"
    pairs = {frozenset((e, a.effect)) for e, al in found.aliases.items() for a in al if len(e) == len(a.effect) == 2}
    shown = sorted(" = ".join(" x ".join(effect) for effect in sorted(pair)) for pair in pairs)
    if shown and found.resolution == 4:
        yield f"  interactions: {first_of(shown, _MOST_ALIASES)}"


def _coalitions(forecast: Forecast) -> Iterator[str]:
    """Whether Shapley values are exact, and what they take."""
    found = planned_coalitions(forecast.plan.sweep, (each.variant for each in forecast.kept))
    if found is None:
        return
    seeds = len(forecast.seeds)
    every = 2**found.num_components
    whole = f"all {every}" if found.num_needed == every else f"{found.num_needed} of {every}"
    sampled = f"{found.num_orders} sampled orders ({found.num_orders // 2} and their reverses, order_seed"
    how = f"estimates from {sampled} {found.order_seed}), which pass " if found.num_orders else "exact, from "
    trainings = len(forecast.trainings) * seeds
    yield (
        f"Shapley values: {how}{whole} coalitions of {found.num_components} components; {found.num_coalitions} x "
        f"{seeds} seeds take {trainings} trainings"
    )
    yield (
        f"  the noise of the seeds in a value is {'at most ' if found.num_orders else ''}{found.noise:.2g} times that "
        "of one difference, if each training errs by itself"
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _variants(number: int) -> str:
    return f"{number} variant{'s' if number != 1 else ''}"


def _several(forecast: Forecast) -> bool:
    return forecast.concurrency > 1 and forecast.num_to_train > 1


def _number(value: float | None) -> str:
    """Three significant digits, or all before the point."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _amount(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}"


def _hours(hours: float | None) -> str:
    assert hours is not None
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.1f} h"


def _size(mib: float) -> str:
    if mib >= 1024:
        return f"{mib / 1024:.1f} GiB"
    return f"{mib:.0f} MiB" if mib >= 10 else f"{mib:.1f} MiB"
