"""What the machine has to have."""

import os

import pytest


@pytest.fixture
def two_processors() -> None:
    """Skips where this process may use one processor only."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two processors")
