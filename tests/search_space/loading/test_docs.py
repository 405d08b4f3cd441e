"""Documentation of sweep files: its examples load, and its messages are those of the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from search_space import ATTENTION_SPECS, DESIGNS, METRICS, TRACKER_SPECS, SpecError, load_sweep, load_sweep_text
from search_space.schema.comparison.match_retune import Match, Retune
from search_space.schema.datasets import GrainsSpec
from search_space.schema.design import Design
from search_space.schema.resources import Resources
from search_space.schema.sweep import Analysis, Sweep, TableFormat
from search_space.schema.trial import ArchSpec, ShapesSpec, TaskSpec, TimmDatasetSpec, TrainSpec

DOCS = Path(__file__).parents[3] / "docs"
FORMAT = (DOCS / "sweep_format.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", FORMAT, re.DOTALL)
REST = {
    "name": "name: example\n",
    "baseline": "baseline: {arch: {depth: 4, embed_dim: 40, num_heads: 4}}\n",
    "space": "space: {arch.depth: [2, 4]}\n",
    "design": "design: one_factor\n",
}
BROKEN = sorted((DOCS / "broken_sweeps").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_of_the_format_loads(example: str) -> None:
    """Examples of single sections are completed with the required ones."""
    given = yaml.safe_load(example)
    has_rows = "rows" in str(given.get("design"))
    rest = [text for key, text in REST.items() if key not in given and not (key == "space" and has_rows)]
    for study in given.get("studies", [None]):
        load_sweep_text("".join(rest) + example, study=study)


def test_the_format_page_names_every_option() -> None:
    models = (
        Sweep,
        Analysis,
        TableFormat,
        Design,
        Match,
        Retune,
        ArchSpec,
        TaskSpec,
        TrainSpec,
        ShapesSpec,
        GrainsSpec,
        TimmDatasetSpec,
        Resources,
    )
    models = (*models, *ATTENTION_SPECS.values(), *TRACKER_SPECS.values())
    names = (
        {name for model in models for name in model.model_fields} | set(DESIGNS) | set(METRICS) | set(ATTENTION_SPECS)
    )
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", FORMAT)) == []


def split_lists(text: str) -> tuple[str, list[set[str]]]:
    """The text with its lists of known names taken out, unwrapped, and the names of each."""
    text = re.sub(r"\. +Did you mean", ".  Did you mean", re.sub(r"\n {4}(?=\S)", " ", text))
    lists = re.compile(r"(?<=  known: )[\w., ]+?(?=\.(?:  Did you mean|\n|$))")
    return lists.sub("...", text), [set(names.split(", ")) for names in lists.findall(text)]


def agree(shown: str, printed: str) -> None:
    """Equal but for lists of known names, which grow: what the page lists is among what is listed today."""
    (text, lists), (text_now, lists_now) = split_lists(shown), split_lists(printed)
    assert text == text_now
    for names, names_now in zip(lists, lists_now, strict=True):
        assert names <= names_now


def test_there_are_ten_broken_sweeps() -> None:
    assert len(BROKEN) == 10


def test_the_page_of_messages_shows_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS.parent)
    shown = (DOCS / "error_messages.md").read_text(encoding="utf-8").split("\n## ")[1:]
    expected = []
    for path in BROKEN:
        with pytest.raises(SpecError) as caught:
            load_sweep(path.relative_to(DOCS.parent))
        count = len(caught.value.problems)
        printed = f"archsweep: {count} problem{'s' if count > 1 else ''}\n\n{caught.value}\n"
        expected.append(f"{path.name}\n\n```yaml\n{path.read_text()}```\n\n```text\n{printed}```\n")
    assert len(shown) == len(expected)
    for section, section_now in zip(shown, expected, strict=True):
        agree(section, section_now)


def test_the_command_line_prints_what_the_page_shows() -> None:
    command = [
        sys.executable,
        "-c",
        "from runners.cli import main; main()",
        "check",
        "docs/broken_sweeps/01_typos.yaml",
    ]
    done = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    first = re.findall(r"```text\n(.*?)```", (DOCS / "error_messages.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    agree(first, done.stderr)


TRAIN_PY = """
    pretrained initial-checkpoint num-classes gp img-size in-chans input-size crop-pct mean std interpolation
    batch-size channels-last fuser grad-accum-steps grad-checkpointing fast-norm model-kwargs head-init-scale
    head-init-bias torchscript torchcompile opt opt-eps opt-betas momentum weight-decay clip-grad clip-mode
    layer-decay opt-kwargs sched sched-on-updates lr lr-base lr-base-size lr-base-scale lr-noise lr-noise-pct
    lr-noise-std lr-cycle-mul lr-cycle-decay lr-cycle-limit lr-k-decay warmup-lr min-lr epochs epoch-repeats
    decay-milestones decay-epochs warmup-epochs warmup-prefix cooldown-epochs patience-epochs decay-rate
    no-aug scale ratio hflip vflip color-jitter aa aug-repeats aug-splits jsd-loss bce-loss bce-sum
    bce-target-thresh bce-pos-weight reprob remode recount resplit mixup cutmix cutmix-minmax mixup-prob
    mixup-switch-prob mixup-mode mixup-off-epoch smoothing train-interpolation drop drop-connect drop-path
    drop-block bn-momentum bn-eps sync-bn dist-bn split-bn model-ema model-ema-force-cpu model-ema-decay
    model-ema-warmup layer-decay-min-scale layer-decay-no-opt-scale train-crop-mode color-jitter-prob
    grayscale-prob gaussian-blur-prob seed worker-seeding
"""
"""Arguments of timm's train.py that decide a training, from its repository (004fb5f, 2aabaef and later)."""

OWN = {
    *("steps", "weight_decay_end", "crop_padding", "ema_decay", "amp", "map_precision", "deterministic"),
    *("numerics", "recompute_maps", "recalibrate_bn", "cosine_regulariser", "freeze", "head_lr_scale"),
    "seeding",
}
"""Options of `train` that timm's train.py has under another name, or not at all."""


def test_the_format_page_has_every_argument_of_timms_training() -> None:
    _, _, table = FORMAT.partition("### timm's train.py and `train`")
    rows = [line for line in table.partition("## `space`")[0].splitlines() if line.startswith("| `--")]
    same = [row for row in rows if "the same name" in row]
    named = {name for row in rows for name in re.findall(r"`--([a-z-]+)`", row)}
    assert set(TRAIN_PY.split()) - named == set()
    assert len(same) == 1
    ours = {name.replace("-", "_") for name in re.findall(r"`--([a-z-]+)`", same[0])}
    assert ours == set(TrainSpec.model_fields) - OWN
