"""What a seed decides, as sentences for readers: below a table, and in a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from results.plan.comparison import SeedSources
from search_space.schema.training.seeding import SOURCE_NAMES

__all__ = ["draws_test_splits", "seed_source_sentences", "sources_as_text"]


def seed_source_sentences(sources: SeedSources) -> Iterator[str]:
    """What a seed decides, where that is not the default."""
    fixed = [SOURCE_NAMES[name] for name in SOURCE_NAMES if name not in sources.vary and name != "split"]
    fixed += [] if "split" in sources.vary else ["the data splits"]
    rest = f"; {_listed(fixed)} {'are' if len(fixed) > 1 else 'is'} the same for all seeds" if fixed else ""
    if sources.crossed:
        levels = " x ".join(f"{number} of {_name(name, sources)}" for name, number in sources.crossed.items())
        yield (
            f"Seeds are the combinations of levels: {levels}{rest}. Trainings that share a level are not independent, "
            "so the standard deviation is of these combinations alone."
        )
    else:
        yield f"A seed decides {_listed([_name(name, sources) for name in sources.vary])}{rest}."
    if sources.splits:
        yield f"At equal seeds all rows have the same {' and '.join(sources.splits)} images."


def draws_test_splits(sources: SeedSources | None) -> bool:
    """Whether every seed has a test split of its own."""
    return sources is not None and "test" in sources.splits


def sources_as_text(sources: Sequence[str]) -> str:
    """`initialisation, order of the data and dropout`."""
    return _listed([SOURCE_NAMES.get(name, name) for name in sources])


def _name(name: str, sources: SeedSources) -> str:
    if name != "split":
        return SOURCE_NAMES.get(name, name)
    return f"the {' and '.join(sources.splits)} split{'s'[: len(sources.splits) - 1]} of the data"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
