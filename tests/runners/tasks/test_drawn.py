"""The contract of tasks that can be drawn: what `keep_samples` keeps is what was measured, for every such task.

To add a task: a smallest setting of it in `SETTINGS`, and in `answers` the outputs of a network that is always right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modelzoo.dense.segmenter import Segmentation, Segmenter
from results.predictions.samples import LabelMap, Objects, OneClass
from results.predictions.samples_file import read_samples
from runners.data import describe_dataset, load_data
from runners.tasks import TASKS
from runners.training.kept_samples import keep_predicted
from runners.training.precision import Precision
from runners.training.trial import run_trial
from search_space.loading.load import load_sweep_text
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.sweep import Checkpoints
from search_space.schema.task import TASK_SPECS
from search_space.schema.trial import Setting

ARCH = {"depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2.0}
SCENES = {"name": "builtin/scenes", "img_size": 32, "num_train": 8, "num_test": 10}
DETECTION = {"pyramid_dim": 8, "anchor_size": 8, "box_dim": 16, "mask_dim": 8, "mask_layers": 1, "detections": 5}
SETTINGS = {
    "classification": {"dataset": {**SCENES, "name": "builtin/shapes"}},
    "segmentation": {"dataset": SCENES, "head_dim": 8, "aux_dim": 8, "pool_scales": [1], "pyramid_dim": 8},
    "detection": {"dataset": SCENES, "proposals": 8, "box_samples": 8, **DETECTION},
}
every_drawn_task = pytest.mark.parametrize("name", sorted(SETTINGS))
CPU = torch.device("cpu")


def setting_of(name, **arch) -> Setting:
    train = {"epochs": 2, "batch_size": 4, "lr": 1e-3}
    return Setting.model_validate({"arch": ARCH | arch, "task": {"name": name, **SETTINGS[name]}, "train": train})


def data_of(setting):
    info = describe_dataset(setting.task, Resources())
    size = TASKS[setting.task.name].input_size(setting, info)
    return info, load_data(setting.task, setting.train, Resources(), CPU, img_size=size, seed=0, info=info)


class Known(nn.Module):
    """A network that gives the answers it was given, image by image."""

    def __init__(self, answers):
        nn.Module.__init__(self)  # not that of a Segmenter, which needs its parts
        self.weight = nn.Parameter(torch.zeros(1))
        self._answers = answers

    def answers(self, images):
        return [self._answers[each.numpy().tobytes()] for each in images]


class KnownClasses(Known):
    def forward(self, images):
        return torch.stack(self.answers(images))


class KnownObjects(Known):
    def forward(self, images):
        return self.answers(images)


class KnownMaps(Known, Segmenter):
    def __init__(self, answers):
        Known.__init__(self, answers)
        self.backbone = nn.Module()
        self.backbone.canvas, self.backbone.multiple_of = (32, 32), 1

    def forward(self, images):
        return Segmentation(torch.stack(self.answers(images)), None)


def right_class(image, label):
    return F.one_hot(label, 8).float() * 3


def right_map(image, labels):
    return F.one_hot(labels.long(), 4).permute(2, 0, 1).float()


def right_objects(image, truth, least=0.0):
    """Boxes and masks by the pixels of the scenes, with scores above a least one."""
    masks = torch.stack([torch.from_numpy(_pixels_of(mask)) for mask in truth.objects.masks])[:, None].float()
    boxes = torch.from_numpy(np.asarray(truth.objects.boxes)).float()
    corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)
    labels = torch.from_numpy(np.asarray(truth.objects.labels))
    return {"boxes": corners, "labels": labels, "scores": least + 0.9 - 0.1 * torch.arange(len(labels)), "masks": masks}


def _pixels_of(mask):
    from faster_coco_eval.core import mask as coco_masks

    return coco_masks.decode(mask)


RIGHT = {
    "classification": (KnownClasses, right_class),
    "segmentation": (KnownMaps, right_map),
    "detection": (KnownObjects, right_objects),
}


def kept(setting, network, folder: Path, *, wanted=4):
    """Samples of a task on a network."""
    info, data = data_of(setting)
    task = TASKS[setting.task.name](network, info=info, spec=setting.task, train=setting.train, device=CPU)
    options = {"info": info, "precision": Precision("off", CPU), "directory": folder}
    keep_predicted(task.measured_as(setting.task), data.test, wanted, **options)
    return read_samples(folder / "samples.npz")


def known(name, answer, setting):
    kind, _ = RIGHT[name]
    _, data = data_of(setting)
    pairs = [pair for images, targets in data.test for pair in zip(images, targets, strict=True)]
    return kind({image.numpy().tobytes(): answer(image, target) for image, target in pairs})


def fields(drawn, *names):
    return [np.asarray(getattr(drawn, name)).tolist() for name in names]


def test_the_settings_are_those_of_the_tasks_that_can_be_drawn():
    assert set(SETTINGS) == set(RIGHT) == {name for name, spec in TASK_SPECS.items() if spec.is_drawn}


@every_drawn_task
def test_predictions_of_a_network_that_is_always_right_are_the_truth(name, tmp_path):
    setting = setting_of(name)
    samples = kept(setting, known(name, RIGHT[name][1], setting), tmp_path)
    assert [each.position for each in samples.samples] == [0, 2, 5, 7]  # 10 images: 0, 2.5, 5, 7.5 rounded down
    for each in samples.samples:
        same = {
            OneClass: ("label",),
            LabelMap: ("labels",),
            Objects: ("boxes", "labels", "masks"),
        }[type(each.truth)]
        assert fields(each.prediction, *same) == fields(each.truth, *same)
    assert {type(each.truth) for each in samples.samples} == {type(each.prediction) for each in samples.samples}


@every_drawn_task
def test_the_images_are_those_of_the_test_split(name, tmp_path):
    """8-bit images in memory: normalised and back, they are what they were."""
    from runners.data.dense.scenes import draw_scenes
    from runners.data.images.shapes import draw_shapes

    if name == "classification":
        spec = setting_of(name).task.dataset
        want = draw_shapes(10, split=1, side=32, in_chans=spec.in_chans, noise=spec.noise, seed=spec.data_seed).pixels
    else:
        want = draw_scenes(10, split=1, side=32, seed=0, context=False).pixels
    setting = setting_of(name)
    for each in kept(setting, known(name, RIGHT[name][1], setting), tmp_path).samples:
        pixels = want[each.position].permute(1, 2, 0).expand(-1, -1, 3)
        assert np.array_equal(each.image, pixels.numpy())


def test_a_detector_that_is_not_sure_shows_nothing(tmp_path):
    """All of its scores are below the one that is stated."""
    setting = setting_of("detection")
    unsure = known("detection", lambda image, truth: right_objects(image, truth, least=-0.41), setting)
    samples = kept(setting, unsure, tmp_path)
    assert samples.least_score == 0.5
    assert [len(each.prediction.labels) for each in samples.samples] == [0, 0, 0, 0]
    assert all(each.prediction.masks.shape == (0, 32, 32) for each in samples.samples)
    assert sum(len(each.truth.labels) for each in samples.samples) > 0


def test_probabilities_are_those_of_the_softmax(tmp_path):
    """One logit of 3 and seven of 0: e^3 / (e^3 + 7)."""
    setting = setting_of("classification")
    samples = kept(setting, known("classification", right_class, setting), tmp_path)
    assert [each.prediction.probability for each in samples.samples] == pytest.approx([np.exp(3) / (np.exp(3) + 7)] * 4)


def test_classes_have_the_names_of_the_dataset(tmp_path):
    for name, all_names in (
        ("segmentation", {0: "background", 1: "disk", 2: "square", 3: "triangle"}),
        ("detection", {0: "disk", 1: "square", 2: "triangle"}),
        ("classification", {}),
    ):
        setting = setting_of(name)
        found = kept(setting, known(name, RIGHT[name][1], setting), tmp_path, wanted=64)
        assert found.names == all_names
        assert len(found.samples) == 10  # all there are


def run(setting, directory, *, report=lambda entry: False, **options):
    return run_trial(
        setting.with_seed(0),
        report=report,
        resources=Resources(),
        device="cpu",
        directory=directory,
        checkpoints=Checkpoints(min_seconds=0),
        metric=setting.task.metrics[0],
        keep_samples=3,
        **options,
    )


@every_drawn_task
def test_all_variants_keep_the_same_images(name, tmp_path):
    found = []
    for depth in (1, 2):
        setting = setting_of(name, depth=depth)
        network = TASKS[name].build(setting, describe_dataset(setting.task, Resources()), seed=depth)
        found.append([(each.position, each.image.tobytes()) for each in kept(setting, network, tmp_path).samples])
        assert network.training
    assert found[0] == found[1]


@pytest.mark.default_run("segmentation", "classification")
@pytest.mark.thorough
@every_drawn_task
def test_an_interrupted_trial_keeps_the_same_bytes(name, tmp_path):
    class Killed(BaseException):
        pass

    def dies(entry):
        raise Killed

    whole, parts = (tmp_path / "trials" / each for each in ("whole", "parts"))
    run(setting_of(name), whole)
    with pytest.raises(Killed):
        run(setting_of(name), parts, report=dies)
    assert not (parts / "samples.npz").exists()
    run(setting_of(name), parts)
    assert (parts / "samples.npz").read_bytes() == (whole / "samples.npz").read_bytes()


def test_samples_are_not_written_through_a_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "trials").symlink_to(tmp_path / "elsewhere")
    setting = setting_of("classification")
    with pytest.raises(OSError, match="a symbolic link leads out of"):
        kept(setting, known("classification", right_class, setting), tmp_path / "run" / "trials" / "a")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_without_a_run_directory_samples_are_refused():
    setting = setting_of("classification")
    with pytest.raises(SpecError) as caught:
        run(setting, None)
    assert str(caught.value) == "keep_samples: samples need a run directory"


@pytest.mark.parametrize("name", sorted(set(TASK_SPECS) - set(SETTINGS) - {"python", "command"}))
def test_tasks_that_cannot_be_drawn_refuse_samples(name):
    model = "{model: bert}" if name == "text" else "{}"
    task = f"{{name: {name}}}"
    text = f"name: a\nbaseline: {{arch: {model}, task: {task}}}\nspace: {{}}\ndesign: one_factor\nkeep_samples: 4\n"
    with pytest.raises(SpecError) as caught:
        load_sweep_text(text)
    assert str(caught.value) == (
        f"<text>:5:15: keep_samples: predictions of the task '{name}' cannot be drawn over images, so there is nothing "
        "to keep\n    keep_samples: 4\n                  ^\n"
        "  remove `keep_samples`; tasks that can be drawn: classification, detection, segmentation"
    )
