"""Readers of what trackers wrote, by the trackers' own libraries, in one common form."""

from __future__ import annotations

import json
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MLFLOW_STATUS = {"completed": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "preempted": "KILLED"}


@dataclass
class Seen:
    """One tracker run. `history`: metric -> [(epoch, value)], in the order in which a viewer gets them."""

    group: str
    config: dict
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)
    status: str = ""
    state: object = None  # in the tracker's own words


def read_tensorboard(run_dir: Path) -> dict[str, Seen]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = {}
    for folder in (run_dir / "tensorboard").iterdir():
        if folder.name == "table":
            continue
        events = EventAccumulator(str(folder))
        events.Reload()
        scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        hparams, status = {}, ""
        if "_hparams_/session_start_info" in events.summary_metadata:
            content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
            values = HParamsPluginData.FromString(content).session_start_info.hparams
            hparams = {key: getattr(value, value.WhichOneof("kind")) for key, value in values.items()}
            (text,) = events.Tensors("status/text_summary")
            status = text.tensor_proto.string_val[0].decode()
        final = {tag.removeprefix("final/"): scalars.pop(tag)[0][1] for tag in list(scalars) if "final/" in tag}
        found[folder.name.rpartition("_seed=")[0] + f" seed={hparams.get('seed', 0):.0f}"] = Seen(
            run_dir.name, hparams, scalars, final, hparams.get("status", ""), status
        )
    return found


def read_mlflow(run_dir: Path) -> dict[str, Seen]:
    from mlflow import MlflowClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # MLflow's own use of SQLAlchemy
        client = MlflowClient(f"sqlite:///{run_dir}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("tracked")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        if run.data.tags["archsweep.role"] == "sweep":
            continue
        parent = client.get_run(run.data.tags["mlflow.parentRunId"])
        epochs, history, final = 0, {}, {}
        for key in run.data.metrics:
            points = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)]
            (history if key in ("train_loss", "top1", "loss") else final)[key] = points
        epochs = max((step for step, _ in history.get("train_loss", ())), default=0)
        latest = {key: points[-1][1] for key, points in history.items() if points[-1][0] == epochs}
        assert run.info.run_name not in found, "two runs of one trial"
        found[run.info.run_name] = Seen(
            parent.info.run_name,
            run.data.params,
            history,
            latest | {key: points[-1][1] for key, points in final.items()},
            run.data.tags.get("archsweep.status", ""),
            run.info.status,
        )
    return found


def wandb_records(path: Path):
    """The records of an offline file: LevelDB's log format after a header of 7 bytes, protobuf inside."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, payload = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        payload += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(payload)
            payload = b""


def read_wandb(run_dir: Path) -> dict[str, Seen]:
    found = {}
    for path in run_dir.glob("wandb/offline-run-*/*.wandb"):
        records = list(wandb_records(path))
        (run,) = (record.run for record in records if record.HasField("run"))
        if run.job_type == "table":
            continue
        config = {item.key: json.loads(item.value_json) for item in run.config.update if item.key != "_wandb"}
        seen = Seen(run.run_group, config)
        for record in records:
            if record.HasField("history"):
                items = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                for key in set(items) - {"_step", "_timestamp", "_runtime"}:
                    seen.history.setdefault(key, []).append((items["_step"], items[key]))
            if record.HasField("summary"):
                values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}
                seen.final |= {key: value for key, value in values.items() if isinstance(value, int | float)}
                seen.status = values.get("status", seen.status)
            if record.HasField("exit"):
                seen.state = record.exit.exit_code
        assert run.display_name not in found, "two runs of one trial"
        found[run.display_name] = seen
    return found


def optuna_study(run_dir: Path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    backend = JournalFileBackend(str(run_dir / "optuna" / "journal.log"))
    return optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))


def read_optuna(run_dir: Path) -> dict[str, Seen]:
    study = optuna_study(run_dir)
    found = {}
    for trial in study.trials:
        attrs = trial.user_attrs
        name = f"{attrs['variant']} seed={attrs['seed']}"
        assert name not in found, "two Optuna trials of one trial"
        found[name] = Seen(
            study.study_name,
            {**trial.params, "variant": attrs["variant"], "trial_id": attrs["trial_id"]},
            {"top1": sorted(trial.intermediate_values.items())},
            attrs,
            attrs.get("status", ""),
            trial.state.name,
        )
        assert trial.value == attrs.get("top1")  # which only a completed trial has
    return found


@pytest.fixture(scope="session")
def readers():
    """Tracker -> what reads its runs, by name of the run."""
    return {"mlflow": read_mlflow, "optuna": read_optuna, "tensorboard": read_tensorboard, "wandb": read_wandb}


@pytest.fixture(scope="session")
def own_words():
    """Tracker -> how it calls a status."""
    return {
        "mlflow": MLFLOW_STATUS.get,
        "optuna": {"completed": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}.get,
        "tensorboard": lambda status: status,
        "wandb": lambda status: 0 if status in ("completed", "pruned") else 1,
    }


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home directory without any login."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE", "MLFLOW_TRACKING_URI", "NETRC", "XDG_CONFIG_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def run(tmp_path_factory, archsweep, home):
    """Runs a tracked sweep in a folder of its own; returns how the command ended and the run directory."""

    def run_(text, track, *options, engine="in-process", again=None):
        folder = again or tmp_path_factory.mktemp("sweep")
        (folder / "sweep.yaml").write_text(text.replace("TRACK", track))
        ended = archsweep("run", "sweep.yaml", "--engine", engine, "--no-cache", *options, cwd=folder)
        return ended, folder / "runs" / "tracked"

    return run_
