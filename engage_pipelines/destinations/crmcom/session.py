"""A session at CRM.COM: the token that every call carries in its body, and the calls made with it.

A token lives two hours from its issue, used or not, and cannot be extended. It is fetched again five
minutes before its end, and once more when an answer says that it has expired.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from engage_pipelines.destinations.crmcom.answers import (
    NO_SUCH_METHOD,
    READ_STATUSES,
    Envelope,
    is_ok,
    is_token_refused,
    read_envelope,
    refusal,
)
from engage_pipelines.destinations.crmcom.options import CrmComOptions
from engage_pipelines.errors import (
    ConfigError,
    CredentialsError,
    EngageError,
    RetryableError,
    UnknownOutcomeError,
)
from engage_pipelines.http_client import Answer, VendorClient

_LOGIN = "authentication/web_api_key/token"
_LIFE = timedelta(hours=2)
_RENEW_EARLY = timedelta(minutes=5)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Session:
    """Calls one CRM.COM installation; safe to share between threads.

    Args:
        client: the HTTP client of the installation.
        options: the destination's options.
        key: Web API key.
        now: the wall clock that the end of the token is compared with.
    """

    def __init__(
        self,
        client: VendorClient,
        options: CrmComOptions,
        key: str,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.client = client
        self.options = options
        self._basic = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
        self._now = now
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    def call(self, method: str, body: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        """POST a method with the token in its body and give `data` of an OK answer.

        An answer that refuses the token proves that nothing was done: the call is made once more with a
        new one.

        Raises:
            CredentialsError: the key gets no token, or a new token is refused too.
            RejectedError: the call as a whole was refused.
            ConfigError: there is no such method: base address or path are wrong.
            UnknownOutcomeError: a 2xx whose body is not the documented envelope.
        """
        token = self._valid_token()
        answer, envelope = self._post(method, {"token": token, **body}, timeout=timeout)
        if is_token_refused(answer, envelope):
            token = self._new_token(instead_of=token)
            answer, envelope = self._post(method, {"token": token, **body}, timeout=timeout)
            if is_token_refused(answer, envelope):
                raise CredentialsError(f"CRM.COM: {method}: refuses a token it has just given")
        if envelope is None and 200 <= answer.status < 300:
            raise UnknownOutcomeError(f"CRM.COM: {method}: status {answer.status} without the documented body")
        if envelope is not None and is_ok(answer, envelope):
            return envelope.values
        raise refusal(f"CRM.COM: {method}", answer, envelope, secrets=(token,))

    def _post(
        self,
        method: str,
        body: Mapping[str, Any],
        *,
        timeout: float | None = None,
        changes: bool = True,
        **headers: str,
    ) -> tuple[Answer, Envelope | None]:
        path = f"{self.options.api_path.strip('/')}/{method}"
        answer = self.client.call(
            "POST", path, json=body, headers=headers, expect=READ_STATUSES, timeout=timeout, changes=changes
        )
        return answer, read_envelope(answer)

    def _valid_token(self) -> str:
        with self._lock:
            if self._now() >= self._renew_at:
                self._fetch()
            return self._token

    def _new_token(self, instead_of: str) -> str:
        with self._lock:
            # Another thread may have met the same refusal first.
            if self._token == instead_of:
                self._fetch()
            return self._token

    def _fetch(self) -> None:
        issued_at = self._now()
        body = {"unit": self.options.unit} if self.options.unit else {}
        answer, envelope = self._post(_LOGIN, body, changes=False, Authorization=self._basic)
        token = envelope.values.get("token") if envelope and is_ok(answer, envelope) else None
        if not isinstance(token, str) or not token:
            raise _no_token(answer, envelope)
        self._token, self._renew_at = token, _expires_at(token, issued_at) - _RENEW_EARLY


def _no_token(answer: Answer, envelope: Envelope | None) -> EngageError:
    what = f"CRM.COM: {_LOGIN}: no token (status {answer.status}"
    if envelope is not None:
        return CredentialsError(f"{what}, code {envelope.status.safe_code}); check the Web API key")
    if answer.status in NO_SUCH_METHOD:
        return ConfigError(f"{what}, no such method); check base_url and api_path")
    if 200 <= answer.status < 300:
        return RetryableError(f"{what}, not the documented body)")
    return CredentialsError(f"{what}); check the Web API key")


def _expires_at(token: str, issued_at: datetime) -> datetime:
    """The end of a token's life: its `exp` if it is a JWT that has one, else two hours from its issue.

    The signature is not checked, its secret is the vendor's. `exp` may be a number or a text of digits.
    """
    parts = token.split(".")
    if len(parts) == 3:
        try:
            claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            return datetime.fromtimestamp(int(claims["exp"]), UTC)
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            pass
    return issued_at + _LIFE
