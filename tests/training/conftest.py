"""Trainers of these tests come out of one process that has torch ready; it is closed at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training import world


@pytest.fixture(scope="session", autouse=True)
def nursery() -> Iterator[None]:
    yield
    world.close_nursery()
