"""Weights that timm releases: found in the caches of this machine, never fetched by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from runners.data.first_weights import find_weights
from runners.data.first_weights.timm_releases import fetch_release, find_release
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.trial import TrialSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty cache of the Hugging Face hub, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path / "hub"


def released(hub: Path, name: str) -> Path:
    """Weights in the layout that huggingface_hub writes: a blob, and a link to it in the snapshot of the revision."""
    folder = hub / f"models--timm--{name}"
    for part in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (folder / part).mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    save_file(timm.create_model(name.partition(".")[0]).state_dict(), folder / "blobs" / "abc")
    link = folder / "snapshots" / COMMIT / "model.safetensors"
    link.symlink_to("../../blobs/abc")
    return link


def problem_of(function, *args) -> tuple[str, str]:
    with pytest.raises(SpecError) as raised:
        function(*args)
    (problem,) = raised.value.problems
    assert problem.path == "arch.weights"
    return problem.message, problem.hint


def test_a_release_in_the_hubs_cache_is_found(hub):
    path = released(hub, "test_vit.r160_in1k")
    assert find_release("test_vit.r160_in1k") == path
    assert fetch_release("test_vit.r160_in1k") == path
    spec = TrialSpec.model_validate({"arch": {"model": "test_vit", "weights": "timm:r160_in1k"}})
    assert find_weights(spec, Resources()) == path


def test_what_is_not_here_is_said_with_its_address(hub):
    message, hint = problem_of(find_release, "vit_small_patch16_224.dino")
    assert message == (
        "the weights of vit_small_patch16_224.dino are not on this machine; they would come from "
        "https://huggingface.co/timm/vit_small_patch16_224.dino (model.safetensors)"
    )
    assert hint == "--download fetches them (resources.download: true); or get that file yourself, and write its path"


def test_a_download_without_a_network_is_an_error_that_says_what_to_do(hub):
    message, hint = problem_of(fetch_release, "vit_small_patch16_224.dino")
    assert message.startswith(
        "the weights of vit_small_patch16_224.dino cannot be fetched from https://huggingface.co/"
    )
    assert hint == "get that file yourself, and write its path"


def test_an_unknown_tag_has_its_neighbours_named(hub):
    message, hint = problem_of(find_release, "vit_tiny_patch16_224.augreg_in21")
    assert message == "timm releases no weights 'augreg_in21' of 'vit_tiny_patch16_224'"
    assert "augreg_in21k" in hint
    message, hint = problem_of(find_release, "deepvit_small_patch16_224.untrained")
    assert message == "timm releases no weights 'untrained' of 'deepvit_small_patch16_224'"


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        ("vit", "timm:augreg_in21k", "timm releases no weights of 'vit'"),
        ("test_vit", "timm:", "names no weights of timm's"),
        ("test_vit", "timm:../../etc", "names no weights of timm's"),
        ("test_vit", "timm:vit_tiny_patch16_224.augreg_in21k", "are weights of 'vit_tiny_patch16_224'"),
        ("test_vit", "hf-hub:timm/test_vit", "weights are read from this machine only"),
    ],
)
def test_names_that_cannot_be_are_refused_in_the_sweep(model, text, message):
    with pytest.raises(ValueError, match=message):
        TrialSpec.model_validate({"arch": {"model": model, "weights": text}})


def test_a_full_name_of_the_same_model_is_legal():
    TrialSpec.model_validate({"arch": {"model": "test_vit", "weights": "timm:test_vit.r160_in1k"}})
