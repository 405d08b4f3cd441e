"""`builtin/recall`: every sentence answers its question, and nothing but the pair does."""

from __future__ import annotations

from collections import Counter

import torch

from runners.data.text.recall import draw_recall

KEYS, VALUES, FILLERS = range(5, 13), range(13, 17), range(17, 25)


def sentences(num=400, *, split=0, seed=0, max_length=40):
    drawn = draw_recall(num, split=split, max_length=max_length, seed=seed)
    rows = zip(drawn.tokens, drawn.lengths.tolist(), drawn.labels.tolist(), strict=True)
    return [(tokens[0, :length].tolist(), label) for tokens, length, label in rows]


def test_sentences_are_pairs_with_fillers_and_a_question_that_one_pair_answers():
    numbers, fillers = Counter(), Counter()
    for ids, label in sentences():
        assert (ids[0], ids[-1], ids[-3]) == (2, 3, 3)
        body, asked = ids[1:-3], ids[-2]
        keys = [at for at, token in enumerate(body) if token in KEYS]
        assert keys[0] == 0
        assert len({body[at] for at in keys}) == len(keys)
        assert all(body[at + 1] in VALUES for at in keys)
        gaps = [end - start - 2 for start, end in zip(keys, [*keys[1:], len(body)], strict=True)]
        assert sum(token in FILLERS for token in body) == sum(gaps)
        numbers[len(keys)] += 1
        fillers.update(gaps)
        (answer,) = (body[at + 1] for at in keys if body[at] == asked)
        assert label == answer - 13
    assert set(numbers) == {3, 4, 5, 6}
    assert set(fillers) == {0, 1, 2}


def test_classes_are_about_equally_frequent():
    """1,000 draws of four classes: 250 each with a standard deviation of 13.7."""
    counts = Counter(label for _, label in sentences(1000))
    assert set(counts) == {0, 1, 2, 3}
    assert all(abs(count - 250) < 5 * 13.7 for count in counts.values())


def test_padding_is_zero_and_marked_and_there_is_one_sentence():
    drawn = draw_recall(50, split=0, max_length=40, seed=0)
    kept = drawn.tokens[:, 2].bool()
    assert torch.equal(kept, torch.arange(40) < drawn.lengths[:, None])
    assert drawn.tokens[:, 0][~kept].eq(0).all()
    assert drawn.tokens[:, 0][kept].ge(2).all()
    assert drawn.tokens[:, 1].eq(0).all()
    assert int(drawn.lengths.max()) <= 28


def test_a_sentence_depends_on_seed_split_and_number_only():
    assert sentences(5) == sentences(20)[:5]
    assert sentences(5, max_length=28) == sentences(5)
    assert sentences(5, split=1) != sentences(5)
    assert sentences(5, seed=1) != sentences(5)


def test_the_first_sentence_is_frozen():
    """As drawn when the dataset was added: another one would be another dataset under the same name."""
    assert sentences(1) == [FIRST]


FIRST = ([2, 12, 16, 17, 24, 8, 14, 10, 14, 3, 12, 3], 3)
