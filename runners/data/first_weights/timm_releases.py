"""Weights that timm releases: where a tag's file is on this machine, where it would come from, and its download.

timm keeps them in the cache of the Hugging Face hub (`HF_HOME`, `HF_HUB_CACHE`); those with an address of their own are
in torch's (`TORCH_HOME`). Nothing is fetched unless `fetch_release` is called.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import timm
import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from timm.models import PretrainedCfg

from search_space.parsing.errors import Problem, SpecError, did_you_mean, reason_of

__all__ = ["fetch_release", "find_release"]

_NAMES = ("model.safetensors", "pytorch_model.bin")
"""In the order in which timm looks for them."""


def find_release(name: str) -> Path:
    """The file of released weights, `MODEL.TAG`, on this machine.

    Raises:
        SpecError: timm has no such weights, or they are not here; it names the address that they would come from.
    """
    config = _config_of(name)
    if path := _cached(config):
        return path
    hint = "--download fetches them (resources.download: true); or get that file yourself, and write its path"
    raise _problem(f"the weights of {name} are not on this machine; they would come from {_address(config)}", hint)


def fetch_release(name: str) -> Path:
    """The file of released weights, downloaded where it is not on this machine.

    Raises:
        SpecError: timm has no such weights, or the download failed.
    """
    config = _config_of(name)
    if path := _cached(config):
        return path
    try:
        return _downloaded(config)
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as err:
        text = f"the weights of {name} cannot be fetched from {_address(config)}: {reason_of(err)}"
        raise _problem(text, "get that file yourself, and write its path") from err


def _config_of(name: str) -> PretrainedCfg:
    model, _, tag = name.partition(".")
    known = [each.partition(".")[2] for each in timm.list_pretrained(f"{model}.*")]
    if tag not in known:
        hint = did_you_mean(tag, known) if known else "write a FILE"
        raise _problem(f"timm releases no weights {tag!r} of {model!r}", hint)
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    # `custom_load` is about the file at `url`, in JAX's format; the hub has the same weights in timm's.
    is_foreign = config.custom_load == "hf" or str(config.hf_hub_filename).endswith(".npz")
    if is_foreign or (config.custom_load and not config.hf_hub_id):
        hint = "load them by timm.create_model(pretrained=True), save its state_dict, and write that FILE"
        raise _problem(f"the weights of {name} are in a format of their own, which only timm's model reads", hint)
    return config


def _cached(config: PretrainedCfg) -> Path | None:
    if not config.hf_hub_id:
        path = _torch_file(config)
        return path if path.is_file() else None
    repository, revision = _repository(config)
    for file in _files(config):
        found = try_to_load_from_cache(repository, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _downloaded(config: PretrainedCfg) -> Path:
    if not config.hf_hub_id:
        path = _torch_file(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(str(config.url), str(path), progress=False)
        return path
    repository, revision = _repository(config)
    *before, last = _files(config)
    for file in before:
        try:
            return Path(hf_hub_download(repository, file, revision=revision, cache_dir=constants.HF_HUB_CACHE))
        except EntryNotFoundError as err:
            if isinstance(err, LocalEntryNotFoundError):  # no connection, which says nothing about the file
                raise
    return Path(hf_hub_download(repository, last, revision=revision, cache_dir=constants.HF_HUB_CACHE))


def _files(config: PretrainedCfg) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else _NAMES


def _repository(config: PretrainedCfg) -> tuple[str, str | None]:
    name, _, revision = str(config.hf_hub_id).partition("@")
    return name, revision or None


def _torch_file(config: PretrainedCfg) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(str(config.url)).path).name


def _address(config: PretrainedCfg) -> str:
    if not config.hf_hub_id:
        return str(config.url)
    repository, _ = _repository(config)
    return f"{constants.ENDPOINT}/{repository} ({_files(config)[0]})"


def _problem(text: str, hint: str) -> SpecError:
    return SpecError(Problem(text, path="arch.weights", hint=hint))
