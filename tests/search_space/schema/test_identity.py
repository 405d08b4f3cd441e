"""Identity: equal id = same experiment, independent of how the file is written."""

from __future__ import annotations

import json

import pytest

from search_space import load_sweep_text, trial_id, variant_id
from search_space.schema.identity import training_id
from search_space.schema.trial import Setting, TrialSpec

PLAIN = """
name: a
baseline:
  arch: {depth: 4, embed_dim: 40, num_heads: 4, attention: {name: refiner, expansion: 2}}
  train: {epochs: 3, lr: 1e-3}
design: one_factor
"""


def _id(text: str) -> str:
    return variant_id(load_sweep_text(text).sweep.baseline)


@pytest.mark.parametrize(
    "same",
    [
        PLAIN.replace("depth: 4, embed_dim: 40", "embed_dim: 40, depth: 4"),
        PLAIN.replace("train:", "train: # a comment\n   "),
        PLAIN + "resources: {cpus: 4, gpus: 0.5, num_workers: 3, data_dir: /data}\nseeds: 5\n",
        PLAIN.replace("name: a", "name: b\ndescription: another"),
        PLAIN.replace("expansion: 2", "expansion: 2.0, kernel_size: 3, reduction: true, blocks: all"),
        PLAIN.replace("lr: 1e-3", "lr: 0.001, opt: adamw, batch_size: 128"),
        PLAIN.replace("  train:", "  task: {name: classification, dataset: builtin/digits}\n  train:"),
        PLAIN.replace("arch: {", "arch: {model: vit, class_token: true, global_pool: token, mlp_ratio: 4, "),
        PLAIN.replace("epochs: 3", "epochs: 3, layer_decay: null"),
    ],
)
def test_how_a_sweep_is_written_does_not_change_ids(same: str) -> None:
    assert same != PLAIN
    assert _id(same) == _id(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("depth: 4", "depth: 5"),
        PLAIN.replace("expansion: 2", "expansion: 2.5"),
        PLAIN.replace("refiner, expansion: 2", "reattention"),
        PLAIN.replace("lr: 1e-3", "lr: 1e-2"),
        PLAIN.replace("  train:", "  task: {dataset: builtin/shapes}\n  train:"),
        PLAIN.replace("  train:", "  task: {dataset: torch/cifar10}\n  train:"),
        PLAIN.replace("arch: {", "arch: {class_token: false, "),
    ],
)
def test_another_experiment_has_another_id(other: str) -> None:
    assert _id(other) != _id(PLAIN)


def test_a_mechanism_at_its_defaults_is_not_the_default_mechanism() -> None:
    ids = {_id(PLAIN.replace("{name: refiner, expansion: 2}", name)) for name in ("softmax", "reattention", "refiner")}
    assert len(ids) == 3


def test_ids_are_frozen() -> None:
    """Golden values: a change invalidates every ledger, so it needs a new IDENTITY_VERSION and a changelog line."""
    setting = Setting.model_validate(
        {"arch": {"depth": 4, "embed_dim": 40, "num_heads": 4, "attention": "refiner"}, "train": {"epochs": 3}}
    )
    assert variant_id(Setting()) == "798e1fee104b"
    assert variant_id(setting) == "a3f0abd954c8"
    assert trial_id(setting.with_seed(1)) == "f289fec00399"


def test_the_released_kernels_are_no_other_experiment_than_the_default() -> None:
    """Golden values of the version in which [3, 5, 7] was the default of Group-Mix."""

    def identity(attention: object) -> str:
        return variant_id(Setting.model_validate({"arch": {"attention": attention}}))

    assert identity("groupmix") == identity({"name": "groupmix", "kernel_sizes": [3, 5, 7]}) == "cd31deca1fca"
    assert identity({"name": "groupmix", "kernel_sizes": [3, 5]}) == "8882abf92a4f"
    assert identity({"name": "groupmix", "kernel_sizes": [3, 5, 7], "num_segments": 4}) == "6be9a8a39302"


def test_the_regulariser_along_the_heads_is_that_of_before_there_was_a_choice() -> None:
    def identity(**regulariser: object) -> str:
        return variant_id(Setting.model_validate({"train": {"cosine_regulariser": {"pairs": 7, **regulariser}}}))

    assert identity() == identity(along="heads") == "666f66f245b0"
    assert identity(along="queries") != identity()


def test_the_seed_changes_the_trial_and_not_the_variant() -> None:
    setting = Setting()
    assert trial_id(setting.with_seed(0)) != trial_id(setting.with_seed(1))
    assert variant_id(setting.with_seed(0)) == variant_id(setting.with_seed(1)) == variant_id(setting)


def test_ids_survive_json() -> None:
    spec = Setting.model_validate(
        {"arch": {"attention": {"name": "groupmix", "kernel_sizes": [3, 5], "blocks": {"last": 2}}}}
    )
    trial = spec.with_seed(3)
    assert trial_id(TrialSpec.model_validate(json.loads(json.dumps(trial.model_dump(mode="json"))))) == trial_id(trial)


MEASURED = {"crop_pct": 1.13, "crop_mode": "border", "test_img_size": [12, 12], "tta": "hflip"}


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_how_a_trial_is_measured_is_part_of_it_but_not_of_its_training(name: str) -> None:
    plain = Setting.model_validate({"arch": {"depth": 4}})
    other = Setting.model_validate({"arch": {"depth": 4}, "task": {name: MEASURED[name]}})
    assert trial_id(other.with_seed(3)) != trial_id(plain.with_seed(3))
    assert training_id(other) == training_id(other.with_seed(3)) == training_id(plain) == variant_id(plain)


def test_another_training_has_another_id_however_it_is_measured() -> None:
    settings = [
        {"task": {"crop_pct": 0.9}},
        {"task": {"crop_pct": 0.9, "dataset": "builtin/shapes"}},
        {"task": {"crop_pct": 0.9, "val_fraction": 0.1}},
        {"task": {"crop_pct": 0.9}, "train": {"lr": 0.5}},
        {"task": {"crop_pct": 0.9}, "arch": {"img_size": 16}},
    ]
    assert len({training_id(Setting.model_validate(each)) for each in settings}) == len(settings)


def test_the_default_crop_may_be_written_without_another_id() -> None:
    written = Setting.model_validate({"task": {"crop_pct": 1, "crop_mode": None, "test_img_size": None, "tta": "none"}})
    assert variant_id(written) == variant_id(Setting())
