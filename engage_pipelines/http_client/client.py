"""The client: one per vendor account, shared by its threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from engage_pipelines.errors import EngageError
from engage_pipelines.http_client.answers import Answer, request_id
from engage_pipelines.http_client.answers import vendor_code as vendor_code
from engage_pipelines.http_client.breaker import Breaker
from engage_pipelines.http_client.exchanges import Exchange, listening_to, tell
from engage_pipelines.http_client.limits import Limits
from engage_pipelines.http_client.memory import Memory
from engage_pipelines.http_client.outcomes import Call, Tried, is_wanted, last_word, raise_if_final
from engage_pipelines.http_client.pacing import Departure, Pacer
from engage_pipelines.http_client.redaction import redact
from engage_pipelines.http_client.retries import (
    RetryPolicy,
    is_throttled,
    retry_after_seconds,
)
from engage_pipelines.http_client.slots import Slots

_LOG = logging.getLogger(__name__)
# httpx tells every address at INFO, query and all: e-mail addresses and keys would be in the log.
logging.getLogger("httpx").setLevel(logging.WARNING)

try:
    USER_AGENT = f"EngagePipelines/{version('engage-pipelines')}"
except PackageNotFoundError:  # run from a source tree that was never installed
    USER_AGENT = "EngagePipelines/0"


# Seconds; an absurd Retry-After must not silence an account for longer than one nightly run.
_LONGEST_PAUSE = 86_400.0
_CONNECT_TIMEOUT = 10.0
_NO_TIMEOUT = 600.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


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
        monotonic: seconds, for what stays in this process.
        now: the wall clock, for Retry-After dates and for what processes share.
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
        # False where nothing may be done twice, whatever the vendor's documents allow: a person wants to look first.
        self.repeats_the_unknown = True
        # Processes that share an account need a clock that means the same to all of them.
        clock = (lambda: now().timestamp()) if self.limits.shared else monotonic
        memory = Memory(self.limits.rates, file=self.limits.shared, clock=clock)
        self.pacer = Pacer(memory, sleep=sleep, now=now, patience=self.retry.patience, name=vendor)
        self.breaker = Breaker(memory, sleep=sleep, now=now, name=vendor)
        self._secrets = tuple(secrets)
        self._sleep = sleep
        self._monotonic = monotonic
        self._now = now
        self._key_worked = False
        self._slots = Slots(self.limits.in_flight, file=self.limits.shared, sleep=sleep)
        self._count = threading.Lock()
        self._http = httpx.Client(
            base_url=base_url.rstrip("/") + "/",
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", **(headers or {})},
            timeout=httpx.Timeout(timeout, connect=_CONNECT_TIMEOUT),
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

    def listening(self) -> AbstractContextManager[list[Exchange]]:
        """Hear what this thread's calls cause: `with client.listening() as heard` fills a list, one item per try."""
        return listening_to(self)

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
        changes: bool = True,
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
            changes: False if the call changes nothing although its verb says so, such as a login.
            timeout: read time-out of this call in seconds, instead of the client's.

        Raises:
            CredentialsError: 401, or 403 from a key that has not worked before; also a 403 that lasts.
            RejectedError: any other 4xx.
            RetryableError: still failing after all tries, or told to come back too late to wait, or the vendor is
                left alone after many failures; `retry_at` says when there is a point in trying again.
            UnknownOutcomeError: not repeatable, and no answer (or a 5xx) came back.

        Each of them tells with `may_be_done` whether an earlier try may have done its work.
        """
        body = msgspec.json.encode(json) if json is not None else content
        request = self._http.build_request(
            method, path.lstrip("/"), params=params, content=body,
            headers={"Content-Type": "application/json", **(headers or {})},
            timeout=httpx.Timeout(timeout, connect=_CONNECT_TIMEOUT) if timeout else httpx.USE_CLIENT_DEFAULT,
        )  # fmt: skip
        what = redact(f"{self.vendor}: {method} {path}", self._secrets)
        changes = changes and method not in {"GET", "HEAD"}
        repeatable = repeatable and (self.repeats_the_unknown or not changes)
        call = Call(what, method, redact(path.partition("?")[0], self._secrets), expect, repeatable, changes)
        try:
            return self._try_until_it_ends(call, request)
        except EngageError as error:
            error.may_be_done = call.may_be_done
            raise

    def _try_until_it_ends(self, call: Call, request: httpx.Request) -> Answer:
        while True:
            tried = self._try_once(call, request)
            if tried.answer and is_wanted(tried.answer, call.expect):
                return tried.answer
            raise_if_final(call, tried)
            call.count(tried)
            self._wait_or_give_up(call, tried)

    def _try_once(self, call: Call, request: httpx.Request) -> Tried:
        with self._slots.one():
            was_probe, departure = self._wait_to_leave(request)
            request.extensions["trace"] = self._telling_the_pacer(departure)
            with self._count:
                self.calls += 1
            answer, problem = self._exchange(call, request, was_probe=was_probe)
            throttled = answer is not None and self._is_throttled(call, answer)
            tried = Tried(answer, problem, was_probe, throttled)
            self._learn(tried)
        return tried

    def _wait_to_leave(self, request: httpx.Request) -> tuple[bool, Departure]:
        """Wait for the breaker and the pacer; True if the request is the one that looks how the vendor is."""
        lease = 2 * sum(request.extensions["timeout"][part] or _NO_TIMEOUT for part in ("connect", "read"))
        while True:
            self.breaker.wait(self.retry)
            departure = self.pacer.wait()
            # The vendor may have failed others while this one waited for its turn.
            admitted = self.breaker.admit(lease)
            if admitted is not None:
                return admitted, departure

    def _telling_the_pacer(self, departure: Departure) -> Callable[[str, Any], None]:
        def hear(event: str, _: Any) -> None:
            if event == "http11.send_request_body.complete":
                self.pacer.is_sent(departure)

        return hear

    def _exchange(
        self, call: Call, request: httpx.Request, *, was_probe: bool
    ) -> tuple[Answer | None, httpx.RequestError | None]:
        began = self._monotonic()
        answer, problem = None, None
        try:
            answer = _answer(self._http.send(request))
        except httpx.RequestError as error:  # no answer, or one that cannot be unpacked
            problem = error
        except BaseException:
            if was_probe:
                self.breaker.release_probe()
            raise
        tell(self, Exchange(
            call.method, call.path, answer.status if answer else None, type(problem).__name__ if problem else None,
            request_id(answer.headers, self._secrets) if answer else None, self._monotonic() - began,
        ))  # fmt: skip
        return answer, problem

    def _is_throttled(self, call: Call, answer: Answer) -> bool:
        # A 403 that the caller reads itself is the caller's.
        return answer.status not in call.expect and is_throttled(
            answer.status, answer.headers, key_worked=self._key_worked
        )

    def _learn(self, tried: Tried) -> None:
        """Tell the breaker how the vendor is; remember that the key works."""
        if tried.is_failure:
            self.breaker.note_failure(tried.seen, self.retry, probe=tried.was_probe)
        elif not tried.is_throttled:
            self.breaker.note_answer()
        elif tried.was_probe:
            self.breaker.release_probe()
        if tried.answer and 200 <= tried.answer.status < 300:
            self._key_worked = True

    def _wait_or_give_up(self, call: Call, tried: Tried) -> None:
        asked = retry_after_seconds(tried.answer.headers, self._now()) if tried.answer else None
        rests_until = self.breaker.next_try_at() if tried.is_failure else None
        wait = self._next_wait(call, asked, rests=rests_until is not None)
        if wait is None:
            if asked is not None:
                # Also whoever comes next, in whatever process, leaves the vendor alone for as long.
                self.pacer.pause(min(asked, _LONGEST_PAUSE))
            raise last_word(call, tried, _after(self._now(), asked), rests_until) from tried.problem
        if asked is not None:
            # The vendor speaks to the account, not to this call: everybody waits.
            self.pacer.pause(wait)
        if rests_until is None:
            _LOG.info("%s: %s, try %d in %.1f s", call.what, tried.seen, call.attempts + call.probes + 1, wait)
            if asked is None:
                self._sleep(wait)

    def _next_wait(self, call: Call, asked: float | None, *, rests: bool) -> float | None:
        """Seconds until the next try, None to give up; while the vendor is left alone the breaker does the waiting."""
        if not rests:
            return self.retry.next_wait(call.attempts, asked)
        too_long = asked is not None and asked > self.retry.patience
        return None if too_long or call.probes >= self.retry.probes else asked or 0.0


def _answer(response: httpx.Response) -> Answer:
    answer = Answer(response.status_code, response.headers, response.content)
    # It is read; a response and its stream hold each other, so pages would stay until the collector comes by.
    response.stream = httpx.ByteStream(b"")
    return answer


def _after(now: datetime, seconds: float | None) -> datetime | None:
    return now + timedelta(seconds=seconds) if seconds else None
