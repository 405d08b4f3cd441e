"""Specs of the datasets: the options below `task.dataset` of a sweep.

A dataset is known by its name; where it is stored belongs to `Resources`. Each task has its own union of datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from search_space.plugins.families import contributed
from search_space.plugins.open_union import OpenUnion, name_of, named
from search_space.plugins.spec_table import SpecTable
from search_space.schema.attention import OnlyWhole, Spec

__all__ = [
    "BUILTIN_SPECS",
    "DATASET_SPECS",
    "LABELLED_IMAGES",
    "CocoSpec",
    "Dataset",
    "DatasetSpec",
    "DigitsSpec",
    "GrainsSpec",
    "LabelMapFolderSpec",
    "LabelMaps",
    "ObjectImages",
    "PluginDatasetSpec",
    "ScenesSpec",
    "ShapesSpec",
    "TimmDatasetSpec",
    "below",
]

_NUM_DIGITS = 1438
"""Training images of `builtin/digits`: four fifths of 1,797."""


class DatasetSpec(Spec):
    """Base of the datasets' specs. `kind` of datasets that share a reader; empty for those that are built in."""

    kind: ClassVar[str] = ""

    name: str

    @property
    def num_built_in(self) -> int | None:
        """Training images of a dataset that is built in; None of others, which have to be looked at."""
        return None

    @property
    def draws_test_split(self) -> bool:
        """Whether archsweep draws the test split, by `split_seed`, from images that come without one."""
        return False

    def test_set(self) -> dict[str, Any]:
        """What decides which images and labels a trial is measured on: the dataset's name, and further options."""
        raise NotImplementedError


class DigitsSpec(DatasetSpec):
    """scikit-learn's `load_digits`: 1,797 real 8x8 images of 10 classes; a stratified fifth is the test split."""

    name: Literal["builtin/digits"] = "builtin/digits"  # pyright: ignore[reportIncompatibleVariableOverride]
    split_seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        # Not written where it is 0: settings are as they were before there was a choice.
        exclude_if=lambda seed: seed == 0,
        description="of the draw of the test split",
    )

    @property
    def draws_test_split(self) -> bool:
        return True

    @property
    def num_built_in(self) -> int:
        return _NUM_DIGITS

    def test_set(self) -> dict[str, Any]:
        return {"name": self.name, **({"seed": self.split_seed} if self.split_seed else {})}


class ShapesSpec(DatasetSpec):
    """Procedural images whose class depends on local texture and on global arrangement; any size, seeded."""

    name: Literal["builtin/shapes"] = "builtin/shapes"  # pyright: ignore[reportIncompatibleVariableOverride]
    img_size: int = Field(default=32, ge=8, le=1024)
    num_train: int = Field(default=2000, ge=1, le=10_000_000)
    num_test: int = Field(default=500, ge=1, le=10_000_000)
    in_chans: Annotated[Literal[1, 3], OnlyWhole] = 3
    noise: float = Field(
        default=0.1, ge=0, le=1, description="standard deviation of the pixel noise; pixels are in [0, 1]"
    )
    data_seed: int = Field(default=0, ge=0)

    @property
    def num_built_in(self) -> int:
        return self.num_train

    def test_set(self) -> dict[str, Any]:
        return self.model_dump(exclude={"num_train"})  # drawn from these


class GrainsSpec(DatasetSpec):
    """Procedural textures of random colour whose class is their orientation; seeded. Flips exchange the classes."""

    name: Literal["builtin/grains"] = "builtin/grains"  # pyright: ignore[reportIncompatibleVariableOverride]
    img_size: int = Field(default=32, ge=16, le=1024)
    num_train: int = Field(default=1600, ge=1, le=10_000_000)
    num_test: int = Field(default=400, ge=1, le=10_000_000)
    data_seed: int = Field(default=0, ge=0)

    @property
    def num_built_in(self) -> int:
        return self.num_train

    def test_set(self) -> dict[str, Any]:
        return self.model_dump(exclude={"num_train"})  # drawn from these


class ScenesSpec(DatasetSpec):
    """Procedural images of one to four overlapping disks, squares and triangles, with a label for every pixel."""

    name: Literal["builtin/scenes"] = "builtin/scenes"  # pyright: ignore[reportIncompatibleVariableOverride]
    img_size: int = Field(default=64, ge=32, le=1024)
    num_train: int = Field(default=600, ge=1, le=1_000_000)
    num_test: int = Field(default=150, ge=1, le=1_000_000)
    context: bool = Field(
        default=False, description="a fourth class: triangles in images with a bright mark in the top left corner"
    )
    data_seed: int = Field(default=0, ge=0)

    @property
    def num_built_in(self) -> int:
        return self.num_train

    def test_set(self) -> dict[str, Any]:
        return self.model_dump(exclude={"num_train"})  # drawn from these


class TimmDatasetSpec(DatasetSpec):
    """Dataset of `timm.data.create_dataset`, by its name: `torch/cifar10`, `hfds/...`, `wds/...`, `folder/NAME`, ..."""

    kind: ClassVar[str] = "timm"

    name: str = Field(min_length=1)
    train_split: str = "train"
    test_split: str = "validation"
    test_fraction: float | None = Field(
        default=None, gt=0, lt=1, description="of a folder without splits: share of its images that is the test split"
    )
    folds: int | None = Field(
        default=None, ge=2, le=1000, description="of a folder without splits: number of its folds, one of them the test"
    )
    fold: int = Field(default=0, ge=0, description="which of the folds is the test split, from 0 on")
    split_seed: int = Field(default=0, ge=0, lt=2**31, description="of the draw of `test_fraction` or `folds`")
    num_classes: int | None = Field(default=None, ge=1, description="required if timm's reader does not provide it")
    in_chans: Annotated[Literal[1, 3], OnlyWhole] = 3
    input_key: str | None = Field(
        default=None,
        min_length=1,
        description="column of the images of hfds/, hfids/ (default `image`), wds/ and tfds/",
    )
    target_key: str | None = Field(
        default=None,
        min_length=1,
        description="column of the labels of hfds/, hfids/ (default `label`), wds/ and tfds/",
    )

    def test_set(self) -> dict[str, Any]:
        keys = {"input_key": self.input_key, "target_key": self.target_key}
        named = {name: key for name, key in keys.items() if key is not None}
        drawn = {"test_fraction": self.test_fraction, "folds": self.folds, "fold": self.fold, "seed": self.split_seed}
        split = drawn if self.is_flat else {"test_split": self.test_split}
        return {"name": self.name, **{name: value for name, value in split.items() if value is not None}, **named}

    @property
    def draws_test_split(self) -> bool:
        return self.is_flat

    @property
    def is_flat(self) -> bool:
        """Whether both splits are drawn from one folder."""
        return self.test_fraction is not None or self.folds is not None

    @property
    def split_names(self) -> tuple[str, str]:
        """What the training and the test split are called."""
        if self.folds is not None:
            return f"without fold {self.fold} of {self.folds}", f"fold {self.fold} of {self.folds}"
        if self.test_fraction is not None:
            return f"{1 - self.test_fraction:.6g} of it", f"{self.test_fraction:.6g} of it"
        return self.train_split, self.test_split

    @model_validator(mode="after")
    def _one_draw(self) -> Self:
        if self.folds is not None and self.test_fraction is not None:
            raise ValueError("test_fraction and folds both draw the test split: write one of them")
        if self.folds is None and self.fold:
            raise ValueError(f"fold={self.fold} has no effect without folds: write the number of folds")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold < folds must hold, but got fold={self.fold}, folds={self.folds}: the first is 0")
        if not self.is_flat and self.split_seed:
            raise ValueError(f"split_seed={self.split_seed} has no effect without test_fraction or folds")
        if self.is_flat and (self.train_split, self.test_split) != ("train", "validation"):
            raise ValueError("train_split and test_split name folders, and test_fraction or folds draw both splits")
        return self


class PluginDatasetSpec(DatasetSpec):
    """Base of the datasets of plug-ins, whose options follow from the signature of what opens a split."""

    kind: ClassVar[str] = "plugin"

    train_split: str = "train"
    test_split: str = "test"
    in_chans: Annotated[Literal[1, 3], OnlyWhole] = 3

    @property
    def split_names(self) -> tuple[str, str]:
        """What the training and the test split are called."""
        return self.train_split, self.test_split

    @property
    def options(self) -> dict[str, Any]:
        """What the plug-in's class or function gets beside the split and the folder."""
        return {key: getattr(self, key) for key in type(self).model_fields if key not in PluginDatasetSpec.model_fields}

    def test_set(self) -> dict[str, Any]:
        # Options that the plug-in names as such change the training images only.
        training_only = getattr(contributed("dataset").get(self.name), "training_only", ())
        return self.model_dump(exclude={"train_split", "in_chans", *training_only})


def below(prefix: str, message: str) -> AfterValidator:
    """Check that a name is `PREFIX/NAME`; `message` says what is legal."""

    def check(name: str) -> str:
        first, _, rest = name.partition("/")
        if first != prefix or not rest.strip("/"):
            raise ValueError(message)
        return name

    return AfterValidator(check)


_MASKS = below("masks", "must be builtin/scenes, or masks/NAME for a folder of images and label maps")
_COCO = below("coco", "must be builtin/scenes, or coco/NAME for a folder of images and annotations as COCO has them")


class LabelMapFolderSpec(DatasetSpec):
    """Images with a PNG label map each, below `<data_dir>/NAME`, in the folders of ADE20K or Cityscapes."""

    kind: ClassVar[str] = "masks"

    name: Annotated[str, _MASKS] = Field(description="masks/NAME")
    train_split: str = "train"
    test_split: str = "validation"
    num_classes: int = Field(ge=1, le=255, description="labels are numbers from 0 to num_classes - 1")
    reduce_zero_label: bool = Field(
        default=False, description="as ADE20K is read: the stored label 0 is ignored, and the others are one less"
    )
    in_chans: Annotated[Literal[1, 3], OnlyWhole] = 3

    def test_set(self) -> dict[str, Any]:
        return self.model_dump(exclude={"train_split", "in_chans"})


class CocoSpec(DatasetSpec):
    """Images with boxes, classes and masks of objects below `<data_dir>/NAME`, in the format of COCO."""

    kind: ClassVar[str] = "coco"

    name: Annotated[str, _COCO] = Field(description="coco/NAME")
    train_split: str = "train"
    test_split: str = "val"
    empty_boxes: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="annotations whose box has no width or no height; COCO itself has a few, which `skip` leaves out",
    )
    in_chans: Annotated[Literal[1, 3], OnlyWhole] = 3

    def test_set(self) -> dict[str, Any]:
        return self.model_dump(exclude={"train_split", "in_chans"})


BUILTIN_SPECS: dict[str, type[DatasetSpec]] = {
    "builtin/digits": DigitsSpec,
    "builtin/shapes": ShapesSpec,
    "builtin/grains": GrainsSpec,
    "builtin/scenes": ScenesSpec,
}
DATASET_SPECS: dict[str, type[DatasetSpec]] = {
    **BUILTIN_SPECS,
    "timm": TimmDatasetSpec,
    "masks": LabelMapFolderSpec,
    "coco": CocoSpec,
}
"""Name of a dataset, or of a kind of datasets, -> spec."""


def _dataset_tag(value: Any) -> str:
    name = name_of(value)
    return name if name in LABELLED_IMAGES else "timm"


def _object_images_tag(value: Any) -> str:
    return "builtin/scenes" if name_of(value) == "builtin/scenes" else "coco"


def _label_maps_tag(value: Any) -> str:
    return "builtin/scenes" if name_of(value) == "builtin/scenes" else "masks"


LABELLED_IMAGES: Mapping[str, type[DatasetSpec]] = SpecTable(
    "dataset",
    {
        "builtin/digits": DigitsSpec,
        "builtin/shapes": ShapesSpec,
        "builtin/grains": GrainsSpec,
        "timm": TimmDatasetSpec,
    },
    PluginDatasetSpec,
    given=2,
)
"""Name or kind -> spec, of the datasets whose images have one label each."""

Dataset = Annotated[DatasetSpec, OpenUnion(LABELLED_IMAGES, _dataset_tag, short="any")]
"""`dataset: NAME` or `dataset: {name: NAME, ...options}`."""

_MapSource = Annotated[
    Annotated[ScenesSpec, Tag("builtin/scenes")] | Annotated[LabelMapFolderSpec, Tag("masks")],
    Discriminator(_label_maps_tag),
]
LabelMaps = Annotated[_MapSource, BeforeValidator(named, json_schema_input_type=str | _MapSource)]
"""Datasets whose images have a label for every pixel."""

_ObjectSource = Annotated[
    Annotated[ScenesSpec, Tag("builtin/scenes")] | Annotated[CocoSpec, Tag("coco")],
    Discriminator(_object_images_tag),
]
ObjectImages = Annotated[_ObjectSource, BeforeValidator(named, json_schema_input_type=str | _ObjectSource)]
"""Datasets whose images have objects: boxes, classes and masks."""
