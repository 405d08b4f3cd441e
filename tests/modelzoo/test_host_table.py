"""Contract of all hosts with all mechanisms: what docs/hosts.md says is what happens.

Accepted pairs train in a small version of the row's example; refused ones state the reason that the page has.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import timm
import torch

from modelzoo import attention_batchnorms, build_model
from modelzoo.host_table import HOST_ROWS, MECHANISMS, hosts_page
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

pytestmark = pytest.mark.thorough

PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"
# Sizes with which an example is small enough to train here: the widths are the model's own where they matter.
SMALL = {
    "vit_small_patch16_dinov3": {"img_size": 32, "options": {"dynamic_img_size": False}},
    "vit": {"img_size": 32},
    "naflexvit_base_patch16_gap": {"embed_dim": 80, "num_heads": 4},
    "swin_tiny_patch4_window7_224": {"img_size": 56, "options": {"depths": [2, 1, 1, 1]}},
    "swinv2_tiny_window8_256": {"img_size": 64, "options": {"depths": [2, 1, 1, 1]}},
    "coat_lite_tiny": {"img_size": 32},
    "eva02_tiny_patch14_224": {"img_size": 28},
}


def cells() -> list[tuple[str, ...]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split(" | "))[-4:] for line in lines]


def reasons() -> dict[str, str]:
    text = PAGE.read_text(encoding="utf-8").partition("## Notes\n\n")[2]
    return dict(line.split(". ", 1) for line in text.splitlines())


PAIRS = [
    pytest.param(row, attention, answer, id=f"{row.example}-{row.has}-{name}".replace(" ", "_"))
    for row, answers in zip(HOST_ROWS, cells(), strict=True)
    for (name, attention), answer in zip(MECHANISMS.items(), answers, strict=True)
]


def small(row, attention, answer) -> ArchSpec:
    sizes = {"img_size": 32} | row.fields if "depth" in row.fields else dict(row.fields)
    if row.example == "naflexvit_base_patch16_gap":
        del sizes["img_size"]
    sizes |= SMALL.get(row.example, {})
    sizes["options"] = {**row.fields.get("options", {}), **SMALL.get(row.example, {}).get("options", {})}
    named = {"name": attention} if isinstance(attention, str) else attention
    if answer.startswith("some blocks"):
        named = {**named, "blocks": {"first": 1}}
    return ArchSpec.model_validate({"model": row.example, **sizes, "attention": named})


@pytest.mark.slow
@pytest.mark.parametrize(("row", "attention", "answer"), PAIRS)
def test_accepted_pairs_train_and_refused_ones_state_the_reason(row, attention, answer):
    if answer.startswith("no"):
        spec = ArchSpec.model_validate({"model": row.example, **row.fields, "attention": attention})
        with torch.device("meta"), pytest.raises(SpecError) as caught:
            build_model(spec, img_size=224, in_chans=3, num_classes=5, seed=0)
        (number,) = answer.removeprefix("no (").removesuffix(")").split(", ")
        reason = reasons()[number].removeprefix("The model ").removeprefix("Its blocks ").removesuffix(".")
        assert caught.value.problems[0].message.endswith(reason)
        return
    spec = small(row, attention, answer)
    model = build_model(spec, img_size=32, in_chans=3, num_classes=5, seed=0)
    side = spec.img_size or 32
    model(torch.randn(2, 3, side, side)).square().sum().backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
    assert attention_batchnorms(model)


@pytest.mark.slow
def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == hosts_page(), "run: python -m modelzoo.host_table > docs/hosts.md"


def test_the_page_names_models_that_exist():
    patterns = {name.replace("\\", "") for row in HOST_ROWS for name in row.names.replace(";", ",").split(", ")}
    patterns = {name for name in patterns if name.replace("*", "").replace("_", "").isalnum()} - {"vit"}
    assert {pattern for pattern in patterns if not timm.list_models(pattern)} == set()
    assert len(patterns) > 15


@pytest.mark.slow
def test_every_model_of_these_families_accepts_or_says_why():
    """All of timm's names of one structure get the same answer, so one of each is built and run, without weights."""
    seen, accepted, silent = set(), 0, []
    families = itertools.chain.from_iterable(
        timm.list_models(pattern)
        for pattern in (
            "vit_*",
            "deit*",
            "eva*",
            "beit*",
            "naflexvit*",
            "swin*",
            "pvt*",
            "coat_*",
            "flexivit*",
            "aimv2*",
        )
    )
    for name in families:
        with torch.device("meta"):
            host = timm.create_model(name)
        structure = (type(host), frozenset(type(module) for module in host.modules()))
        if structure in seen:
            continue
        seen.add(structure)
        for attention in MECHANISMS.values():
            spec = ArchSpec.model_validate({"model": name, "attention": attention})
            try:
                with torch.device("meta"):
                    model = build_model(spec, img_size=None, in_chans=3, num_classes=5, seed=0).eval()
                    side = timm.get_pretrained_cfg(name).input_size[-1]
                    with torch.no_grad():
                        assert model(torch.empty(1, 3, side, side)).shape == (1, 5)
                accepted += 1
            except SpecError as err:
                silent += [f"{name}: {problem.message}" for problem in err.problems if not problem.hint]
    assert silent == []
    assert len(seen) > 40
    assert accepted > 80
