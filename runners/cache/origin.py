"""Origin of a trial's numbers beside its spec: the data, archsweep's code and the packages that compute.

Equal id means equal experiment only together with an equal origin; so the cache, the studies of a file and a continued
run take a record over only if its origin is the present one (docs/decisions/0012-origins.md).
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable

from results.plan.stored import Numerics, Origin
from runners.cache.code_version import code_version
from runners.data.fingerprint import Fingerprint, fingerprint
from runners.data.first_weights import WEIGHTS_MARK, weights_digest
from runners.machine.file_digests import FileDigests, user_file_digests
from runners.training.foreign.files import files_digest, script_digest
from search_space import Resources
from search_space.schema.task import CommandSpec, ForeignSpec
from search_space.schema.trial import Setting, TaskSpec, TrialSpec

__all__ = ["COMPUTING_PACKAGES", "Origins", "software"]

COMPUTING_PACKAGES = ("torch", "torchvision", "timm", "numpy")
"""Packages whose versions may change a number. Those that only schedule, store or draw may not."""


class Origins:
    """The present origin of every trial of a run: asked per trial, computed once per dataset and per set of plug-ins.

    Args:
        resources: of the sweep; they say where the data is.
        say: called with a message before much data is read.

    Attributes:
        numerics_of: form of the training of a setting; set once the plan has decided.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        digests: FileDigests | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._resources = resources
        self._digests = user_file_digests() if digests is None else digests
        self._say = say
        self.numerics_of: Callable[[Setting], Numerics] = lambda setting: "single"
        self._fingerprints: dict[str, Fingerprint] = {}
        self._weights: dict[str, str] = {}
        self._known: dict[str, Origin] = {}
        self._files: dict[tuple[str, ...], str] = {}

    def of(self, setting: Setting) -> Origin:
        """The origin that a trial of this setting would have now.

        Raises:
            SpecError: its data cannot be read.
        """
        if isinstance(setting.task, ForeignSpec):
            return self._foreign(setting, setting.task)
        weights = self._weights_of(setting)
        numerics = self.numerics_of(setting)
        key = f"{_data_key(setting.task)} {_plug_ins_key(setting)} {weights} {numerics}"
        if key not in self._known:
            self._known[key] = Origin(
                data=self.fingerprint_of(setting.task).digest + weights,
                code=code_version(setting, numerics=numerics),
                software=software(),
            )
        return self._known[key]

    def _foreign(self, setting: Setting, task: ForeignSpec) -> Origin:
        """The origin of a training of the user's own: the files that it names, its script or plug-in."""
        key = task.model_dump_json(exclude=None if isinstance(task, CommandSpec) else {"config"})
        if key not in self._known:
            code = code_version(setting)
            if isinstance(task, CommandSpec):
                code = ".".join(filter(None, (code, script_digest(setting, self._resources, self._digests)[:12])))
            if task.files not in self._files:
                self._files[task.files] = files_digest(task, self._resources, self._digests)
            self._known[key] = Origin(data=self._files[task.files], code=code, software=software())
        return self._known[key]

    def _weights_of(self, setting: Setting) -> str:
        """What the first weights add to the data's digest; nothing of a setting without them, or without a seed."""
        if setting.arch.weights is None or not isinstance(setting, TrialSpec):
            return ""
        # `timm:TAG` depends on the model, and which trial a trial continues on all of its setting.
        key = setting.model_dump_json()
        if key not in self._weights:
            self._weights[key] = WEIGHTS_MARK + weights_digest(setting, self._resources, self._digests)
        return self._weights[key]

    def fingerprint_of(self, task: TaskSpec) -> Fingerprint:
        """The fingerprint of the task's dataset when it was first asked for.

        Raises:
            SpecError: the data cannot be read.
        """
        key = _data_key(task)
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint(task, self._resources, self._digests, say=self._say)
        return self._fingerprints[key]

    @property
    def fingerprints(self) -> list[Fingerprint]:
        """The fingerprints that were asked for."""
        return list(self._fingerprints.values())


@functools.cache
def software() -> str:
    """Versions of the computing packages: `torch 2.15.0, torchvision 0.29.2, ...`."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in COMPUTING_PACKAGES)


def _data_key(task: TaskSpec) -> str:
    return task.dataset.model_dump_json()


def _plug_ins_key(setting: Setting) -> str:
    attention = setting.arch.attention
    return f"{setting.arch.model} {attention and attention.name} {setting.task.name} {setting.task.dataset.name}"
