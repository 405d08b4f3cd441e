"""Values made again in the background: the previous one is given meanwhile, and one is made at a time."""

from __future__ import annotations

import threading

import pytest

from results.live.remade import Remade, Workers
from search_space.parsing.errors import Problem, SpecError


def test_a_value_is_made_once_for_each_state_of_its_files():
    made = []
    state = ["first"]
    kept = Remade(lambda: state[0], lambda: made.append(state[0]) or state[0].upper(), Workers(1))
    seen = kept.seen(wait=10)
    assert (seen.value, seen.is_current, seen.error) == ("FIRST", True, None)
    again = kept.seen(wait=10)
    assert (again.value, again.version) == ("FIRST", seen.version)
    assert made == ["first"]


def test_the_previous_value_is_given_while_the_next_one_is_made():
    """The second making waits until it is released; a request meanwhile has the first value at once."""
    state, release, begun = ["a"], threading.Event(), threading.Event()

    def make():
        if state[0] == "b":
            begun.set()
            assert release.wait(30)
        return state[0]

    kept = Remade(lambda: state[0], make, Workers(1))
    first = kept.seen(wait=10)
    state[0] = "b"
    while not begun.wait(0.01):  # after a pause, of a multiple of the time that the first making took
        kept.seen()
    meanwhile = kept.seen()
    assert (meanwhile.value, meanwhile.version, meanwhile.is_current) == ("a", first.version, False)
    release.set()
    then = kept.seen(wait=10)
    assert (then.value, then.is_current) == ("b", True)
    assert then.version > first.version


def test_many_who_ask_at_once_start_one_making():
    release, calls = threading.Event(), []

    def make():
        calls.append(1)
        assert release.wait(30)
        return "made"

    kept = Remade(lambda: "state", make, Workers(4))
    found = []
    asking = [threading.Thread(target=lambda: found.append(kept.seen(wait=20).value)) for _ in range(20)]
    for thread in asking:
        thread.start()
    release.set()
    for thread in asking:
        thread.join(30)
    assert found == ["made"] * 20
    assert calls == [1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SpecError(Problem("no run")), "no run"),
        (ZeroDivisionError("by zero"), "archsweep failed here: ZeroDivisionError: by zero"),
    ],
)
def test_an_error_is_shown_beside_the_previous_value(capsys, error, words):
    state = ["whole"]

    def make():
        if state[0] == "broken":
            raise error
        return state[0]

    kept = Remade(lambda: state[0], make, Workers(1))
    kept.seen(wait=10)
    state[0] = "broken"
    while not (seen := kept.seen(wait=10)).is_current:
        pass
    assert seen.value == "whole"
    assert seen.error is not None
    assert seen.error.problems[0].message == words
    assert ("Traceback" in capsys.readouterr().err) == isinstance(error, ZeroDivisionError)
