"""The survey of text: classes, numbers of words, duplicates between the splits."""

from __future__ import annotations

import pytest

from runners.data.survey.report import survey_lines
from runners.data.survey.survey import look_at_dataset, survey_dataset
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.task import TextSpec

TRAIN = [("a good film", "pos"), ("a bad film", "neg"), ("so so", "mixed"), ("a bad film", "neg")]


def survey(root, train, test, look=look_at_dataset):
    folder = root / "films"
    folder.mkdir()
    for name, rows in (("train", train), ("test", test)):
        (folder / f"{name}.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    task = TextSpec.model_validate({"dataset": "text/films", "val_fraction": 0.25})
    return look(task, Resources(data_dir=str(root)))


def test_classes_lengths_and_duplicates_are_counted(tmp_path):
    found = survey(tmp_path, TRAIN, [("so so", "mixed"), ("good", "pos"), ("fine", "pos")])
    assert list(survey_lines(found)) == [
        "text/films (train.csv, test.csv)",
        "                     texts  classes  most frequent     sizes (1 x words)",
        "  train (train.csv)      4        3         50.0 %  1 x 3 (3), 1 x 2 (1)",
        "  test (test.csv)        3        2         66.7 %  1 x 1 (2), 1 x 2 (1)",
        "  validation: 1 of the training texts are held out",
        "  texts are read as at most 128 of 4000 tokens",
        "  in both splits: 1 of the test texts, 1 of the training texts",
        "  repeats of a text of the same split: 1 training texts, 0 test texts",
        "  class    train  test",
        "  0 mixed      1     1",
        "  1 neg        2     0",
        "  2 pos        1     2",
        "  note: 1 of 3 test texts is also among the training texts: line 4 = line 2",
        "  note: no test text is of the class neg",
    ]


def test_a_test_split_that_is_trained_on_is_refused(tmp_path):
    with pytest.raises(SpecError) as caught:
        survey(tmp_path, TRAIN, TRAIN[:2], look=survey_dataset)
    assert str(caught.value) == (
        "task.dataset: dataset 'text/films': all texts of test.csv are also in train.csv: "
        "line 2 = line 2, line 3 = line 3\n  test on texts that are not trained on"
    )


def test_drawn_texts_have_about_equally_many_of_each_class():
    found = look_at_dataset(TextSpec.model_validate({}), Resources())
    assert sum(found.train.counts) == 8000
    assert sum(found.test.counts) == 1000
    assert found.test.majority == pytest.approx(0.25, abs=0.05)
