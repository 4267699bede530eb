"""The false-alarm budget."""

from datetime import timedelta

import pytest

from driftbell.alarms.budget import Budget, parse_budget
from driftbell.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("1 per 30d", Budget(1, timedelta(days=30))),
        ("2 per 1000 checks", Budget(2, checks=1000)),
        (" 1 per 1,000 checks ", Budget(1, checks=1000)),
        ("0.5 per 2 w", Budget(0.5, timedelta(weeks=2))),
        ("3 per 90m", Budget(3, timedelta(minutes=90))),
    ],
)
def test_a_budget_is_read(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["1 per 30d", "2 per 1000 checks", "0.5 per 90m", "1 per 12h", "1 per 7s"])
def test_a_budget_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_budget(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "such as '1 per 30d'"),
        ("once a month", "such as '1 per 30d'"),
        ("1 per month", "such as '1 per 30d'"),
        ("-1 per 30d", "such as '1 per 30d'"),
        ("nan per 30d", "such as '1 per 30d'"),
        ("0 per 30d", "a budget of none is not possible"),
        ("1 per 30 fortnights", "the unit 'fortnights'"),
        ("1 per 1.5 checks", "whole number"),
        ("5 per 5 checks", "more than the alarms"),
        ("1 per 0d", "from one second"),
        ("1 per 1000000d", "about 30 years"),
        ("0.00000001 per 30d", "from 0.000001"),
        (f"1 per {'9' * 400} checks", "up to 1e12"),
        (f"{'9' * 400} per 1d", "to 1000000 alarms"),
    ],
)
def test_an_invalid_budget_is_an_error(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_budget(text)


def test_checks_per_alarm() -> None:
    month = parse_budget("1 per 30d")
    assert month.checks_per_alarm(timedelta(minutes=5)) == 8640
    assert month.checks_per_alarm(None) == 8640  # checks that do not run by themselves: one in 5 minutes
    assert month.checks_per_alarm(timedelta(days=60)) == 1
    assert parse_budget("3 per 1000 checks").checks_per_alarm(timedelta(hours=1)) == pytest.approx(1000 / 3)
