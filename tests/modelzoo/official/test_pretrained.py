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


def test_weights_of_another_mechanism_or_depth_are_refused(tmp_path):
    path = saved(vit(1).state_dict(), tmp_path / "w.safetensors")
    for other in ({"depth": 3}, {"attention": {"name": "reattention"}}, {"embed_dim": 32}):
        model = vit(2, **other)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(SpecError, match=r"has no|of shape") as raised:
            initialise_from(model, path)
        assert all(problem.path == "arch.weights" for problem in raised.value.problems)
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


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
    (note,) = initialise_from(model, saved(state, tmp_path / "model.safetensors"))
    assert note == "weights of the file without a place: cls.predictions.bias"
    assert torch.equal(model.embeddings.position_embeddings.weight, long.embeddings.position_embeddings.weight[:12])
    assert torch.equal(model.embeddings.LayerNorm.weight, long.embeddings.LayerNorm.weight)
