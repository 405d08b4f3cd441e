"""A sweep that keeps samples has a page of them in its report, from the YAML file to the HTML."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest

from results import Run
from results.figures.files import write_figures
from results.report import Subject, make_report
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import load_sweep_text

pytestmark = pytest.mark.thorough

TINY = "{model: vit, depth: 1, embed_dim: 16, num_heads: 2, patch_size: 8, mlp_ratio: 2}"
SCENES = "{name: builtin/scenes, img_size: 32, num_train: 8, num_test: 6}"
TASKS = {
    "segmentation": f"{{name: segmentation, dataset: {SCENES}, head_dim: 8, aux_dim: 8, pool_scales: [1]}}",
    "detection": f"{{name: detection, dataset: {SCENES}, pyramid_dim: 8, anchor_size: 8, box_dim: 16, mask_dim: 8, "
    "mask_layers: 1, proposals: 8, box_samples: 8, detections: 5}",
}


@pytest.mark.default_run("detection")
@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_report_shows_predictions_of_baseline_and_arm(name, tmp_path):
    file = load_sweep_text(f"""
    name: drawn
    baseline:
      arch: {TINY}
      task: {TASKS[name]}
      train: {{epochs: 1, batch_size: 4, lr: 0.001}}
    space: {{train.lr: [0.001, 0.002]}}
    design: one_factor
    seeds: 1
    keep_samples: 3
    """)
    assert dict(run_sweep(make_plan(file), tmp_path / "run", engine="in-process").counts) == {"completed": 2}
    report = make_report([Subject(Run.open(tmp_path / "run"))])
    section = re.search(r'<section class="drawn" id="samples">.*?</section>', report.html, re.DOTALL)
    assert section is not None
    assert "<h2>Predictions on test images</h2>" in section[0]
    # A picture and its data, but nothing for a chart library to draw.
    assert "application/json" not in section[0]
    assert 'download="samples.csv"' in section[0]
    assert 'download="samples.svg"' in section[0]
    address = re.search(r'src="data:image/svg\+xml;base64,([^"]*)"', section[0])
    assert address is not None
    picture = ElementTree.fromstring(base64.b64decode(address[1]))
    words = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert [word for word in words if word and word.startswith("image ")] == ["image 0", "image 2", "image 4"]
    assert {"ground truth", "baseline", "lr=0.002"} <= set(words)
    paths = write_figures([each for each in report.figures if each[0] == "samples"], tmp_path / "figures")
    assert [path.name for path in paths] == ["samples.svg", "samples.pdf", "samples.csv"]
    assert paths[0].read_bytes() == base64.b64decode(address[1])
