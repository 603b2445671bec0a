"""A session at one Voyado Engage tenant: the client, the settings and the way to the file drop."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from engage_pipelines.destinations.voyado.options import VoyadoOptions
from engage_pipelines.errors import ConfigError, CredentialsError
from engage_pipelines.file_drop import FileDrop, SftpAccess, open_drop
from engage_pipelines.http_client import Answer, Limits, RetryPolicy, VendorClient

API_KEY = "VOYADO_API_KEY"
SFTP_PASSWORD = "VOYADO_SFTP_PASSWORD"  # noqa: S105 - the name of a variable

# Voyado asks servers to wait longer each time, up to five minutes.
_LONGEST_WAIT = 300.0
_NO_SUCH_ROUTE = (404, 405)


@dataclass(frozen=True, slots=True)
class Session:
    """What the streams send with.

    Attributes:
        client: client of the tenant; sends the three mandatory headers with every call.
        options: the tenant's settings.
        sftp_password: password of the SFTP account, if one was given.
    """

    client: VendorClient
    options: VoyadoOptions
    sftp_password: str | None = field(default=None, repr=False)

    def create(self, path: str, body: bytes, params: Mapping[str, str], expect: Collection[int] = ()) -> Answer:
        """POST something that Voyado would create twice: an unknown outcome is not repeated here.

        Raises:
            ConfigError: the tenant has no such route.
        """
        answer = self.client.call(
            "POST", path, content=body, params=params, expect={*_NO_SUCH_ROUTE, *expect}, repeatable=False
        )
        return self.known_route(path, answer)

    def known_route(self, path: str, answer: Answer) -> Answer:
        """Give `answer` unless the route is unknown: that is no verdict on the record.

        Raises:
            ConfigError: the tenant has no such route.
        """
        if answer.status in _NO_SUCH_ROUTE:
            raise ConfigError(f"Voyado: {path} answered {answer.status}, there is no such route; check base_url")
        return answer

    def open_drop(self) -> FileDrop:
        """Give the place where files are handed over.

        Raises:
            ConfigError: the address or the host key is missing or wrong.
            CredentialsError: it is an SFTP server and neither password nor key file is set.
        """
        is_sftp = self.options.drop.startswith("sftp:")
        if is_sftp and not self.sftp_password and not self.options.sftp_key_file:
            raise CredentialsError(f"Voyado: the file drop needs {SFTP_PASSWORD} or the setting sftp_key_file")
        access = SftpAccess(
            self.sftp_password,
            self.options.sftp_key_file,
            self.options.sftp_known_hosts,
            self.options.sftp_host_key,
        )
        return open_drop(self.options.drop, access)


def connect(options: VoyadoOptions, secrets: Mapping[str, str], limits: Limits) -> Session:
    """Open a session; no call is made.

    Raises:
        CredentialsError: the API key is missing.
    """
    key = secrets.get(API_KEY)
    if not key:
        raise CredentialsError(f"Voyado: {API_KEY} is not set")
    client = VendorClient(
        "Voyado",
        options.base_url,
        # Without Content-Type even a GET is answered with 500.
        headers={"apikey": key, "Content-Type": "application/json"},
        limits=limits,
        secrets=(key,),
        retry=RetryPolicy(
            attempts=options.retry_attempts,
            first_wait=options.retry_first_wait,
            longest_wait=_LONGEST_WAIT,
            # Before the first record has used up its tries: then an outage costs waiting, and no record.
            failures_in_a_row=max(1, options.retry_attempts - 1),
        ),
    )
    return Session(client, options, secrets.get(SFTP_PASSWORD))
