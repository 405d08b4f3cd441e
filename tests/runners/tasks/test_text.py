"""The task `text`: from a sweep file to a table, resumed bit for bit, and what does not fit it refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from runners.cache.code_version import modules_of
from runners.data import describe_dataset
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from runners.tasks import TASKS
from runners.training.trial import run_trial
from search_space import SpecError, load_sweep_text
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.task import TextSpec
from search_space.schema.trial import Setting, TrialSpec
from search_space.settings.training_relations import broken_relations

SWEEP = """
name: recall
baseline:
  arch: {model: bert, depth: 2, embed_dim: 16, num_heads: 2, mlp_ratio: 2}
  task:
    name: text
    dataset: {name: builtin/recall, num_train: 64, num_test: 32}
    probes: [attention_entropy, head_similarity]
  train: {epochs: 2, batch_size: 16, lr: 1e-3, recalibrate_bn: 2}
space:
  arch.attention: [softmax, refiner]
design: one_factor
seeds: 2
"""
ARCH = {"model": "bert", "depth": 2, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2.0}
RECALL = {"name": "builtin/recall", "num_train": 48, "num_test": 20}


def setting(*, arch=None, task=None, train=None) -> Setting:
    return Setting.model_validate(
        {
            "arch": {**ARCH, **(arch or {})},
            "task": {"name": "text", "dataset": RECALL, **(task or {})},
            "train": {"epochs": 3, "batch_size": 8, "lr": 1e-3, "recalibrate_bn": 2, **(train or {})},
        }
    )


@pytest.mark.thorough
def test_a_sweep_ends_in_a_table_of_the_metric_of_the_dataset(tmp_path):
    result = run_sweep(make_plan(load_sweep_text(SWEEP)), tmp_path / "run", engine="in-process")
    assert dict(result.counts) == {"completed": 4}
    records = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    for record in records:
        metrics = record["metrics"]
        assert set(metrics) == {"accuracy", "loss", "attention_entropy", "head_similarity"}
        assert metrics["accuracy"] * 32 / 100 == pytest.approx(round(metrics["accuracy"] * 32 / 100))
        # Near uniform attention at the start: the entropy is at most that of the longest text, 28 tokens.
        assert 0 < metrics["attention_entropy"] <= torch.tensor(28.0).log().item()
    table = (tmp_path / "run" / "table.md").read_text()
    assert "accuracy (%" in table
    assert "Data: 64 training and 32 test texts of 4 classes." in table
    assert "always predicting" in table


def run(spec, directory, **options):
    report = options.pop("report", lambda entry: False)
    often = Checkpoints(min_seconds=0, keep="last")
    return run_trial(
        spec,
        report=report,
        resources=Resources(),
        device="cpu",
        directory=directory,
        checkpoints=often,
        metric="loss",
        **options,
    )


@pytest.mark.default_run("reattention")
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arch", "train"),
    [
        ({"attention": "softmax", "attn_drop_rate": 0.1, "proj_drop_rate": 0.1}, {"ema_decay": 0.9, "smoothing": 0.1}),
        ({"attention": "reattention"}, {"amp": "bfloat16"}),
        pytest.param(
            {"attention": "refiner", "attn_drop_rate": 0.1},
            {"layer_decay": 0.8, "clip_grad": 1.0},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["softmax", "reattention", "refiner"],
)
def test_an_interrupted_trial_continues_bit_for_bit(tmp_path, arch, train):
    spec = TrialSpec(**setting(arch=arch, task={"val_fraction": 0.25}, train=train).model_dump(), seed=1)
    whole = run(spec, tmp_path / "whole")
    calls = iter(range(10**6))
    assert run(spec, tmp_path / "parts", is_preempted=lambda: next(calls) >= 6).status == "preempted"
    parts = run(spec, tmp_path / "parts")
    assert (parts.status, parts.curve, parts.metrics) == ("completed", whole.curve, whole.metrics)
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.thorough
def test_numbers_are_predicted_by_their_squared_error(tmp_path):
    """The number is the number of words of a text: a model that learns it correlates with it."""
    folder = tmp_path / "data" / "lengths"
    folder.mkdir(parents=True)
    for split, texts in (("train", 96), ("test", 32)):
        rows = [f"{'word ' * (1 + number % 6)},{(1 + number % 6) / 6}" for number in range(texts)]
        (folder / f"{split}.csv").write_text("text,score\n" + "\n".join(rows) + "\n")
    dataset = {"name": "text/lengths", "target_key": "score", "target": "number", "vocabulary": 32, "max_length": 16}
    spec = TrialSpec(**setting(task={"dataset": dataset}, train={"epochs": 8, "lr": 5e-3}).model_dump(), seed=0)
    outcome = run_trial(
        spec,
        report=lambda entry: False,
        resources=Resources(data_dir=str(tmp_path / "data")),
        device="cpu",
        metric="pearson",
    )
    assert set(outcome.metrics) == {"pearson", "spearman", "mse"}
    assert outcome.metrics["pearson"] > 80
    assert outcome.metrics["mse"] < 0.09  # of the mean of all: the variance of 1/6 .. 6/6 is 0.081


@pytest.mark.parametrize(
    ("dataset", "metrics"),
    [
        ("builtin/recall", ("accuracy", "loss")),
        ("glue/CoLA", ("mcc", "accuracy", "loss")),
        ("glue/QQP", ("accuracy", "f1", "loss")),
        ("glue/STS-B", ("pearson", "spearman", "mse")),
        ("text/own", ("accuracy", "mcc", "loss")),
    ],
)
def test_the_first_metric_of_the_dataset_ranks(dataset, metrics):
    assert TextSpec.model_validate({"dataset": dataset}).measured == metrics
    text = SWEEP.replace("{name: builtin/recall, num_train: 64, num_test: 32}", dataset)
    assert load_sweep_text(text).sweep.metric == metrics[0]
    assert set(metrics) <= set(TextSpec.metrics)


def test_the_network_takes_its_example_and_costs_what_is_counted():
    task, info = TASKS["text"], describe_dataset(setting().task, Resources())
    model = task.build(setting(), info, seed=0)
    assert model(*task.example(setting(), info, 3)).shape == (3, 4)
    assert task.input_size(setting(), info) == (1, 40)
    params = sum(weight.numel() for weight in model.parameters())
    assert task.cost(setting(), info).params_m == pytest.approx(params / 1e6)


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"arch": {"model": "vit"}}, "arch.model", "the task 'text' needs a model of text, and 'vit' takes images"),
        ({"task": {"name": "classification", "dataset": "builtin/digits"}}, "arch.model", (
            "'bert' reads text, and the task 'classification' has images"
        )),
        ({"arch": {"img_size": 32}}, "arch.img_size", (
            "img_size is an option of models of images; 'bert' has none, so img_size=32 would have no effect"
        )),
        ({"train": {"mixup": 0.2}}, "train.mixup", (
            "mixup has no meaning in the task 'text', so mixup=0.2 would have no effect"
        )),
        ({"task": {"dataset": "glue/STS-B"}, "train": {"smoothing": 0.1}}, "train.smoothing", (
            "'glue/STS-B' has numbers as labels, so smoothing=0.1 has no meaning"
        )),
    ],
)  # fmt: skip
def test_what_does_not_fit_text_is_a_broken_relation(options, path, message):
    arch = {**ARCH, **options.get("arch", {})}
    if arch["model"] != "bert":
        arch = {"model": arch["model"]}
    found = broken_relations(
        Setting.model_validate(
            {"arch": arch, "task": {"name": "text", **options.get("task", {})}, "train": options.get("train", {})}
        )
    )
    assert [(each.path, each.message) for each in found] == [(path, message)]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("glue/COLA", "must be one of glue/CoLA, glue/SST-2"),
        ("recall", "must be builtin/recall, glue/TASK for a task of GLUE, or text/NAME for a folder of tables"),
        ("{name: text/own, tokeniser: a}", "unknown key 'tokeniser' in a folder of tables of text"),
    ],
)
def test_unknown_datasets_and_keys_are_refused(dataset, message):
    with pytest.raises(SpecError) as caught:
        load_sweep_text(SWEEP.replace("{name: builtin/recall, num_train: 64, num_test: 32}", dataset))
    assert message in str(caught.value)


def test_kept_predictions_are_refused():
    with pytest.raises(SpecError, match="the task 'text' are not simply right or wrong"):
        load_sweep_text(SWEEP + "keep_predictions: true\n")


def test_code_of_text_counts_for_text_only():
    of_text = set(modules_of(setting()))
    assert {"modelzoo.text.encoder", "runners.data.text.recall", "runners.data.text.loading"} <= of_text
    assert "runners.tasks.metrics.text" in of_text
    images = modules_of(Setting())
    assert [name for name in images if ".text" in name] == []
