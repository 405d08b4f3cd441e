"""Probes and cosine regulariser of a sweep: metrics in the record, arrays in a file, error messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modelzoo import build_model
from modelzoo.probes import PROBES, cosine_penalty, measure_probes, record_maps
from runners.data import DataInfo
from runners.tasks.classification import Classification
from runners.training import check_train_options
from runners.training.diagnostics import probe_model
from runners.training.trial import run_trial
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import (
    ArchSpec,
    ClassificationSpec,
    CosineRegulariserSpec,
    ShapesSpec,
    TrainSpec,
    TrialSpec,
)

SIZES = {"depth": 3, "embed_dim": 40, "num_heads": 4, "patch_size": 4, "mlp_ratio": 1.0}
SHAPES = ShapesSpec(img_size=8, num_train=32, num_test=20, in_chans=1)


def model_of(attention="softmax"):
    arch = ArchSpec.model_validate({**SIZES, "attention": attention})
    return build_model(arch, img_size=8, in_chans=1, num_classes=10, seed=0)


def trial(attention="softmax", cosine_regulariser=None, **task) -> TrialSpec:
    return TrialSpec(
        arch=ArchSpec.model_validate({**SIZES, "attention": attention}),
        task=ClassificationSpec(dataset=SHAPES, **task),
        train=TrainSpec(epochs=1, batch_size=16, cosine_regulariser=cosine_regulariser),
    )


def run(spec: TrialSpec, **more):
    return run_trial(spec, report=lambda _: False, resources=Resources(), device="cpu", **more)


class Numbered:
    """Twenty constant images with the values 0 to 19, in batches of six: their values identify the images used."""

    def __len__(self) -> int:
        return 4

    def __iter__(self):
        images = torch.arange(20.0)[:, None, None, None].expand(20, 1, 8, 8)
        yield from zip(images.split(6), torch.zeros(20).split(6), strict=True)


def test_probes_are_metrics_of_a_completed_trial():
    plain, probed = run(trial()), run(trial(probes=tuple(PROBES)))
    assert {name: probed.metrics[name] for name in plain.metrics} == plain.metrics
    assert set(probed.metrics) == set(plain.metrics) | set(PROBES)
    assert not set(PROBES) & set(probed.curve[-1])


def test_probes_use_images_spread_over_the_split():
    model, task = model_of().eval(), ClassificationSpec(probes=("attention_entropy",), probe_images=5)
    found = probe_model(model, Numbered(), task, num_images=20, directory=None)
    images = torch.tensor([0.0, 4.0, 8.0, 12.0, 16.0])[:, None, None, None].expand(5, 1, 8, 8)
    want = measure_probes(model, [images], task.probes).metrics
    assert found == {"attention_entropy": pytest.approx(want["attention_entropy"], rel=1e-6)}


def test_probes_use_all_images_where_there_are_fewer():
    model, task = model_of().eval(), ClassificationSpec(probes=("attention_entropy",), probe_images=100)
    found = probe_model(model, Numbered(), task, num_images=20, directory=None)
    images = torch.arange(20.0)[:, None, None, None].expand(20, 1, 8, 8)
    want = measure_probes(model, [images], task.probes).metrics
    assert found == {"attention_entropy": pytest.approx(want["attention_entropy"], rel=1e-6)}


def test_arrays_are_written_only_if_requested(tmp_path: Path):
    directory = tmp_path / "trials" / "some"
    run(trial(probes=("attention_entropy", "cross_layer_similarity"), probe_arrays=True), directory=directory)
    with np.load(directory / "probes.npz") as arrays:
        assert arrays["attentions"].tolist() == [f"blocks.{index}.attn" for index in range(3)]
        assert arrays["attention_entropy"].shape == (3, 4)
        assert arrays["cross_layer_similarity"].shape == (3, 3)
    run(trial(probes=("attention_entropy",)), directory=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_arrays_without_a_directory_are_refused():
    with pytest.raises(SpecError) as caught:
        run(trial(probes=("attention_entropy",), probe_arrays=True))
    assert str(caught.value) == "task.probe_arrays: probe arrays need a run directory"


def test_a_probe_that_does_not_apply_is_missing_and_logged(capsys):
    outcome = run(trial("groupmix", probes=("attention_entropy", "feature_similarity")))
    assert "attention_entropy" not in outcome.metrics
    assert "feature_similarity" in outcome.metrics
    assert (
        "no attention_entropy: GroupMixAttention forms no map of attention between tokens\n" in capsys.readouterr().out
    )


def refusal(**task) -> str:
    with pytest.raises(SpecError) as caught:
        check_train_options(ClassificationSpec(dataset=SHAPES, **task), TrainSpec(), Resources())
    return str(caught.value)


def test_options_of_probes_that_are_not_listed_are_refused():
    assert refusal(probe_images=3, probe_arrays=True) == (
        "task.probe_images: without probes, probe_images=3 would have no effect\n"
        "  leave probe_images out, or list what to measure under task.probes\n"
        "task.probe_arrays: without probes, probe_arrays=True would have no effect\n"
        "  leave probe_arrays out, or list what to measure under task.probes"
    )
    assert refusal(probes=("attention_entropy",), similarity_threshold=0.5) == (
        "task.similarity_threshold: without `similar_blocks` in probes, similarity_threshold=0.5 would have no effect\n"
        "  leave similarity_threshold out, or list what to measure under task.probes"
    )
    assert refusal(probes=("attention_entropy",) * 2) == (
        "task.probes: 'attention_entropy' is listed twice\n  list each probe once"
    )


INFO = DataInfo("x", (8, 8), 1, 10, 8, 0, 8, (0.5,), (0.5,))


@pytest.mark.parametrize("attention", ["softmax", "reattention"])
def test_the_regulariser_is_added_to_the_loss(attention):
    model, device = model_of(attention), torch.device("cpu")
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = images, torch.arange(8)
    losses = []
    for regulariser in (None, CosineRegulariserSpec(pairs=2, weight=0.3)):
        train = TrainSpec(cosine_regulariser=regulariser)
        task = Classification(model.train(), info=INFO, spec=ClassificationSpec(), train=train, device=device)
        losses.append(task.loss(batch, torch.Generator()))
    with record_maps(model) as maps:
        model(images)
    price = cosine_penalty([one.weights for one in maps], pairs=2)
    torch.testing.assert_close(losses[1] - losses[0], 0.3 * price, rtol=1e-4, atol=1e-6)
    losses[1].backward()
    assert all(block.attn.qkv.weight.grad is not None for block in model.blocks)


def test_the_regulariser_changes_the_training():
    plain, priced = run(trial()), run(trial(cosine_regulariser=CosineRegulariserSpec(pairs=2, weight=5.0)))
    assert priced.curve[0]["train_loss"] > plain.curve[0]["train_loss"] + 1
    assert priced.metrics["loss"] != plain.metrics["loss"]


def test_the_regulariser_of_columns_is_another_training():
    heads, queries = (
        run(trial(cosine_regulariser=CosineRegulariserSpec(pairs=2, weight=5.0, along=along)))
        for along in ("heads", "queries")
    )
    assert heads.curve[0]["train_loss"] != queries.curve[0]["train_loss"]


def test_more_pairs_than_blocks_are_refused():
    with pytest.raises(SpecError) as caught:
        run(trial(cosine_regulariser=CosineRegulariserSpec()))
    assert str(caught.value) == (
        "train.cosine_regulariser.pairs: 12 pairs of adjacent blocks need 13 attention maps, "
        "but the model forms 3\n  choose pairs of at most 2"
    )
