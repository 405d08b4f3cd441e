"""A figure of the report from a file of the user's."""

from __future__ import annotations

import csv
import html
import re

import pytest


@pytest.mark.slow
def test_a_figure_in_the_report_names_its_plug_in(type_, example, finished_run):
    """Two plug-ins of one run: an exporter does not disturb."""
    files = ["--plugin", example("my_figure.py"), "--plugin", example("my_exporter.py")]
    type_("report", finished_run, *files, "--figures", "paper")
    page = html.unescape((finished_run / "report.html").read_text())
    assert 'id="plugin-train_time"' in page
    assert "Drawn by the plug-in 'my_figure'." in page
    with (finished_run.parent / "paper" / "train_time.csv").open() as stream:
        assert list(csv.DictReader(stream)) == [
            {"variant": "baseline", "seconds": "40.0"},
            {"variant": "deep", "seconds": "60.0"},
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"        return None": "        return 1 / 0", "not rows": "rows"},
            ": my_figure.py:14: the figure 'train_time' raised Zero",
        ),
        ({"return Figure(": "return dict("}, "draw(evidence) gave an object of dict, not a Figure or None"),
        ({"seconds:Q": "seconds:X"}, "the figure 'train_time' raised "),  # known only when it is drawn
        ({"frame=frame": "frame=[1]"}, "the figure 'train_time' raised AttributeError"),
    ],
)
def test_the_report_does_not_end_with_a_figure_that_fails(type_, example, finished_run, change, reason):
    type_("report", finished_run, "--plugin", example("my_figure.py", **change))
    page = html.unescape((finished_run / "report.html").read_text())
    left_out = re.search(r'id="left-out".*?</section>', page, re.DOTALL)
    assert left_out is not None
    assert "train time: " in left_out[0]
    assert reason in left_out[0]
    assert 'id="plugin-train_time"' not in page
