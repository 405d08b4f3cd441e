"""Launch files: executed by bash, validated by Ray's own schema and by the fields of the KubeRay API."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from runners.launch import LAUNCHERS
from search_space import SpecError

ROOT = Path(__file__).parents[3]
ENOUGH = {
    "job": ["--address", "http://head:8265", "--out", "/shared/tiny"],
    "kuberay": ["--image", "me/archsweep:1", "--claim", "runs", "--cpus-per-node", "8"],
    "ray-cluster": [
        *("--provider", "local", "--head", "10.0.0.1", "--worker", "10.0.0.2"),
        *("--setup", "pip install archsweep.whl", "--out", "/shared/tiny"),
    ],
    "slurm": ["--cpus-per-node", "8", "--time", "1:00:00"],
    "slurm-array": ["--cpus-per-node", "2", "--time", "1:00:00"],
}
HOSTILE = "a b';$(touch pwned)`touch pwned`\"\\"


def command_in(text: str, name: str) -> list[str]:
    """Words of the `archsweep run` command in a launch file, as parsed by a shell."""
    if name == "kuberay":
        return shlex.split(list(yaml.safe_load_all(text))[1]["spec"]["entrypoint"])
    if name == "ray-cluster":
        line = next(line for line in text.splitlines() if line.startswith("#   ray exec"))
        words = shlex.split(shlex.split(line.removeprefix("#   "))[3])
        return words[words.index("archsweep") :]
    lines = text.replace("\\\n", "").splitlines()
    if name == "job":
        words = shlex.split(next(line for line in lines if line.startswith("ray job submit")))
        return words[words.index("exec") + 1 : words.index("||")]
    if name == "slurm-array":
        (run,) = [line for line in lines if line.startswith("words=(")]
        return shlex.split(run.removeprefix("words=(").removesuffix(")"))
    words = shlex.split(next(line for line in lines if line.startswith("bash -c")))
    return words[words.index("archsweep") : -1]


def test_every_launcher_is_in_the_table():
    files = {path.stem for path in (ROOT / "runners" / "launch").glob("*.py")} - {
        "__init__",
        "launched_sweep",
        "sbatch",
    }
    assert {name.replace("-", "_") for name in LAUNCHERS} == files


@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_options_reach_the_run_unharmed(name, launch):
    profiles = "profiles: {short: {train.epochs: 1}}\n"
    words = command_in(
        launch(name, *ENOUGH[name], "--profile", "short", "--set", "seeds=1", edit=lambda sweep: sweep + profiles), name
    )
    assert words[:2] == ["archsweep", "run"]
    given = words[3:]
    assert given[given.index("--profile") + 1] == "short"
    assert given[given.index("--set") + 1] == "seeds=1"
    assert ("--address" in given) is (name in ("job", "kuberay", "ray-cluster"))


@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_hostile_values_stay_one_word(name, launch, tmp_path):
    value = "description=" + json.dumps(HOSTILE)
    folder = "--out" in ENOUGH[name]
    options = [*ENOUGH[name], *(["--out", f"/shared/{HOSTILE}"] if folder else []), "--set", value]
    words = command_in(launch(name, *options, file=f"{HOSTILE}.yaml"), name)
    assert value in words
    assert f"{HOSTILE}.yaml" in words[2] or name in ("job", "kuberay", "ray-cluster")
    assert not folder or f"/shared/{HOSTILE}" in words
    assert not list(tmp_path.glob("pwned"))


@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_a_wrong_sweep_is_refused_as_check_does(name, launch):
    with pytest.raises(SpecError, match="reatention"):
        launch(name, *ENOUGH[name], edit=lambda sweep: sweep.replace("reattention", "reatention"))


@pytest.mark.parametrize("name", sorted(LAUNCHERS))
def test_a_file_describes_the_sweep_and_what_to_edit(name, launch):
    text = launch(name, *ENOUGH[name])
    assert f"# Written by `archsweep launch {name}`: at most 4 trials of 1 CPUs and 0 GPUs" in text
    assert "Edit: " in text


@pytest.mark.parametrize("options", [(), ("--nodes", "2"), ("--container-image", "me/archsweep:1")])
@pytest.mark.parametrize("name", ["job", "slurm", "slurm-array"])
def test_bash_parses_the_scripts(name, options, launch):
    given = options if name == "slurm" else ()
    done = subprocess.run(["bash", "-n"], input=launch(name, *ENOUGH[name], *given), text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


RELATIVE = "resources: {data_dir: data}\ntrack: [mlflow, {name: tensorboard, dir: tb}]\n"


@pytest.mark.parametrize("name", ["job", "kuberay", "ray-cluster"])
def test_folders_beside_the_sweep_are_refused_where_it_moves(name, launch):
    with pytest.raises(SpecError) as caught:
        launch(name, *ENOUGH[name], edit=lambda sweep: sweep + RELATIVE)
    text = "relative to the sweep file, which has another path on the cluster"
    assert [str(problem).splitlines()[0] for problem in caught.value.problems] == [
        f"tiny.yaml:10:23: resources.data_dir: {text}: 'data'",
        f"tiny.yaml:11:42: track[1].dir: {text}: 'tb'",
    ]


def test_folders_beside_the_sweep_are_fine_where_it_stays(launch):
    launch("slurm", *ENOUGH["slurm"], edit=lambda sweep: sweep + RELATIVE)
    launch(
        "kuberay",
        *ENOUGH["kuberay"],
        "--data-claim",
        "data",
        edit=lambda sweep: sweep + RELATIVE.replace("tb", "/runs/tb"),
    )
    launch(
        "job",
        *ENOUGH["job"],
        "--set",
        "resources.data_dir=/data",
        edit=lambda sweep: sweep + RELATIVE.replace("tb", "~/tb"),
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "slurm",
            ["--set", "resources.gpus=0.5"],
            "--gpus-per-node: a trial needs 0.5 GPUs, but the number per node is not given\n  e.g. --gpus-per-node 4",
        ),
        (
            "slurm",
            ["--cpus-per-node", "8"],
            "--time: no trial duration known\n"
            "  run `archsweep plan --probe` or pass --time, e.g. --time 8:00:00; after a first trial here\n"
            "  (`archsweep run SWEEP --limit 1`) or with `resources.time_limit` in the sweep it is proposed",
        ),
        (
            "slurm",
            ["--cpus-per-node", "8", "--time", "soon", "--account", "a b\n#SBATCH --uid=0"],
            "--time: not a time in Slurm's format: 'soon'\n"
            "  minutes, H:M:S, D-H, D-H:M or D-H:M:S\n"
            "--account: not valid in an #SBATCH line: 'a b\\n#SBATCH --uid=0'\n"
            "  letters, digits and _ . , : + = @ / -",
        ),
        (
            "kuberay",
            ["--cpus-per-node", "8", "--namespace", "No_Name"],
            "--image: no container image for the pods\n"
            "  one with archsweep and this Ray, e.g. built FROM rayproject/ray with `pip install` of archsweep\n"
            "--claim: no volume for the run directory\n"
            "  a PersistentVolumeClaim with access mode ReadWriteMany, e.g. --claim runs\n"
            "--namespace: not a valid Kubernetes name: 'No_Name'\n"
            "  lower-case letters, digits, `-` and `.`",
        ),
        (
            "ray-cluster",
            ["--out", "/shared/x"],
            "--provider: no provider\n"
            "  known: aws, local; for others start from one of these files and Ray's examples\n"
            "--setup: no installation of archsweep on the machines\n"
            "  --image with archsweep in it, or --setup commands that install it, e.g. --setup 'pip install ...'",
        ),
        (
            "ray-cluster",
            [
                *("--provider", "aws", "--region", "eu-central-1", "--instance-type", "g5.xlarge"),
                *("--image", "me/archsweep:1", "--out", "/shared/x", "--ssh-key", "id"),
            ],
            "--ssh-key: only for machines of your own\n"
            "  leave it out: Ray makes a key pair, or edit `auth` and `KeyName` in the file",
        ),
        (
            "job",
            ["--out", "runs/x"],
            "--out: not an absolute path: 'runs/x'\n"
            "  an absolute path that all nodes share, e.g. --out /shared/runs/NAME",
        ),
        (
            "job",
            ["--out", "/x", "--address", "head:6379"],
            "--address: not an address of a dashboard: 'head:6379'\n"
            "  e.g. --address http://HEAD:8265; it is not the address of `archsweep run`",
        ),
    ],
)
def test_missing_options_are_reported(name, options, message, launch):
    with pytest.raises(SpecError) as caught:
        launch(name, *options)
    assert str(caught.value) == message


def test_slurm_proposes_nodes_and_time_from_the_sweep(launch):
    """40 trials of at most 30 min, 8 at a time on 2 nodes of 4 GPUs: 5 rounds = 2.5 h, plus 25 %."""
    resources = "resources: {gpus: 1, cpus: 2, time_limit: 30m, max_concurrent: 8}\n"
    script = launch(
        "slurm", "--gpus-per-node", "4", edit=lambda sweep: sweep.replace("seeds: 2", "seeds: 20") + resources
    )
    directives = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert directives == [
        "#SBATCH --job-name=tiny",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --gpus-per-node=4",
        "#SBATCH --mem=0",
        "#SBATCH --time=3:08:00",
        "#SBATCH --exclusive",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=B:USR1@120",
    ]


@pytest.mark.parametrize(
    "options",
    [
        ENOUGH["ray-cluster"],
        [*ENOUGH["ray-cluster"], "--ssh-key", "~/.ssh/id_ed25519"],
        [
            *("--provider", "aws", "--region", "eu-central-1", "--instance-type", "g5.xlarge", "--nodes", "3"),
            *("--image", "me/archsweep:1", "--out", "/shared/x"),
        ],
    ],
)
def test_rays_own_schema_accepts_the_cluster_file(options, launch):
    schema = json.loads((importlib.resources.files("ray.autoscaler") / "ray-schema.json").read_text())
    cluster = yaml.safe_load(launch("ray-cluster", *options))
    jsonschema.validate(cluster, schema)
    with pytest.raises(jsonschema.ValidationError):  # the schema can refuse
        jsonschema.validate(cluster | {"num_workers": 3}, schema)


def test_the_head_of_own_machines_gets_the_key_and_the_older_autoscaler(launch):
    """`ray up` of Ray 2.60 with its default, the newer autoscaler, starts no worker of the provider `local`."""
    cluster = yaml.safe_load(launch("ray-cluster", *ENOUGH["ray-cluster"], "--ssh-key", "~/.ssh/id_ed25519"))
    assert cluster["auth"] == {"ssh_user": "ubuntu", "ssh_private_key": "~/.ssh/id_ed25519"}
    defaults = (importlib.resources.files("ray.autoscaler") / "local" / "defaults.yaml").read_text()
    stop, start = yaml.safe_load(defaults)["head_start_ray_commands"]
    start = start.replace("ulimit -c unlimited; ray", "RAY_enable_autoscaler_v2=0 ray")
    setup = "pip install archsweep.whl && "
    assert cluster["head_start_ray_commands"] == [setup + stop, setup + start]
    assert cluster["worker_start_ray_commands"] == [
        setup + command for command in yaml.safe_load(defaults)["worker_start_ray_commands"]
    ]
    assert yaml.safe_load(launch("ray-cluster", *ENOUGH["ray-cluster"]))["auth"] == {"ssh_user": "ubuntu"}


@pytest.mark.parametrize("provider", ["local", "aws"])
def test_ray_prepares_the_cluster_file_as_ray_up_does(provider, launch):
    """The merge with the provider's defaults and the whole validation of `ray up`, without a machine."""
    aws = ["--provider", "aws", "--region", "eu-central-1", "--instance-type", "g5.xlarge", "--out", "/shared/x"]
    options = ENOUGH["ray-cluster"] if provider == "local" else [*aws, "--setup", "source env/bin/activate"]
    cluster = yaml.safe_load(launch("ray-cluster", *options))
    prepared = prepare_config(cluster)
    validate_config(prepared)
    assert prepared["head_start_ray_commands"] == cluster["head_start_ray_commands"]
    assert prepared["worker_start_ray_commands"] == cluster["worker_start_ray_commands"]


@pytest.mark.parametrize("provider", ["local", "aws"])
def test_setup_takes_effect_in_the_shells_that_start_ray_and_archsweep(provider, launch, tmp_path):
    """Ray runs each command in a login shell of its own; `ray` and `archsweep` are on the PATH of an environment."""
    environment = tmp_path / "env"
    environment.mkdir()
    for name in ("ray", "archsweep"):
        (environment / name).write_text(f'#!/bin/bash\necho {name} "$1" >> {tmp_path}/calls\n')
        (environment / name).chmod(0o755)
    (tmp_path / "activate").write_text(f"export PATH={environment}:$PATH\n")
    machines = {
        "local": ["--provider", "local", "--head", "10.0.0.1", "--worker", "10.0.0.2"],
        "aws": ["--provider", "aws", "--region", "eu-central-1", "--instance-type", "g5.xlarge"],
    }
    options = [*machines[provider], "--out", "/shared/x", "--setup", f"source {tmp_path}/activate"]
    text = launch("ray-cluster", *options)
    cluster = yaml.safe_load(text)
    line = next(line for line in text.splitlines() if line.startswith("#   ray exec"))
    commands = [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    for command in [*commands, shlex.split(line.removeprefix("#   "))[3]]:
        done = subprocess.run(
            ["bash", "--login", "-c", f"({command})"],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().splitlines() == [
        *("ray stop", "ray start", "ray stop", "ray start", "archsweep run"),
    ]


def test_the_sweep_in_a_rayjob_reads_as_it_was_written(launch, tmp_path):
    text = launch("kuberay", *ENOUGH["kuberay"])
    assert "".join(f"    {line}\n" for line in (tmp_path / "tiny.yaml").read_text().splitlines() if line) in text
    assert "  # What the head runs. The run directory is on the claim: starting it again continues the sweep.\n" in text
    assert "\\n" not in text


def test_an_image_of_another_ray_is_refused(launch):
    with pytest.raises(SpecError) as caught:
        launch("kuberay", *ENOUGH["kuberay"], "--image", "rayproject/ray:2.9.0-py311-gpu")
    assert str(caught.value) == (
        f"--image: an image of Ray 2.9.0, but this is Ray {importlib.metadata.version('ray')}\n"
        "  one with the Ray from which the sweep is launched"
    )


OBJECT = {"type": "object", "additionalProperties": False}
CLAIM = {**OBJECT, "required": ["claimName"], "properties": {"claimName": {"type": "string"}, "readOnly": {}}}
POD = {
    **OBJECT,
    "required": ["spec"],
    "properties": {
        "spec": {
            **OBJECT,
            "required": ["containers"],
            "properties": {
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        **OBJECT,
                        "required": ["name", "image"],
                        "properties": {
                            "name": {"pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                            "image": {"type": "string", "minLength": 1},
                            "resources": {**OBJECT, "properties": {"requests": {}, "limits": {}}},
                            "volumeMounts": {"type": "array", "items": {"required": ["name", "mountPath"]}},
                        },
                    },
                },
                "volumes": {
                    "type": "array",
                    "items": {
                        **OBJECT,
                        "required": ["name"],
                        "properties": {"name": {}, "configMap": {}, "persistentVolumeClaim": CLAIM},
                    },
                },
            },
        }
    },
}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}
# Written by hand after the Go types of KubeRay's ray.io/v1 (RayJobSpec, RayClusterSpec): only fields that exist there.
RAY_JOB = {
    **OBJECT,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {**OBJECT, "required": ["name"], "properties": {"name": {"maxLength": 47}, "namespace": {}}},
        "spec": {
            **OBJECT,
            "required": ["entrypoint", "rayClusterSpec"],
            "properties": {
                "entrypoint": {"type": "string"},
                "shutdownAfterJobFinishes": {"type": "boolean"},
                "ttlSecondsAfterFinished": COUNT,
                "backoffLimit": COUNT,
                "rayClusterSpec": {
                    **OBJECT,
                    "required": ["headGroupSpec"],
                    "properties": {
                        "rayVersion": {"type": "string"},
                        "headGroupSpec": {
                            **OBJECT,
                            "required": ["rayStartParams", "template"],
                            "properties": {"rayStartParams": TEXTS, "template": POD},
                        },
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": {
                                **OBJECT,
                                "required": ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                                "properties": {
                                    "groupName": {"type": "string"},
                                    "replicas": COUNT,
                                    "minReplicas": COUNT,
                                    "maxReplicas": COUNT,
                                    "rayStartParams": TEXTS,
                                    "template": POD,
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize(
    "memory",
    [
        "16777216Ki",
        "16Gi",
        "16384Mi",
        "0.5Ti",
        ".5Pi",
        "1Ei",
        "1e9",
        "1E9",
        "2.5e+9",
        "17179869184",
        "17G",
        "64000k",
        "1T",
        "1P",
        "1E",
        "+16Gi",
        "16.Gi",
        "128974848000m",
        "9000000000000000u",
        "9000000000000000000n",
    ],
)
def test_quantities_of_kubernetes_are_memory(launch, memory):
    """Kubernetes' own documentation has `129e6`, `129M`, `128974848000m` and `123Mi` as examples."""
    _, job = yaml.safe_load_all(launch("kuberay", *ENOUGH["kuberay"], "--memory", memory))
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["memory"] == memory


@pytest.mark.parametrize(
    "memory", ["16ki", "16gi", "16K", "16Ki ", "16 Gi", "16GB", "16GiB", "1e", "e9", "", ".", "1e9Gi", "1.5.5"]
)
def test_other_texts_are_no_quantities(launch, memory):
    with pytest.raises(SpecError, match="not a quantity of Kubernetes"):
        launch("kuberay", *ENOUGH["kuberay"], "--memory", memory)


@pytest.mark.parametrize("memory", ["0", "0Gi", "0.0", "-16Gi"])
def test_memory_is_above_zero(launch, memory):
    with pytest.raises(SpecError, match="memory must be above 0, but got"):
        launch("kuberay", *ENOUGH["kuberay"], f"--memory={memory}")


def test_the_rayjob_has_the_fields_of_kuberay(launch, tmp_path):
    options = [*ENOUGH["kuberay"], "--data-claim", "imagenet", "--nodes", "3", "--gpus-per-node", "4"]
    resources = "resources: {gpus: 0.5}\n"
    config, job = yaml.safe_load_all(launch("kuberay", *options, edit=lambda sweep: sweep + resources))
    jsonschema.validate(job, RAY_JOB)
    assert config["data"]["sweep.yaml"] == (tmp_path / "tiny.yaml").read_text()
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == importlib.metadata.version("ray")
    (group,) = cluster["workerGroupSpecs"]
    assert [group[key] for key in ("replicas", "minReplicas", "maxReplicas")] == [3, 3, 3]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": 8, "memory": "16Gi", "nvidia.com/gpu": 4}
    for template in (group["template"], cluster["headGroupSpec"]["template"]):
        mounted = {mount["name"]: mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
        assert mounted == {"sweep": "/archsweep", "runs": "/runs", "data": "/data"}
        assert mounted.keys() == {volume["name"] for volume in template["spec"]["volumes"]}
    assert shlex.split(job["spec"]["entrypoint"])[2:] == [
        *("/archsweep/sweep.yaml", "--address", "auto", "--out", "/runs/tiny", "--data-dir", "/data")
    ]


def test_long_names_are_shortened_and_unique_in_kubernetes(launch):
    names = set()
    for end in ("a", "b"):
        name = f"name: {'Long_name.' * 8}{end}"
        text = launch("kuberay", *ENOUGH["kuberay"], edit=lambda sweep, name=name: sweep.replace("name: tiny", name))
        names.add(list(yaml.safe_load_all(text))[1]["metadata"]["name"])
    assert len(names) == 2
    assert all(len(name) <= 40 for name in names)


@pytest.fixture
def slurm(tmp_path):
    """Substitute for Slurm with one node: `srun` runs the command after `--`, `scontrol requeue` writes a file."""
    programs = tmp_path / "bin"
    programs.mkdir()

    def program(name: str, text: str) -> None:
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)

    program("srun", 'while [ "$1" != bash ]; do shift; done; "$@"')
    program("scontrol", 'if [ "$1" = show ]; then echo localhost; else echo "$@" > requeued; fi')
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "TMPDIR": str(tmp_path)}
    environment |= {"SLURM_JOB_NODELIST": "localhost", "SLURM_CPUS_PER_TASK": "2"}

    def run(script: str, archsweep: str) -> subprocess.Popen:
        program("archsweep", archsweep)
        (tmp_path / "job.sh").write_text(script)
        return subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    return run


@pytest.mark.parametrize("nodes", ["1", "2"])
@pytest.mark.parametrize("code", [0, 3])
def test_the_slurm_job_ends_with_the_code_of_archsweep(code, nodes, slurm, launch, tmp_path):
    options = [*ENOUGH["slurm"], "--nodes", nodes, "--setup", "true", "--set", f"description={json.dumps(HOSTILE)}"]
    job = slurm(launch("slurm", *options), f'printf "%s\\n" "$@" > words; exit {code}')
    assert job.wait(300) == code, job.stderr
    words = (tmp_path / "words").read_text()
    assert f"description={json.dumps(HOSTILE)}\n" in words
    assert not (tmp_path / "requeued").exists()
    assert not (tmp_path / "pwned").exists()


def test_nodes_that_slurm_ends_after_the_head_do_not_fail_the_job(slurm, launch, tmp_path):
    """With `--wait` srun kills the remaining tasks, and exits with the code of a killed one."""
    script = launch("slurm", *ENOUGH["slurm"], "--nodes", "2", "--setup", "true")
    assert "\nsrun --wait=10 --nodes=" in script
    srun = tmp_path / "bin" / "srun"
    srun.write_text(srun.read_text() + "exit 137\n")
    assert slurm(script, "exit 0").wait(300) == 0
    assert slurm(script, "exit 3").wait(300) == 3
    assert not list(tmp_path.glob("*.pid*"))


@pytest.mark.parametrize("nodes", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_slurms_signal_reaches_archsweep_and_a_job_out_of_time_is_requeued(number, nodes, slurm, launch, tmp_path):
    """USR1 comes before the time is up; TERM of `scancel`, after which a job must stay away."""
    os.mkfifo(tmp_path / "ready")
    saves = "trap 'echo saved > saved; exit 143' TERM; echo > ready; for _ in {1..3000}; do sleep 0.1; done"
    job = slurm(launch("slurm", *ENOUGH["slurm"], "--nodes", nodes, "--setup", "true"), saves)
    (tmp_path / "ready").read_text()  # archsweep is running
    job.send_signal(number)
    assert job.wait(300) == 143
    assert (tmp_path / "saved").exists()
    if number == signal.SIGUSR1:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    else:
        assert not (tmp_path / "requeued").exists()


def test_a_cluster_that_does_not_come_up_fails_the_slurm_job(slurm, launch, tmp_path):
    script = launch("slurm", *ENOUGH["slurm"], "--nodes", "2", "--setup", "srun() { true; }")
    job = slurm(script, "true")
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 1
    assert errors == "archsweep was never started: Ray did not come up on the nodes, see above\n"


def test_submit_passes_the_file_to_sbatch(launch, tmp_path, monkeypatch):
    (tmp_path / "sbatch").write_text('#!/bin/bash\ncp "$1" submitted\n')
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    launch("slurm", *ENOUGH["slurm"], "--submit")
    assert (tmp_path / "submitted").read_text() == launch("slurm", *ENOUGH["slurm"])


def test_submit_without_the_program_is_refused(launch, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpecError) as caught:
        launch("kuberay", *ENOUGH["kuberay"], "--submit")
    assert str(caught.value) == (
        "--submit: there is no `kubectl` on the PATH\n"
        "  run this where the cluster's client is installed, or without --submit and carry the file there"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_trials_that_take_a_gpu_where_there_are_any_fill_the_gpus_of_a_node(launch):
    auto = ["--set", "resources.gpus=auto", "--set", "resources.cpus=2", "--time", "1:00:00"]
    with_gpus = launch("slurm", *auto, "--gpus-per-node", "4")
    assert "CUDA_VISIBLE_DEVICES" in with_gpus  # of a part of the node
    assert "at most 4 trials of 2 CPUs and 0 GPUs, and one GPU where there are any; 4 at a time on a node" in with_gpus
    assert "#SBATCH --gpus-per-node=4" in with_gpus
    without = launch("slurm", *auto, "--cpus-per-node", "8")
    assert "; 4 at a time on a node" in without
    assert "--gpus-per-node" not in without
