"""BatchNorms of a stack are recalibrated as those of each member would be."""

from __future__ import annotations

import torch

from modelzoo import attention_batchnorms, build_model
from modelzoo.stacked import Stacked
from runners.training.bn_recalibration import recalibrate
from search_space.schema.trial import ArchSpec

ARCH = ArchSpec.model_validate({"depth": 1, "embed_dim": 12, "num_heads": 2, "patch_size": 4, "attention": "refiner"})


def test_every_member_has_the_statistics_of_its_own_batches():
    models = [build_model(ARCH, img_size=8, in_chans=1, num_classes=3, seed=seed) for seed in (0, 1)]
    stack = Stacked(models, generators=[torch.Generator() for _ in models])
    batches = torch.randn(3, 2, 16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    modes = {layer: layer.training for layer in stack.modules()}
    recalibrate(stack, stack.batchnorms, [(images, None) for images in batches], num_batches=3)
    assert {layer: layer.training for layer in stack.modules()} == modes
    for member, model in enumerate(models):
        own = [(images[member], None) for images in batches]
        recalibrate(model, attention_batchnorms(model), own, num_batches=3)
        torch.testing.assert_close(stack.member_state(member), model.state_dict(), rtol=1e-5, atol=1e-7)
