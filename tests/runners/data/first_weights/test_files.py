"""Which file the first weights of a trial are, and what their content changes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from runners.cache.origin import Origins
from runners.data.fingerprint import DataChanged
from runners.data.first_weights import check_weights, find_weights, weights_digest
from runners.machine.file_digests import user_file_digests
from search_space.parsing.errors import SpecError
from search_space.schema.identity import trial_id
from search_space.schema.resources import Resources
from search_space.schema.trial import TrialSpec


def spec_of(weights: str | None, seed: int = 0) -> TrialSpec:
    return TrialSpec.model_validate({"arch": {"weights": weights}, "seed": seed})


@pytest.fixture
def folder(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    return tmp_path


def test_a_file_is_absolute_or_below_the_data_directory(folder):
    resources = Resources(data_dir=str(folder))
    assert find_weights(spec_of("w.safetensors"), resources) == (folder / "w.safetensors").resolve()
    assert find_weights(spec_of(str(folder / "w.safetensors")), Resources()) == (folder / "w.safetensors").resolve()
    with pytest.raises(SpecError, match="there is no file"):
        find_weights(spec_of("other.safetensors"), resources)


def test_a_folder_of_a_released_bert(folder):
    (folder / "bert").mkdir()
    with pytest.raises(SpecError, match="has none of"):
        find_weights(spec_of("bert"), Resources(data_dir=str(folder)))
    save_file({"a": torch.zeros(3)}, folder / "bert" / "model.safetensors")
    assert find_weights(spec_of("bert"), Resources(data_dir=str(folder))).name == "model.safetensors"


def test_the_content_is_in_the_origin_and_the_name_in_the_id(folder):
    resources = Resources(data_dir=str(folder))
    without, with_weights = spec_of(None), spec_of("w.safetensors")
    assert trial_id(without) != trial_id(with_weights)
    one = Origins(resources).of(with_weights)
    assert one.data.startswith(Origins(resources).of(without).data + "+")
    check_weights(with_weights, resources, one.data.partition(":")[2])
    save_file({"a": torch.ones(3)}, folder / "w.safetensors")
    two = Origins(resources).of(with_weights)
    assert two != one
    with pytest.raises(DataChanged, match=r"w\.safetensors has the digest"):
        check_weights(with_weights, resources, one.data.partition(":")[2])


def test_weights_that_are_not_there_have_a_digest_of_their_own(tmp_path):
    assert weights_digest(spec_of("w.pt"), Resources(data_dir=str(tmp_path)), user_file_digests()) == "missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study:pretrain", "names no variant"),
        ("run:/baseline", "names no variant"),
        ("https://example.org/w.pth", "from this machine only"),
        ("hub:vit_tiny", "from this machine only"),
    ],
)
def test_other_forms_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        spec_of(text)
