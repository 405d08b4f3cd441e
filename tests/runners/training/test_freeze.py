"""Frozen parts, linear probes, and the learning rate of the head."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from modelzoo import build_model
from modelzoo.official.frozen import frozen_modules, frozen_parameters, head_parameters
from runners.data import describe_dataset, load_data
from runners.tasks import TASKS
from runners.training.optimization.optimizer import create_optimizer
from runners.training.optimization.schedule import make_schedule
from runners.training.trial import run_trial
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.trial import ArchSpec, TrainSpec, TrialSpec

ARCH = {"depth": 3, "embed_dim": 16, "num_heads": 2, "patch_size": 4}
TASK = {
    "name": "classification",
    "dataset": {"name": "builtin/grains", "img_size": 16, "num_train": 20, "num_test": 10},
}


def spec_of(arch=(), task=(), **train) -> TrialSpec:
    train = {"epochs": 2, "batch_size": 10, "opt": "momentum", "momentum": 0.0, "lr": 0.1, "sched": "constant", **train}
    return TrialSpec.model_validate({"arch": {**ARCH, **dict(arch)}, "task": {**TASK, **dict(task)}, "train": train})


def trained(spec: TrialSpec, folder):
    """Outcome, weights before and weights after."""
    kind = TASKS[spec.task.name]
    info = describe_dataset(spec.task, Resources())
    before = kind.build(spec, info, seed=spec.seed).state_dict()
    outcome = run_trial(
        spec, report=lambda point: False, resources=Resources(), directory=folder, checkpoints=Checkpoints(keep="last")
    )
    return outcome, before, load_file(folder / "weights.safetensors")


def changed(before, after) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run" / "trials" / "trial"
    path.mkdir(parents=True)
    return path


def test_a_linear_probe_is_a_linear_classifier_on_fixed_features(folder):
    """The reference is PyTorch: features, then SGD on a linear layer. Dropout and stochastic depth are off."""
    arch = {"drop_path_rate": 0.3, "proj_drop_rate": 0.2, "attention": {"name": "reattention"}}
    spec = spec_of(arch, freeze="backbone", weight_decay=0.0)
    outcome, before, after = trained(spec, folder)
    assert changed(before, after) == {"head.weight", "head.bias"}
    assert outcome.costs == {"trainable_params_m": sum(after[name].numel() for name in changed(before, after)) / 1e6}

    info = describe_dataset(spec.task, Resources())
    model = build_model(spec.arch, img_size=info.img_size, in_chans=3, num_classes=info.num_classes, seed=0).eval()
    data = load_data(
        spec.task,
        spec.train,
        Resources(),
        torch.device("cpu"),
        img_size=(16, 16),
        seed=0,
        info=info,
        **TASKS["classification"].data_options([spec], info),
    )
    head = nn.Linear(16, info.num_classes)
    head.load_state_dict({"weight": before["head.weight"], "bias": before["head.bias"]})
    for epoch in (1, 2):
        for images, labels in data.train.epoch(epoch):
            with torch.no_grad():
                features = model.forward_head(model.forward_features(images), pre_logits=True)
            head.zero_grad()
            F.cross_entropy(head(features), labels).backward()
            with torch.no_grad():
                for parameter in head.parameters():
                    parameter -= 0.1 * parameter.grad
    # Sums of a batch may be added in another order.
    torch.testing.assert_close(after["head.weight"], head.weight.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(after["head.bias"], head.bias.detach(), rtol=1e-5, atol=1e-6)
    assert "frozen: backbone; " in outcome.notes[0]


@pytest.mark.parametrize(
    ("freeze", "stays"),
    [
        (["embed"], ("cls_token", "pos_embed", "patch_embed.")),
        (["first:2"], ("cls_token", "pos_embed", "patch_embed.", "blocks.0.", "blocks.1.")),
        (["*.attn.*", "norm.weight"], ("blocks.0.attn.", "blocks.1.attn.", "blocks.2.attn.", "norm.weight")),
    ],
)
def test_what_is_frozen_stays_and_the_rest_is_trained(folder, freeze, stays):
    """Statistics of BatchNorms in frozen mechanisms, too, with an average of the weights beside them."""
    spec = spec_of({"attention": {"name": "reattention"}}, freeze=freeze, ema_decay=0.5)
    _, before, after = trained(spec, folder)
    # Biases of keys have no gradient but for rounding: the query's softmax does not see them.
    left = {name for name in before if not name.startswith(stays)}
    assert changed(before, after) <= left
    assert {name for name in left if name.endswith("weight")} <= changed(before, after)


@pytest.mark.parametrize("task", ["segmentation", "self_supervised"])
def test_the_backbone_of_other_tasks_is_frozen_without_their_heads(task):
    more = {
        "self_supervised": {"prototypes": 8, "head_hidden_dim": 16, "head_dim": 4, "local_crops": 0},
        "segmentation": {},
    }[task]
    data = {"name": "builtin/scenes" if task == "segmentation" else "builtin/grains", "img_size": 32}
    spec = TrialSpec.model_validate({"arch": ARCH, "task": {"name": task, "dataset": data, **more}})
    kind = TASKS[task]
    network = kind.build(spec, describe_dataset(spec.task, Resources()), seed=0)
    part = kind.pretrained_part(network)
    names = {name for name, _ in network.named_parameters()}
    frozen = frozen_parameters(network, part, ["backbone"])
    assert frozen == {name for name in names if name.startswith("backbone.model.")}
    assert head_parameters(network, part) == names - frozen


@pytest.mark.parametrize(
    ("freeze", "message", "hint"),
    [
        (["blocks.7.*"], "'blocks.7.*' is the name of no parameter", "names are such as cls_token"),
        (["backbon"], "'backbon' is the name of no parameter", "Did you mean 'backbone'?"),
        (["first:4"], "'first:4' asks for 4 blocks, but there are 3", "write first:1 to first:3"),
        (["backbone", "head.*"], "backbone, head.* freezes all", "leave the classifier"),
    ],
)
def test_what_freezes_nothing_or_everything_is_refused(freeze, message, hint):
    model = build_model(ArchSpec.model_validate(ARCH), img_size=16, in_chans=3, num_classes=3)
    with pytest.raises(SpecError) as raised:
        frozen_parameters(model, model, freeze)
    (problem,) = raised.value.problems
    assert problem.message.startswith(message)
    assert hint in problem.hint
    assert problem.path == "train.freeze"


def test_a_frozen_module_is_in_evaluation_mode():
    model = build_model(ArchSpec.model_validate(ARCH), img_size=16, in_chans=3, num_classes=3)
    of_blocks = frozen_modules(model, model, ["first:2"]).keys()
    assert {"blocks.0", "blocks.1", "patch_embed"} <= of_blocks
    assert not {"", "blocks", "blocks.2", "norm"} & of_blocks
    of_backbone = frozen_modules(model, model, ["backbone"])
    assert {"blocks", "norm", "pos_drop"} <= of_backbone.keys()
    assert not {"", "head", "head_drop"} & of_backbone.keys()


def test_blocks_are_counted_without_a_classifier_too():
    model = build_model(ArchSpec.model_validate(ARCH), img_size=16, in_chans=3, num_classes=0)
    assert "blocks.2.norm1.weight" not in frozen_parameters(model, model, ["first:2"])
    with pytest.raises(SpecError, match="but there are 3"):
        frozen_parameters(model, model, ["first:4"])


@pytest.mark.parametrize("layer_decay", [None, 0.5])
def test_the_head_has_its_own_learning_rate(layer_decay):
    """Over the whole schedule, beside layer decay; every parameter is in one group."""
    train = TrainSpec(lr=0.1, head_lr_scale=10, layer_decay=layer_decay, epochs=2, warmup_epochs=1)
    model = build_model(ArchSpec.model_validate(ARCH), img_size=16, in_chans=3, num_classes=3)
    made = create_optimizer(model, train, torch.device("cpu"), head=head_parameters(model, model))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    schedule = make_schedule(made, train, updates_per_epoch=5)
    assert schedule is not None
    for update in (3, 7):
        schedule.step_update(update)
        rates = {names[id(each)]: group["lr"] for group in made.param_groups for each in group["params"]}
        assert rates.keys() == set(names.values())
        decay = 1.0 if layer_decay is None else layer_decay
        # For timm the last norm belongs to the last block, one layer below the head.
        assert rates["head.weight"] == rates["head.bias"] == pytest.approx(10 * rates["norm.weight"] / decay)
        assert rates["blocks.1.mlp.fc1.weight"] == pytest.approx(rates["norm.weight"] * decay)


@pytest.mark.parametrize(
    "arch",
    [
        {**ARCH, "attention": {"name": "refiner", "sharing": "alternate"}},
        {**ARCH, "attention": {"name": "groupmix", "kernel_sizes": [3]}, "embed_dim": 18, "num_heads": 3},
        {"model": "test_vit", "img_size": 32, "attention": {"name": "reattention"}},
        {"model": "swin_tiny_patch4_window7_224", "attention": {"name": "reattention"}},
    ],
)
def test_layer_decay_gives_a_mechanism_the_rate_of_its_block(arch):
    spec = ArchSpec.model_validate(arch)
    with torch.device("meta"):
        model = build_model(spec, img_size=16, in_chans=3, num_classes=3)
    made = create_optimizer(model, TrainSpec(layer_decay=0.5), torch.device("cpu"))
    scale = {id(each): group["lr_scale"] for group in made.param_groups for each in group["params"]}
    scales = {name: scale[id(parameter)] for name, parameter in model.named_parameters()}
    within = {name: value for name, value in scales.items() if ".attn." in name}
    assert len(within) > 4
    for name, value in within.items():
        block = name.partition(".attn.")[0]
        assert value == scales[f"{block}.norm1.weight"], name
