"""When the store is open."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import parse
from edge.opening_hours import ALWAYS_OPEN, MINUTES_PER_DAY, OpeningHours, Span

MONDAY = datetime(2026, 3, 2)
CLOSED: tuple[Span, ...] = ()


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A local time; day 0 is a Monday."""
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


def week(**days: tuple[Span, ...]) -> OpeningHours:
    return OpeningHours(tuple(days.get(day, CLOSED) for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")))


@given(st.datetimes())
def test_unset_hours_are_always_open(local: datetime) -> None:
    assert ALWAYS_OPEN.is_open(local)


def test_the_start_is_open_and_the_end_is_closed() -> None:
    hours = week(mon=(Span(8 * 60, 12 * 60 + 30), Span(14 * 60, 20 * 60)))
    assert [hours.is_open(at(0, *time)) for time in [(7, 59), (8, 0), (12, 29), (12, 30), (14, 0), (19, 59), (20, 0)]] == [
        False, True, True, False, True, True, False,
    ]  # fmt: skip
    assert not hours.is_open(at(1, 9))


def test_a_night_is_open_past_midnight_and_past_the_week() -> None:
    hours = week(sun=(Span(22 * 60, 26 * 60),))
    assert hours.is_open(at(6, 23))
    assert hours.is_open(at(7, 1, 59))
    assert not hours.is_open(at(7, 2))
    assert not hours.is_open(at(6, 1))


def test_the_file_gives_the_same_hours() -> None:
    config = parse(
        "price_source = 'hq'\n[store]\nid='s'\nname='s'\ncountry='DE'\nlocale='de'\ncurrency='EUR'\ntimezone='UTC'\ntax_mode='inclusive'\n"
        "[store.opening_hours]\nmon='always'\ntue=[]\nwed=['08:00-12:30', '14:00-24:00']\nthu=[]\nfri=['22:00-02:00']\nsat=[]\nsun=[]\n",
        "shop.toml",
    )
    hours = config.store.opening_hours
    assert hours == week(
        mon=(Span(0, MINUTES_PER_DAY),),
        wed=(Span(480, 750), Span(840, 1440)),
        fri=(Span(1320, 1560),),
    )
    assert hours.is_open(at(0, 23, 59))
    assert not hours.is_open(at(1, 0))
    assert hours.is_open(at(5, 1, 59))


@given(start=st.integers(0, MINUTES_PER_DAY - 1), length=st.integers(1, MINUTES_PER_DAY), minute=st.integers(0, 7 * MINUTES_PER_DAY - 1))
def test_one_span_is_open_for_exactly_its_minutes(start: int, length: int, minute: int) -> None:
    hours = week(wed=(Span(start, start + length),))
    begins = 2 * MINUTES_PER_DAY + start
    assert hours.is_open(MONDAY + timedelta(minutes=minute)) == (begins <= minute < begins + length)


@pytest.mark.parametrize("start, end", [(-1, 5), (1440, 1500), (5, 5), (5, 4), (0, 1441)])
def test_a_span_that_makes_no_sense_cannot_be_built(start: int, end: int) -> None:
    with pytest.raises(ValueError):
        Span(start, end)


def test_a_week_has_seven_days() -> None:
    with pytest.raises(ValueError):
        OpeningHours((CLOSED,) * 6)
