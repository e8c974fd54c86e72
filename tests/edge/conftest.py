"""The shop that the tests of the store, the desk and the shelf loop work in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.label_work import ShelfRules
from tests.edge.shelf_bench import DWELL_MS, RETRY_MS, Shelf
from tests.edge.shop import L1, MILK, Shop
from tests.edge.stepped import template_database


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """An empty store on a file, open."""
    found = Shop(tmp_path)
    found.open()
    yield found
    found.close()


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    """A store with a catalogue: milk 1.00, bread 2.00, beef 10.00 per kg."""
    await shop.stocked()
    return shop


@pytest.fixture(scope="session")
def template() -> bytes:
    """A migrated, empty store."""
    return template_database()


@pytest.fixture
def rules() -> ShelfRules:
    """Two hours of dwell, a minute before the first retry."""
    return ShelfRules(True, DWELL_MS, RETRY_MS, 4 * RETRY_MS)


@pytest.fixture
async def empty(template: bytes, rules: ShelfRules) -> AsyncIterator[Shelf]:
    """A catalogue, both radios up, no label yet."""
    shelf = Shelf(template, rules)
    shelf.start()
    await shelf.stocked()
    await shelf.up(shelf.one, shelf.two)
    yield shelf
    await shelf.stop()


@pytest.fixture
async def shelf(empty: Shelf) -> Shelf:
    """L1 provably shows milk at 1.00."""
    await empty.heard(L1)
    await empty.bind(L1, MILK)
    await empty.proven(empty.one.last)
    assert empty.service.unsettled() == 0
    return empty
