"""Table of the zoo's models with computed and published cost: `python -m modelzoo.model_table > docs/models.md`.

Costs are counted on torch's meta device when the page is generated; a test compares the page with the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import timm

from modelzoo.factory.cost import measure_cost
from modelzoo.official.checkpoints import zoo_models
from search_space.schema.trial import ArchSpec

__all__ = ["Published", "models_page"]


@dataclass(frozen=True)
class Published:
    """Published cost of a model, by its authors or a named third party; `note` is the number of a remark."""

    params_m: str = ""
    gmacs: str = ""
    note: int | None = None


@dataclass(frozen=True)
class Family:
    """Family of models with a common name prefix: paper, source and licence."""

    prefix: str
    title: str
    source: str
    licence: str


FAMILIES = (
    Family("deepvit_", "DeepViT (arXiv:2103.11886)", "github.com/zhoudaquan/dvit_repo", "MIT"),
    Family("refined_vit_", "Refined-ViT (arXiv:2106.03714)", "github.com/zhoudaquan/Refiner_ViT", "none stated"),
    Family("groupmixformer_", "GroupMixFormer (arXiv:2311.15157)", "github.com/AILab-CVC/GroupMixFormer", "MIT"),
    Family("focal", "Focal Transformer (arXiv:2107.00641)", "github.com/microsoft/Focal-Transformer", "MIT"),
    Family("regionvit_", "RegionViT (arXiv:2106.02689)", "github.com/IBM/RegionViT", "Apache-2.0"),
    Family("lg_transformer_", "LG-Transformer (arXiv:2107.04735)", "no code was released", "-"),
)

NOTES = {
    1: "The paper's plain ViTs: 12 heads, MLP ratio 3, 384 channels. They are not DeiT-S (6 heads, ratio 4). The "
    "published numbers are those of the release's table for ViT-16, 24 and 32.",
    2: "The release's own table states 24.5M for S and 48.1M for L, the counts of the models without "
    "convolutional stem; the numbers here are those quoted by CoAtNet and MaxViT.",
    3: "The released configuration of DeepViT-L has 58.9M parameters and 13.1 GMACs. Other papers quote 55M and 12.5 "
    "GMACs, which match no released configuration. Ours is the released one.",
    4: "Every second block has no attention of its own and refines the map of the previous block: only this layout "
    "has the published counts. The configuration of S requests an expansion of 6, which its blocks ignore: all three "
    "use 3. The published counts are for 224 pixels; the position embedding grows with the image.",
    5: "The layout of the paper's text (every block refines its own map), at the released sizes, without dense "
    "head. No counts were published for it.",
    6: 'The released configuration of GroupMixFormer-L, marked "need to adjust" by its authors, has 71.8M '
    "parameters and 38.2 GMACs by their counter; they publish 70.3M and 36.1. Ours is the released "
    "configuration.",
    7: "Version 2 also stores tables of nearest keys, which are not parameters.",
    8: "Our interpretation of a paper without code: `modelzoo/models/lg_transformer/model.py` lists what was inferred "
    "and what was chosen. The published numbers are those quoted by DHVT (its table 15).",
    9: "The published GMACs of GroupMixFormer also count norms, about 1 %.",
}

PUBLISHED = {
    **{
        f"deepvit_baseline_{depth}b_patch16_224": Published(params, "", 1)
        for depth, params in ((12, ""), (16, "24.5"), (24, "36.3"), (32, "48.1"))
    },
    "deepvit_16b_patch16_224": Published("24.5"),
    "deepvit_24b_patch16_224": Published("36.3"),
    "deepvit_32b_patch16_224": Published("48.1"),
    "deepvit_small_patch16_224": Published("27", "6.2", 2),
    "deepvit_large_patch16_224": Published("55", "12.5", 3),
    "deepvit_large_patch16_384": Published("", "", 3),
    **{
        f"refined_vit_{size}_patch16_{side}": Published(params, "", 4)
        for size, params in (("small", "25"), ("medium", "55"), ("large", "81"))
        for side in (224, 384, 448)
    },
    **{f"refined_vit_{size}_every_block_patch16_224": Published("", "", 5) for size in ("small", "medium", "large")},
    "groupmixformer_mobile_224": Published("5.7", "1.4", 9),
    "groupmixformer_tiny_224": Published("11.0", "3.7", 9),
    "groupmixformer_small_224": Published("22.4", "5.2", 9),
    "groupmixformer_base_224": Published("45.8", "17.6", 9),
    "groupmixformer_large_224": Published("70.3", "36.1", 6),
    "focal_tiny_patch4_window7_224": Published("28.9"),
    "focal_small_patch4_window7_224": Published("51.1"),
    "focal_base_patch4_window7_224": Published("89.8"),
    "focal_tiny_conv_patch4_window7_224": Published("30.8"),
    "focal_small_conv_patch4_window7_224": Published("53.1"),
    "focal_base_conv_patch4_window7_224": Published("93.3"),
    "focalv2_tiny_conv_patch4_window7_224": Published("30.2", "5.0", 7),
    "focalv2_small_conv_patch4_window7_224": Published("51.5", "9.4", 7),
    "focalv2_base_conv_patch4_window7_224": Published("91.2", "16.4", 7),
    "regionvit_tiny_224": Published("13.8", "2.4"),
    "regionvit_small_224": Published("30.6", "5.3"),
    "regionvit_medium_224": Published("41.2", "7.4"),
    "regionvit_base_224": Published("72.7", "13.0"),
    "lg_transformer_tiny_224": Published("32.6", "4.8", 8),
    "lg_transformer_small_224": Published("", "", 8),
}

HEAD = """# Models

Generated by `python -m modelzoo.model_table > docs/models.md`; edit `modelzoo/model_table.py`, not this page.

`import modelzoo` registers these names with timm: `arch.model: NAME` in a sweep, `timm.create_model(NAME)` in Python.
Parameters are exact, for 1000 classes. GMACs are 10^9 multiply-accumulates for one image of the model's default size:
matrix products and convolutions, without norms, activations and softmax. The difference is relative to the published,
rounded number. No weights are provided; `archsweep import-checkpoint` converts released ones.

The mixing of Re-attention has a bias per head, as released. The BatchNorm behind it takes the bias away again, so its
true gradient is 0: what a training computes is rounding noise, which AdamW turns into steps of full size. They change
no output in training, but runs that differ in a last digit drift apart by them.
`attention: {name: reattention, theta_bias: false}` leaves the bias out.

Options of the DeepViT models, below `arch.options` (`reattention_blocks` and `shared_map_blocks`: the last n blocks, or
a list of indices):

- `reattention_blocks`: blocks with Re-attention, also `all`; and its options, as of `attention: reattention`.
- `shared_map_blocks` (0): attention reuse (equation 5 of the paper). These blocks have no queries and keys: each mixes
  the softmax map of the last block before them that forms one by its own Theta and norm, so they are among
  `reattention_blocks`. `{reattention_blocks: 11, shared_map_blocks: 11}` is a plain ViT whose last 11 blocks reuse the
  map of the block before them.
- `temperature`: of the softmax of a plain ViT (equation 4; `reattention_blocks: 0`). `learnable`: one scalar per block,
  exp of a parameter that starts at 0. `[2.0, 0.5]`: a line from the first block's to the last one's; the paper states
  no range.
"""
COLUMNS = ("model", "params", "published", "difference", "GMACs", "published", "difference", "note")


def models_page() -> str:
    """Content of docs/models.md."""
    parts = [HEAD]
    for family in FAMILIES:
        names = [name for name in zoo_models() if name.startswith(family.prefix)]
        parts.append(f"## {family.title}\n\nSource: {family.source}. Licence of the original: {family.licence}.\n")
        rows = [COLUMNS, ("---", *["---:"] * 6, "---"), *(_row(name) for name in names)]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")
    parts.append("## Notes\n\n" + "\n".join(f"{number}. {text}" for number, text in NOTES.items()) + "\n")
    return "\n".join(parts)


def _row(name: str) -> tuple[str, ...]:
    cfg = timm.get_pretrained_cfg(name)
    assert cfg is not None
    in_chans, height, width = cfg.input_size
    cost = measure_cost(ArchSpec(model=name), img_size=(height, width), in_chans=in_chans, num_classes=1000)
    published = PUBLISHED.get(name, Published())
    return (
        f"`{name}`",
        f"{round(cost.params_m * 1e6):,}",
        f"{published.params_m}M" if published.params_m else "-",
        _difference(cost.params_m, published.params_m),
        f"{cost.gmacs:.2f}",
        published.gmacs or "-",
        _difference(cost.gmacs, published.gmacs),
        "" if published.note is None else str(published.note),
    )


def _difference(ours: float, published: str) -> str:
    if not published:
        return "-"
    decimals = len(published.partition(".")[2])
    # No difference if our number rounds to the published one.
    if f"{ours:.{decimals}f}" == published:
        return "none"
    return f"{100 * (ours / float(published) - 1):+.1f} %"


if __name__ == "__main__":
    print(models_page(), end="")
