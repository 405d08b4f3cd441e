"""Figures: numbers of their frames by hand, rendering of every figure, exported files."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pandas as pd
import pytest

import results.figures
from archsweep.testing import check_figure
from results import Analysis, Run, ablation_table
from results.figures import FIGURES, Evidence, draw_figures
from results.figures.figure import MOST_ROWS, Figure
from results.figures.files import figure_csv, figure_pdf, figure_spec, figure_svg, write_figures
from results.predictions.samples import LabelMap, Sample, Samples
from results.predictions.samples_file import write_samples


@pytest.fixture
def evidence_of(tmp_path):
    """Function that makes the evidence of a run in `tmp_path` from its plan and records."""

    def build(plan, records, **fields):
        return Evidence(Run(tmp_path, plan, tuple(records)), ablation_table(plan, records), **fields)

    return build


@pytest.fixture
def quickstart(evidence_of, quickstart_plan, quickstart_records):
    return evidence_of(quickstart_plan, quickstart_records)


@pytest.fixture
def two_by_two(evidence_of, plan, planned, record):
    """Means 90, 92 (b), 93 (a), 97 (a and b); seeds add 0, 1, 2, residuals 0.1, -0.2, 0.1 with alternating signs."""
    means = {(0, 0): 90.0, (0, 1): 92.0, (1, 0): 93.0, (1, 1): 97.0}
    variants, records = [], []
    for (a, b), mean in means.items():
        name = f"{a}{b}"
        components = {"a": bool(a), "b": bool(b)}
        variants.append(planned(name, components=components, is_baseline=name == "00"))
        for seed, residual in enumerate((0.1, -0.2, 0.1)):
            records.append(record(name, seed, mean + seed + residual * (-1) ** (a + b)))
    return evidence_of(plan(*variants, design="factorial"), records)


@pytest.fixture
def search(evidence_of, plan, record):
    """Search of five trials, the third pruned; the last one has the best value."""
    records = [
        record(
            f"t{n}", 0, value, number=n, curve=[{"epoch": 1, "top1": 50.0}, {"epoch": 2, "top1": value}], gmacs=1.0 + n
        )
        for n, value in ((0, 90.0), (1, 88.0), (3, 89.0), (4, 95.0))
    ]
    records.append(record("t2", 0, status="pruned", number=2, epochs=1, curve=[{"epoch": 1, "top1": 40.0}]))
    shares = {"ped_anova": {"lr": 0.75, "depth": 0.25}, "fanova": {"depth": 1.0}}
    return evidence_of(plan(design="search", seeds=[0], epochs=None, dataset=""), records, importances=shares)


@pytest.fixture
def components(evidence_of, plan, planned, record):
    """leave_one_out and add_one_in: `a` adds 2, 2.1, 1.9 alone and 0, 0, 0.1 beside `b`."""
    none, a, b, both = (90.0, 91.0, 92.0), (92.0, 93.1, 93.9), (91.0, 92.0, 93.0), (91.0, 92.0, 93.1)

    def one(design, values):
        variants = [
            planned(n, components={"a": "a" in n, "b": "b" in n}, is_baseline=i == 0) for i, n in enumerate(values)
        ]
        records = [record(n, seed, value) for n, found in values.items() for seed, value in enumerate(found)]
        return evidence_of(plan(*variants, design=design), records)

    full, empty = one("leave_one_out", {"ab": both, "b": b, "a": a}), one("add_one_in", {"-": none, "a": a, "b": b})
    return Evidence(full.run, full.table, others=(empty.table,))


@pytest.fixture
def probed(evidence_of, plan, planned, record, tmp_path):
    """Two variants of three blocks; the second has a file for one of its two seeds, and it is broken."""
    variants = [planned("baseline", is_baseline=True), planned("other", changes={"arch.depth": 3})]
    records = [record(name, seed, 90.0) for name in ("baseline", "other") for seed in (0, 1)]
    similar = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, np.nan], [0.2, np.nan, 1.0]])
    for one, array in (("baseline-0", similar), ("baseline-1", similar + 0.2)):
        (tmp_path / "trials" / one).mkdir(parents=True)
        np.savez(tmp_path / "trials" / one / "probes.npz", cross_layer_similarity=array)
    (tmp_path / "trials" / "other-0").mkdir()
    (tmp_path / "trials" / "other-0" / "probes.npz").write_bytes(b"PK no archive")
    return evidence_of(plan(*variants, seeds=[0, 1]), records)


@pytest.fixture
def kept(evidence_of, plan, planned, record, tmp_path):
    """Two variants that drew classes of four pixels; the file of the second one is broken."""
    maps = [LabelMap(np.uint8(each)) for each in ([[0, 1], [1, 1]], [[0, 0], [1, 1]])]
    samples = Samples("label_map", (Sample(4, np.zeros((2, 2, 3), dtype=np.uint8), *maps),), {1: "disk"})
    for name in ("baseline-0", "other-0"):
        (tmp_path / "trials" / name).mkdir(parents=True)
        with open(tmp_path / "trials" / name / "samples.npz", "wb") as stream:
            write_samples(stream, samples)
    (tmp_path / "trials" / "other-0" / "samples.npz").write_bytes(b"PK no archive")
    variants = [planned("baseline", is_baseline=True), planned("other", changes={"arch.depth": 3})]
    records = [record(name, seed, 90.0) for name in ("baseline", "other") for seed in (0, 1)]
    return evidence_of(plan(*variants, seeds=[0, 1]), records)


@pytest.fixture
def curved(evidence_of, plan, planned, record):
    """Two seeds with values 10 and 14, then 20 and 30; and a variant whose only seed was pruned after epoch 1."""
    curves = {0: (10.0, 20.0), 1: (14.0, 30.0)}
    records = [
        record(
            "baseline",
            seed,
            found[-1],
            curve=[{"epoch": e, "top1": v, "train_loss": 1 / e} for e, v in enumerate(found, 1)],
        )
        for seed, found in curves.items()
    ]
    records.append(record("arm", 0, status="pruned", epochs=1, curve=[{"epoch": 1, "top1": 5.0}]))
    arms = planned("baseline", is_baseline=True), planned("arm", changes={"arch.depth": 3})
    return evidence_of(plan(*arms, seeds=[0, 1]), records)


MATERIAL = {
    "deltas": "quickstart",
    "seeds": "quickstart",
    "cost": "quickstart",
    "curves": "curved",
    "main_effects": "two_by_two",
    "interactions": "two_by_two",
    "contributions": "components",
    "search_history": "search",
    "importances": "search",
    "attention_similarity": "probed",
    "samples": "kept",
}
"""Figure -> fixture with its data."""


def _draw(name, evidence):
    figure = FIGURES[name](evidence)
    assert figure is not None
    return figure


def _lines(figure):
    return figure.frame.to_dict("records")


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_every_figure_is_drawn_without_a_browser(name, request):
    figure = _draw(name, request.getfixturevalue(MATERIAL[name]))
    assert figure.name == name
    picture = ElementTree.fromstring(figure_svg(figure))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert figure_pdf(figure).startswith(b"%PDF-")
    assert len(list(csv.reader(io.StringIO(figure_csv(figure))))) == 1 + len(figure.frame)


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_what_authors_of_figures_check_holds_for_ours(name, request):
    check_figure(FIGURES[name], evidence=request.getfixturevalue(MATERIAL[name]))


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_without_data_is_none(name, evidence_of, plan, planned):
    assert FIGURES[name](evidence_of(plan(planned("baseline", is_baseline=True)), [])) is None


def test_every_figure_file_is_registered():
    folder = Path(results.figures.__file__).parent
    drawing = {path.stem for path in folder.glob("*.py") if "\ndef draw(" in path.read_text()}
    assert set(FIGURES) == drawing == set(MATERIAL)


def test_deltas_are_those_of_the_table_by_hand(quickstart):
    """refiner - baseline: 1, 2, 3. Mean 2, sd 1, t(2) = 4.302653, half width 4.302653 / sqrt(3) = 2.484138."""
    by_name = {line["variant"]: line for line in _lines(_draw("deltas", quickstart))}
    refiner = by_name["attention=refiner expansion=6"]
    assert (refiner["delta"], refiner["low"], refiner["high"]) == pytest.approx((2.0, -0.484138, 4.484138), abs=1e-6)
    assert (refiner["pairs"], refiner["sd"], refiner["verdict"]) == (3, 1.0, "inconclusive")
    assert by_name["attention=reattention"]["verdict"] == "incomplete"
    assert set(by_name) == {"attention=reattention", "attention=refiner expansion=6", "attention=groupmix"}


def test_seeds_are_paired_by_their_number(quickstart):
    found = [(line["variant"], line["seed"], line["difference"]) for line in _lines(_draw("seeds", quickstart))]
    assert found == [
        ("attention=reattention", 0, -1.0),
        ("attention=reattention", 1, 0.5),
        ("attention=refiner expansion=6", 0, 1.0),
        ("attention=refiner expansion=6", 1, 2.0),
        ("attention=refiner expansion=6", 2, 3.0),
        ("attention=groupmix", 0, -1.5),
    ]


def test_incomplete_rows_are_shown_and_never_on_the_front(quickstart):
    """groupmix has the fewest parameters, but one seed of three."""
    kinds = {(line["cost"], line["variant"]): line["kind"] for line in _lines(_draw("cost", quickstart))}
    assert kinds["parameters (millions)", "attention=groupmix"] == "incomplete"
    assert kinds["GMACs per image", "attention=refiner expansion=6"] == "on the front"
    assert kinds["GMACs per image", "baseline"] == "baseline"


def test_curves_are_means_over_seeds_by_hand(curved):
    """10 and 14: mean 12, sd sqrt(8); 20 and 30: mean 25, sd sqrt(50)."""
    found = {(line["variant"], line["quantity"], line["epoch"]): line for line in _lines(_draw("curves", curved))}
    first, second = found["baseline", "top1", 1], found["baseline", "top1", 2]
    assert (first["mean"], first["std"], first["seeds"]) == pytest.approx((12.0, math.sqrt(8), 2))
    assert (second["mean"], second["std"]) == pytest.approx((25.0, math.sqrt(50)))
    assert found["arm", "top1", 1]["mean"] == 5.0
    assert ("arm", "top1", 2) not in found


def test_main_effects_are_means_of_all_trials_at_a_level(two_by_two):
    """a off: (90 + 92) / 2 + 1 of the seeds = 92, on: 96; b off: 92.5, on: 95.5. sd of the residuals: 0.2 with 6
    degrees of freedom (see test_effects.py), six trials a level, t(6) = 2.446912."""
    figure = _draw("main_effects", two_by_two)
    found = {(line["factor"], line["level"]): line for line in _lines(figure)}
    means = {key: line["mean"] for key, line in found.items()}
    assert means == pytest.approx({("a", "off"): 92.0, ("a", "on"): 96.0, ("b", "off"): 92.5, ("b", "on"): 95.5})
    half = 2.446912 * 0.2 / math.sqrt(6)
    assert (found["a", "on"]["low"], found["a", "on"]["high"]) == pytest.approx((96 - half, 96 + half), abs=1e-6)
    assert {line["trials"] for line in found.values()} == {6}
    assert figure.notes[0].startswith("a: +4.00 [+3.72, +4.28], p = ")


def test_effects_state_level_and_correction(two_by_two, evidence_of):
    """In caption, notes and CSV; the table of the fixture as if alpha had been 0.01 and nothing corrected."""
    plan = two_by_two.run.plan.model_copy(update={"analysis": Analysis(alpha=0.01, correction="none")})
    chosen = evidence_of(plan, two_by_two.run.records)
    for name in ("main_effects", "interactions"):
        before, after = (_draw(name, evidence) for evidence in (two_by_two, chosen))
        assert set(before.frame["correction"]) == {"Holm"}
        assert set(after.frame["correction"]) == {"not corrected"}
        assert set(after.frame["interval_level"]) == {0.99}
        assert ("Holm" in before.caption, "not corrected" in after.caption) == (True, True)
    mains = _draw("main_effects", chosen)
    assert "99 % interval" in mains.caption
    assert all("(not corrected)" in note for note in mains.notes)


def test_numeric_levels_are_ordered_by_size(evidence_of, plan, planned, record):
    variants = [planned("baseline", is_baseline=True)]
    variants += [planned(f"depth={depth}", changes={"arch.depth": depth}) for depth in (2, 10)]
    records = [
        record(variant.name, seed, 90.0 + seed + len(variant.name) * (-1) ** seed, spec={"arch": {"depth": 4}})
        for variant in variants
        for seed in (0, 1, 2)
    ]
    frame = _draw("main_effects", evidence_of(plan(*variants, design="factorial"), records)).frame
    assert list(frame.sort_values("order")["level"]) == ["2", "4", "10"]


def test_interactions_by_hand(two_by_two):
    """a : b is half of (97 - 92) - (93 - 90) = 1; its sum of squares 12 * (1 / 2)^2 = 3, that of the residuals 0.24."""
    found = {(line["column"], line["row"]): line for line in _lines(_draw("interactions", two_by_two))}
    assert found["a", "b"]["estimate"] == pytest.approx(1.0)
    assert found["a", "b"]["partial_eta_squared"] == pytest.approx(3 / 3.24)
    assert found["a", "a"]["estimate"] == pytest.approx(4.0)
    assert found["a", "a"]["text"] == "+4.00***"


def test_terms_that_cannot_be_estimated_have_a_reason(evidence_of, plan, planned, record, two_by_two):
    """Half of a 2 x 2 x 2 grid (c = ab): each interaction is aliased with a main effect. One seed of a 2 x 2 grid:
    no aliases, but with a : b there are no residual degrees of freedom."""
    variants, records = [], []
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        name = f"{a}{b}"
        components = {"a": bool(a), "b": bool(b), "c": a == b}
        variants.append(planned(name, components=components, is_baseline=name == "00"))
        records += [record(name, seed, 90.0 + a + seed + 0.1 * (seed * (a + 2 * b) % 3)) for seed in range(3)]
    half = _draw("interactions", evidence_of(plan(*variants, design="fractional"), records))
    assert [line["text"] for line in _lines(half)[3:]] == ["aliased"] * 3
    assert half.notes == ("Aliased by design: a = b : c; b = a : c; c = a : b.",)
    plan_of_one = two_by_two.run.plan.model_copy(update={"seeds": [0]})
    single = evidence_of(plan_of_one, [one for one in two_by_two.run.records if one.seed == 0])
    assert _lines(_draw("interactions", single))[2]["text"] == "n/a"


def test_too_few_trials_for_effects_are_reported(evidence_of, plan, planned, record):
    variants = [planned("off", components={"a": False}, is_baseline=True), planned("on", components={"a": True})]
    records = [record("off", 0, 90.0), record("on", 0, 91.0)]
    figures, lacking = draw_figures(evidence_of(plan(*variants, seeds=[0], design="factorial"), records))
    assert "main_effects" not in {figure.name for figure in figures}
    assert lacking["main_effects"] == "2 complete trials are too few for the effects of 1 factors"


def test_contributions_are_paired_and_disagreement_is_noted(components):
    figure = _draw("contributions", components)
    found = {(line["component"], line["place"]): line["contribution"] for line in _lines(figure)}
    assert found["a", "alone"] == pytest.approx(2.0)
    assert found["a", "beside all others"] == pytest.approx(0.1 / 3)
    assert figure.notes[0].startswith("Disagreement: a: +2.00 alone, +0.03 beside the others; they differ")


def test_a_shapley_value_is_drawn_between_both_designs(evidence_of, plan, planned, record):
    """a and b give 2 and 1, together 5: alone 2 and 1, beside the other 4 and 3, and (2 + 4) / 2 and (1 + 3) / 2."""
    values = {"-": 90.0, "a": 92.0, "b": 91.0, "ab": 95.0}
    variants = [
        planned(name, components={"a": "a" in name, "b": "b" in name}, is_baseline=name == "-") for name in values
    ]
    records = [record(name, seed, value + seed) for name, value in values.items() for seed in (0, 1, 2)]
    figure = _draw("contributions", evidence_of(plan(*variants, design="shapley"), records))
    assert [(line["component"], line["place"], line["contribution"]) for line in _lines(figure)] == [
        ("a", "alone", 2),
        ("a", "Shapley value", 3),
        ("a", "beside all others", 4),
        ("b", "alone", 1),
        ("b", "Shapley value", 2),
        ("b", "beside all others", 3),
    ]
    _, lacking = draw_figures(evidence_of(plan(*variants, design="shapley"), records[:-3]))
    assert lacking["contributions"] == (
        "a Shapley value needs all of its coalitions at the same seed, and 1 of 4 coalitions lack seeds"
    )


def test_pruned_trials_do_not_count_as_best_of_a_search(search):
    lines = _lines(_draw("search_history", search))
    assert [(line["trial"], line["status"], line["value"], line["best"]) for line in lines] == [
        (0, "completed", 90.0, 90.0),
        (1, "completed", 88.0, 90.0),
        (2, "pruned", 40.0, 90.0),
        (3, "completed", 89.0, 90.0),
        (4, "completed", 95.0, 95.0),
    ]


@pytest.mark.thorough
def test_the_axis_of_a_search_counts_whole_trials(search):
    """Symptom: with five trials it had ticks between two of them."""
    picture = ElementTree.fromstring(figure_svg(_draw("search_history", search)))
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"0", "1", "2", "3", "4"} <= words
    assert not {"0.2", "0.5", "1.5"} & words


def test_importances_are_named_by_their_method(search):
    found = [(line["method"], line["parameter"], line["share"]) for line in _lines(_draw("importances", search))]
    assert found == [("PED-ANOVA", "lr", 0.75), ("PED-ANOVA", "depth", 0.25), ("fANOVA", "depth", 1.0)]


def test_similarity_is_a_mean_over_seeds_and_broken_files_are_named(probed):
    """0.5 and 0.7: 0.6; 0.2 and 0.4: 0.3. A pair that cannot be compared has no cell."""
    figure = _draw("attention_similarity", probed)
    found = {(line["variant"], line["block"], line["other"]): line["similarity"] for line in _lines(figure)}
    assert found == pytest.approx({("baseline", 2, 1): 0.6, ("baseline", 3, 1): 0.3})
    assert figure.notes == ("Not readable, and left out: trials/other-0/probes.npz.",)


def test_arrays_that_would_run_code_are_not_loaded(probed, tmp_path):
    """An array of Python objects is a pickle, and a pickle can execute code."""
    objects = np.array([[print]], dtype=object)
    np.savez(tmp_path / "trials" / "other-0" / "probes.npz", cross_layer_similarity=objects)
    assert "trials/other-0/probes.npz" in _draw("attention_similarity", probed).notes[0]


def test_the_number_of_drawn_variants_is_limited(evidence_of, plan, planned, record):
    names = [f"arm {n}" for n in range(MOST_ROWS + 10)]
    variants = [planned("baseline", is_baseline=True), *(planned(n, changes={"x": n}) for n in names)]
    records = [record("baseline", 0, 50.0), *(record(name, 0, 50.0 + n) for n, name in enumerate(names))]
    figure = _draw("deltas", evidence_of(plan(*variants, seeds=[0]), records))
    assert len(figure.frame) == MOST_ROWS + 10
    assert figure.notes == (f"The {MOST_ROWS} largest of {MOST_ROWS + 10} are drawn; the CSV holds all.",)
    drawn = {
        name for data in figure_spec(figure)["datasets"].values() for line in data if (name := line.get("variant"))
    }
    assert drawn == set(names[10:])


def test_rows_with_equal_visible_names_are_distinguished(evidence_of, plan, planned, record):
    """A bidirectional control character is shown as its escape; a label equal to another one gets a number."""
    names = ["baseline", "a\u202eb", "a\\u202eb"]
    variants = [planned(name, is_baseline=index == 0) for index, name in enumerate(names)]
    records = [record(name, 0, 50.0 + index) for index, name in enumerate(names)]
    frame = _draw("deltas", evidence_of(plan(*variants, seeds=[0]), records)).frame
    assert list(frame["variant"]) == ["a\\u202eb", "a\\u202eb (2)"]


def test_files_for_a_paper(quickstart, tmp_path):
    figure = _draw("deltas", quickstart)
    written = write_figures([("deltas", figure)], tmp_path / "new" / "figures")
    assert [path.name for path in written] == ["deltas.svg", "deltas.pdf", "deltas.csv"]
    with written[2].open(newline="") as stream:
        lines = {line["variant"]: line for line in csv.DictReader(stream)}
    assert float(lines["attention=refiner expansion=6"]["delta"]) == 2.0
    assert lines["attention=groupmix"]["low"] == ""


def test_an_invisible_character_of_a_plug_in_is_drawn_as_text():
    frame = pd.DataFrame({"variant": ["a\u202eb"], "seconds": [1.0]})
    chart = alt.Chart(frame).mark_bar().encode(x="seconds:Q", y="variant:N")
    svg = figure_svg(Figure(name="time", title="t", caption="c", frame=frame, chart=chart))
    assert "a\\u202eb" in "".join(ElementTree.fromstring(svg).itertext())
