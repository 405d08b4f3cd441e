"""Similarity of attention maps between blocks, per variant: shows attention collapse.

Measure: DeepViT, Zhou et al. 2021, arXiv:2103.11886, equation 2 and figure 3: the cosine of equal columns of two
blocks' maps, mean over images, heads and tokens; here also over the seeds. Read from `trials/<id>/probes.npz`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd

from results.figures.figure import Evidence, Figure, labels, only
from results.figures.style import styled
from results.store.run_layout import RunDir
from results.table.table import Row

__all__ = ["draw"]

_ARRAY = "cross_layer_similarity"
_PANEL = 150
_MOST_CELLS = 6000
_MOST_BLOCKS = 512
_MOST_BYTES = 16 * _MOST_BLOCKS**2
_UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    MemoryError,
)


def draw(evidence: Evidence) -> Figure | None:
    """Draw the figure; None where no trial has arrays (`task.probe_arrays`) or no two attentions are comparable."""
    names = labels(evidence.table.rows)
    lines: list[dict[str, object]] = []
    broken: list[str] = []
    for row in evidence.table.rows:
        mean, num_seeds, bad = _mean_over_seeds(evidence.run.files, row)
        broken += bad
        if mean is not None:
            lines += [
                {
                    "variant": names[row.study, row.variant_id],
                    "block": one + 1,
                    "other": other + 1,
                    "similarity": float(mean[one, other]),
                    "seeds": num_seeds,
                }
                for one in range(len(mean))
                for other in range(one)
                if np.isfinite(mean[one, other])
            ]
    frame = pd.DataFrame(lines)
    if frame.empty:
        return None
    shown, notes = _fitting(frame)
    if broken:
        notes.append(f"Not readable, and left out: {', '.join(broken[:5])}{' ...' if len(broken) > 5 else ''}.")
    return Figure(
        name="attention_similarity",
        title="Similarity of attention maps between blocks",
        caption="Cosine of equal columns of the attention maps of two blocks, mean over images, heads, tokens and "
        "seeds (DeepViT, equation 2): 1 means that both blocks attend to the same tokens.",
        frame=frame,
        chart=styled(_chart(shown)),
        notes=tuple(notes),
    )


def _mean_over_seeds(run_dir: RunDir, row: Row) -> tuple[np.ndarray | None, int, list[str]]:
    """(L, L), how many seeds it is of, and the files that cannot be read."""
    found: list[np.ndarray] = []
    broken: list[str] = []
    for record in row.records:
        path = run_dir.trial(Path(record.trial_id).name).probes
        if record.status != "completed" or not path.is_file():
            continue
        try:
            with np.load(path, allow_pickle=False) as arrays:
                if _ARRAY not in arrays:
                    continue
                if arrays.zip.getinfo(f"{_ARRAY}.npy").file_size > _MOST_BYTES:  # a zip bomb would fill the memory
                    broken.append(str(path.relative_to(run_dir)))
                    continue
                one = np.asarray(arrays[_ARRAY], dtype=float)
        except _UNREADABLE:
            broken.append(str(path.relative_to(run_dir)))
            continue
        if one.ndim == 2 and one.shape[0] == one.shape[1] <= _MOST_BLOCKS:
            found.append(one)
        else:
            broken.append(str(path.relative_to(run_dir)))
    alike = [one for one in found if one.shape == found[0].shape]
    # A pair that cannot be compared is NaN in every seed, and so is its mean.
    return (np.mean(alike, axis=0) if alike else None), len(alike), broken


def _fitting(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """First variants that fit within the limit of cells of a page."""
    cells = Counter(frame["variant"])
    kept: list[str] = []
    for variant, count in cells.items():
        if kept and count + sum(cells[one] for one in kept) > _MOST_CELLS:
            break
        kept.append(variant)
    if len(kept) == len(cells):
        return frame, []
    note = f"The first {len(kept)} of {len(cells)} variants are drawn; the CSV holds all."
    return only(frame, kept), [note]


def _chart(shown: pd.DataFrame) -> alt.FacetChart:
    axis = alt.Axis(grid=False, ticks=False, domain=False, labelOverlap=True, labelAngle=0)
    drawn = shown.assign(similarity=shown["similarity"].round(3)).drop(columns="seeds")
    low = min(0.0, *drawn["similarity"])
    return (
        alt.Chart(drawn, width=_PANEL, height=_PANEL)
        .mark_rect()
        .encode(
            x=alt.X("other:O", title="earlier block", axis=axis),
            y=alt.Y("block:O", title="later block", axis=axis),
            color=alt.Color(
                "similarity:Q",
                scale=alt.Scale(domain=[low, 1], scheme="viridis"),
                legend=alt.Legend(title="cosine", orient="top", gradientLength=200, tickCount=5),
            ),
            tooltip=[
                alt.Tooltip("variant:N"),
                alt.Tooltip("other:O", title="earlier block"),
                alt.Tooltip("block:O", title="later block"),
                alt.Tooltip("similarity:Q", format=".3f"),
            ],
        )
        .facet(
            facet=alt.Facet(
                "variant:N",
                sort=list(dict.fromkeys(drawn["variant"])),
                header=alt.Header(title=None, labelLimit=_PANEL),
            ),
            columns=3,
        )
        .resolve_scale(x="independent", y="independent")
    )
