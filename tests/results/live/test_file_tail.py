"""The end of a log: its last lines, and only those of plain files of the run."""

from __future__ import annotations

import os

from results.live.file_tail import read_tail


def test_the_last_lines(tmp_path):
    (tmp_path / "train.log").write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert read_tail(tmp_path / "train.log", tmp_path, lines=2) == ["line 99998", "line 99999"]


def test_a_rewritten_line_is_shown_as_it_was_last(tmp_path):
    (tmp_path / "train.log").write_text("10 %\r 50 %\r100 %\ndone\n")
    assert read_tail(tmp_path / "train.log", tmp_path, lines=5) == ["100 %", "done"]


def test_secrets_are_masked_and_bytes_that_are_no_text_survive(tmp_path):
    (tmp_path / "train.log").write_bytes(b"WANDB_API_KEY=abc123\n\xff\xfe\n")
    assert read_tail(tmp_path / "train.log", tmp_path, lines=5) == ["WANDB_API_KEY=***", "\ufffd\ufffd"]


def test_no_link_leads_out_and_no_pipe_is_waited_for(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "secret").write_text("of the user\n")
    (run / "linked").symlink_to(tmp_path / "secret")
    (run / "up").symlink_to(tmp_path)
    os.mkfifo(run / "pipe")
    for name in ("linked", "up/secret", "../secret", "pipe", "missing", "."):
        assert read_tail(run / name, run, lines=5) == []
    (run / "own").write_text("inside\n")
    (run / "inner").symlink_to(run / "own")
    assert read_tail(run / "inner", run, lines=5) == ["inside"]
