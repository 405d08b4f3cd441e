"""A second look at a dataset decodes what changed only."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from PIL import Image

from runners.data.readers import image_facts
from runners.data.survey.survey import survey_dataset
from search_space import Resources, SpecError
from search_space.schema.trial import ClassificationSpec, TimmDatasetSpec

TASK = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/toy"))


@pytest.fixture
def decoded(monkeypatch, tmp_path):
    """Sizes (width, height) of the images that are decoded; every survey begins as in a new process."""
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(tmp_path / "cache"))
    found = []
    digest = image_facts.pixel_digest

    def recorded(image):
        found.append(image.size)
        return digest(image)

    monkeypatch.setattr(image_facts, "pixel_digest", recorded)
    return found


@pytest.fixture
def survey(png_folder):
    def survey_(**options):
        image_facts.forget()
        return survey_dataset(TASK, Resources(data_dir=str(png_folder)), **options)

    yield survey_
    image_facts.forget()


@pytest.mark.thorough
def test_a_second_look_decodes_what_changed_only(survey, decoded, png_folder):
    time.sleep(2.1)  # files of this moment are decoded again next time
    first = survey()
    assert len(decoded) == 16
    decoded.clear()
    assert survey() == first
    assert decoded == []
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(png_folder / "toy/train/dog/0.png")
    assert survey().train.sizes == {(12, 10): 11, (5, 7): 1}
    assert decoded == [(7, 5)]


@pytest.mark.thorough
def test_a_file_that_could_not_be_read_is_read_again(survey, decoded, png_folder):
    path = png_folder / "toy/train/dog/0.png"
    content = path.read_bytes()
    path.write_bytes(content[:150])
    time.sleep(2.1)
    for _ in range(2):
        with pytest.raises(SpecError, match="1 image of the split 'train' cannot be read"):
            survey()
    path.write_bytes(content)
    assert survey().train.images == 12


def test_a_look_at_many_files_is_announced(survey, decoded, monkeypatch):
    monkeypatch.setattr(image_facts, "_MANY", 5)
    said = []
    survey(say=said.append)
    assert len(said) == 1  # the test split has 4
    assert said[0].startswith("decoding 12 images of ")


def test_copies_in_other_formats_are_the_same_image(survey, decoded, png_folder):
    """Equal pixels: a BMP of a PNG, and a grey image of three equal channels."""
    toy = png_folder / "toy"
    Image.open(toy / "train/cat/0.png").save(toy / "validation/cat/7.bmp")
    grey = Image.fromarray(np.arange(120, dtype=np.uint8).reshape(12, 10))
    grey.save(toy / "train/dog/8.png")
    grey.convert("RGB").save(toy / "validation/dog/9.png")
    found = survey()
    assert (found.duplicates.train, found.duplicates.test) == (2, 2)
    assert found.notes == (
        "2 of 6 test images are also among the training images: train/cat/0.png = validation/cat/7.bmp, "
        "train/dog/8.png = validation/dog/9.png",
    )


def test_repeats_within_a_split_are_counted(survey, decoded, png_folder):
    folder = png_folder / "toy/train/cat"
    (folder / "7.png").write_bytes((folder / "0.png").read_bytes())
    found = survey()
    assert (found.duplicates.within_train, found.duplicates.within_test, found.duplicates.test) == (1, 0, 0)


def test_a_pipe_is_no_image(survey, decoded, png_folder):
    """Opening it would wait for a writer."""
    os.mkfifo(png_folder / "toy/train/cat/9.png")
    with pytest.raises(SpecError, match=r"9\.png: it is no file"):
        survey()
