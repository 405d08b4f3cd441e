"""Section `track`: its short and long forms, its error messages, and that trials do not depend on it."""

from __future__ import annotations

import json

import jsonschema
import pytest

from search_space import SpecError, load_sweep, load_sweep_text, trial_id, variants
from search_space.loading.json_schema import json_schema

HEAD = "name: t\nbaseline: {}\ndesign: one_factor\n"


def track_of(text: str, **options):
    return load_sweep_text(HEAD + text, **options).sweep.track


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("track: tensorboard", ["tensorboard"]),
        ("track: [tensorboard, mlflow]", ["tensorboard", "mlflow"]),
        ("track: {name: wandb, project: p, tags: [a]}", ["wandb"]),
        ("track: [wandb, {name: mlflow, experiment: e}]", ["wandb", "mlflow"]),
        ("track: []", []),
        ("track: null", []),
        ("", []),
    ],
)
def test_a_tracker_is_a_name_a_mapping_or_a_list_of_these(written: str, names: list[str]) -> None:
    assert [tracker.name for tracker in track_of(written)] == names
    content = json.loads(json.dumps(load_sweep_text(HEAD + written).resolved))
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(content)) == []


def test_a_profile_and_the_command_line_may_choose_trackers() -> None:
    text = "track: wandb\nprofiles: {smoke: {track: null}}\n"
    assert track_of(text, profile="smoke") == ()
    assert [tracker.name for tracker in track_of(text, overrides=["track=[mlflow, tensorboard]"])] == [
        "mlflow",
        "tensorboard",
    ]


def test_trackers_are_not_part_of_the_identity_of_a_trial() -> None:
    ids = [
        trial_id(next(variants(load_sweep_text(HEAD + text).sweep)).setting.with_seed(0))
        for text in ("", "track: [wandb, mlflow]")
    ]
    assert ids[0] == ids[1]


def test_a_folder_is_relative_to_the_sweep_file(tmp_path) -> None:
    (tmp_path / "s.yaml").write_text(HEAD + "track: {name: tensorboard, dir: boards}\n")
    assert load_sweep(tmp_path / "s.yaml").sweep.track[0].dir == str(tmp_path / "boards")


KNOWN = "known: mlflow, optuna, tensorboard, wandb."
URI_HINT = "write  sqlite:////absolute/path/mlflow.db  or  http://HOST:PORT"
SECRET_HINT = "the sweep file is copied into every run directory: keep secrets out of it and in the environment"
PASSWORD = "the sweep file is copied into every run directory, so it must not contain a password or token"
STORAGE = "the storage is copied into the run directory, so it must not contain a password or token"
STORAGE_HINT = "remove it: database drivers read it from PGPASSWORD, ~/.pgpass or ~/.my.cnf"
PASSWORD_HINT = "remove it and set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and _PASSWORD (or _TOKEN)"


@pytest.mark.parametrize(
    ("written", "place", "message", "hint"),
    [
        ("tensorbord", "4:8: track", "unknown tracker 'tensorbord'", KNOWN + "  Did you mean 'tensorboard'?"),
        ("[mlflow, wand]", "4:17: track[1]", "unknown tracker 'wand'", KNOWN + "  Did you mean 'wandb'?"),
        ("{project: p}", "4:8: track", "the tracker has no `name`", KNOWN),
        ("3", "4:8: track", "must be a tracker, {name: TRACKER, ...options}, or a list of these, but got 3", ""),
        ("[3]", "4:9: track[0]", "unknown tracker 3", KNOWN),
        (
            "{name: wandb, projct: p}",
            "4:22: track.projct",
            "unknown key 'projct' in tracker 'wandb'",
            "known: entity, group, mode, project, tags.  Did you mean 'project'?",
        ),
        (
            "{name: wandb, mode: ofline}",
            "4:28: track.mode",
            "unknown value 'ofline'",
            "known: disabled, offline, online.  Did you mean 'offline'?",
        ),
        ("{name: wandb, api_key: abc}", "4:22: track.api_key", "unknown key 'api_key' in tracker 'wandb'", SECRET_HINT),
        ("[wandb, wandb]", "4:16: track[1]", "the tracker 'wandb' is given twice", "remove one of them"),
        (
            "{name: mlflow, tracking_uri: ./mlruns}",
            "4:37: track[0].tracking_uri",
            "'./mlruns' is not a tracking URI that MLflow can write to (it no longer supports plain folders)",
            URI_HINT,
        ),
        (
            "{name: mlflow, tracking_uri: 'http://me:pw@h'}",
            "4:37: track[0].tracking_uri",
            PASSWORD,
            PASSWORD_HINT,
        ),
        ("{name: mlflow, tracking_uri: 'https://token@h'}", "4:37: track[0].tracking_uri", PASSWORD, PASSWORD_HINT),
        ("{name: mlflow, tracking_uri: 'http://h/?token=t'}", "4:37: track[0].tracking_uri", PASSWORD, PASSWORD_HINT),
        ("{name: mlflow, tracking_uri: 'http://h/?x=t'}", "4:37: track[0].tracking_uri", PASSWORD, PASSWORD_HINT),
        ("{name: optuna, storage: 'mysql://u:p/w@h/d'}", "4:32: track[0].storage", STORAGE, STORAGE_HINT),
        ("{name: optuna, storage: 'mysql://u@h/d?passwd=p'}", "4:32: track[0].storage", STORAGE, STORAGE_HINT),
    ],
)
def test_invalid_track_sections_are_refused(written: str, place: str, message: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(HEAD + f"track: {written}\n", "s.yaml")
    (problem,) = caught.value.problems
    assert (f"{problem.where}: {problem.path}", problem.message, problem.hint) == (f"s.yaml:{place}", message, hint)
