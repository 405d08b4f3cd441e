"""First weights of a network from files: what fits, what is left out, what is refused."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from modelzoo import build_model
from modelzoo.dense.backbone import build_backbone
from modelzoo.official.pretrained import initialise_from
from modelzoo.text import build_text_encoder
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

TINY = {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 4}


def vit(seed=0, num_classes=3, img_size=16, **arch):
    return build_model(
        ArchSpec.model_validate({**TINY, **arch}), img_size=img_size, in_chans=3, num_classes=num_classes, seed=seed
    )


def saved(state, path):
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    return path


def test_equal_models_get_every_tensor(tmp_path):
    path, model = saved(vit(1).state_dict(), tmp_path / "w.safetensors"), vit(2)
    assert initialise_from(model, path) == []
    assert all(torch.equal(tensor, vit(1).state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_classifier_of_other_classes_stays_fresh_and_is_named(tmp_path):
    path, model = saved(vit(1).state_dict(), tmp_path / "w.safetensors"), vit(2, num_classes=5)
    (note,) = initialise_from(model, path)
    assert note == "weights initialised afresh: head.weight, head.bias"
    assert torch.equal(model.head.weight, vit(2, num_classes=5).head.weight)
    assert torch.equal(model.blocks[1].mlp.fc1.weight, vit(1).blocks[1].mlp.fc1.weight)


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "_orig_mod.", "module.backbone."])
@pytest.mark.parametrize("wrapping", ["state_dict", "model", "teacher"])
def test_wrappings_and_prefixes_are_recognised(tmp_path, prefix, wrapping):
    """As DINO's full checkpoints, torch.compile and DistributedDataParallel leave them."""
    state = {prefix + name: tensor for name, tensor in vit(1, num_classes=0).state_dict().items()}
    state[prefix.replace("backbone.", "") + "projector.mlp.0.weight"] = torch.zeros(2, 2)
    torch.save({wrapping: state, "epoch": 3}, tmp_path / "w.pt")
    model = vit(2, num_classes=0)
    (note,) = initialise_from(model, tmp_path / "w.pt")
    assert note.startswith("weights of the file without a place: ")
    assert note.endswith("projector.mlp.0.weight")
    assert torch.equal(model.pos_embed, vit(1, num_classes=0).pos_embed)


def test_positions_of_another_size_are_resized_as_timm_does(tmp_path):
    path, model = saved(vit(1).state_dict(), tmp_path / "w.safetensors"), vit(2, img_size=32)
    initialise_from(model, path)
    want = timm.layers.resample_abs_pos_embed(vit(1).pos_embed, new_size=[8, 8], old_size=[4, 4], num_prefix_tokens=1)
    torch.testing.assert_close(model.pos_embed, want, rtol=0, atol=0)


def test_a_backbone_of_dense_tasks_takes_what_it_has(tmp_path):
    path = saved(vit(1).state_dict(), tmp_path / "w.safetensors")
    backbone = build_backbone(ArchSpec.model_validate(TINY), img_size=16, in_chans=3, seed=2)
    (note,) = initialise_from(backbone.model, path)
    assert note == "weights of the file without a place: head.bias, head.weight, norm.bias, norm.weight"
    assert torch.equal(backbone.model.blocks[0].attn.qkv.weight, vit(1).blocks[0].attn.qkv.weight)


def test_a_mechanism_takes_the_weights_of_its_host_and_its_own_stay_fresh(tmp_path):
    path = saved(vit(1).state_dict(), tmp_path / "w.safetensors")
    other = {"attention": {"name": "reattention"}}
    model = vit(2, **other)
    (note,) = initialise_from(model, path)
    assert note.startswith("weights of the mechanism initialised afresh: blocks.0.attn.reatten_matrix.weight, ")
    state, host, fresh = model.state_dict(), vit(1).state_dict(), vit(2, **other).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in host.items())
    assert all(torch.equal(state[name], fresh[name]) for name in state.keys() - host.keys())
    assert state.keys() > host.keys()


def test_a_host_of_windows_takes_the_weights_of_timms_own(tmp_path):
    name = "swin_tiny_patch4_window7_224"
    own = timm.create_model(name, num_classes=3)
    path = saved(own.state_dict(), tmp_path / "w.safetensors")
    arch = ArchSpec.model_validate({"model": name, "attention": {"name": "reattention"}})
    model = build_model(arch, img_size=224, in_chans=3, num_classes=3, seed=0)
    notes = initialise_from(model, path)
    assert [note.partition(":")[0] for note in notes] == ["weights of the mechanism initialised afresh"]
    assert torch.equal(model.layers[2].blocks[3].attn.qkv.weight, own.layers[2].blocks[3].attn.qkv.weight)


def test_weights_of_another_depth_or_width_are_refused(tmp_path):
    path = saved(vit(1).state_dict(), tmp_path / "w.safetensors")
    for other in ({"depth": 3}, {"embed_dim": 32}):
        model = vit(2, **other)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(SpecError, match=r"has no|of shape") as raised:
            initialise_from(model, path)
        assert all(problem.path == "arch.weights" for problem in raised.value.problems)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_weights_of_another_architecture_are_refused_with_the_names_of_both(tmp_path):
    path = saved(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(SpecError) as raised:
        initialise_from(vit(2), path)
    (problem,) = raised.value.problems
    assert problem.message.startswith(f"{path} has none of the {len(vit().state_dict())} tensors of the model: it has ")
    assert problem.hint.startswith("the model has cls_token, pos_embed, patch_embed.proj.weight")


def test_the_closest_name_is_said(tmp_path):
    state = vit(1).state_dict()
    state["norm.wait"] = state.pop("norm.weight")
    with pytest.raises(SpecError, match=r"has no norm\.weight") as raised:
        initialise_from(vit(2), saved(state, tmp_path / "w.safetensors"))
    assert raised.value.problems[0].hint.startswith("Its closest is norm.wait.")


def test_patches_and_channels_of_another_size_are_resampled_as_timm_does(tmp_path):
    """timm's own loading of the same state is the reference."""
    path = saved(vit(1, img_size=32, patch_size=8).state_dict(), tmp_path / "w.safetensors")
    model = vit(2, patch_size=4)
    notes = initialise_from(model, path)
    assert notes == ["weights resized: patch_embed.proj.weight"]
    want = timm.layers.resample_patch_embed(vit(1, img_size=32, patch_size=8).patch_embed.proj.weight, [4, 4])
    torch.testing.assert_close(model.patch_embed.proj.weight, want, rtol=0, atol=0)
    tiny = ArchSpec.model_validate(TINY)
    grey = build_model(tiny, img_size=16, in_chans=1, num_classes=3, seed=2)
    notes = initialise_from(grey, saved(vit(1).state_dict(), tmp_path / "rgb.safetensors"))
    assert notes == ["weights resized: patch_embed.proj.weight"]
    want = vit(1).patch_embed.proj.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(grey.patch_embed.proj.weight, want, rtol=0, atol=0)


def test_weights_of_a_diverged_training_are_refused(tmp_path):
    state = {**vit(1).state_dict(), "norm.bias": torch.full((16,), torch.nan)}
    with pytest.raises(SpecError, match=r"not finite in norm\.bias"):
        initialise_from(vit(2), saved(state, tmp_path / "w.safetensors"))


def test_bert_as_released(tmp_path):
    """Names of before 2019 (gamma, beta), a head for pre-training, more positions than the task has."""
    arch = ArchSpec.model_validate({"model": "bert", "depth": 1, "embed_dim": 16, "num_heads": 2})
    sizes = {"vocabulary": 30, "num_outputs": 2}
    long = build_text_encoder(arch, max_length=40, seed=1, **sizes).get_submodule("bert")
    state = {f"bert.{name}": tensor for name, tensor in long.state_dict().items()}
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in state.items()
    }
    state["cls.predictions.bias"] = torch.zeros(30)
    model = build_text_encoder(arch, max_length=12, seed=2, **sizes).get_submodule("bert")
    assert initialise_from(model, saved(state, tmp_path / "model.safetensors")) == [
        "weights resized: embeddings.position_embeddings.weight",
        "weights of the file without a place: cls.predictions.bias",
    ]
    assert torch.equal(model.embeddings.position_embeddings.weight, long.embeddings.position_embeddings.weight[:12])
    assert torch.equal(model.embeddings.LayerNorm.weight, long.embeddings.LayerNorm.weight)
