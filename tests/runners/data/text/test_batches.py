"""Batches of text: every text once, in an order of the seed, cut to the longest; vocabularies; the fingerprint."""

from __future__ import annotations

import pytest
import torch

from runners.data import describe_dataset, load_data
from runners.data.fingerprint import fingerprint
from runners.data.text.batches import unpadded
from runners.machine.file_digests import user_file_digests
from search_space.parsing.errors import SpecError
from search_space.schema.resources import Resources
from search_space.schema.task import TextSpec
from search_space.schema.trial import TrainSpec

CPU = torch.device("cpu")
SMALL = {"name": "builtin/recall", "num_train": 40, "num_test": 23}


def load(dataset=SMALL, *, data_dir=None, seed=0, val_fraction=0.0, share=None, **train):
    task = TextSpec.model_validate({"dataset": dataset, "val_fraction": val_fraction})
    resources = Resources(data_dir=None if data_dir is None else str(data_dir))
    spec = TrainSpec(**{"batch_size": 8, "recalibrate_bn": 2, **train})
    info = describe_dataset(task, resources)
    return load_data(task, spec, resources, CPU, img_size=info.img_size, seed=seed, share=share)


def rows(batches):
    return sorted(
        (*text[0].tolist(), label)
        for texts, labels in batches
        for text, label in zip(padded(texts), labels.tolist(), strict=True)
    )


def padded(texts):
    return torch.nn.functional.pad(texts, (0, 40 - texts.shape[2]))


def test_an_epoch_has_every_text_once_and_depends_on_seed_and_number():
    data = load(val_fraction=0.2)
    first = rows(data.train.epoch(1))
    assert len(set(first)) == 32
    assert first == rows(data.train.epoch(2)) == rows(load(val_fraction=0.2, seed=5).train.epoch(1))
    batches = [
        next(iter(each.epoch(number)))[0] for each, number in ((data.train, 1), (data.train, 1), (data.train, 2))
    ]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(padded(batches[0]), padded(batches[2]))
    assert data.val is not None
    assert len(set(rows(data.val)) - set(first)) == 8


def test_a_batch_is_as_long_as_its_longest_text_and_evaluation_keeps_the_order():
    data = load()
    sizes = [len(labels) for _, labels in data.test]
    assert sizes == [8, 8, 7]
    for texts, labels in data.test:
        assert (texts.dtype, texts.shape[1], labels.dtype) == (torch.int64, 3, torch.int64)
        assert texts[:, 2, -1].any()
    assert (data.info.img_size, data.info.vocabulary, data.info.num_classes) == ((1, 40), 25, 4)


def test_processes_share_a_batch():
    """Of two processes each gets every second text."""
    shards = [load(share=lambda size, rank=rank: torch.arange(rank, size, 2)) for rank in range(2)]
    assert sorted(rows(shards[0].test) + rows(shards[1].test)) == rows(load().test)
    one, two, whole = (next(iter(each.train.epoch(1))) for each in (*shards, load()))
    assert torch.equal(one[0], whole[0][::2])
    assert torch.equal(two[1], whole[1][1::2])


def test_texts_without_their_padding():
    texts = next(iter(load().test))[0]
    for text, alone in zip(texts, unpadded(texts), strict=True):
        length = int(text[2].sum())
        assert torch.equal(alone, text[None, :, :length])


def test_tables_become_tokens_of_the_vocabulary_of_the_training_split(films):
    data = load("text/films", data_dir=films)
    assert (data.info.num_train, data.info.num_test, data.info.num_classes) == (4, 3, 2)
    assert (data.info.img_size, data.info.vocabulary) == ((1, 128), 4000)
    (texts, labels), *_ = data.test
    assert texts[0, 0, 0] == 2
    assert texts[0, 0, texts[0, 2].sum() - 1] == 3
    assert labels.tolist() == [1, 0, 0]


def test_a_vocab_txt_is_read_and_counts_as_data(films):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "a", "film"]
    path = films / "vocab.txt"
    path.write_text("\n".join(words) + "\n")
    dataset = {"name": "text/films", "tokenizer": "vocab.txt"}
    data = load(dataset, data_dir=films)
    assert data.info.vocabulary == 8
    (texts, _), *_ = data.test
    assert texts[:, 0].tolist() == [[2, 4, 3, 0], [2, 5, 3, 0], [2, 6, 7, 3]]

    def digest():
        task = TextSpec.model_validate({"dataset": dataset})
        return fingerprint(task, Resources(data_dir=str(films)), user_file_digests()).digest

    before = digest()
    path.write_text("\n".join([*words, "more"]) + "\n")
    assert digest() != before
    path.write_text("good\nbad\n")
    with pytest.raises(SpecError, match=r"vocab\.txt has no \[PAD\], \[UNK\], \[CLS\], \[SEP\]"):
        load(dataset, data_dir=films)
    path.unlink()
    with pytest.raises(SpecError, match=r"vocab\.txt does not exist, which tokenizer names"):
        load(dataset, data_dir=films)


def test_a_trained_vocabulary_is_kept_by_content(films, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("ARCHSWEEP_CACHE", str(cache))
    first = next(iter(load("text/films", data_dir=films).test))[0]
    (kept,) = (cache / "vocabularies").iterdir()
    kept.write_text(kept.read_text().replace("[MASK]", "[MUSK]"))
    assert torch.equal(next(iter(load("text/films", data_dir=films).test))[0], first)
    assert "[MUSK]" in kept.read_text()  # read, and not trained again
    load({"name": "text/films", "vocabulary": 50}, data_dir=films)
    assert len(list((cache / "vocabularies").iterdir())) == 2
    kept.write_text("damaged")
    assert torch.equal(next(iter(load("text/films", data_dir=films).test))[0], first)


def test_a_changed_table_has_another_fingerprint(films):
    task = TextSpec.model_validate({"dataset": "text/films"})
    before = fingerprint(task, Resources(data_dir=str(films)), user_file_digests()).digest
    (films / "films" / "test.csv").write_text("text,label\ngood,neg\n")
    assert fingerprint(task, Resources(data_dir=str(films)), user_file_digests()).digest != before
