"""What every test shares: none reads or writes the user's memory of earlier trials."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user():
    os.environ["ARCHSWEEP_CACHE"] = "off"
