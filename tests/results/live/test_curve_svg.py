"""Small curves by hand, and what cannot be drawn."""

from __future__ import annotations

import math
import re

from results.live.curve_svg import chart, points_of, spark


def curve(*values):
    return [{"epoch": float(index), "top1": value} for index, value in enumerate(values, start=1)]


def test_a_curve_by_hand():
    """120 x 30 with 2 pixels around: from the lower left corner (2, 28) to the upper right one (118, 2), the middle
    value half as high."""
    drawn = spark(points_of(curve(10, 20, 30), "top1"), "top1", epochs=3)
    assert re.findall(r' d="([^"]*)"', drawn) == ["M2.0 28.0L60.0 15.0L118.0 2.0"]
    assert "top1 30 at epoch 3; from 10 to 30" in drawn


def test_the_axis_goes_to_the_last_planned_epoch():
    drawn = spark(points_of(curve(10, 30), "top1"), "top1", epochs=5)
    assert re.findall(r' d="([^"]*)"', drawn) == ["M2.0 28.0L31.0 2.0"]


def test_values_that_are_not_finite_interrupt_the_line():
    drawn = spark(points_of(curve(0, math.nan, 4, math.inf, 2, 4), "top1"), "top1", epochs=6)
    assert re.findall(r' d="([^"]*)"', drawn)[0].count("M") == 3
    assert "nan" not in drawn.split("</title>")[1]


def test_huge_values_stay_inside():
    drawn = spark(points_of(curve(-1.7e308, 1.7e308), "top1"), "top1", epochs=2)
    assert re.findall(r' d="([^"]*)"', drawn) == ["M2.0 28.0L118.0 2.0"]


def test_nothing_is_drawn_of_nothing():
    assert spark((), "top1", epochs=3) == ""
    assert chart([("top1", points_of(curve(math.nan), "top1"))], epochs=3) == ""


def test_a_long_curve_keeps_its_first_and_last_point():
    points = points_of(curve(*range(10_000)), "top1")
    assert len(points) == 240
    assert (points[0], points[-1]) == ((1.0, 0), (10_000.0, 9_999))


def test_names_of_quantities_are_text():
    name = "</title><script>alert(1)</script>"
    points = [{"epoch": 1.0, name: 1.0, "loss": 2.0}, {"epoch": 2.0, name: 2.0, "loss": 1.0}]
    drawn = chart([(name, points_of(points, name)), ("loss", points_of(points, "loss"))], epochs=2)
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn
