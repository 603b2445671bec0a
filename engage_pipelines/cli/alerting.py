"""`engage alert`: a message to the chat that hears of failed nights."""

from __future__ import annotations

from typing import Annotated

import typer

from engage_pipelines.cli.moving import Config
from engage_pipelines.cli.output import console
from engage_pipelines.operations import send_alert
from engage_pipelines.settings import load_settings

_TEST = "engage_pipelines: a test. Messages about failed runs will arrive here."


def alert(
    text: Annotated[str, typer.Argument(help="What to say; default a test message.")] = _TEST,
    *,
    config: Config = None,
) -> None:
    """Send a message the way the sensor `alerts` does: try it once when you have set ENGAGE_ALERT_WEBHOOK.

    Examples: `engage alert`, `engage status || engage alert "engage status has something for you"`
    """
    send_alert(load_settings(config), text)
    console.print("sent")
