"""Fixtures of the fault tests: writers to be killed, and databases that may be broken."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from Testing.faults.campaign import Nursery

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """A process whose children write until they are killed."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def new_database(server) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and gives its address."""

    def make() -> str:
        name = f"database_{next(_numbers)}"
        server.execute(f"CREATE DATABASE {name}")
        return server.address.replace("/postgres?", f"/{name}?")

    return make
