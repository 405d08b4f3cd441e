"""WordPiece: a vocabulary of words and pieces of words, trained on texts or read from a vocab.txt, and texts as ids.

Source:   BERT, Devlin et al. 2019, arXiv:1810.04805, and its published description of the tokenizer: text is cleaned,
          optionally lower-cased with accents removed, and cut at white space and punctuation (Chinese characters by
          themselves); a word becomes the longest pieces of the vocabulary from the left, `##` before those inside.
Training: pairs of neighbouring pieces are merged by their number, the most frequent first, as `tokenizers` trains it.
Differs:  equal numbers are merged in the order of their pieces. The trainer of `tokenizers` leaves their order to the
          hashing of the process: two trainings on the same texts give two vocabularies, and numbers that cannot be
          repeated.
"""

from __future__ import annotations

import functools
import heapq
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

__all__ = ["SPECIAL", "WordPiece", "train_vocabulary", "words_of"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The first tokens of a trained vocabulary; padding is 0."""
_LONGEST_WORD = 100
_INSIDE = "##"
Piece = tuple[str, str]


class WordPiece:
    """Texts -> ids by a vocabulary.

    Args:
        tokens: in the order of their ids; all of `SPECIAL` but [MASK] are among them.
        lower: whether texts are lower-cased, and accents removed.
    """

    def __init__(self, tokens: Sequence[str], *, lower: bool) -> None:
        self._ids = {token: at for at, token in enumerate(tokens)}
        self._lower = lower
        self._unknown, self._cls, self._sep = (self._ids[token] for token in SPECIAL[1:4])
        self._pieces = functools.lru_cache(maxsize=None)(self._cut)

    def ids(self, text: str) -> list[int]:
        """Ids of the pieces of a text, without special tokens."""
        return [piece for word in words_of(text, lower=self._lower) for piece in self._pieces(word)]

    def encode(self, text: tuple[str, ...], max_length: int) -> tuple[list[int], list[int]]:
        """Ids and sentence numbers of `CLS first SEP` or `CLS first SEP second SEP`.

        Texts of more than `max_length` tokens lose tokens at their ends, of a pair the longer sentence first.
        """
        sentences = [self.ids(sentence) for sentence in text]
        budget = max_length - 1 - len(sentences)
        while sum(map(len, sentences)) > budget:
            longest = max(reversed(sentences), key=len)  # the second of two that are equally long
            longest.pop()
        ids, numbers = [self._cls], [0]
        for number, sentence in enumerate(sentences):
            ids += [*sentence, self._sep]
            numbers += [number] * (len(sentence) + 1)
        return ids, numbers

    def _cut(self, word: str) -> tuple[int, ...]:
        if len(word) > _LONGEST_WORD:
            return (self._unknown,)
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._ids.get((_INSIDE if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                return (self._unknown,)
            found.append(piece)
            start = end
        return tuple(found)


def words_of(text: str, *, lower: bool) -> list[str]:
    """Words and punctuation marks of a text, as BERT cuts it."""
    if lower:
        text = unicodedata.normalize("NFD", text)
        text = "".join(char for char in text if unicodedata.category(char) != "Mn").lower()
    spaced: list[str] = []
    for char in text:
        if char.isspace():
            spaced.append(" ")
        elif ord(char) in (0, 0xFFFD) or unicodedata.category(char).startswith("C"):
            continue
        elif _is_a_word(char):
            spaced.append(f" {char} ")
        else:
            spaced.append(char)
    return "".join(spaced).split()


def train_vocabulary(texts: Iterable[tuple[str, ...]], *, size: int, lower: bool) -> list[str]:
    """At most `size` tokens: the special ones, characters, merged pieces; fewer where nothing is left to merge.

    More characters than fit are left out, the rarest first, and are unknown.
    """
    counts = Counter(word for text in texts for sentence in text for word in words_of(sentence, lower=lower))
    words = sorted(word for word in counts if len(word) <= _LONGEST_WORD)
    pieces = [[word[0], *(_INSIDE + char for char in word[1:])] for word in words]
    numbers = [counts[word] for word in words]
    letters: Counter[str] = Counter()
    for word, number in zip(pieces, numbers, strict=True):
        for piece in word:
            letters[piece] += number
    alphabet = sorted(letters, key=lambda piece: (-letters[piece], piece))[: size - len(SPECIAL)]
    tokens = dict.fromkeys((*SPECIAL, *sorted(alphabet)))
    for merged in _merges(pieces, numbers):
        if len(tokens) >= size:
            break
        tokens[merged] = None
    return list(tokens)


def _merges(words: list[list[str]], numbers: list[int]) -> Iterable[str]:
    """Merged pieces, those of the most frequent pair first; changes `words`."""
    counts: Counter[Piece] = Counter()
    owners: dict[Piece, set[int]] = defaultdict(set)
    for at, word in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += numbers[at]
            owners[pair].add(at)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    while heap:
        count, pair = heapq.heappop(heap)
        if counts[pair] != -count:  # it has another number by now, and is further back
            continue
        if count == 0:
            return
        merged = pair[0] + pair[1].removeprefix(_INSIDE)
        changed: set[Piece] = set()
        for at in sorted(owners.pop(pair)):
            changed |= _merge(words, at, pair, merged, numbers[at], counts, owners)
        yield merged
        for other in changed:
            heapq.heappush(heap, (-counts[other], other))


def _merge(
    words: list[list[str]],
    at: int,
    pair: Piece,
    merged: str,
    number: int,
    counts: Counter[Piece],
    owners: dict[Piece, set[int]],
) -> set[Piece]:
    """Merge a pair in one word; returns the pairs whose numbers have changed."""
    before, word, after, index = words[at], words[at], [], 0
    while index < len(word):
        if index + 1 < len(word) and (word[index], word[index + 1]) == pair:
            after.append(merged)
            index += 2
        else:
            after.append(word[index])
            index += 1
    words[at] = after
    old, new = (list(pairwise(each)) for each in (before, after))
    for each in old:
        counts[each] -= number
        owners[each].discard(at)
    for each in new:
        counts[each] += number
        owners[each].add(at)
    return set(old) | set(new)


def _is_a_word(char: str) -> bool:
    """Punctuation, all ASCII signs that are no letters or digits, and Chinese characters."""
    code = ord(char)
    if 33 <= code <= 126 and not char.isalnum():
        return True
    return unicodedata.category(char).startswith("P") or any(low <= code <= high for low, high in _CHINESE)


_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
