"""Segments, heads and position windows of Group-Mix attention: their sizes, and readable errors if these do not fit.

Separate from `groupmix.py` because most of the code composes error messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelzoo.attention.contract import Slot
from modelzoo.legal_values import divisors, listed, nearest
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.attention import RELEASED_KERNELS

__all__ = ["Segments", "check_windows", "fitting_kernel_sizes", "spread_windows"]

POSITION_WINDOWS = (3, 5, 7)
_LOCAL_KERNEL_SIZE = 3


@dataclass(frozen=True)
class Segments:
    """Channel segments: an optional one of tokens, one per kernel, and an optional local branch."""

    kernel_sizes: tuple[int, ...]
    identity_segment: bool
    local_branch: bool
    are_counted: bool
    """Whether the number of segments was given, so that `kernel_sizes` follows from it."""

    @classmethod
    def of(
        cls,
        kernel_sizes: tuple[int, ...],
        *,
        num_segments: int | None,
        identity_segment: bool,
        local_branch: bool,
    ) -> Segments:
        kernels = tuple(kernel_sizes)
        if num_segments is not None:
            num_groups = num_segments - identity_segment - local_branch
            if num_groups < 0 or (num_groups and not kernels):
                raise SpecError(
                    Problem(
                        f"num_segments={num_segments} leaves {num_groups} group segments "
                        f"beside {_others(identity_segment, local_branch)}, with {len(kernels)} kernel_sizes",
                        path="arch.attention.num_segments",
                        hint="increase num_segments, or remove it: the number then follows from kernel_sizes",
                    )
                )
            kernels = tuple(kernels[index % len(kernels)] for index in range(num_groups))
        segments = cls(kernels, identity_segment, local_branch, num_segments is not None)
        if segments.attending == 0:
            raise SpecError(
                Problem(
                    "Group-Mix attention without identity_segment and kernel_sizes has no segment that attends",
                    path="arch.attention.kernel_sizes",
                    hint="give kernel_sizes, or write identity_segment: true",
                )
            )
        return segments

    @property
    def total(self) -> int:
        return self.attending + self.local_branch

    @property
    def attending(self) -> int:
        return len(self.kernel_sizes) + self.identity_segment

    def fit(self, dim: int, num_heads: int) -> bool:
        """Whether `dim` channels can be split into these segments and the attending ones into heads."""
        return dim % self.total == 0 and (self.attending * (dim // self.total)) % num_heads == 0

    def check(self, slot: Slot, *, local_kernel_size: int, aggregator: str) -> None:
        """Raise SpecError unless the segments and heads fit the width and every option has an effect."""
        if not self.local_branch and local_kernel_size != _LOCAL_KERNEL_SIZE:
            raise SpecError(
                Problem(
                    f"without local_branch, local_kernel_size={local_kernel_size} would have no effect",
                    path="arch.attention.local_kernel_size",
                    hint="remove local_kernel_size, or write local_branch: true",
                )
            )
        if not self.kernel_sizes and aggregator != "dwconv":
            raise SpecError(
                Problem(
                    f"without kernel_sizes there are no group segments: aggregator={aggregator!r} would have no effect",
                    path="arch.attention.aggregator",
                    hint="give kernel_sizes, or remove aggregator",
                )
            )
        if not self.fit(slot.dim, slot.num_heads):
            raise SpecError(self._misfit(slot))

    def check_straddling(self, slot: Slot, head_dim: int) -> None:
        """Raise SpecError unless a head has a channel for every attending segment."""
        if self.attending == 1:
            raise SpecError(
                Problem(
                    "with one attending segment, head_layout='straddle' would have no effect",
                    path="arch.attention.head_layout",
                    hint="remove head_layout",
                )
            )
        if head_dim < self.attending:
            fitting = [n for n in divisors(slot.dim) if self.fit(slot.dim, n)]
            legal = [n for n in fitting if self._head_dim(slot, n) >= self.attending]
            raise SpecError(
                Problem(
                    "head_layout='straddle' needs a channel of every attending segment in every head, "
                    f"but a head has {head_dim} channels for {self.attending} segments "
                    f"(embed_dim={slot.dim}, num_heads={slot.num_heads})",
                    path="arch.attention.head_layout",
                    hint=f"num_heads for embed_dim={slot.dim}: {listed(legal)}" if legal else "use fewer segments",
                )
            )

    def _head_dim(self, slot: Slot, num_heads: int) -> int:
        return self.attending * (slot.dim // self.total) // num_heads

    def _with_groups(self, num_groups: int) -> Segments:
        return Segments((3,) * num_groups, self.identity_segment, self.local_branch, self.are_counted)

    def _misfit(self, slot: Slot) -> Problem:
        # A host's own attention also requires embed_dim % num_heads == 0, so only such widths are suggested.
        widths = nearest(slot.dim, lambda dim: dim % slot.num_heads == 0 and self.fit(dim, slot.num_heads))
        hint = f"near embed_dim for num_heads={slot.num_heads}: {listed(widths)}"
        if slot.dim % self.total:
            relation = "embed_dim % segments == 0"
            groups = [n for n in range(1, 11) if self._with_groups(n).fit(slot.dim, slot.num_heads)]
            if groups and self.are_counted:
                hint += f"; or, for embed_dim={slot.dim}, as num_segments "
                hint += listed(self._with_groups(n).total for n in groups)
            elif groups:
                hint += f"; or, for embed_dim={slot.dim}, as many kernel_sizes as {listed(groups)}"
        else:
            attending = "(embed_dim - embed_dim / segments)" if self.local_branch else "embed_dim"
            relation = f"{attending} % num_heads == 0"
            heads = [n for n in divisors(slot.dim) if self.fit(slot.dim, n)]
            hint += f"; or num_heads for embed_dim={slot.dim}: {listed(heads)}"
        parts = ["tokens"] * self.identity_segment + [f"{len(self.kernel_sizes)} kernel_sizes"]
        parts += ["local branch"] * self.local_branch
        return Problem(
            f"Group-Mix attention needs {relation}, but got embed_dim={slot.dim}, num_heads={slot.num_heads}, "
            f"segments={self.total} ({', '.join(parts)})",
            path="arch.attention",
            hint=hint,
        )


def fitting_kernel_sizes(
    slots: Iterable[Slot], *, num_segments: int | None, identity_segment: bool, local_branch: bool
) -> tuple[int, ...]:
    """Kernels where none are asked for, the same for all slots: the first of (3, 5, 7), (3, 5) and (3,) that fits them.

    The released kernels if none fits, for the message about them, or if their number is given.
    """
    slots = list(slots)
    if num_segments is None:
        for number in range(len(RELEASED_KERNELS), 0, -1):
            segments = Segments(RELEASED_KERNELS[:number], identity_segment, local_branch, are_counted=False)
            if all(segments.fit(slot.dim, slot.num_heads) for slot in slots):
                return segments.kernel_sizes
    return RELEASED_KERNELS


def spread_windows(num_heads: int, windows: tuple[int, ...] = POSITION_WINDOWS) -> dict[int, int]:
    """Number of heads per window, as even as possible: `spread_windows(8) == {3: 2, 5: 3, 7: 3}`."""
    share, left_over = divmod(num_heads, len(windows))
    heads = [share + (index >= len(windows) - left_over) for index in range(len(windows))]
    return {window: count for window, count in zip(windows, heads, strict=True) if count}


def check_windows(slot: Slot, crpe: bool, windows: tuple[int, ...], heads_of: dict[int, int] | None) -> dict[int, int]:
    """Number of heads per window of the position encoding; empty without one.

    Raises:
        SpecError: windows without an effect, duplicate windows, or a total that differs from the slot's heads.
    """
    windows = tuple(windows)
    path = "arch.attention.position_windows"
    if not crpe:
        if windows != POSITION_WINDOWS:
            text = f"without crpe, position_windows={list(windows)} would have no effect"
            raise SpecError(Problem(text, path=path, hint="remove position_windows, or write crpe: true"))
        return {}
    if heads_of is not None:
        if sum(heads_of.values()) != slot.num_heads or min(heads_of.values()) < 1:
            raise SpecError(
                Problem(
                    f"the heads of crpe_windows must sum to num_heads={slot.num_heads}, but got {heads_of!r}",
                    path="arch.attention",
                    hint=f"for example {spread_windows(slot.num_heads)!r}",
                )
            )
        return heads_of
    if len(set(windows)) < len(windows):
        text = f"position_windows lists a window twice: {list(windows)}"
        raise SpecError(Problem(text, path=path, hint="list each window once"))
    # The default is legal for any number of heads; windows that the user chose must all be used.
    if len(windows) > slot.num_heads and windows != POSITION_WINDOWS:
        text = f"{len(windows)} position_windows need as many heads, but got num_heads={slot.num_heads}"
        raise SpecError(Problem(text, path=path, hint="list fewer windows"))
    return spread_windows(slot.num_heads, windows)


def _others(identity_segment: bool, local_branch: bool) -> str:
    names = ["tokens"] * identity_segment + ["the local branch"] * local_branch
    return " and ".join(names) or "nothing"
