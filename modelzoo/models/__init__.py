"""Whole architectures of the zoo, registered with timm: one module per paper, its parts beside it under its name.

Importing this package is what makes `timm.create_model` know them.
"""

from __future__ import annotations

from modelzoo.models import deepvit, focal_transformer, groupmixformer, lg_transformer, refined_vit, regionvit

__all__ = ["deepvit", "focal_transformer", "groupmixformer", "lg_transformer", "refined_vit", "regionvit"]
