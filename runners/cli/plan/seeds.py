"""What a plan says of its seeds: what they decide, where that is not the default, and what of it has no effect."""

from __future__ import annotations

from collections.abc import Iterator

from results.layout.sentences.seed_sources import seed_source_sentences
from runners.data.augmentation.pipeline import needs_pillow
from runners.planning.stored_plan import seed_sources_of
from search_space import Setting, Sweep
from search_space.schema.training.seeding import SOURCE_NAMES, Source

__all__ = ["seed_sentences"]


def seed_sentences(sweep: Sweep) -> Iterator[str]:
    """What a seed decides, a sentence a line; nothing where that is the default."""
    sources = seed_sources_of(sweep)
    if sources is None:
        return
    for sentence in seed_source_sentences(sources):
        said = sentence.removeprefix("Seeds are ").removesuffix(".")
        yield f"seeds: {said[0].lower()}{said[1:]}"
    idle = _idle(sweep.baseline)
    for source in sweep.baseline.train.seeding.varied:
        if source in idle:
            yield f"seeds: {SOURCE_NAMES[source]} has no effect in the baseline: {idle[source]}"
    if sweep.resources.num_gpus and not sweep.baseline.train.deterministic:
        yield (
            "seeds: on a GPU kernels add in no fixed order, so trainings with all streams in common still differ a "
            "little; train.deterministic: true takes kernels that repeat their bits"
        )


def _idle(setting: Setting) -> dict[Source, str]:
    """Sources that draw nothing in a setting, and why. Others may not, either: only what is certain is said."""
    arch, train = setting.arch, setting.train
    if setting.task.name != "classification":
        return {}
    found: dict[Source, str] = {}
    rates = (arch.drop_path_rate, arch.proj_drop_rate, arch.attn_drop_rate)
    if arch.model == "vit" and not arch.options and not any(rates) and train.lr_noise is None:
        found["dropout"] = "no rate of dropout or drop path is above 0, and the learning rate has no noise"
    changes = (train.hflip, train.vflip, train.crop_padding, train.reprob, train.mixes, needs_pillow(train))
    if setting.task.dataset.num_built_in is not None and not any(changes):
        found["augmentation"] = "images are neither augmented nor mixed"
    return found
