"""A 403 that means "enough for now" is waited for; one that means "not you" goes to a person."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engage_pipelines.errors import CredentialsError, RetryableError
from engage_pipelines_tests.http_client.conftest import Serve
from engage_pipelines_tests.scripted_vendor import Script

WELL: Script = (200, {})
FORBIDDEN = (403, {"message": "Forbidden"})


def forbidden_for(seconds: str) -> tuple[int, bytes, dict[str, str]]:
    return (403, b"", {"Retry-After": seconds})


def test_a_403_as_the_first_answer_ever_is_a_wrong_key(serve: Serve) -> None:
    vendor = serve(FORBIDDEN)
    with pytest.raises(CredentialsError, match=r"^acme: GET x: refused with 403; check the key and its rights$"):
        vendor.client.call("GET", "x")
    assert (vendor.client.calls, vendor.clock.naps) == (1, [])


def test_answers_that_prove_no_key_prove_nothing(serve: Serve) -> None:
    vendor = serve((404, {}), FORBIDDEN)
    vendor.client.call("GET", "x", expect={404})
    with pytest.raises(CredentialsError):
        vendor.client.call("GET", "x")
    assert vendor.client.calls == 2


def test_a_403_with_retry_after_is_waited_for_in_full_by_everybody(serve: Serve) -> None:
    vendor = serve(forbidden_for("20"), WELL)
    assert vendor.client.call("GET", "x").status == 200
    assert vendor.clock.seconds == 20.0
    assert vendor.client.calls == 2


def test_a_403_for_a_key_that_has_worked_is_tried_again_after_the_usual_waits(serve: Serve) -> None:
    vendor = serve(WELL, FORBIDDEN, FORBIDDEN, WELL)
    for _ in range(2):
        assert vendor.client.call("GET", "x").status == 200
    assert vendor.clock.naps == [1.0, 2.0]


def test_a_403_that_lasts_is_a_key_that_was_revoked(serve: Serve) -> None:
    vendor = serve(WELL, FORBIDDEN)
    vendor.client.call("GET", "x")
    with pytest.raises(CredentialsError, match=r"^acme: GET x: refused with 403 after 4 tries; check the key"):
        vendor.client.call("GET", "x")
    assert vendor.client.calls == 5


@pytest.mark.parametrize("script", [(WELL,), ()])
def test_a_403_that_lasts_and_says_when_to_come_back_is_for_later(serve: Serve, script: tuple[Script, ...]) -> None:
    vendor = serve(*script, forbidden_for("30"))
    if script:
        vendor.client.call("GET", "x")
    with pytest.raises(RetryableError, match="status 403 after 4 tries; the vendor asks to come back at") as raised:
        vendor.client.call("GET", "x")
    assert raised.value.retry_at == vendor.clock.now() + timedelta(seconds=30)


def test_a_403_that_asks_for_more_than_our_patience_is_handed_on(serve: Serve) -> None:
    vendor = serve(forbidden_for("1200"))
    with pytest.raises(RetryableError, match="after 1 try; the vendor asks to come back at") as raised:
        vendor.client.call("GET", "x")
    assert raised.value.retry_at == vendor.clock.now() + timedelta(minutes=20)


def test_a_call_that_must_not_happen_twice_is_repeated_after_a_403(serve: Serve) -> None:
    # It was turned away at the door: nothing was done.
    vendor = serve(forbidden_for("1"), WELL)
    assert vendor.client.call("POST", "x", repeatable=False).status == 200


def test_a_403_that_the_caller_reads_itself_is_the_callers(serve: Serve) -> None:
    vendor = serve(WELL, forbidden_for("20"))
    vendor.client.call("GET", "x")
    assert vendor.client.call("GET", "x", expect={403}).status == 403
    assert vendor.clock.naps == []


def test_a_wrong_key_is_no_sign_of_a_vendor_in_trouble(serve: Serve) -> None:
    vendor = serve(FORBIDDEN)
    for _ in range(6):
        with pytest.raises(CredentialsError):
            vendor.client.call("GET", "x")
    assert vendor.client.calls == 6
