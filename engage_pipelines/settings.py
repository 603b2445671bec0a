"""Settings: engage.toml and the environment, read once and checked; the only reader of the environment.

Secrets come from environment variables or from a `.env` file beside engage.toml, never from engage.toml.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from engage_pipelines.errors import ConfigError, CredentialsError

CONFIG_VARIABLE = "ENGAGE_CONFIG"
STATE_URL_VARIABLE = "ENGAGE_STATE_URL"
INSTANCE_URL_VARIABLE = "DAGSTER_POSTGRES_URL"
INSTANCE_HOME_VARIABLE = "DAGSTER_HOME"
ALERT_WEBHOOK_VARIABLE = "ENGAGE_ALERT_WEBHOOK"
HEARTBEAT_VARIABLE = "ENGAGE_HEARTBEAT_URL"
DEFAULT_CONFIG = "engage.toml"
DEFAULT_INSTANCE_HOME = "data/dagster"

_RATE = re.compile(
    r"^\s*[\d_,]*[1-9][\d_,]*\s*/\s*(?:0*[1-9]\d*)?\s*(s|sec|second|m|min|minute|h|hour|d|day)\s*$", re.IGNORECASE
)
# Lowest and highest of minute, hour, day, month, weekday.
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?|[a-z]{3}(?:-[a-z]{3})?)(?:/[1-9]\d*)?", re.IGNORECASE)

OptionsType = TypeVar("OptionsType", bound=BaseModel)


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError("not an IANA time zone; write e.g. Europe/London") from error
    return value


def _rate(value: str) -> str:
    if not _RATE.match(value):
        raise ValueError("write <requests>/<s|min|h|day>, e.g. 5/s or 2000/h")
    return value


def _cron(value: str) -> str:
    fields = value.split()
    if len(fields) != len(_CRON_RANGES) or not all(map(_is_cron_field, fields, _CRON_RANGES)):
        raise ValueError("write five cron fields, e.g. '0 2 * * *' for 02:00 every day")
    return value


def _is_cron_field(text: str, allowed: tuple[int, int]) -> bool:
    parts = [_CRON_PART.fullmatch(part) for part in text.split(",")]
    lowest, highest = allowed
    return all(part and all(lowest <= int(n) <= highest for n in part.groups() if n) for part in parts)


Zone = Annotated[str, AfterValidator(_known_zone)]
RateText = Annotated[str, AfterValidator(_rate)]
Cron = Annotated[str, AfterValidator(_cron)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Operator(_Section):
    """`[operator]`: who runs the chain."""

    time_zone: Zone = "UTC"
    business_day_cutover: time = time(4, 0)
    default_country: str = Field("GB", pattern=r"^[A-Z]{2}$")


class Paths(_Section):
    """`[paths]`: where everything is written, relative to engage.toml."""

    data: Path = Path("data")


class WarehouseSettings(_Section):
    """`[warehouse]`: the DuckDB file."""

    memory_limit: str = Field("512MB", pattern=r"^\d+(\.\d+)?(KB|MB|GB|MiB|GiB)$")
    threads: int = Field(2, ge=1, le=64)
    wait_seconds: float = Field(600, gt=0)


class StateSettings(_Section):
    """`[state]`: the ledger and the bookmarks; empty means SQLite in the data folder."""

    url: str = ""


class Schedules(_Section):
    """`[schedules]`: when what runs, in the operator's time zone."""

    nightly: Cron = "0 2 * * *"
    enabled: bool = False


class AlertSettings(_Section):
    """`[alerts]`: how messages about failed runs look; where they go is a secret of the environment."""

    text_field: str = Field("text", min_length=1)
    ui_url: str = Field("", pattern=r"^(https?://.+)?$")


class GuardSettings(_Section):
    """`[guard]`: how far a delivery may jump before a person must look."""

    growth: float = Field(10, ge=1)
    changed_share: float = Field(0.5, gt=0, le=1)
    gone_share: float = Field(0.2, gt=0, le=1)
    floor: int = Field(1000, ge=0)


class _Connector(BaseModel):
    # The keys that are not named here belong to the connector's own options model.
    model_config = ConfigDict(extra="allow", frozen=True)

    enabled: bool = True
    rates: tuple[RateText, ...] | None = None
    in_flight: int | None = Field(None, ge=1, le=64)

    def own_keys(self) -> dict[str, Any]:
        """The keys of the table that belong to the connector."""
        return dict(self.model_extra or {})


class SourceSettings(_Connector):
    """`[sources.<name>]`: what every till needs; the till's own keys stand beside these."""

    history_from: date
    settle_minutes: float = Field(5, ge=0)
    overlap_minutes: float = Field(60, ge=0)
    reread_days: int = Field(4, ge=0, le=90)
    window_days: int = Field(31, ge=1, le=366)


class DestinationSettings(_Connector):
    """`[destinations.<name>]`: what every platform needs; its own keys stand beside these."""

    batch_items: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    in_doubt: dict[str, Literal["resend", "verify", "hold"]] = Field(default_factory=dict)


class Settings(_Section):
    """All settings, as engage.toml has them."""

    operator: Operator = Operator()
    paths: Paths = Paths()
    warehouse: WarehouseSettings = WarehouseSettings()
    state: StateSettings = StateSettings()
    schedules: Schedules = Schedules()
    alerts: AlertSettings = AlertSettings()
    guard: GuardSettings = GuardSettings()
    sources: dict[str, SourceSettings] = Field(default_factory=dict)
    destinations: dict[str, DestinationSettings] = Field(default_factory=dict)
    stores: dict[str, dict[str, str]] = Field(default_factory=dict)
    file: Path = Path(DEFAULT_CONFIG)

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return (self.file.parent / self.paths.data).resolve()

    @property
    def zone(self) -> ZoneInfo:
        """The operator's time zone."""
        return ZoneInfo(self.operator.time_zone)

    @property
    def state_url(self) -> str:
        """Where the ledger is: the environment, else engage.toml, else SQLite in the data folder."""
        url = _environment(self.file).get(STATE_URL_VARIABLE) or self.state.url
        return url or f"sqlite:///{self.data / 'state' / 'state.db'}"

    @property
    def sql_variables(self) -> dict[str, Any]:
        """What every mapping may read."""
        cutover = self.operator.business_day_cutover
        return {
            "business_day_cutover": cutover.hour * 60 + cutover.minute,
            "default_country": self.operator.default_country,
            "fallback_time_zone": self.operator.time_zone,
        }

    def store_names(self, destination: str) -> dict[str, str]:
        """store_id -> name of the store at a destination, for the stores that have one."""
        return {store: names[destination] for store, names in self.stores.items() if names.get(destination)}

    def midnight(self, day: date) -> datetime:
        """The start of a day in the operator's time zone, as UTC."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def day_of(self, moment: datetime) -> date:
        """The operator's calendar day of a moment."""
        return moment.astimezone(self.zone).date()

    def options(self, kind: str, name: str, model: type[OptionsType]) -> OptionsType:
        """The connector's own options, checked by its model.

        Raises:
            ConfigError: names file, key, and what is allowed.
        """
        section: _Connector | None = getattr(self, kind).get(name)
        if section is None:
            raise ConfigError(f"{self.file}: [{kind}.{name}] is missing; add the table, see docs/connectors/{name}.md")
        try:
            return model.model_validate(section.own_keys())
        except ValidationError as error:
            allowed = [*type(section).model_fields, *model.model_fields]
            raise ConfigError(_explain(self.file, error, prefix=(kind, name), allowed=allowed)) from None

    def secrets(self, names: Iterable[str]) -> dict[str, str]:
        """Values of environment variables.

        Raises:
            CredentialsError: names every variable that is missing.
        """
        environment = _environment(self.file)
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise CredentialsError(
                f"missing {', '.join(missing)}: set it in the environment or in {self.file.parent / '.env'}"
            )
        return {name: environment[name] for name in names}

    def has_secret(self, name: str) -> bool:
        """Whether an environment variable has a value."""
        return bool(_environment(self.file).get(name))

    def optional_secrets(self, prefix: str) -> dict[str, str]:
        """Every variable that starts with `prefix`: what a connector needs in some set-ups only."""
        return {name: value for name, value in _environment(self.file).items() if name.startswith(prefix)}


def load_settings(path: Path | None = None) -> Settings:
    """Read and check engage.toml (or the file that ENGAGE_CONFIG names).

    Raises:
        ConfigError: names file, key, and what is allowed.
    """
    file = Path(path or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG).absolute()
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: not found; name the file with {CONFIG_VARIABLE} or --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    return parse_settings(content, file)


def parse_settings(content: Mapping[str, Any], file: Path) -> Settings:
    """Check settings that were already read.

    Raises:
        ConfigError: names file, key, and what is allowed.
    """
    try:
        return Settings.model_validate({**content, "file": file})
    except ValidationError as error:
        raise ConfigError(_explain(file, error)) from None


def settings_or_defaults() -> Settings:
    """The settings, or the defaults where there is no file: importing the definitions needs no file."""
    file = Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    if not file.exists() and not os.environ.get(CONFIG_VARIABLE):
        return Settings(file=file.absolute())
    return load_settings()


def instance_url() -> str | None:
    """The Postgres URL of the Dagster instance, with the driver that its storage needs; None for SQLite."""
    url = os.environ.get(INSTANCE_URL_VARIABLE)
    # SQLAlchemy 2.1 takes psycopg 3 for the plain form, and dagster-postgres breaks on it.
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url) if url else None


def instance_home() -> Path:
    """The folder of the Dagster instance: DAGSTER_HOME, else `data/dagster` where the process was started."""
    return Path(os.environ.get(INSTANCE_HOME_VARIABLE) or DEFAULT_INSTANCE_HOME).absolute()


def child_environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes, for a child process."""
    return {**os.environ, **changes}


def set_environment(**changes: str) -> None:
    """Change this process's environment: the demo points it at its own settings and stand-ins."""
    os.environ.update(changes)


def yesterday(settings: Settings, now: datetime) -> date:
    """The last whole day in the operator's time zone."""
    return settings.day_of(now) - timedelta(days=1)


def _environment(file: Path) -> dict[str, str]:
    # A secret may have ${ in it: it means itself.
    from_file = dotenv_values(file.parent / ".env", interpolate=False)
    return {**{k: v for k, v in from_file.items() if v is not None}, **os.environ}


def _explain(file: Path, error: ValidationError, prefix: tuple[str, ...] = (), allowed: list[str] | None = None) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=True):
        path = [*prefix, *(str(part) for part in problem["loc"])]
        table, key = ".".join(path[:-1]), path[-1]
        where = f"[{table}] {key}" if table else f"[{key}]"
        if problem["type"] == "extra_forbidden":
            names = allowed or _allowed(path[:-1])
            text = f"unknown key; allowed: {', '.join(names)}"
        elif problem["type"] == "missing":
            text = "is missing and has no default"
        else:
            text = f"{problem['msg'].removeprefix('Value error, ')} (found {problem['input']!r})"
        lines.append(f"{file}: {where}: {text}")
    return "\n".join(lines)


def _allowed(path: list[str]) -> list[str]:
    fields: dict[str, Any] = dict(Settings.model_fields)
    for part in path:
        annotation = fields[part].annotation if part in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        fields = dict(annotation.model_fields)
    return [name for name in fields if name != "file"]
