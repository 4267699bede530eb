"""An empty store of each kind, and the monitor's lease on it."""

import contextlib

import pytest
from tests.contract.builders import NOW
from tests.contract.stores import STORES, prepare


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    prepare(request, tmp_path)
    with contextlib.closing(STORES[request.param](tmp_path)) as opened:
        yield opened


@pytest.fixture
def lease(store):
    return store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)
