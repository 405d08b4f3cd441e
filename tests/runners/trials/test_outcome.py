"""Failure records of exceptions, as they are written to the ledger."""

from __future__ import annotations

import pickle

import torch

from runners.trials.outcome import NonFiniteLoss, failure_of


def caught(error):
    try:
        raise error
    except BaseException as err:
        return failure_of(err, epoch=3)


def test_failure_carries_type_message_epoch_and_the_end_of_the_traceback():
    failure = caught(ValueError("no such thing"))
    assert (failure.type, failure.message, failure.epoch) == ("ValueError", "no such thing", 3)
    assert failure.traceback.splitlines()[-1] == "ValueError: no such thing"


def test_memory_errors_of_host_and_gpu_have_one_name():
    assert caught(MemoryError()).type == "OutOfMemory"
    assert caught(torch.OutOfMemoryError("CUDA out of memory")).type == "OutOfMemory"


def test_message_is_never_empty():
    assert caught(AssertionError()).message == "AssertionError"


def test_diverged_trial_names_its_own_epoch():
    assert caught(NonFiniteLoss(7, float("inf"))).epoch == 7


def test_diverged_trial_survives_a_process_boundary():
    copy = pickle.loads(pickle.dumps(NonFiniteLoss(7, float("inf"))))
    assert (copy.epoch, str(copy)) == (7, "training loss is inf in epoch 7")


def test_long_tracebacks_keep_their_end():
    error = None
    for number in range(40):
        try:
            raise ValueError(number) from error
        except ValueError as err:
            error = err
    lines = failure_of(error).traceback.splitlines()
    assert len(lines) == 30
    assert lines[-1] == "ValueError: 39"
