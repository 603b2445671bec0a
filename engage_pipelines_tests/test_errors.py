"""Errors are grouped by what to do next."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

import pytest

from engage_pipelines import errors
from engage_pipelines.errors import BudgetSpentError, EngageError, RejectedError, RetryableError

ALL = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, EngageError)]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_in_the_tree_at_the_top_of_the_file_and_says_what_it_means(error: type[EngageError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")
    assert error.__doc__


def test_one_clause_catches_everything_that_is_raised_on_purpose() -> None:
    assert all(issubclass(error, EngageError) for error in ALL)
    assert not issubclass(EngageError, OSError | ValueError | RuntimeError)


def test_a_spent_budget_is_something_to_try_again_later() -> None:
    reset = datetime(2026, 11, 21, tzinfo=UTC)
    spent = BudgetSpentError("aiq: budget spent", retry_at=reset)
    assert isinstance(spent, RetryableError)
    assert spent.retry_at == reset


def test_a_refusal_keeps_the_vendors_code() -> None:
    assert RejectedError("no", vendor_code="E1").vendor_code == "E1"
    assert RejectedError("no").vendor_code is None
