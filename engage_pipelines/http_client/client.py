"""The client: one per vendor account, shared by its threads."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from engage_pipelines.errors import (
    ContractError,
    CredentialsError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client.pacing import Limits, Pacer
from engage_pipelines.http_client.redaction import redact
from engage_pipelines.http_client.retries import (
    NOT_DONE_STATUSES,
    RETRYABLE_STATUSES,
    RetryPolicy,
    retry_after_seconds,
)

_LOG = logging.getLogger(__name__)
# httpx tells every address at INFO, query and all: e-mail addresses and keys would be in the log.
logging.getLogger("httpx").setLevel(logging.WARNING)

# A code, not a sentence: what has blanks in it may well name a customer.
_VALUE = re.compile(r"""value (['"]).*\1""", re.DOTALL)
_CODE = re.compile(r"[\w.:/-]{1,60}")

try:
    USER_AGENT = f"EngagePipelines/{version('engage-pipelines')}"
except PackageNotFoundError:  # run from a source tree that was never installed
    USER_AGENT = "EngagePipelines/0"


# Seconds; an absurd Retry-After must not silence an account for longer than one nightly run.
_LONGEST_PAUSE = 86_400.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    """A vendor's answer: status, headers (lower-case names) and body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self, shape: Any = Any) -> Any:
        """Decode the body, checked against `shape` (a msgspec type) when given.

        Raises:
            ContractError: the body is not JSON, or not of that shape.
        """
        try:
            return msgspec.json.decode(self.content, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # msgspec names the path and the types; a value only where it is none of a list of allowed ones.
            problem = redact(_VALUE.sub("value", str(error)))
            raise ContractError(f"answer with status {self.status} is not the documented JSON: {problem}") from None


class VendorClient:
    """Calls one vendor account within its limits and turns answers into values or errors.

    Args:
        vendor: name for messages.
        base_url: where the vendor's API starts; paths are appended to it.
        headers: sent with every call; their values never appear in messages.
        limits: rates and requests in flight.
        secrets: further values to hide from messages.
        retry: the retry policy.
        timeout: seconds to wait for bytes of an answer (connecting: 10 s).
        sleep: how to wait; tests pass a fake.
        now: the wall clock, for Retry-After dates.
    """

    def __init__(
        self,
        vendor: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        secrets: Collection[str] = (),
        retry: RetryPolicy | None = None,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.vendor = vendor
        self.limits = limits or Limits()
        self.retry = retry or RetryPolicy()
        self.calls = 0
        # Processes that share an account need a clock that means the same to all of them.
        clock = time.time if self.limits.shared else monotonic
        self.pacer = Pacer(
            self.limits.rates,
            file=self.limits.shared,
            clock=clock,
            sleep=sleep,
            patience=self.retry.patience,
            name=vendor,
        )
        self._secrets = tuple(secrets)
        self._sleep = sleep
        self._now = now
        self._slots = threading.BoundedSemaphore(self.limits.in_flight)
        self._count = threading.Lock()
        self._http = httpx.Client(
            base_url=base_url.rstrip("/") + "/",
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})},
            timeout=httpx.Timeout(timeout, connect=10.0),
            limits=httpx.Limits(max_connections=self.limits.in_flight, keepalive_expiry=60.0),
            follow_redirects=False,
            # Without TLS there is nothing to verify, and loading the certificates takes longer than a call.
            verify=not base_url.startswith("http://"),
        )

    def __enter__(self) -> Self:
        """Enter the client's life; leaving closes its connections."""
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] = (),
        repeatable: bool = True,
        timeout: float | None = None,
    ) -> Answer:
        """Make one call, with retries, and give the answer if it is a 2xx or in `expect`.

        Args:
            method: HTTP verb.
            path: relative to the base URL.
            params: query parameters.
            content: body bytes (JSON text), or
            json: body value to encode.
            headers: extra headers of this call.
            expect: statuses outside 2xx that the caller reads itself.
            repeatable: False if doing it twice does harm: then an unknown outcome is not retried.
            timeout: read time-out of this call in seconds, instead of the client's.

        Raises:
            CredentialsError: 401 or 403.
            RejectedError: any other 4xx.
            RetryableError: still failing after all tries, or told to come back too late to wait.
            UnknownOutcomeError: not repeatable, and no answer (or a 5xx) came back.
        """
        body = msgspec.json.encode(json) if json is not None else content
        what = redact(f"{self.vendor}: {method} {path}", self._secrets)
        request = self._http.build_request(
            method, path.lstrip("/"), params=params, content=body,
            headers={"Content-Type": "application/json", **(headers or {})},
            timeout=httpx.Timeout(timeout, connect=10.0) if timeout else httpx.USE_CLIENT_DEFAULT,
        )  # fmt: skip
        attempt = 0
        while True:
            attempt += 1
            answer, problem = self._try_once(request)
            if answer and (200 <= answer.status < 300 or answer.status in expect):
                return answer
            self._raise_if_final(what, answer, problem, repeatable=repeatable)
            self._wait_or_give_up(what, attempt, answer, problem)

    def _try_once(self, request: httpx.Request) -> tuple[Answer | None, httpx.RequestError | None]:
        with self._slots:
            self.pacer.wait()
            with self._count:
                self.calls += 1
            try:
                response = self._http.send(request)
            except httpx.RequestError as error:  # no answer, or one that cannot be unpacked
                return None, error
        return Answer(response.status_code, response.headers, response.content), None

    def _raise_if_final(self, what: str, answer: Answer | None, problem: Exception | None, *, repeatable: bool) -> None:
        if answer is None:
            never_left = isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            if not repeatable and not never_left:
                raise UnknownOutcomeError(f"{what}: no answer ({type(problem).__name__})") from problem
            return
        if answer.status in {401, 403}:
            raise CredentialsError(f"{what}: refused with {answer.status}; check the key and its rights")
        if answer.status not in RETRYABLE_STATUSES:
            if answer.status >= 500 or answer.status < 400:
                raise ContractError(f"{what}: unexpected status {answer.status}")
            code = vendor_code(answer.content)
            raise RejectedError(
                f"{what}: refused with {answer.status}" + (f" {code}" if code else ""), vendor_code=code
            )
        if not repeatable and answer.status not in NOT_DONE_STATUSES:
            raise UnknownOutcomeError(f"{what}: status {answer.status}, it may have been done")

    def _wait_or_give_up(self, what: str, attempt: int, answer: Answer | None, problem: Exception | None) -> None:
        now = self._now()
        asked = retry_after_seconds(answer.headers, now) if answer else None
        wait = self.retry.next_wait(attempt, asked)
        seen = f"status {answer.status}" if answer else type(problem).__name__
        if wait is None:
            if asked is not None:
                # Also whoever comes next, in whatever process, leaves the vendor alone for as long.
                self.pacer.pause(min(asked, _LONGEST_PAUSE))
            retry_at = now + timedelta(seconds=asked) if asked else None
            tries = f"after {attempt} {'try' if attempt == 1 else 'tries'}"
            later = f"; the vendor asks to come back at {retry_at:%Y-%m-%d %H:%M:%S %Z}" if retry_at else ""
            raise RetryableError(f"{what}: {seen} {tries}{later}", retry_at=retry_at) from problem
        _LOG.info("%s: %s, try %d in %.1f s", what, seen, attempt + 1, wait)
        if asked is not None:
            # The vendor speaks to the account, not to this call: everybody waits.
            self.pacer.pause(wait)
        else:
            self._sleep(wait)


def vendor_code(content: bytes) -> str | None:
    """The vendor's own error code in a refusal, if it is where vendors put it; never free text."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(body, dict):
        return None
    errors = body.get("errors")
    places = [body, body.get("status"), body.get("error"), *(errors if isinstance(errors, list) else [errors])]
    codes = (_code_in(place) for place in places if isinstance(place, dict))
    return next((code for code in codes if code), None)


def _code_in(place: Mapping[str, Any]) -> str | None:
    for name in ("code", "errorCode", "error_code"):
        value = place.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and _CODE.fullmatch(str(value)):
            return redact(str(value))
    return None
