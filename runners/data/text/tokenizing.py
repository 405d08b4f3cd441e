"""Texts of a dataset -> tokens: the vocabulary trained on its training split (kept by content), or a vocab.txt.

A trained vocabulary depends on the texts of the whole training split and on two options; it is the same in every
process and on every machine. It is kept in the user's cache, because training takes seconds on large datasets.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from results.store.files import atomic_write
from runners.data.text.splits import Texts, Tokens
from runners.data.text.tables import table_problem
from runners.data.text.wordpiece import SPECIAL, WordPiece, train_vocabulary
from runners.machine.user_cache import default_directory, vocabularies
from search_space.parsing.errors import SpecError

__all__ = ["tokenized", "vocabulary_file", "vocabulary_size"]

_INT16_MAX = 32_767


def vocabulary_file(dataset: Any, data_dir: str | None) -> Path | None:
    """The vocab.txt that the dataset names; None where one is trained."""
    return None if dataset.tokenizer is None else Path(data_dir or ".") / dataset.tokenizer


def vocabulary_size(dataset: Any, data_dir: str | None) -> int:
    """Number of token ids: of a trained vocabulary as many as asked for, although texts may fill fewer."""
    path = vocabulary_file(dataset, data_dir)
    return dataset.vocabulary if path is None else len(_read(path))


def tokenized(dataset: Any, data_dir: str | None, train: Texts, test: Texts) -> tuple[Tokens, Tokens]:
    """Both splits as tokens.

    Raises:
        SpecError: the vocab.txt is missing, or is none.
    """
    path = vocabulary_file(dataset, data_dir)
    tokens = _trained(train, size=dataset.vocabulary, lower=dataset.lower) if path is None else _read(path)
    cut = WordPiece(tokens, lower=dataset.lower)
    first, second = (_tokens(split, cut, tuple(tokens), dataset.max_length) for split in (train, test))
    return first, second


def _tokens(split: Texts, cut: WordPiece, vocabulary: tuple[str, ...], max_length: int) -> Tokens:
    narrow = torch.int16 if len(vocabulary) <= _INT16_MAX else torch.int32
    found = torch.zeros(len(split), 3, max_length, dtype=narrow)
    values = found.numpy()
    for row, text in zip(values, split.texts, strict=True):
        ids, sentences = cut.encode(text, max_length)
        row[0, : len(ids)], row[1, : len(ids)], row[2, : len(ids)] = ids, sentences, 1
    labels = torch.from_numpy(split.labels)
    return Tokens(found, labels if split.labels.dtype == np.int64 else labels.float(), vocabulary)


def _trained(split: Texts, *, size: int, lower: bool) -> list[str]:
    directory = default_directory()
    digest = hashlib.sha256(f"wordpiece 1 {size} {lower}".encode())
    for text in split.texts:
        digest.update("\0".join((*text, "")).encode(errors="surrogatepass"))
    path = None if directory is None else vocabularies(directory) / f"{digest.hexdigest()[:32]}.txt"
    if path is not None and path.is_file():
        try:
            return _read(path)
        except SpecError:  # damaged: trained again
            pass
    tokens = train_vocabulary(split.texts, size=size, lower=lower)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, "".join(f"{token}\n" for token in tokens))
        except (OSError, SpecError):
            pass  # a cache that cannot be written costs time only
    return tokens


def _read(path: Path) -> list[str]:
    """Tokens of a vocab.txt, one a line.

    Raises:
        SpecError: it is missing, or has no special tokens, or has one twice.
    """
    hint = f"a vocab.txt has a token a line, {', '.join(SPECIAL[:4])} among them, as the files of BERT"
    try:
        tokens = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as err:
        raise table_problem(path, "does not exist, which tokenizer names", hint) from err
    except (OSError, UnicodeDecodeError) as err:
        raise table_problem(path, f"cannot be read as text: {err}", hint) from err
    tokens = [token.removesuffix("\r") for token in (tokens[:-1] if tokens[-1] == "" else tokens)]
    if missing := [token for token in SPECIAL[:4] if token not in tokens]:
        raise table_problem(path, f"has no {', '.join(missing)}", hint)
    if len(set(tokens)) < len(tokens):
        twice = next(token for at, token in enumerate(tokens) if token in tokens[:at])
        raise table_problem(path, f"has the token {twice!r} twice", hint)
    return tokens
