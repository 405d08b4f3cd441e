"""Complete models of the zoo, registered with timm: one folder per paper, with the same file names in each.

Importing this package registers them for `timm.create_model`.
"""

from __future__ import annotations

from modelzoo.models.deepvit import registry as deepvit
from modelzoo.models.focal import registry as focal_transformer
from modelzoo.models.groupmixformer import registry as groupmixformer
from modelzoo.models.lg_transformer import registry as lg_transformer
from modelzoo.models.refined_vit import registry as refined_vit
from modelzoo.models.regionvit import registry as regionvit

__all__ = ["deepvit", "focal_transformer", "groupmixformer", "lg_transformer", "refined_vit", "regionvit"]
