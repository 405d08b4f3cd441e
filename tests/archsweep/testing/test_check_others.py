"""`check_model`, `check_exporter`, `check_figure` and `check_design` find the faults that their contracts name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from timm.models import register_model
from torch import nn

from archsweep.testing import check_design, check_exporter, check_figure, check_model
from results.exporters.md import write as write_md
from results.figures.deltas import draw as draw_deltas
from search_space.designs.one_factor import OneFactor
from search_space.settings.candidates import CandidateRow

ROOT = Path(__file__).parents[3]


class Net(nn.Module):
    def __init__(self, num_classes, in_chans, width=4):
        super().__init__()
        self.num_classes = num_classes
        self.stem, self.head = nn.Conv2d(in_chans, width, 8, stride=8), nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.stem(x).relu().mean(dim=(2, 3)))


class NetThatSees(Net):
    def forward(self, x):
        return super().forward(x + x.mean(dim=0, keepdim=True))


class NetOfFeatures(Net):
    def forward(self, x):
        return self.stem(x)


class NetWithRest(Net):
    def __init__(self, num_classes, in_chans):
        super().__init__(num_classes, in_chans)
        self.rest = nn.Linear(2, 2)


@register_model
def contract_net(pretrained=False, num_classes=1000, in_chans=3, **kwargs):
    return Net(num_classes, in_chans)


@register_model
def contract_sees(pretrained=False, num_classes=1000, in_chans=3, **kwargs):
    return NetThatSees(num_classes, in_chans)


@register_model
def contract_features(pretrained=False, num_classes=1000, in_chans=3, **kwargs):
    return NetOfFeatures(num_classes, in_chans)


@register_model
def contract_rest(pretrained=False, num_classes=1000, in_chans=3, **kwargs):
    return NetWithRest(num_classes, in_chans)


@register_model
def contract_no_arguments(pretrained=False):
    return Net(1000, 3)


@pytest.mark.parametrize("name", ["contract_net", "resnet10t"])
def test_a_sound_model_passes(name):
    assert timm.is_model(name)
    check_model(name, img_size=(32, 32))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("contract_nothing", "contract_nothing: timm has no such model: decorate its function with"),
        ("contract_sees", "contract_sees: one image sees another: the logits of image 0 depend on image 1"),
        ("contract_features", "contract_features: the logits of 2 images and 5 classes are (2, 4, 4, 4)"),
        ("contract_rest", "contract_rest: parameters that no gradient reaches: rest.weight, rest.bias"),
        ("contract_no_arguments", "contract_no_arguments: cannot be built: "),
    ],
)
def test_a_fault_of_a_model_is_named(name, sentence):
    with pytest.raises(AssertionError) as caught:
        check_model(name, img_size=(32, 32))
    assert str(caught.value).startswith(sentence)


def write_nothing(table, stream):
    pass


def write_first_row(table, stream):
    stream.write(f"{table.rows[0].metrics['top1'].mean:.2f}")


def write_raw(table, stream):
    stream.writelines(f"{row.name} {row.metrics['top1'].mean:.2f}\n" for row in table.rows)


def write_differently(table, stream, count=[0]):  # noqa: B006 - the fault
    count[0] += 1
    stream.write(str(count))


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (write_nothing, "write_nothing: nothing is written to the stream"),
        (write_first_row, "write_first_row: the mean of a row is missing: "),
        (write_raw, "write_raw: control characters of a name are written as they are: "),
        (write_differently, "write_differently: the same table gives another text each time"),
    ],
)
def test_a_fault_of_a_format_is_named(write, sentence):
    check_exporter(write_md)
    with pytest.raises(AssertionError) as caught:
        check_exporter(write)
    assert str(caught.value).startswith(sentence)


def draw_nothing(evidence):
    return None


def draw_always(evidence):
    return draw_deltas(evidence) or draw_always.last  # pyright: ignore[reportFunctionMemberAccess]


@pytest.mark.thorough
def test_a_fault_of_a_figure_is_named():
    check_figure(draw_deltas)
    with pytest.raises(AssertionError, match="draw_nothing: no Figure is given for a run with records"):
        check_figure(draw_nothing)
    from archsweep.testing.example_run import example_evidence

    draw_always.last = draw_deltas(example_evidence())  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(AssertionError, match="draw_always: a run without records gives a Figure"):
        check_figure(draw_always)


class Miscounts(OneFactor):
    def count(self, sweep):
        return 1


class Empty(OneFactor):
    def candidates(self, sweep):
        return iter(())


class OnlyBaseline(OneFactor):
    def candidates(self, sweep):
        yield CandidateRow()

    def count(self, sweep):
        return 1


class Draws(OneFactor):
    def candidates(self, sweep):
        rows = list(super().candidates(sweep))
        order = torch.randperm(len(rows), generator=self.generator).tolist()
        return iter([rows[index] for index in order])

    generator = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Miscounts(), "Miscounts: count says 1, but there are 6 candidates"),
        (Empty(), "Empty: there are no candidates; the first is the reference of all differences"),
        (OnlyBaseline(), "OnlyBaseline: all rows are the same setting"),
        (Draws(), "Draws: the candidates are others each time: take a seed from the sweep"),
    ],
)
def test_a_fault_of_a_design_is_named(rule, sentence):
    with pytest.raises(AssertionError) as caught:
        check_design(rule)
    assert str(caught.value) == sentence


def test_importing_archsweep_and_the_names_of_testing_stays_light():
    code = "import sys, archsweep.testing; print(sorted({'torch', 'pandas', 'altair'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
