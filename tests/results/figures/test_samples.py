"""The picture of predictions: what is where, numbers by hand, and that no foreign file or name can do harm."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from results import Run, ablation_table
from results.figures import Evidence
from results.figures.files import figure_csv, figure_spec, figure_svg
from results.figures.pictures.class_colours import NUM_COLOURS, colours_of, rgb, text_on
from results.figures.samples import draw
from results.figures.style import BLUE, ORANGE, PALETTE
from results.predictions.samples import LabelMap, Objects, OneClass, Sample, Samples
from results.predictions.samples_file import write_samples

NAN = float("nan")
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
HOSTILE = "</text><script>alert(1)</script>\u202e"


def image(value=7, size=(2, 2)):
    return np.full((*size, 3), value, dtype=np.uint8)


def a_map(*rows):
    return LabelMap(np.uint8(rows))


def some_objects(*found, masks=None):
    boxes, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    return Objects(
        np.array(boxes, dtype=np.float32).reshape(-1, 4), np.int32(labels).reshape(-1), np.float32(scores), masks
    )


TRUTH = a_map([0, 1], [2, 255])
MAPS = Samples(
    "label_map",
    (Sample(0, image(1), TRUTH, a_map([0, 1], [1, 1])), Sample(5, image(2), TRUTH, a_map([0, 1], [2, 0]))),
    {0: "background", 1: "disk", 2: HOSTILE},
    ignored=255,
)


@pytest.fixture
def evidence(tmp_path, plan, planned, record):
    """Function of variant -> samples of its seed 0, or the content of its file."""

    def build(kept, *, seeds=(0,), records=None):
        variants = [planned(name, is_baseline=name == "baseline", changes={"arch.depth": 3}) for name in kept]
        for name, samples in kept.items():
            if samples is None:
                continue
            folder = tmp_path / "trials" / f"{name}-0"
            folder.mkdir(parents=True)
            with open(folder / "samples.npz", "wb") as stream:
                stream.write(samples) if isinstance(samples, bytes) else write_samples(stream, samples)
        made = plan(*variants, seeds=list(seeds), metric="top1")
        found = [record(name, seed, 90.0) for name in kept for seed in seeds] if records is None else records
        return Evidence(Run(tmp_path, made, tuple(found)), ablation_table(made, found))

    return build


def drawn(evidence):
    figure = draw(evidence)
    assert figure is not None
    return figure, ElementTree.fromstring(figure_svg(figure))


def texts(picture):
    return [node.text for node in picture.iter(f"{SVG}text")]


def pixels_of(picture):
    """Every image of the picture, as RGBA at its first corner of each of 2 x 2 pixels."""
    found = []
    addresses = {f"#{node.get('id')}": node.attrib[HREF] for node in picture.iter(f"{SVG}image")}
    for node in (each for each in picture if each.tag in (f"{SVG}image", f"{SVG}use")):
        address = addresses.get(node.attrib[HREF], node.attrib[HREF])
        png = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA")
        array = np.asarray(png)
        found.append(array[:: len(array) // 2, :: array.shape[1] // 2].tolist())
    return found


def test_rows_are_image_truth_baseline_and_arms_on_the_same_images(evidence):
    figure, picture = drawn(evidence({"arm": MAPS, "baseline": MAPS}))
    names = [text for text in texts(picture) if text in ("image", "ground truth", "baseline", "arm")]
    assert names == ["image", "ground truth", "baseline", "arm"]
    assert texts(picture)[:3] == ["image", "image 0", "image 5"]
    assert "seed 0: top1 90.0" in texts(picture)
    # One image a cell, and a layer of colours in all rows but the first.
    assert len(pixels_of(picture)) == 2 + 3 * 2 * 2
    assert figure_spec(figure) is None
    # Of each image one in colour and one in grey, of the truth and each prediction a layer: equal ones are shared.
    assert len(list(picture.iter(f"{SVG}image"))) == 2 + 2 + 1 + 2


def test_classes_of_pixels_have_the_colours_of_the_legend(evidence):
    """The background has none; what is not counted is white; an image under colours is grey."""
    _, picture = drawn(evidence({"baseline": MAPS}))
    found = pixels_of(picture)
    assert found[0] == [[[1, 1, 1, 255]] * 2] * 2
    truth = found[3]
    opacity = truth[0][1][3]
    assert 100 < opacity < 255
    one, other = ([*rgb(colour), opacity] for colour in PALETTE[:2])
    assert truth == [[[0, 0, 0, 0], one], [other, [255, 255, 255, opacity]]]
    assert {"disk", "no colour: background", "not counted"} <= set(texts(picture))


def test_hostile_names_are_text(evidence):
    _, picture = drawn(evidence({"baseline": MAPS, HOSTILE: MAPS}))
    assert {node.tag.removeprefix(SVG) for node in picture.iter()} == {"svg", "rect", "text", "image", "use"}
    assert all(node.attrib[HREF].startswith("#image") for node in picture.iter(f"{SVG}use"))
    assert all(node.attrib[HREF].startswith("data:image/png;base64,") for node in picture.iter(f"{SVG}image"))
    assert any("<script>" in (text or "") for text in texts(picture))
    assert not any("\u202e" in (text or "") for text in texts(picture))


def test_boxes_have_the_place_the_name_and_the_score_of_their_object(evidence):
    """An image of 20 x 10 pixels is drawn 236 x 118 large; a detector that finds nothing leaves its image bare."""
    mask = np.zeros((1, 10, 20), dtype=bool)
    mask[0, 2:5, 4:10] = True
    truth = some_objects(((4, 2, 10, 5), 1, NAN), masks=mask)
    found = some_objects(((5, 2, 10, 5), 0, 0.875), masks=mask)
    names = {0: "disk", 1: "square"}
    seen = Samples("objects", (Sample(3, image(size=(10, 20)), truth, found),), names, least_score=0.5)
    none = some_objects(masks=np.zeros((0, 10, 20), dtype=bool))
    blind = Samples("objects", (Sample(3, image(size=(10, 20)), truth, none),), names, least_score=0.5)
    figure, picture = drawn(evidence({"baseline": seen, "arm": blind}))
    boxes = [node.attrib for node in picture.iter(f"{SVG}rect") if node.attrib.get("stroke") in PALETTE]
    cell = next(node.attrib for node in picture.iter(f"{SVG}image"))
    assert (float(cell["width"]), float(cell["height"])) == (236, 118)
    of_truth, of_found = boxes
    assert float(of_truth["x"]) - float(cell["x"]) == pytest.approx(4 * 11.8)
    assert float(of_truth["y"]) - float(cell["y"]) == pytest.approx(2 * 11.8)
    assert (float(of_truth["width"]), float(of_truth["height"])) == pytest.approx((6 * 11.8, 3 * 11.8))
    assert float(of_found["width"]) == pytest.approx(5 * 11.8)
    assert (of_truth["stroke"], of_found["stroke"]) == (PALETTE[1], PALETTE[0])
    assert {"square", "disk 0.88"} <= set(texts(picture))
    assert "at least 0.5" in figure.caption
    assert figure_csv(figure).splitlines() == [
        "variant,seed,image,class,score,left,top,right,bottom,mask_pixels",
        "ground truth,,3,square,,4.0,2.0,10.0,5.0,18",
        "baseline,0,3,disk,0.875,5.0,2.0,10.0,5.0,18",
    ]


def test_classes_of_images_are_framed_by_whether_they_are_right(evidence):
    samples = tuple(Sample(index, image(), OneClass(1), OneClass(label, 0.25)) for index, label in enumerate((1, 0)))
    figure, picture = drawn(evidence({"baseline": Samples("one_class", samples, {1: "cat"})}))
    frames = [node.attrib for node in picture.iter(f"{SVG}rect") if node.attrib.get("stroke") in (BLUE, ORANGE)]
    assert [(frame["stroke"], "stroke-dasharray" in frame) for frame in frames] == [(BLUE, False), (ORANGE, True)]
    assert [text for text in texts(picture) if "cat" in text or "class" in text] == [
        *("cat", "cat", "cat (0.25)", "class 0 (0.25)")
    ]
    assert figure.frame.to_dict("list")["class"] == ["cat", "class 0"]


def test_the_csv_counts_right_pixels(evidence):
    """Of four pixels one is not counted."""
    figure, _ = drawn(evidence({"baseline": MAPS}))
    assert figure_csv(figure) == (
        "variant,seed,image,right_pixels,counted_pixels\nbaseline,0,0,2,3\nbaseline,0,5,3,3\n"
    )


def test_a_file_that_cannot_be_read_leaves_blank_cells_and_a_note(evidence):
    other = Samples("one_class", (Sample(0, image(), OneClass(1), OneClass(0, 0.5)),))
    figure, picture = drawn(evidence({"baseline": b"PK", "arm": MAPS, "pruned": None, "other": other}))
    found = texts(picture)
    assert [found.count(text) for text in ("not readable", "none kept", "other kind")] == [2, 2, 2]
    assert figure.notes == ("Samples that are not readable, or not of this task, and left blank: baseline, other.",)


def test_an_image_that_an_arm_has_not_kept_is_blank(evidence):
    fewer = Samples(MAPS.kind, MAPS.samples[1:], MAPS.names, MAPS.ignored)
    _, picture = drawn(evidence({"baseline": MAPS, "arm": fewer}))
    assert texts(picture).count("not kept") == 1


def test_the_first_completed_seed_is_drawn(evidence, record, tmp_path):
    records = [record("baseline", 0), record("baseline", 1, 91.0)]
    made = evidence({"baseline": MAPS}, seeds=(0, 1), records=records)
    assert draw(made) is None  # seed 0 failed, whatever is in its folder
    (tmp_path / "trials" / "baseline-0").rename(tmp_path / "trials" / "baseline-1")
    _, picture = drawn(made)
    assert "seed 1: top1 91.0" in texts(picture)


def test_large_studies_are_cut_and_say_so(evidence):
    many = Samples("label_map", tuple(Sample(at, image(), TRUTH, TRUTH) for at in range(12)), ignored=255)
    kept = {"baseline": many} | {f"arm {at}": many for at in range(10)}
    figure, picture = drawn(evidence(kept))
    assert figure.notes == (
        "The first 9 of 11 variants are drawn.",
        "6 of the 12 images that are kept are drawn; the CSV holds all.",
    )
    assert [text for text in texts(picture) if text.startswith("arm")] == [f"arm {at}" for at in range(8)]
    assert [text for text in texts(picture) if text.startswith("image ")] == [f"image {at}" for at in range(0, 12, 2)]
    assert len(figure.frame) == 9 * 12


def test_a_foreign_trial_id_leads_nowhere_else(evidence, record, tmp_path):
    (tmp_path / "samples.npz").write_bytes(b"")
    assert draw(evidence({"baseline": None}, records=[record("baseline", 0, 1.0, trial_id="../..")])) is None


def test_colours_are_given_to_classes_that_occur_and_repeat_at_the_end():
    few = colours_of([9, 3, 3], {3: "background", 9: "thing"})
    assert (few.colours, few.bare, few.name(9), few.name(4)) == ({9: PALETTE[0]}, {3}, "thing", "class 4")
    many = colours_of(range(NUM_COLOURS + 1), {}).colours
    assert len(set(many.values())) == NUM_COLOURS
    assert many[NUM_COLOURS] == many[0]


@pytest.mark.parametrize(("colour", "text"), [("#ffffff", "#000000"), ("#000000", "#ffffff"), (BLUE, "#ffffff")])
def test_text_has_contrast_on_its_colour(colour, text):
    assert text_on(colour) == text
