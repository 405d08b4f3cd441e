"""Options of a segmentation network: published defaults, notes on those without effect, illegal values all at once."""

from __future__ import annotations

import pytest

from modelzoo.dense import SegmenterOptions, resolve_options
from search_space.parsing.errors import SpecError

STAGES, ONE = (4, 8, 16, 32), (16,)


def test_defaults_are_the_published_configurations():
    """UperNet with Swin; Semantic FPN with PVT, without auxiliary loss."""
    upernet = resolve_options(SegmenterOptions(), STAGES)
    assert (upernet.head, upernet.head_dim, upernet.pool_scales) == ("upernet", 512, (1, 2, 3, 6))
    assert (upernet.aux_weight, upernet.aux_dim, upernet.head_dropout) == (0.4, 256, 0.1)
    assert (upernet.pyramid, upernet.pyramid_dim, upernet.level_norm) == ("fpn", None, True)
    semantic = resolve_options(SegmenterOptions(head="semantic_fpn", aux_weight=0), STAGES)
    assert (semantic.head_dim, semantic.pyramid_dim, semantic.pool_scales, semantic.aux_dim) == (128, 256, None, None)
    assert upernet.notes == semantic.notes == ()


def test_isotropic_backbones_get_a_simple_pyramid_under_both_heads():
    for head in ("upernet", "semantic_fpn"):
        layout = resolve_options(SegmenterOptions(head=head), ONE)
        assert (layout.pyramid, layout.pyramid_dim, layout.level_norm) == ("simple", 256, False)


@pytest.mark.parametrize(
    ("options", "reductions", "note"),
    [
        (
            {"pyramid_dim": 64},
            STAGES,
            "task.pyramid_dim has no effect: UperNet takes the maps of a multi-stage backbone as they are",
        ),
        ({"pool_scales": (1, 2), "head": "semantic_fpn"}, STAGES, "task.pool_scales has no effect: only UperNet pools"),
        ({"level_norm": False}, ONE, "task.level_norm has no effect: a simple pyramid has its own norms"),
        (
            {"aux_dim": 8, "aux_weight": 0},
            STAGES,
            "task.aux_dim has no effect: aux_weight is 0, so there is no auxiliary head",
        ),
    ],
)
def test_options_without_effect_are_named(options, reductions, note):
    assert resolve_options(SegmenterOptions(**options), reductions).notes == (note,)


@pytest.mark.parametrize("options", [{"pyramid_dim": 64, "head": "semantic_fpn"}, {"pool_scales": (1,)}])
def test_options_with_an_effect_are_not(options):
    assert resolve_options(SegmenterOptions(**options), STAGES).notes == ()


def test_unknown_names_and_illegal_values_are_refused_together():
    options = SegmenterOptions(
        head="upernett", pyramid="fpm", head_dim=0, aux_weight=-1, pool_scales=(0, 1), head_dropout=1
    )
    with pytest.raises(SpecError) as caught:
        resolve_options(options, STAGES)
    assert str(caught.value) == (
        "task.head: unknown head 'upernett'\n"
        "  known: semantic_fpn, upernet.  Did you mean 'upernet'?\n"
        "task.pyramid: unknown pyramid 'fpm'\n"
        "  known: fpn, simple.  Did you mean 'fpn'?\n"
        "task.head_dim: head_dim is 0\n"
        "  legal: whole numbers of at least 1\n"
        "task.pool_scales: pool_scales is (0, 1)\n"
        "  legal: whole numbers of at least 1\n"
        "task.aux_weight: aux_weight is -1\n"
        "  legal: 0 (no auxiliary head) or more\n"
        "task.head_dropout: head_dropout is 1\n"
        "  legal: 0 or more and less than 1"
    )
