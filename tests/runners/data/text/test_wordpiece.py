"""WordPiece: the vocabulary by hand, and texts as `tokenizers` 0.23.3 encodes them with the same vocabulary."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runners.data.text.wordpiece import SPECIAL, WordPiece, train_vocabulary, words_of

TEXTS = [("low low low lower", "newest"), ("newest newest lowest",)]


def test_pieces_are_merged_by_their_numbers_and_equal_ones_in_order():
    """By hand. Words: low 3, lower 1, newest 3, lowest 1. lo and ow are the most frequent pairs, 5 times each."""
    tokens = train_vocabulary(TEXTS, size=100, lower=True)
    letters = ["##e", "##o", "##r", "##s", "##t", "##w", "l", "n"]
    assert tokens[:13] == [*SPECIAL, *letters]
    # ("##o", "##w") and ("l", "##o") are 5 times there; "#" is before "l". Then "l" "##ow" is 5 times there.
    # Then 4: ("##e", "##s"), then ("##es", "##t"). Then 3: ("##e", "##w"), ...
    assert tokens[13:18] == ["##ow", "low", "##es", "##est", "##ew"]
    assert {"newest", "lower", "lowest"} <= set(tokens)
    assert len(tokens) == len(set(tokens))


def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one():
    large = train_vocabulary(TEXTS, size=100, lower=True)
    assert train_vocabulary(TEXTS, size=16, lower=True) == large[:16]


@pytest.mark.slow
def test_a_vocabulary_is_the_same_in_every_process():
    """Hashes of strings differ between processes; the order of pieces must not depend on them."""
    code = (
        "from runners.data.text.wordpiece import train_vocabulary\n"
        "texts = [(' '.join(f'{a * b:x}{a}' for a in range(40)),) for b in range(30)]\n"
        "print(train_vocabulary(texts, size=300, lower=True))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


VOCABULARY = [*SPECIAL, "un", "##aff", "##able", "cafe", "Cafe", "!", ",", "the", "a", "##b", "中", "'", "s"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("unaffable!", [5, 6, 7, 10]),
        ("The Café, the cafe", [12, 8, 11, 12, 8]),
        ("unaffordable", [1]),
        ("中中a", [15, 15, 13]),
        ("a\tb\u00a0ab", [13, 1, 13, 14]),
        ("a\u200bb it's", [13, 14, 1, 16, 17]),
        ("", []),
        ("a" + "b" * 99, [13] + [14] * 99),
        ("a" + "b" * 100, [1]),
    ],
)
def test_texts_become_the_ids_of_the_library(text, ids):
    assert WordPiece(VOCABULARY, lower=True).ids(text) == ids


def test_without_lower_casing_case_and_accents_stay():
    assert words_of("Café THE", lower=False) == ["Café", "THE"]
    assert WordPiece(VOCABULARY, lower=False).ids("Cafe cafe") == [9, 8]


def test_pairs_have_two_sentences_with_a_mark_after_each():
    cut = WordPiece(VOCABULARY, lower=True)
    assert cut.encode(("the cafe", "a"), 16) == ([2, 12, 8, 3, 13, 3], [0, 0, 0, 0, 1, 1])
    assert cut.encode(("the cafe",), 16) == ([2, 12, 8, 3], [0, 0, 0, 0])


def test_the_longer_sentence_of_a_pair_is_cut_first():
    """BERT's own rule: tokens are taken from the longer one, of equal ones from the second."""
    cut = WordPiece(VOCABULARY, lower=True)
    assert cut.encode(("the cafe the the", "a a"), 7)[0] == [2, 12, 8, 3, 13, 13, 3]
    assert cut.encode(("the cafe", "a a"), 6)[0] == [2, 12, 8, 3, 13, 3]
    assert cut.encode(("the cafe the",), 4)[0] == [2, 12, 8, 3]
