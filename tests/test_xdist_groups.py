"""Tests that share something expensive run in one process of pytest-xdist, so that Ray starts once per test run."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process has no groups")
@pytest.mark.xdist_group("a group")
def test_groups_are_known_to_the_scheduler(request):
    """It reads them from the ids of tests. pytest 9.2 does not let pytest-xdist 3.8 put them there."""
    assert request.node.nodeid.endswith("@a group")
