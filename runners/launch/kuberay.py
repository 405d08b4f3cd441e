"""RayJob manifest for the KubeRay operator, with the sweep in a ConfigMap (`archsweep launch kuberay`).

The run directory is on a PersistentVolumeClaim that every pod mounts; a retried job continues its ledger. The head
runs no trials (`num-cpus: 0`), so it needs no GPU. Fields of the KubeRay API, ray.io/v1.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shlex
from dataclasses import dataclass
from typing import Any

import yaml

from runners.launch.launched_sweep import LaunchedSweep, Nodes, refusing
from search_space import Problem

__all__ = ["KuberayOptions", "submit", "write"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# The grammar of resource.Quantity: a number with a binary suffix, a decimal one (a small k) or a decimal exponent.
_QUANTITY = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_RAY_IMAGE = re.compile(r"\brayproject/ray(?:-ml)?:(\d+\.\d+\.\d+)")
_MOST_IN_NAME = 40  # KubeRay appends to the name of a RayJob, and Kubernetes allows 63 characters
_MOST_IN_CONFIG_MAP = 900_000  # bytes; Kubernetes allows 1 MiB
_SWEEP_FOLDER, _RUNS, _DATA = "/archsweep", "/runs", "/data"
_PLUGINS = "plugins"


@dataclass(frozen=True)
class KuberayOptions:
    """Options: `claim` for run directories (ReadWriteMany), `data_claim` for the dataset, `memory` per worker pod."""

    image: str | None = None
    claim: str | None = None
    data_claim: str | None = None
    nodes: int | None = None
    cpus_per_node: int | None = None
    gpus_per_node: int | None = None
    memory: str = "16Gi"
    namespace: str = "default"
    retries: int = 2


def write(sweep: LaunchedSweep, options: KuberayOptions) -> str:
    """Manifest with a ConfigMap and a RayJob.

    Raises:
        SpecError: image or claim is missing, a name is not valid in Kubernetes, or a trial does not fit on a node.
    """
    nodes = sweep.on_nodes(options.nodes, options.cpus_per_node, options.gpus_per_node)
    sources = _sources(sweep)
    with refusing() as problems:
        if not options.image:
            hint = "one with archsweep and this Ray, e.g. built FROM rayproject/ray with `pip install` of archsweep"
            problems.append(Problem("no container image for the pods", where="--image", hint=hint))
        if options.image and (found := _RAY_IMAGE.search(options.image)) and found[1] != _ray_version():
            text = f"an image of Ray {found[1]}, but this is Ray {_ray_version()}"
            problems.append(Problem(text, where="--image", hint="one with the Ray from which the sweep is launched"))
        if not options.claim:
            hint = "a PersistentVolumeClaim with access mode ReadWriteMany, e.g. --claim runs"
            problems.append(Problem("no volume for the run directory", where="--claim", hint=hint))
        for name, value in (
            ("--claim", options.claim),
            ("--data-claim", options.data_claim),
            ("--namespace", options.namespace),
        ):
            if value and not _NAME.fullmatch(value):
                hint = "lower-case letters, digits, `-` and `.`"
                problems.append(Problem(f"not a valid Kubernetes name: {value!r}", where=name, hint=hint))
        if reason := _memory_problem(options.memory):
            problems.append(Problem(reason, where="--memory", hint="e.g. 16Gi, 16384Mi, 17G or 1.7e10"))
        if len(sweep.text.encode()) > _MOST_IN_CONFIG_MAP:
            problems.append(Problem("the sweep file is larger than a ConfigMap may be", where=str(sweep.path)))
        elif sum(len(text.encode()) for text in (sweep.text, *sources.values())) > _MOST_IN_CONFIG_MAP:
            text = "the sweep file and the sources of the plug-ins are larger than a ConfigMap may be"
            hint = "install the largest plug-in in the image, as a package with an entry point"
            problems.append(Problem(text, where="--plugin", hint=hint))
        mounted = {"resources.data_dir"} if options.data_claim else set()
        problems += [problem for place, problem in sweep.relative.items() if place not in mounted]
    name = _name_of(sweep.name)
    out = f"{_RUNS}/{sweep.run_dir.name}" if sweep.run_dir else None
    command = sweep.command(sweep=f"{_SWEEP_FOLDER}/sweep.yaml", out=out, plugins=f"{_SWEEP_FOLDER}/{_PLUGINS}")
    command += ["--data-dir", _DATA] if options.data_claim else []
    entrypoint = shlex.join(command)
    if out is None:  # studies choose directories of their own below ./runs
        entrypoint = f"cd {_RUNS} && {entrypoint}"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-sweep", "namespace": options.namespace},
        "data": {"sweep.yaml": sweep.text, **{_key(path): text for path, text in sources.items()}},
    }
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name, "namespace": options.namespace},
        "spec": {
            "entrypoint": entrypoint,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 600,
            "backoffLimit": options.retries,
            "rayClusterSpec": _cluster(name, nodes, options, list(sources)),
        },
    }
    head = _HEAD.format(about=sweep.describe(nodes))
    return f"{head}{_dump(config)}---\n{_with_comments(_dump(job))}"


class _BlockDumper(yaml.SafeDumper):
    """Texts of several lines, such as the sweep, are written as they read."""


def _as_block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_BlockDumper.add_representer(str, _as_block)


def _dump(content: dict[str, Any]) -> str:
    return yaml.dump(content, Dumper=_BlockDumper, sort_keys=False, width=1_000_000)


def _with_comments(text: str) -> str:
    """The manifest of the job with a line above each key of `_COMMENTS`."""
    lines = []
    for line in text.splitlines():
        words = line.lstrip(" -")
        comment = next((comment for key, comment in _COMMENTS.items() if words.startswith(key)), "")
        lines += [f"{line[: len(line) - len(line.lstrip())]}# {comment}"] if comment else []
        lines.append(line)
    return "\n".join(lines) + "\n"


def _ray_version() -> str:
    return importlib.metadata.version("ray")


def _memory_problem(memory: str) -> str:
    """Reason why a text is no amount of memory in Kubernetes; empty if it is one."""
    found = _QUANTITY.fullmatch(memory)
    if found is None:
        return f"not a quantity of Kubernetes: {memory!r}; its suffixes are Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P and E"
    digits = found[1].replace(".", "")
    return "" if digits.strip("0") and memory[0] != "-" else f"memory must be above 0, but got {memory!r}"


def submit(path: str, sweep: LaunchedSweep, options: KuberayOptions) -> list[list[str]]:
    return [["kubectl", "apply", "-f", path]]


def _sources(sweep: LaunchedSweep) -> dict[str, str]:
    """Python files of the plug-ins, by their paths below the folder of the sweep."""
    return {f"{_PLUGINS}/{path}": text for plugin in sweep.plugins for path, text in plugin.files.items()}


def _key(path: str) -> str:
    """Key of a ConfigMap, which has no folders."""
    return path.replace("/", ".")


def _cluster(name: str, nodes: Nodes, options: KuberayOptions, files: list[str]) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": nodes.gpus} if nodes.gpus else {}
    worker = {"cpu": nodes.cpus, "memory": options.memory, **gpus}
    return {
        "rayVersion": _ray_version(),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
            "template": _pod(name, "ray-head", {"cpu": 2, "memory": "8Gi"}, options, files),
        },
        "workerGroupSpecs": [
            {
                "groupName": "trials",
                "replicas": nodes.count,
                "minReplicas": nodes.count,
                "maxReplicas": nodes.count,
                "rayStartParams": {"num-cpus": str(nodes.cpus)},
                "template": _pod(name, "ray-worker", worker, options, files),
            }
        ],
    }


def _pod(
    name: str, container: str, resources: dict[str, Any], options: KuberayOptions, files: list[str]
) -> dict[str, Any]:
    config: dict[str, Any] = {"name": f"{name}-sweep"}
    if files:
        items = [{"key": _key(path), "path": path} for path in files]
        config["items"] = [{"key": "sweep.yaml", "path": "sweep.yaml"}, *items]
    mounts = [{"name": "sweep", "mountPath": _SWEEP_FOLDER, "readOnly": True}, {"name": "runs", "mountPath": _RUNS}]
    volumes: list[dict[str, Any]] = [
        {"name": "sweep", "configMap": config},
        {"name": "runs", "persistentVolumeClaim": {"claimName": options.claim}},
    ]
    if options.data_claim:
        mounts.append({"name": "data", "mountPath": _DATA, "readOnly": True})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": options.data_claim, "readOnly": True}})
    return {
        "spec": {
            "containers": [
                {
                    "name": container,
                    "image": options.image,
                    "resources": {"requests": dict(resources), "limits": dict(resources)},
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        }
    }


def _name_of(sweep: str) -> str:
    """Valid Kubernetes name for a sweep; a shortened one gets a hash, to stay unique."""
    name = re.sub(r"[^a-z0-9]+", "-", sweep.lower()).strip("-") or "sweep"
    name = name if name[0].isalpha() else f"s-{name}"
    if len(name) <= _MOST_IN_NAME:
        return name
    return f"{name[: _MOST_IN_NAME - 7].rstrip('-')}-{hashlib.sha256(sweep.encode()).hexdigest()[:6]}"


_COMMENTS = {
    "entrypoint:": "What the head runs. The run directory is on the claim: starting it again continues the sweep.",
    "backoffLimit:": "Restarts after a lost cluster.",
    "ttlSecondsAfterFinished:": "The cluster is removed this long after the end, so that idle GPUs cost nothing.",
    "rayVersion:": "Edit: the Ray in the image. The driver, the head and the workers need one version.",
    "headGroupSpec:": "The head runs the driver and no trials, so it needs no GPU.",
    "groupName: trials": "Edit: add nodeSelector and tolerations of your GPU nodes to the pod below (template.spec).",
    "replicas:": "Edit: number of nodes, the same three times.",
    "resources:": "Requests equal limits: what Ray counts is what the pod has, and it is not evicted first.",
}
_HEAD = """\
# Written by `archsweep launch kuberay`: {about}.
# Needs the KubeRay operator. Applying the file again after deleting the RayJob continues the sweep from the ledger on
# the claim. Edit: replicas (and min, max), resources, nodeSelector and tolerations of your GPU nodes, namespace.
# The image must hold archsweep, data that is not on a claim, and the Ray named in rayVersion. First the sweep, then the
# job that trains it.
"""
