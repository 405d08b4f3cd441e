"""Sweeps with a training of the user's own: what is refused, in which words."""

from __future__ import annotations

import pytest

from search_space import METRICS, SpecError, load_sweep_text, variants
from search_space.schema.metrics import RANKED
from search_space.schema.trial import Setting

SWEEP = """
name: own
baseline:
  task:
    name: command
    argv: [python, train.py, --lr, "{optim.lr}", --seed, "{seed}"]
    config: {optim: {lr: 0.1}}
    measures: {my_accuracy: {direction: maximize, unit: "%", decimals: 1}, my_loss: minimize}
    metrics: {json: out.json}
space:
  task.config.optim.lr: [0.01, 1.0]
design: one_factor
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(text)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_rows_are_named_by_the_keys_of_the_configuration():
    sweep = load_sweep_text(SWEEP).sweep
    assert [variant.name for variant in variants(sweep)] == ["baseline", "lr=0.01", "lr=1"]
    assert sweep.metric == "my_accuracy"
    assert (METRICS["my_accuracy"].unit, METRICS["my_loss"].direction) == ("%", "minimize")
    assert all(name in METRICS and name in RANKED for name in ("my_accuracy", "my_loss"))
    assert not {"my_accuracy", "my_loss"} & {*METRICS, *RANKED}  # of this sweep alone


def test_the_identity_is_that_of_the_content():
    one = [variant.variant_id for variant in variants(load_sweep_text(SWEEP).sweep)]
    reordered = SWEEP.replace("{optim: {lr: 0.1}}", "\n      optim:\n        lr: 1.0e-1")
    assert [variant.variant_id for variant in variants(load_sweep_text(reordered).sweep)] == one
    other = SWEEP.replace("lr: 0.1}", "lr: 0.1, x: 1}").replace("--seed,", '--seed, "{optim.x}",')
    assert variants_differ(one, other)


def variants_differ(ids: list[str], text: str) -> bool:
    return not set(ids) & {variant.variant_id for variant in variants(load_sweep_text(text).sweep)}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("task.config.optim.lr:", "task.config.optim.lrr:", "the baseline's config has no 'optim.lrr'"),
        ("{optim.lr}", "{optim.lrr}", "the placeholder {optim.lrr} names no key of config"),
        ('"{optim.lr}"', '"{optim.lr"', "the brace at position 1 of '{optim.lr' is alone"),
        ('--lr, "{optim.lr}", ', "", "no placeholder passes 'optim.lr' on"),
        ("optim: {lr: 0.1}", "optim: {lr: 0.1}, seed: 3", "'seed' is a word of archsweep's own"),
        ("{json: out.json}", "{json: ../out.json}", "must be a path inside of the trial's own folder"),
        ("{json: out.json}", "{json: a.json, csv: b.csv}", "needs one of json, csv and regex"),
        (
            "{json: out.json}",
            "{regex: {acc: 'acc'}}",
            "metrics.regex.acc: needs one group in brackets, the number, and has 0",
        ),
        ("{json: out.json}", "{regex: {acc: 'acc ([0-9'}}", "metrics.regex.acc: is no regular expression"),
        ("{json: out.json}", "{json: a.json, row: best}", "metrics.row: `row` chooses a row of `csv`"),
        ("{json: out.json}", "{json: a.json, rename: {my_acuracy: x}}", "'my_acuracy' is no metric of `measures`"),
        (
            "{json: out.json}",
            "{regex: {my_accuracy: 'a (.)'}}",
            "no pattern finds 'my_loss', which is one of `measures`",
        ),
        (
            "{json: out.json}",
            "{regex: {my_accuracy: 'a (.)', my_loss: 'l (.)'}, rename: {my_loss: l}}",
            "metrics.rename: `rename` is for the keys of a file",
        ),
        (
            "{json: out.json}",
            "{json: a.json}\n    progress: {regex: {my_loss: 'l (.)'}, first_epoch: 0}",
            "progress.first_epoch: no pattern finds the number of an epoch",
        ),
        (
            "{json: out.json}",
            "{json: a.json}\n    progress: {regex: {my_loss: 'l (.)'}}\n    resume: {file: c, argv: [--resume]}",
            "progress.regex: no pattern finds the number of an epoch, so a program that continues",
        ),
        (
            "{json: out.json}",
            "{json: a.json}\n    progress: {regex: {my_loss: 'l (.)'}}\n    epochs: 3\nprune: {pruner: median}",
            "no pattern finds 'my_accuracy', by which `prune` decides",
        ),
        ("{json: out.json}", "{json: a.json}\n    env: {'A=B': x}", "no environment variable can be named 'A=B'"),
        (
            "{json: out.json}",
            "{json: a.json}\n    config_file: c.toml",
            "config_file: must end in .yaml, .yml or .json",
        ),
        ("space:", "  train: {lr: 0.1}\nspace:", "baseline.train.lr: no placeholder passes 'train.lr' on"),
        (
            "space:",
            "space:\n  task.argv: [[python, '{optim.lrr}']]",
            "the placeholder {optim.lrr} names no key of config",
        ),
        ("space:", "space:\n  task.measures: [{my_accuracy: minimize}]", "`measures` cannot differ between variants"),
        ("my_loss: minimize", "loss: {direction: minimize, unit: bits}", "'loss' is a metric of archsweep, in nats"),
        ("my_loss: minimize", "top1: maximize", "'top1' is a metric of archsweep, in %"),
        (
            "my_loss: minimize",
            "loss: {direction: minimize, decimals: 1}",
            "'loss' is a metric of archsweep, whose decimals is 4",
        ),
        (
            '--lr, "{optim.lr}", --seed, "{seed}"]',
            '--seed, "{seed}"]\n    resume: {file: c, argv: ["{optim.lr}"]}',
            "no placeholder passes 'optim.lr' on",
        ),
        (
            "space:",
            "    resume: {file: c, argv: [--resume, '{cc}']}\nspace:",
            "the placeholder {cc} names no key of config",
        ),
        (
            "space:",
            "    resume: {file: /c, argv: [--resume]}\nspace:",
            "must be a path inside of the trial's own folder",
        ),
        ("my_loss: minimize", "my_loss: minimise", "unknown value 'minimise'"),
        ("my_loss: minimize", "top1: minimize", "'top1' is a metric of archsweep, of which higher is better"),
        ("my_loss: minimize", "val_loss: minimize", "'val_loss' cannot be a metric's name"),
        ("my_loss: minimize", "params_m: minimize", "'params_m' is a cost"),
        ("    config:", "    val_fraction: 0.1\n    config:", "val_fraction is an option of archsweep's own training"),
        ("design:", "require: [params_m <= 3]\ndesign:", "params_m of the task 'command' is not known"),
        ("design:", "checkpoints: {keep: last}\ndesign:", "the weights of the task 'command' are its own"),
        ("design:", "keep_samples: 4\ndesign:", "`keep_samples` needs a training of archsweep"),
        ("design:", "resources: {gpu_memory: auto}\ndesign:", "`gpu_memory: auto` needs a training of archsweep"),
        ("design:", "prune: {pruner: median}\ndesign:", "pruning over epochs needs their number"),
        ("design:", "metric: my_acc\ndesign:", "unknown metric 'my_acc'"),
        ("task.config.optim.lr: [0.01, 1.0]", "train.lr: [0.1, 0.2]", "no placeholder passes 'train.lr' on"),
    ],
)
def test_refused_with_the_reason(old, new, says):
    assert old in SWEEP
    assert any(says in problem for problem in problems(SWEEP.replace(old, new, 1)))


def test_a_metric_of_archsweep_may_be_measured():
    measures = "top1: {direction: maximize, unit: '%', decimals: 2}, loss: minimize"
    sweep = load_sweep_text(SWEEP.replace("my_loss: minimize", measures)).sweep
    assert sweep.baseline.task.measured == ("my_accuracy", "top1", "loss")
    # As a worker, and the ledger, get it.
    assert Setting.model_validate_json(sweep.baseline.model_dump_json()) == sweep.baseline


def test_configuration_of_another_task_is_refused():
    text = "name: x\nbaseline: {}\nspace: {task.config.lr: [1, 2]}\ndesign: one_factor\n"
    assert any("the task 'classification' has no config" in problem for problem in problems(text))
