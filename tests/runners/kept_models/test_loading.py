"""Models of finished trials, back in Python: what they predict is what the record says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import archsweep
from results.store.ledger import read_ledger
from results.store.run_layout import RunDir
from runners.cli.app import app
from runners.data import describe_dataset, load_data
from runners.kept_models import Preprocessing
from runners.kept_models.loading import _spec_of
from runners.tasks import TASKS
from runners.tasks.classification import evaluation_crop_of
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import TrialSpec

SWEEP = """
name: kept
baseline:
  arch: {model: vit, depth: 2, embed_dim: 16, num_heads: 2, patch_size: 4}
  task: TASK
  train: {epochs: 1, batch_size: 20}
checkpoints: {keep: last}
seeds: 2
METRIC
design: one_factor
space: {arch.attention: [{name: reattention}]}
"""
SCENES = "{name: segmentation, dataset: {name: builtin/scenes, num_train: 4, num_test: 2}}"
SMALL_HEAD = "prototypes: 8, head_hidden_dim: 16, head_dim: 4, local_crops: 0, freeze_last_layer: 0"
GRAINS = "dataset: {name: builtin/grains, img_size: 16, num_train: 40, num_test: 30}"


def run(folder: Path, task: str, metric: str = "", **resources) -> Path:
    (folder / "sweep.yaml").write_text(SWEEP.replace("TASK", task).replace("METRIC", metric))
    command = ["run", str(folder / "sweep.yaml"), "--engine", "in-process", "-q", "--no-cache"]
    done = CliRunner().invoke(app, [*command, "--out", str(folder / "run"), *resources.get("options", ())])
    assert done.exit_code == 0, (done.output, done.exception)
    return folder / "run"


def record_of(path: Path, variant: str, seed: int):
    records = read_ledger(RunDir(path).ledger).records
    (found,) = [each for each in records if each.variant == variant and each.seed == seed]
    return found


def test_a_loaded_classifier_has_the_accuracy_of_its_record(tmp_path):
    """Also at another test size, where positions are resampled."""
    path = run(tmp_path, f"{{name: classification, test_img_size: 24, {GRAINS}}}")
    loaded = archsweep.load_model(path, "attention=reattention", 1)
    spec = TrialSpec.model_validate(loaded.metadata["spec"])
    info = describe_dataset(spec.task, Resources())
    options = TASKS["classification"].data_options([spec], info)
    data = load_data(
        spec.task, spec.train, Resources(), torch.device("cpu"), img_size=(16, 16), seed=1, info=info, **options
    )
    with torch.inference_mode():
        right = [(loaded.model(images).argmax(dim=1) == labels) for images, labels in data.test]
    record = record_of(path, "attention=reattention", 1)
    assert 100 * torch.cat(right).double().mean().item() == pytest.approx(record.metrics["top1"], abs=1e-4)
    assert loaded.metadata["trial_id"] == record.trial_id
    assert archsweep.load_model(archsweep.open_run(path), record.variant_id).metadata["seed"] == 0


def folders(where: Path, sizes: tuple[tuple[int, int], ...]) -> None:
    """Dark and light pictures, that a network of two blocks can separate."""
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for number, name in enumerate(("dark", "light")):
            folder = where / split / name
            folder.mkdir(parents=True)
            for index in range(8):
                pixels = generator.integers(0, 80, (*sizes[index % len(sizes)], 3)) + 160 * number
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")


def evaluated(spec: TrialSpec, resources: Resources, **options):
    """What the trial was evaluated on, and what is known of its data."""
    info = describe_dataset(spec.task, resources, **options)
    crops = TASKS["classification"].data_options([spec], info)
    shared = {"img_size": (16, 16), "seed": 0, "info": info, **crops, **options}
    data = load_data(spec.task, spec.train, resources, torch.device("cpu"), **shared)
    return torch.cat([images for images, _ in data.test]), info


def test_a_picture_goes_through_preprocessing_and_model_to_the_name_of_its_class(tmp_path):
    """A folder of one's own, which is gone when the model is loaded; the input is that of the evaluation."""
    folders(tmp_path / "data" / "pictures", ((20, 24),))
    options = ("--data-dir", str(tmp_path / "data"), "--set", "baseline.arch.img_size=16", "--set", "seeds=1")
    task = "{name: classification, dataset: {name: folder/pictures, num_classes: 2, test_split: val}}"
    path = run(tmp_path, task, options=(*options, "--set", "baseline.train.epochs=20"))
    loaded = archsweep.load_model(path)
    spec = TrialSpec.model_validate(loaded.metadata["spec"])
    inputs, info = evaluated(spec, Resources(data_dir=str(tmp_path / "data")))
    # The trial knew the fingerprint of its data from the driver.
    assert replace(info, fingerprint=loaded.preprocessing.info.fingerprint) == loaded.preprocessing.info
    own = shutil.copy(tmp_path / "data" / "pictures" / "val" / "light" / "1.png", tmp_path / "picture.png")
    shutil.rmtree(tmp_path / "data")
    prepared = archsweep.load_model(path).preprocessing(own)
    torch.testing.assert_close(prepared, inputs[8 + 1])
    assert loaded.class_names == ("dark", "light")
    assert loaded.class_names[loaded.model(prepared[None]).argmax()] == "light"
    torch.testing.assert_close(loaded.preprocessing(Image.open(own)), prepared)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("storage", ["loader", "memory"])
def test_a_picture_is_prepared_as_in_the_evaluation(tmp_path, storage, interpolation):
    """Pictures of several sizes and a crop of its own, read from the files or held in memory."""
    folders(tmp_path / "pictures", ((20, 24), (31, 20)))
    dataset = {"name": "folder/pictures", "num_classes": 2, "test_split": "val"}
    task = {"dataset": dataset, "crop_pct": 0.9, "interpolation": interpolation}
    spec = TrialSpec.model_validate({"arch": {"patch_size": 4, "img_size": 16}, "task": task})
    limit = {} if storage == "memory" else {"in_memory_bytes": 0}
    inputs, info = evaluated(spec, Resources(data_dir=str(tmp_path)), **limit)
    assert info.storage == storage
    prepare = Preprocessing(info, evaluation_crop_of(spec, info))
    for index in range(8):
        torch.testing.assert_close(prepare(tmp_path / "pictures" / "val" / "light" / f"{index}.png"), inputs[8 + index])


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        # Evaluation by windows of whole scenes takes most of the time.
        pytest.param(SCENES, "metric: miou", marks=pytest.mark.slow),
        pytest.param(f"{{name: self_supervised, {SMALL_HEAD}, {GRAINS}}}", "", marks=pytest.mark.slow),
    ],
)
def test_networks_of_other_tasks_are_loaded_with_what_they_kept(tmp_path, task, metric):
    options = ("--set", "seeds=1", *(("--set", "baseline.arch.patch_size=8") if metric else ()))
    path = run(tmp_path, task, metric, options=options)
    loaded = archsweep.load_model(path)
    kept = load_file(loaded.metadata["path"])
    state = loaded.model.state_dict()
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name], state[name]) for name in kept)
    picture = Image.fromarray(np.zeros((40, 50, 3), np.uint8))
    with torch.inference_mode():
        loaded.model(loaded.preprocessing(picture)[None])


FILMS = {
    "train": 'text,label\na good film,pos\na bad film,neg\n"good, really good",pos\nno good film at all,neg\n',
    "test": "text,label\nGood film,pos\nbad,neg\nan unknown word in a bad film,neg\n",
}


def test_a_text_goes_through_the_tokenizer_of_its_training(tmp_path):
    """The table is gone when the model is loaded; its input and its loss are those of the evaluation."""
    (tmp_path / "films").mkdir()
    for split, content in FILMS.items():
        (tmp_path / "films" / f"{split}.csv").write_text(content)
    task = "{name: text, dataset: {name: text/films, max_length: 12, vocabulary: 64}}"
    sizes = ("model=bert", "depth=1", "embed_dim=16", "num_heads=2", "patch_size=null")
    options = [option for each in sizes for option in ("--set", f"baseline.arch.{each}")]
    options += ["--data-dir", str(tmp_path), "--set", "seeds=1"]
    path = run(tmp_path, task, "metric: accuracy", options=(*options, "--set", "baseline.train.batch_size=2"))
    loaded = archsweep.load_model(path)
    spec = TrialSpec.model_validate(loaded.metadata["spec"])
    resources = Resources(data_dir=str(tmp_path))
    shared = {"img_size": (1, 12), "seed": 0, "info": describe_dataset(spec.task, resources)}
    data = load_data(spec.task, spec.train, resources, torch.device("cpu"), **shared)
    shutil.rmtree(tmp_path / "films")

    loaded = archsweep.load_model(path)
    texts = [row.rpartition(",")[0] for row in FILMS["test"].splitlines()[1:]]
    prepare = loaded.preprocessing
    batches = [inputs for inputs, _ in data.test]
    torch.testing.assert_close(prepare.batch(texts[:2]), batches[0])
    torch.testing.assert_close(prepare(texts[2])[None], batches[1])
    assert loaded.class_names == ("neg", "pos")
    labels = [loaded.class_names.index(row.rpartition(",")[2]) for row in FILMS["test"].splitlines()[1:]]
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(loaded.model(prepare.batch(texts)), torch.tensor(labels))
    assert loss.item() == pytest.approx(record_of(path, "baseline", 0).metrics["loss"], abs=1e-5)
    for wrong in ((), ("one", "two"), (b"bytes",)):
        with pytest.raises(SpecError, match="'text/films' has a text in a row, but got"):
            prepare(*wrong)


def test_what_is_not_there_is_said(tmp_path):
    path = run(tmp_path, f"{{name: classification, {GRAINS}}}")
    for args, message in (
        ((tmp_path,), "is no directory of a run"),
        ((path, "attention=refiner"), "has no completed trial of 'attention=refiner'"),
        ((path, "baseline", 7), "with seed 7"),
    ):
        with pytest.raises(SpecError, match=message):
            archsweep.load_model(*args)
    loaded = archsweep.load_model(path)
    with pytest.raises(SpecError, match="cannot be read as a picture"):
        loaded.preprocessing(tmp_path / "sweep.yaml")
    weights = Path(loaded.metadata["path"])

    # As an earlier version kept them.
    metadata = {"spec": json.dumps(loaded.metadata["spec"]), "trial_id": loaded.metadata["trial_id"]}
    save_file(load_file(weights), weights, metadata=metadata)
    with pytest.warns(UserWarning, match="lacks input size, normalisation and class names"):
        old = archsweep.load_model(path)
    assert all(torch.equal(old.model.state_dict()[name], each) for name, each in loaded.model.state_dict().items())

    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(SpecError, match="is not a complete safetensors file"):
        archsweep.load_model(path)
    weights.unlink()
    with pytest.raises(SpecError, match="kept no weights"):
        archsweep.load_model(path)


def test_a_mechanism_of_a_plug_in_that_is_not_loaded_is_named(tmp_path):
    """Not "another version": what is missing is a file of the user's."""
    metadata = {"spec": '{"arch": {"attention": {"name": "gated_of_my_lab"}}}'}
    with pytest.raises(SpecError, match="its attention 'gated_of_my_lab' is not one of archsweep's") as caught:
        _spec_of(tmp_path / "trials" / "id" / "weights.safetensors", metadata)
    assert "archsweep.load_plugin(FILE)" in str(caught.value)
    assert str(tmp_path / "plugins") in str(caught.value)
