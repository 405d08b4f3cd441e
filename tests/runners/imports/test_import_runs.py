"""Runs of a CSV in a run directory: the numbers of its table, its marks, and what every other verb makes of it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from scipy import stats

from results import Run, format_status, open_summary, run_status, table_of_runs
from results.run_files.bundle import verify_bundle, write_bundle
from results.store.ledger import read_ledger
from runners.session.reports import report_of
from search_space import SpecError

ACC = {
    (0.1, 4): [80.1, 80.9, 81.4, 80.2],
    (0.2, 4): [82.9, 83.1, 84.6, 82.6],
    (0.1, 6): [80.4, 80.6, 81.9, 79.9],
}


def write(path, header: str, lines) -> None:
    path.write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n")


@pytest.fixture
def runs_csv(tmp_path):
    """Three variants of four seeds, with a name of each run and a loss that is no configuration."""
    lines = [
        (f"run-{lr}-{depth}-{seed}", lr, depth, seed, acc, 1 / acc)
        for (lr, depth), accs in ACC.items()
        for seed, acc in enumerate(accs)
    ]
    write(tmp_path / "runs.csv", "name,optim.lr,depth,seed,acc,loss", lines)
    return tmp_path / "runs.csv"


def test_differences_tests_and_intervals_are_scipys(runs_csv, import_runs, rows):
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize")
    found = rows("run")
    base = ACC[0.1, 4]
    raw = {}
    for name, key in {"lr=0.2": (0.2, 4), "depth=6": (0.1, 6)}.items():
        test = stats.ttest_rel(ACC[key], base)
        interval = test.confidence_interval(0.95)
        raw[name] = test.pvalue
        assert float(found[name]["acc_delta_low"]) == pytest.approx(interval.low)
        assert float(found[name]["acc_delta_high"]) == pytest.approx(interval.high)
        assert float(found[name]["p"]) == pytest.approx(test.pvalue)
    # Holm: the smaller p-value twice, the larger one not below that.
    first, second = sorted(raw, key=raw.__getitem__)
    assert float(found[first]["p_corrected"]) == pytest.approx(2 * raw[first])
    assert float(found[second]["p_corrected"]) == pytest.approx(max(2 * raw[first], raw[second]))
    assert found["lr=0.2"]["verdict"] == "better"
    assert found["depth=6"]["verdict"] == "inconclusive"


def test_the_direction_turns_the_verdict(runs_csv, import_runs, rows):
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "minimize")
    assert rows("run")["lr=0.2"]["verdict"] == "worse"


def test_what_was_decided_is_printed(runs_csv, import_runs):
    printed = import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize")
    assert printed == (
        "imported 12 runs: 3 variants, 4 seeds\n"
        "varied: optim.lr, depth\n"
        "baseline: optim.lr=0.1, depth=4 (the first)\n"
        "left out, because they differ in every run: name, loss\n"
        "wrote run; next: archsweep table run\n"
    )


@pytest.mark.parametrize("baseline", ["lr=0.2,depth=4", "optim.lr=0.2", "0.2", "lr=0.2"])
def test_the_baseline_is_named_by_values_or_by_a_row(runs_csv, import_runs, rows, baseline):
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize", "--baseline", baseline)
    assert list(rows("run")) == ["baseline", "lr=0.1", "lr=0.1, depth=6"]
    assert float(rows("run")["lr=0.1"]["acc_delta"]) == pytest.approx(sum(ACC[0.1, 4]) / 4 - sum(ACC[0.2, 4]) / 4)


def test_every_format_marks_every_row_and_says_whose_runs_they_are(runs_csv, import_runs, exported):
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize")
    date = Run.open("run").plan.imported.date
    sentence = (
        f"Imported from runs.csv (csv, {date}): not trained by archsweep; data, code and seeds are as the source says."
    )
    for format_ in ("text", "md", "tex", "html"):
        text = " ".join(exported(format_, "run").split())
        assert text.count("(imported)") >= 3, format_
        assert sentence in text, format_
        assert "after the last epoch" not in text, format_
        assert "the user's own code" not in text, format_
    assert {row["imported"] for row in csv.DictReader(exported("csv", "run").splitlines())} == {"csv"}


def test_a_run_without_a_finite_metric_is_a_failed_record(tmp_path, import_runs, rows):
    lines = [("a", 0, 1), ("a", 1, 2), ("b", 0, ""), ("b", 1, "nan"), ("c", 0, 3), ("c", 1, "-inf")]
    write(tmp_path / "runs.csv", "net,seed,acc", lines)
    printed = import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize")
    assert "failed: net=b seed 0, net=b seed 1, net=c seed 1\n" in printed
    failures = {(r.variant, r.seed): r.failure and (r.failure.type, r.failure.message) for r in Run.open("run").records}
    assert failures["net=b", 0] == ("MetricMissing", "the source has no acc of this run")
    assert failures["net=b", 1] == ("NonFiniteMetric", "acc is nan")
    assert failures["net=c", 1] == ("NonFiniteMetric", "acc is -inf")
    assert (rows("run")["net=b"]["seeds_failed"], rows("run")["net=c"]["verdict"]) == ("2", "incomplete")


def test_equal_numbers_are_one_value_however_they_are_written(tmp_path, import_runs):
    (tmp_path / "runs.csv").write_bytes(b"\xef\xbb\xbflr;aug;seed;acc\n1;True;0;1\n1.0;true;1.0;2\n1e1;;0;3\n10;;1;4\n")
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize")
    run = Run.open("run")
    assert [variant.name for variant in run.plan.variants] == ["baseline", "lr=10, aug=null"]
    assert run.plan.seeds == [0, 1]


def test_config_and_ignore_decide_otherwise(runs_csv, import_runs, rows):
    options = ("--metric", "acc", "--direction", "maximize")
    # Without the depth, two runs share variant and seed.
    assert "runs.csv:10: has the configuration and the seed (0) of runs.csv:2" in import_runs(
        "runs.csv", "-o", "run", *options, "--ignore", "depth"
    )
    printed = import_runs("runs.csv", "-o", "first", *options, "--config", "optim.lr", "--duplicates", "first")
    assert "left out as duplicates: runs.csv:10, runs.csv:11, runs.csv:12, runs.csv:13\n" in printed
    assert float(rows("first")["baseline"]["acc_mean"]) == pytest.approx(sum(ACC[0.1, 4]) / 4)
    import_runs("runs.csv", "-o", "last", *options, "--config", "optim.lr", "--duplicates", "last")
    assert float(rows("last")["baseline"]["acc_mean"]) == pytest.approx(sum(ACC[0.1, 6]) / 4)


def test_a_key_that_is_the_beginning_of_another_keeps_its_value(tmp_path, import_runs):
    write(tmp_path / "runs.csv", "a.b,a,a_b,seed,acc", [(1, 2, 3, 0, 5), (2, 2, 3, 0, 7)])
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize")
    first, second = Run.open("run").records
    assert first.spec["task"]["config"] == {"a_b_": 1, "a": 2, "a_b": 3}
    assert (second.variant, second.changes) == ("b=2", {"task.config.a_b_": 2})


def test_with_one_seed_nothing_is_taken_for_an_id(tmp_path, import_runs, rows):
    write(tmp_path / "runs.csv", "lr,seed,acc", [(0.1, 0, 1), (0.2, 0, 3)])
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize")
    assert (rows("run")["lr=0.2"]["acc_delta"], rows("run")["lr=0.2"]["p"]) == ("2.0", "")


def test_a_metric_of_archsweep_keeps_its_definition(tmp_path, import_runs, exported):
    write(tmp_path / "runs.csv", "lr,seed,test/acc", [(0.1, 0, 91), (0.1, 1, 92), (0.2, 0, 93), (0.2, 1, 94)])
    import_runs("runs.csv", "-o", "run", "--metric", "top1=test/acc")
    assert "top1 (%, higher is better)" in exported("md", "run")


def test_further_metrics_are_shown(runs_csv, import_runs, rows):
    import_runs("runs.csv", "-o", "run", "--metric", "acc", "--direction", "maximize", "--metrics", "loss")
    assert float(rows("run")["lr=0.2"]["loss_mean"]) == pytest.approx(sum(1 / each for each in ACC[0.2, 4]) / 4)


OPTIONS = ("--metric", "acc", "--direction", "maximize")
FOUR = "lr,seed,acc\n1,0,5\n1,1,6\n2,0,7\n2,1,8\n"


@pytest.mark.parametrize(
    ("text", "options", "problems"),
    [
        ("", OPTIONS, "runs.csv: has nothing, no run\n  a header, then a row for every run"),
        ("lr,seed,acc\n", OPTIONS, "runs.csv: has only a header, no run\n  a header, then a row for every run"),
        (
            "lr,acc\n1,5\n2,6\n",
            OPTIONS,
            "--seed: no run has the seed 'seed'\n  known: lr.\n"
            "  another name: --seed KEY; runs without seeds cannot be paired",
        ),
        (
            FOUR,
            ("--metric", "accc", "--direction", "maximize"),
            "--metric: no run has 'accc'\n  known: acc, lr, seed.  Did you mean 'acc'?",
        ),
        (
            FOUR,
            ("--metric", "acc"),
            "--direction: whether a higher acc is better is not known\n  maximize or minimize",
        ),
        (
            "lr,seed,acc\n1,0,5\n1,1,6\n",
            OPTIONS,
            "all runs have the same configuration, so there is nothing to compare\n"
            "  --config KEY,... names the keys that were varied",
        ),
        (
            "lr,seed,acc\n1,0,5\n1,0\n\n2,0,x\n2,0,7,8\n",
            OPTIONS,
            "runs.csv:3: has 2 cells, and the header has 3\nruns.csv:6: has 4 cells, and the header has 3",
        ),
        (
            "lr,seed,acc\n1,a,5\n1,,6\n2,1.5,x\n2,-1,8\n",
            OPTIONS,
            "runs.csv:4: acc is 'x', no number\n"
            "runs.csv:2: its seed is 'a', no whole number from 0 on (seed)\n"
            "runs.csv:3: has no seed (seed)\n"
            "runs.csv:4: its seed is 1.5, no whole number from 0 on (seed)\n"
            "runs.csv:5: its seed is -1, no whole number from 0 on (seed)",
        ),
        (
            FOUR + "1,1,9\n",
            OPTIONS,
            "runs.csv:6: has the configuration and the seed (1) of runs.csv:3\n"
            "  --duplicates last or first takes one of them; --config KEY,... if they differ in something else",
        ),
        (
            "lr,k,seed,acc\n1,1,0,5\n1,2,1,6\n2,3,0,7\n2,3,1,8\n2,1,2,9\n",
            OPTIONS,
            None,
        ),
        (
            "lr,k,seed,acc\n1,a,0,5\n1,b,1,6\n2,c,0,7\n2,c,3,7\n",
            (*OPTIONS, "--config", "lr,k,seed", "--ignore", "z"),
            "--config: 'seed' is the seed\n  --seed KEY names another one\n--ignore: no run has 'z'\n"
            "  known: k, lr, seed.\n--ignore: not both: --config names all keys of the configuration",
        ),
        (FOUR, (*OPTIONS, "--baseline", "lr=3"), "--baseline: no group fits 'lr=3'\n  the groups: lr=1; lr=2"),
        (
            FOUR,
            (*OPTIONS, "--baseline", "lrr=1"),
            "--baseline: groups do not differ in 'lrr'\n  known: lr.  Did you mean 'lr'?",
        ),
        (FOUR, (*OPTIONS, "--best"), "--best: the source has no history, only one value of every run"),
        (
            "lr,seed,top1\n1,0,0.5\n1,1,0.6\n2,0,0.7\n2,1,0.8\n",
            ("--metric", "top1"),
            "--metric: no top1 is above 1, and archsweep's top1 is in %, so these are shares\n"
            "  name yours otherwise: --metric my_top1=top1",
        ),
        (
            "lr,seed,top1\n1,0,50\n1,1,101\n2,0,70\n2,1,80\n",
            ("--metric", "top1", "--direction", "minimize"),
            "runs.csv:3: top1 is 101, and archsweep's top1 is between 0 and 100\n"
            "  name yours otherwise: --metric my_top1=top1\n"
            "--direction: 'top1' is a metric of archsweep, of which higher is better\n"
            "  name yours otherwise: --metric my_top1=top1",
        ),
        (
            FOUR.replace("acc", "val_acc"),
            ("--metric", "val_acc", "--direction", "maximize"),
            "--metric: 'val_acc' cannot be a metric's name: letters, digits and _, not `epoch`, `val_...` or a cost\n"
            "  name it: --metric acc=val_acc",
        ),
        ("lr,lr,seed,acc\n1,1,0,5\n", OPTIONS, "runs.csv:1: the column 'lr' is there twice"),
    ],
)
def test_every_problem_is_named_with_its_place(tmp_path, import_runs, text, options, problems):
    (tmp_path / "runs.csv").write_text(text)
    printed = import_runs("runs.csv", "-o", "run", *options)
    if problems is None:  # one group has two runs: the rest may be single
        assert printed.startswith("imported 5 runs")
        return
    assert printed == problems
    assert not (tmp_path / "run").exists()


def test_no_two_equal_configurations_are_refused_with_the_keys_that_differ(tmp_path, import_runs):
    lines = [(0.1, "a", 0, 1), (0.1, "b", 1, 2), (0.2, "c", 0, 3), (0.2, "c", 1, 4)]
    write(tmp_path / "runs.csv", "lr,tag,seed,acc", [(*line, index % 3) for index, line in enumerate(lines)])
    (tmp_path / "runs.csv").write_text((tmp_path / "runs.csv").read_text().replace("acc", "acc,n", 1))
    assert import_runs("runs.csv", "-o", "run", *OPTIONS) == (
        "no two of the 4 runs have the same configuration\n"
        "  keys that differ: tag (3 values), n (3 values), lr (2 values)\n"
        "  --ignore KEY,... leaves out those that are no configuration"
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("nothing", "nothing: nothing is there\n  a source is a CSV file, a folder with W&B's offline runs, MLflow's"),
        ("empty", "empty: is no source that is recognised\n  a source is a CSV file, a folder with"),
        (
            "offline-run-1-x",
            "offline-run-1-x: has no run-*.wandb file\n  if it was sent and removed (`wandb sync --clean`), export the",
        ),
    ],
)
def test_a_source_without_runs_is_refused(tmp_path, import_runs, source, problem):
    (tmp_path / "empty").mkdir()
    (tmp_path / "offline-run-1-x" / "files").mkdir(parents=True)
    assert import_runs(source, "-o", "run", *OPTIONS).startswith(problem)


def test_a_folder_with_two_kinds_of_runs_is_refused_unless_one_holds_copies_of_the_other(tmp_path, import_runs):
    run = tmp_path / "wandb" / "offline-run-1-x"
    (run / "files").mkdir(parents=True)
    (run / "files" / "events.out.tfevents.1").touch()
    assert import_runs(".", "-o", "run", *OPTIONS).startswith("wandb/offline-run-1-x: has no run-*.wandb")
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "events.out.tfevents.1").touch()
    assert import_runs(".", "-o", "run", *OPTIONS) == (
        ".: holds runs of several kinds: wandb, tensorboard\n"
        "  name one of its folders or files, or say which: --from wandb"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("mlflow", "random: MLflow cannot read it: "),
        ("tensorboard", "random: has no event files of TensorBoard"),
        ("wandb", "random: is no file of wandb offline runs"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, import_runs, kind, problem):
    (tmp_path / "random").write_bytes(bytes(range(256)) * 4)
    assert import_runs("random", "-o", "run", "--from", kind, *OPTIONS).startswith(problem)


def test_a_directory_with_content_is_not_written_to(runs_csv, import_runs, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("mine")
    assert import_runs("runs.csv", "-o", "run", *OPTIONS) == "run: exists already\n  choose another --output"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine"]


def test_a_run_of_archsweep_needs_no_import(runs_csv, import_runs):
    import_runs("runs.csv", "-o", "run", *OPTIONS)
    assert import_runs("run", "-o", "again", *OPTIONS).startswith("run: is a run directory of archsweep")


def test_an_edited_configuration_is_no_longer_that_of_its_id(runs_csv, import_runs, tmp_path):
    import_runs("runs.csv", "-o", "run", *OPTIONS)
    ledger = tmp_path / "run" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"depth":4', '"depth":5', 1))
    with pytest.raises(SpecError, match="its spec is that of variant"):
        read_ledger(ledger)


def test_equal_sources_give_equal_ids(runs_csv, import_runs, tmp_path):
    import_runs("runs.csv", "-o", "one", *OPTIONS)
    lines = runs_csv.read_text().splitlines()
    (tmp_path / "runs.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    import_runs("runs.csv", "-o", "two", *OPTIONS, "--baseline", "lr=0.1,depth=4")
    assert {r.trial_id for r in Run.open("one").records} == {r.trial_id for r in Run.open("two").records}


@pytest.fixture
def native(tmp_path):
    """A finished run that archsweep trained, of the metric top1."""
    folder = tmp_path / "native"
    folder.mkdir()
    variants = [{"name": name, "variant_id": name, "is_baseline": name == "baseline"} for name in ("baseline", "wide")]
    plan = {"sweep": "native", "design": "list", "metric": "top1", "seeds": [0, 1], "variants": variants}
    (folder / "plan.json").write_text(json.dumps(plan))
    records = [
        {"trial_id": f"{name}{seed}", "variant_id": name, "variant": name, "seed": seed, "spec": {"seed": seed}}
        | {"status": "completed", "metrics": {"top1": 90.0 + seed}}
        for name in ("baseline", "wide")
        for seed in (0, 1)
    ]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_one_table_with_our_runs_marks_those_that_are_not(tmp_path, native, import_runs, exported):
    (tmp_path / "runs.csv").write_text(FOUR.replace("acc", "top1"))
    import_runs("runs.csv", "-o", "theirs", "--metric", "top1")
    for order in (("native", "theirs"), ("theirs", "native")):
        text = exported("md", *order)
        assert text.count("(imported)") == 2
        assert "| baseline (imported) |" in text
        assert "| wide |" in text
        assert "theirs: Imported from runs.csv (csv, " in text
        assert "A seed decides initialisation, order of the data, augmentation and dropout" in text
        assert "after the last epoch (imported rows: as the source reports it)" in text
        kinds = [row["imported"] for row in csv.DictReader(exported("csv", *order).splitlines())]
        assert sorted(kinds) == ["", "", "csv", "csv"]


def test_a_metric_of_another_direction_is_another_metric(runs_csv, import_runs):
    import_runs("runs.csv", "-o", "up", "--metric", "acc", "--direction", "maximize")
    import_runs("runs.csv", "-o", "down", "--metric", "acc", "--direction", "minimize")
    with pytest.raises(SpecError) as caught:
        table_of_runs([Run.open("up"), Run.open("down")])
    assert str(caught.value) == (
        "down: the direction of its metric acc is 'minimize', that of up is 'maximize'\n  make a table of each"
    )


def test_provenance_names_source_digest_and_tool(runs_csv, import_runs, tmp_path):
    import_runs("runs.csv", "-o", "run", *OPTIONS)
    (session,) = map(json.loads, (tmp_path / "run" / "provenance.jsonl").read_text().splitlines())
    (source,) = session["imported"]
    sha256 = subprocess.run(["sha256sum", runs_csv], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (source["path"], source["kind"], source["sha256"]) == (str(runs_csv), "csv", sha256)
    assert (source["name"], source["runs"]) == ("runs.csv", 12)


def test_status_bundle_and_report(runs_csv, import_runs, tmp_path):
    import_runs("runs.csv", "-o", "run", *OPTIONS)
    status = format_status(run_status(open_summary("run"), now=0.0))
    assert "driver: none at work; imported from runs.csv (csv)" in status
    assert "archsweep run" not in status
    write_bundle("run", tmp_path / "run.zip")
    assert verify_bundle(tmp_path / "run.zip").num_trials == 12


@pytest.mark.slow
def test_report_has_the_source_without_its_folder(runs_csv, import_runs, tmp_path):
    import_runs("runs.csv", "-o", "run", *OPTIONS)
    html = report_of([tmp_path / "run"]).html
    assert "sweep file below" not in html  # there is none
    assert "runs.csv (csv, sha256 " in html
    assert str(tmp_path) not in html


@pytest.mark.slow
def test_a_sweep_does_not_continue_imported_runs(runs_csv, import_runs, tmp_path):
    import_runs("runs.csv", "-o", "run", *OPTIONS)
    before = (tmp_path / "run" / "ledger.jsonl").read_bytes()
    (tmp_path / "sweep.yaml").write_text(
        "name: mine\nbaseline: {arch: {patch_size: 4}, train: {epochs: 1}}\nspace: {train.lr: [0.1]}\n"
        "design: one_factor\nseeds: 2\n"
    )
    command = [sys.executable, "-m", "archsweep", "run", "sweep.yaml", "--out", "run", "--engine", "in-process"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "its runs are imported: there is no sweep that could continue them" in done.stderr
    assert (tmp_path / "run" / "ledger.jsonl").read_bytes() == before
