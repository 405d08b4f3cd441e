"""Stacked blocks: timm's `Block` and `Mlp`, the block that hands on maps, and sequences of blocks.

Shapes:  K members, B images, N tokens, D dim, M maps of a member.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from modelzoo.hosts.map_carrying import MapCarryingBlock
from modelzoo.stacked.layer import Building, StackedLayer
from modelzoo.stacked.mechanisms.attention import StackedMechanism

__all__ = ["StackedBlock", "StackedMapCarryingBlock", "StackedMlp", "StackedSequence"]


class StackedMlp(StackedLayer):
    """timm's `Mlp`."""

    fc1: StackedLayer
    act: StackedLayer
    drop1: StackedLayer
    norm: StackedLayer
    fc2: StackedLayer
    drop2: StackedLayer

    @staticmethod
    def reason(layer: nn.Module) -> str | None:
        return None if isinstance(layer.fc1, nn.Linear) else "has an MLP of convolutions"

    def forward(self, x_KBND: Tensor) -> Tensor:
        x_KBND = self.drop1(self.act(self.fc1(x_KBND)))
        return self.drop2(self.fc2(self.norm(x_KBND)))


class StackedBlock(StackedLayer):
    """timm's `Block`."""

    norm1: StackedLayer
    attn: StackedLayer
    ls1: StackedLayer
    drop_path1: StackedLayer
    norm2: StackedLayer
    mlp: StackedLayer
    ls2: StackedLayer
    drop_path2: StackedLayer

    def forward(self, x_KBND: Tensor) -> Tensor:
        x_KBND = x_KBND + self.drop_path1(self.ls1(self.attn(self.norm1(x_KBND))))
        return x_KBND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_KBND))))


class StackedMapCarryingBlock(StackedBlock):
    """`MapCarryingBlock`, with the map that it takes and hands on as argument and result."""

    def __init__(self, members: Sequence[nn.Module], building: Building) -> None:
        super().__init__(members, building)
        first = members[0]
        assert isinstance(first, MapCarryingBlock)
        self._takes_map, self._hands_on = first.takes_map, first.hands_on

    def attend(self, x_KBND: Tensor, incoming: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens, and the map (B, K * M, N, N) for the next block if that needs one."""
        assert isinstance(self.attn, StackedMechanism)
        out_KBND, handed_on = self.attn.attend(self.norm1(x_KBND), incoming if self._takes_map else None)
        x_KBND = x_KBND + self.drop_path1(self.ls1(out_KBND))
        x_KBND = x_KBND + self.drop_path2(self.ls2(self.mlp(self.norm2(x_KBND))))
        return x_KBND, handed_on if self._hands_on else None


class StackedSequence(StackedLayer):
    """`nn.Sequential` of blocks, and `nn.ModuleList`, whose owner runs its parts."""

    def forward(self, x_KBND: Tensor) -> Tensor:
        handed_on = None
        for block in self.children():
            if isinstance(block, StackedMapCarryingBlock):
                x_KBND, handed_on = block.attend(x_KBND, handed_on)
            else:
                x_KBND, handed_on = block(x_KBND), None
        return x_KBND
