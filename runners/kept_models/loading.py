"""The model of a finished trial from the weights that it kept: with its preprocessing and the names of its classes.

Neither the sweep nor the data is needed: kept weights carry the spec of their trial and what their use needs of the
data.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from modelzoo import at_size, resolve_img_size
from results.store.ledger import read_summaries
from results.store.record_summary import latest_by_trial
from results.store.run_layout import RunDir
from runners.data import DataInfo, describe_dataset
from runners.data.evaluation_crop import EvaluationCrop
from runners.data.first_weights import kept_weights
from runners.data.random_streams import of_source, seed_of
from runners.kept_models.preprocessing import Preprocessing
from runners.kept_models.text_preprocessing import TextPreprocessing, text_preprocessing
from runners.tasks import TASKS
from runners.tasks.classification import evaluation_crop_of
from runners.training.checkpoint import DATA_KEY
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.schema.attention import ATTENTION_SPECS
from search_space.schema.pretrained import WeightsSource
from search_space.schema.resources import Resources
from search_space.schema.trial import TrialSpec

__all__ = ["LoadedModel", "load_model"]


@dataclass(frozen=True)
class LoadedModel:
    """A model as its trial was evaluated, but for rounding.

    Attributes:
        model: in evaluation mode, on the device that was asked for.
        preprocessing: from a picture to the model's input, or from a text; None of a model of drawn sentences, and of
            text where an earlier archsweep kept the weights, without their vocabulary.
        class_names: in the order of the model's outputs; empty where they are not known.
        metadata: of the weights: `trial_id`, `variant`, `seed`, `epoch`, `chosen_by`, `path`, and `spec`, the setting.
    """

    model: nn.Module
    preprocessing: Preprocessing | TextPreprocessing | None
    class_names: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def load_model(
    run: str | os.PathLike[str],
    variant: str = "baseline",
    seed: int | None = None,
    *,
    device: str | torch.device = "cpu",
    data_dir: str | os.PathLike[str] | None = None,
) -> LoadedModel:
    """The model of a completed trial of a run whose sweep has `checkpoints: {keep: last}` (or `best`).

        loaded = archsweep.load_model("runs/flowers", "attention=reattention", seed=0)
        logits = loaded.model(loaded.preprocessing("rose.jpg")[None])
        print(loaded.class_names[logits.argmax()])

    Args:
        variant: its name in the table, or its id.
        seed: default: the first of the variant's completed seeds.
        data_dir: folder of the dataset, only for weights that were kept before they carried what they need of it.

    Raises:
        SpecError: the run has no such trial, it kept no weights, or they cannot be read.
    """
    run_dir = RunDir.of(run)
    if not run_dir.ledger.is_file():
        raise SpecError(Problem("is no directory of a run: it has no ledger.jsonl", where=str(run_dir.path)))
    if seed is None:
        seed = _first_seed(run_dir, variant)
    try:
        path = kept_weights(WeightsSource("run", str(run_dir.path), variant, seed), run_dir, seed)
    except SpecError as err:  # the caller has no `arch.weights`
        raise SpecError(Problem(each.message, hint=each.hint) for each in err.problems) from err
    state, metadata = _read(path)
    spec = _spec_of(path, metadata)
    info = _info_of(path, metadata, spec, data_dir)
    kind = TASKS[spec.task.name]
    network = kind.build(spec, info, seed=of_source(seed_of(spec), "init"))
    # What self-supervision keeps is its backbone alone.
    model = network if network.state_dict().keys() == state.keys() else kind.pretrained_part(network)
    try:
        model.load_state_dict(state)
    except RuntimeError as err:
        text = f"the weights do not fit the model that this archsweep builds from their spec: {reason_of(err)}"
        raise SpecError(Problem(text, where=str(path), hint="load them with the version that kept them")) from err
    crop = _crop_of(spec, info)
    if spec.task.name == "classification" and crop is not None:
        own = resolve_img_size(spec.arch, info.img_size)
        model = model if crop.img_size == own else at_size(model, crop.img_size)
    return LoadedModel(
        model=model.to(device).eval(),
        preprocessing=text_preprocessing(spec.task, info) if spec.task.name == "text" else Preprocessing(info, crop),
        class_names=info.class_names,
        metadata={
            **{name: metadata.get(name) for name in ("trial_id", "epoch", "chosen_by")},
            "variant": variant,
            "seed": spec.seed,
            "path": str(path),
            "spec": spec.model_dump(mode="json"),
        },
    )


def _first_seed(run_dir: RunDir, variant: str) -> int:
    """The first completed seed of the variant; 0 where it has none, which is then said."""
    found = latest_by_trial(each for each in read_summaries(run_dir.ledger)[0] if not each.role).values()
    seeds = [each.seed for each in found if each.status == "completed" and variant in (each.variant, each.variant_id)]
    return min(seeds, default=0)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as err:
        text = f"is not a complete safetensors file: {reason_of(err)}"
        raise SpecError(Problem(text, where=str(path), hint="train the trial again with --no-cache")) from err


def _unknown_attention(metadata: Mapping[str, str]) -> str | None:
    """The mechanism of the spec, if none of this name is known."""
    try:
        name = json.loads(metadata["spec"])["arch"]["attention"]["name"]
    except (KeyError, TypeError, ValueError):
        return None
    return name if isinstance(name, str) and name not in ATTENTION_SPECS else None


def _spec_of(path: Path, metadata: Mapping[str, str]) -> TrialSpec:
    try:
        return TrialSpec.model_validate_json(metadata["spec"])
    except (KeyError, ValidationError) as err:
        if (name := _unknown_attention(metadata)) is not None:
            text = f"its attention {name!r} is not one of archsweep's: it is that of a plug-in, which is not loaded"
            kept = path.parent.parent.parent / "plugins"
            hint = f"archsweep.load_plugin(FILE) first; what the run was trained with is kept in {kept}"
            raise SpecError(Problem(text, where=str(path), hint=hint)) from err
        text = "carries no spec of a trial that this archsweep knows"
        raise SpecError(Problem(text, where=str(path), hint="load it with the version that kept it")) from err


def _info_of(
    path: Path, metadata: Mapping[str, str], spec: TrialSpec, data_dir: str | os.PathLike[str] | None
) -> DataInfo:
    """Sizes, statistics and class names of the data: those that the weights carry, else those of the data itself."""
    if DATA_KEY in metadata:
        try:
            content = json.loads(metadata[DATA_KEY])
            known = {each.name for each in fields(DataInfo)}
            return DataInfo(**{name: _tuples(value) for name, value in content.items() if name in known})
        except (ValueError, TypeError, AttributeError) as err:
            raise SpecError(Problem("what it says of its data is damaged", where=str(path))) from err
    lacks = "lacks input size, normalisation and class names, because an earlier archsweep kept it"
    try:
        info = describe_dataset(spec.task, Resources(data_dir=None if data_dir is None else os.fspath(data_dir)))
    except SpecError as err:
        hint = f"data_dir: the folder of {spec.task.dataset.name}, from which they are then read"
        raise SpecError([Problem(lacks, where=str(path), hint=hint), *err.problems]) from err
    warnings.warn(f"{path} {lacks}; they were read from the data of now", stacklevel=3)
    return info


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _crop_of(spec: TrialSpec, info: DataInfo) -> EvaluationCrop | None:
    if spec.task.name == "classification":
        return evaluation_crop_of(spec, info)
    if spec.task.name in ("detection", "text"):
        return None
    # Of segmentation the whole picture, scaled to the network's input; of self-supervision as it is measured.
    return EvaluationCrop(resolve_img_size(spec.arch, info.img_size), mode="squash")
