"""Conversion of released checkpoints to weights of a named model: every documented wrapping, and error messages."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from modelzoo.official.checkpoint_file import read_checkpoint
from modelzoo.official.checkpoints import convert_checkpoint, zoo_models
from search_space.parsing.errors import SpecError

SMALLEST = "groupmixformer_mobile_224"


class Code:
    """Class that a checkpoint must not contain."""


def weights(**changes) -> dict[str, torch.Tensor]:
    return {"a.weight": torch.ones(2), "b": torch.zeros(3), **changes}


def saved(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def refusal(function, *args, **kwargs) -> str:
    with pytest.raises(SpecError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_timms_wrapping_with_arguments_and_prefix(tmp_path):
    """Format of DeepViT's and Refined-ViT's training scripts."""
    content = {
        "state_dict": {f"module.{key}": value for key, value in weights().items()},
        "state_dict_ema": weights(b=torch.ones(3)),
        "arch": "deepvit_S",
        "epoch": 299,
        "args": argparse.Namespace(lr=5e-4),
        "optimizer": {"state": {}},
        "version": 2,
        "metric": 82.3,
    }
    path = saved(tmp_path / "model.pth.tar", content)
    assert read_checkpoint(path, ema=False).keys() == weights().keys()
    assert read_checkpoint(path, ema=False)["b"].sum() == 0
    # The averaged weights are the published ones, so they are the default.
    assert read_checkpoint(path)["b"].sum() == 3
    assert read_checkpoint(path, ema=True)["b"].sum() == 3


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"model": w}, lambda w: {"state_dict": w, "epoch": 3}])
def test_other_wrappings(tmp_path, wrap):
    assert read_checkpoint(saved(tmp_path / "model.pth", wrap(weights()))).keys() == weights().keys()


def test_safetensors_are_read(tmp_path):
    save_file(weights(), tmp_path / "model.safetensors")
    assert read_checkpoint(tmp_path / "model.safetensors").keys() == weights().keys()


def test_averaged_weights_must_be_there(tmp_path):
    path = saved(tmp_path / "model.pth", {"state_dict": weights()})
    assert refusal(read_checkpoint, path, ema=True) == (
        f"{path}: contains no averaged weights, only state_dict\n  use --no-ema for these"
    )
    path = saved(tmp_path / "bare.pth", weights())
    assert refusal(read_checkpoint, path, ema=True) == (
        f"{path}: contains no averaged weights\n  without --ema, plain weights are used"
    )


def test_code_in_a_file_is_refused(tmp_path):
    path = saved(tmp_path / "model.pth", {"state_dict": weights(), "config": Code()})
    assert refusal(read_checkpoint, path) == (
        f"{path}: contains objects other than tensors and plain values: {Code.__module__}.Code\n"
        "  reading them would execute code. If you trust the file, save only its weights and import those"
    )


@pytest.mark.parametrize("content", [b"no checkpoint at all"])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    assert refusal(read_checkpoint, path) == f"{path}: is not a checkpoint that torch can read with weights_only=True"


def test_other_content_is_refused(tmp_path):
    path = saved(tmp_path / "list.pth", [1, 2])
    assert refusal(read_checkpoint, path) == f"{path}: is not a checkpoint, but a list"
    path = saved(tmp_path / "text.pth", {"weights": "here", "b": torch.ones(1)})
    assert refusal(read_checkpoint, path) == (
        f"{path}: contains more than weights: 'weights'\n"
        "  known wrappings: model, model_ema, model_state_dict, state_dict, state_dict_ema, student, teacher, or the\n"
        "    weights themselves"
    )
    assert refusal(read_checkpoint, tmp_path / "none.pth") == f"{tmp_path / 'none.pth'}: no such file"


def test_position_embedding_is_resized_to_the_models_images():
    """A constant embedding remains constant, and that of the class token is unchanged."""
    with torch.device("meta"):
        shapes = timm.create_model("deepvit_large_patch16_384").state_dict()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}
    assert state["pos_embed"].shape == (1, 1 + 24 * 24, 420)
    state["pos_embed"][:, 0], state["pos_embed"][:, 1:] = 7.0, 3.0
    got = convert_checkpoint(state, "deepvit_large_patch16_224").tensors["pos_embed"]
    assert got.shape == (1, 1 + 14 * 14, 420)
    torch.testing.assert_close(got[0, :, 0], torch.tensor([7.0] + [3.0] * 196))
    same = convert_checkpoint(state, "deepvit_large_patch16_224", img_size=384).tensors["pos_embed"]
    torch.testing.assert_close(same, state["pos_embed"], rtol=0, atol=0)


def test_shared_projections_of_regionvit_and_tables_of_focal_are_reduced():
    with torch.device("meta"):
        model = timm.create_model("regionvit_tiny_224")
    state = {key: torch.zeros(value.shape) for key, value in model.state_dict().items()}
    doubled = {key.replace(".proj.", ".proj_cls."): value for key, value in state.items() if ".block.0.proj." in key}
    assert doubled
    assert convert_checkpoint({**state, **doubled}, "regionvit_tiny_224").tensors.keys() == state.keys()
    with torch.device("meta"):
        model = timm.create_model("focal_tiny_patch4_window7_224")
    state = {key: torch.zeros(value.shape) for key, value in model.state_dict().items()}
    tables = {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49)}
    assert convert_checkpoint({**state, **tables}, "focal_tiny_patch4_window7_224").tensors.keys() == state.keys()


def test_weights_of_another_model_are_refused_by_name():
    message = refusal(convert_checkpoint, weights(), SMALLEST)
    assert "groupmixformer_mobile_224: key 'conv_stem.proj1.weight' is missing from the state" in message
    # 1149 keys are missing and 2 unexpected; 12 are named.
    assert message.endswith("and 1139 more problems\n  are these the weights of another model?")


def test_a_single_wrong_key_is_named():
    with torch.device("meta"):
        state = dict(timm.create_model(SMALLEST).state_dict())
    state = {key: torch.zeros(value.shape) for key, value in state.items()}
    state["head.wait"] = state.pop("head.weight")
    assert refusal(convert_checkpoint, state, SMALLEST) == (
        "groupmixformer_mobile_224: key 'head.weight' is missing from the state\n"
        "groupmixformer_mobile_224: unexpected key 'head.wait' in the state\n  Did you mean 'head.weight'?"
    )


@pytest.mark.parametrize("name", ["deepvit_small_patch16_224", "swin_tiny_patch4_window7_224"])
def test_unknown_model_is_refused_with_the_nearest_name(name):
    misspelt = name.replace("patch", "pach")
    message = refusal(convert_checkpoint, weights(), misspelt)
    assert message.startswith(f"arch.model: unknown model {misspelt!r}\n")
    assert f"Did you mean {name!r}" in message


def test_the_zoo_has_six_families():
    families = ("deepvit_", "focal", "groupmixformer_", "lg_transformer_", "refined_vit_", "regionvit_")
    assert all(name.startswith(families) for name in zoo_models())
    assert all(any(name.startswith(family) for name in zoo_models()) for family in families)


def command(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runners.cli", "import-checkpoint", *map(str, args)], capture_output=True, text=True
    )


@pytest.mark.slow
def test_command_writes_weights_that_timm_loads(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(SMALLEST, num_classes=10).eval()
    released = saved(tmp_path / "groupmixformer_miny.pth", {"model": model.state_dict(), "epoch": 298})
    output = tmp_path / "mobile.safetensors"
    done = command(released, "--model", SMALLEST, "-o", output, "--num-classes", 10)
    assert done.stderr == ""
    assert done.stdout == (
        f"wrote {output}: 1149 tensors; next: "
        f"timm.create_model('{SMALLEST}', checkpoint_path='{output}', num_classes=10)\n"
    )
    with safe_open(output, "pt") as file:
        assert file.metadata()["architecture"] == SMALLEST
    loaded = timm.create_model(SMALLEST, num_classes=10, checkpoint_path=str(output)).eval()
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(loaded(image), model(image), rtol=0, atol=0)
    again = command(released, "--model", SMALLEST, "-o", output)
    assert again.returncode == 2
    assert again.stderr == (f"archsweep: 1 problem\n\n{output}: exists already\n  choose another name, or --force\n")


def test_command_says_why_it_cannot_write(tmp_path):
    model = timm.create_model("test_vit", num_classes=3)
    file, output = saved(tmp_path / "in.pth", model.state_dict()), tmp_path / "nowhere" / "out.safetensors"
    done = command(file, "--model", "test_vit", "-o", output, "--num-classes", 3)
    assert (done.returncode, done.stderr) == (
        2,
        f"archsweep: 1 problem\n\n{output}: cannot write: No such file or directory\n  check the path and the disk\n",
    )


def test_command_requires_a_safetensors_name(tmp_path):
    done = command(tmp_path / "in.pth", "--model", SMALLEST, "-o", tmp_path / "out.pth")
    assert done.returncode == 2
    assert done.stderr.endswith(f"{tmp_path / 'out.pth'}: the output is a safetensors file\n  end it in .safetensors\n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", b"", "is empty"),
        ("a.pth", b"<!DOCTYPE html><html>sign in</html>", "is a web page, not a checkpoint"),
        ("a.safetensors", b"\n <html>", "is a web page, not a checkpoint"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
        ("model.safetensors.index.json", b'{"weight_map": {}}', "lists the parts of a checkpoint"),
        ("index.json", b'{"metadata": {}, "weight_map": {"a": "b"}}', "lists the parts of a checkpoint"),
        ("a.safetensors", b"PK\x03\x04 and so on", "its beginning is that of PyTorch's own format"),
    ],
)
def test_other_files_under_a_checkpoints_name_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert message in refusal(read_checkpoint, tmp_path / name)


def test_folders_and_pipes_are_refused_unread(tmp_path):
    """A pipe would be waited for forever."""
    os.mkfifo(tmp_path / "pipe.pth")
    assert refusal(read_checkpoint, tmp_path).endswith("is a folder, and weights are one file\n  name the file in it")
    assert "is no file, but a pipe" in refusal(read_checkpoint, tmp_path / "pipe.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_was_cut_off_is_named_with_its_size(tmp_path, suffix):
    path = tmp_path / f"whole{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(weights(c=torch.ones(500)), path)
    path.write_bytes(path.read_bytes()[:1500])
    assert "(1500 bytes)" in refusal(read_checkpoint, path)
    assert "it may be cut off: copy or download it again" in refusal(read_checkpoint, path)


def test_safetensors_under_another_name_are_read(tmp_path):
    save_file(weights(), tmp_path / "weights.bin")
    assert read_checkpoint(tmp_path / "weights.bin").keys() == weights().keys()


def test_wrappings_within_wrappings(tmp_path):
    """As of a training that saves {'model': ..., 'teacher': {'model': ...}}."""
    content = {"epoch": 3, "teacher": {"model": weights(b=torch.ones(3))}, "student": {"model": weights()}}
    path = saved(tmp_path / "a.pth", content)
    assert read_checkpoint(path)["b"].sum() == 3
    assert read_checkpoint(path, ema=False)["b"].sum() == 0


def released(name: str, **options) -> dict[str, torch.Tensor]:
    """Weights of a model in our layout, each tensor with a number of its own."""
    with torch.device("meta"):
        own = timm.create_model(name, **options).state_dict()
    return {
        key: torch.full(value.shape, float(number % 97)).to(value.dtype)
        for number, (key, value) in enumerate(own.items())
    }


def as_released_by_deepvit(own):
    return {f"module.{key}": value for key, value in own.items()}


def as_released_by_regionvit(own):
    """Shared projections are in the file twice."""
    doubled = {key.replace(".proj.", ".proj_cls."): value for key, value in own.items() if ".block.0.proj." in key}
    assert doubled
    return {**own, **doubled}


def as_released_by_focal(own):
    """Index buffers beside the tables that they index."""
    tables = [key for key in own if key.endswith("attn.relative_position_bias_table")]
    return own | {f"{key.removesuffix('_bias_table')}_index": torch.zeros(49, 49) for key in tables}


def as_released_by_focal_v2(own):
    """Distances from every query of a 7 x 7 window, of which we keep those from its centre."""
    steps = torch.arange(7.0) - 3
    queries = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).reshape(49, 1, 2)
    moved = {}
    for key, value in own.items():
        if ".nearest_to_centre_" in key:
            key, value = key.replace(".nearest_to_centre_", ".topk_cloest_coords_"), value[:, None] + queries
        moved[key.replace(".nearest_index_", ".topk_cloest_indice_")] = value
    assert moved.keys() != own.keys()
    return moved


def as_released_by_esvit(own):
    """Swin's first code downsamples at the end of a stage, timm at the beginning of the next; a head per loss."""
    moved = {}
    for key, value in own.items():
        stage = key.split(".")[1] if ".downsample." in key else None
        moved[key if stage is None else key.replace(f"layers.{stage}.", f"layers.{int(stage) - 1}.")] = value
    heads = {"head.mlp.0.weight": torch.ones(2, 2), "head_dense.last_layer.weight_g": torch.ones(2, 1)}
    buffers = {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.int64)}
    return {**moved, **heads, **buffers}


def as_released_by_dino(own):
    return {f"backbone.{key}": value for key, value in own.items()} | {"head.mlp.0.weight": torch.ones(2, 2)}


@pytest.mark.parametrize(
    ("name", "layout", "options"),
    [
        ("deepvit_small_patch16_224", as_released_by_deepvit, {}),
        ("refined_vit_small_patch16_224", as_released_by_deepvit, {}),
        ("groupmixformer_mobile_224", lambda own: own, {}),
        ("regionvit_tiny_224", as_released_by_regionvit, {}),
        ("focal_tiny_patch4_window7_224", as_released_by_focal, {}),
        ("focalv2_tiny_conv_patch4_window7_224", as_released_by_focal_v2, {}),
        ("lg_transformer_tiny_224", as_released_by_deepvit, {}),
        ("vit_tiny_patch16_224", as_released_by_dino, {"num_classes": 0}),
        ("swin_tiny_patch4_window7_224", as_released_by_esvit, {"num_classes": 0}),
    ],
)
def test_every_family_is_converted_from_its_released_layout(name, layout, options):
    own = released(name, **options)
    got = convert_checkpoint(layout(own), name, **options)
    assert got.tensors.keys() == own.keys()
    assert all(torch.equal(got.tensors[key], own[key]) for key in own)
    assert len(got.left_out) == sum(".mlp." in key or "_dense" in key for key in layout(own) if key.startswith("head"))


def test_averaged_networks_are_preferred_under_prefixes_too():
    """Lightning keeps a student and a teacher in one flat state."""
    own = released(SMALLEST)
    both = {f"student.backbone.{key}": torch.zeros_like(value) for key, value in own.items()}
    both |= {f"teacher.backbone.{key}": value for key, value in own.items()}
    got = convert_checkpoint(both, SMALLEST)
    assert all(torch.equal(got.tensors[key], own[key]) for key in own)
    assert len(got.left_out) == len(own)


def test_weights_that_are_not_finite_are_refused():
    own = released(SMALLEST)
    own["head.bias"][3] = torch.nan
    assert "the file has numbers that are not finite in head.bias" in refusal(convert_checkpoint, own, SMALLEST)


def test_the_number_of_classes_to_write_is_said():
    message = refusal(convert_checkpoint, released(SMALLEST, num_classes=21), SMALLEST)
    assert "the classifier of the file has 21 classes, and the model 1000\n  write --num-classes 21" in message
    message = refusal(convert_checkpoint, released(SMALLEST, num_classes=0), SMALLEST)
    assert "write --num-classes 0" in message
