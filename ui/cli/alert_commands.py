"""The commands about alerts: alerts test."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.terminal import give_up, say

if TYPE_CHECKING:
    from stream.config.events import AlertConfig
    from stream.sinks.alerts.sender import Alert

alerts_app = typer.Typer(help="Webhooks and MQTT brokers that are told of events.")


@alerts_app.callback(no_args_is_help=True)
def _alerts() -> None:
    """So that `test` keeps its name: typer would leave it out where it is the only one."""


@alerts_app.command("test")
def try_out(
    config: Annotated[Path, typer.Argument(help="YAML file with `alerts`")],
    name: Annotated[str | None, typer.Argument(help="only this alert")] = None,
) -> None:
    """Send start and end of a made-up event to each alert at once, and say what came of it."""
    from stream.config.load import ConfigError, load_config

    try:
        alerts = load_config(config).alerts
    except ConfigError as error:
        give_up(str(error))
    if not alerts:
        give_up(f"{config} has no alerts: add `alerts:` with a name and a webhook or mqtt address")
    if name is not None and name not in alerts:
        give_up(f"{config} has no alert {name!r}; there are: {', '.join(alerts)}")
    chosen = [name] if name is not None else list(alerts)
    troubles = {one: _trouble(one, alerts[one]) for one in chosen}
    for one, trouble in troubles.items():
        say(f"{one}: {trouble or 'ok'}")
    if any(troubles.values()):
        raise typer.Exit(1)


def _trouble(name: str, config: AlertConfig) -> str:
    """Why an alert can't be delivered, or ""."""
    from stream.sinks.alerts.alerts import sender
    from stream.sinks.alerts.sender import RefusedError, UndeliveredError
    from stream.workers.transport import TransportError

    try:
        to = sender(name, config, None)
    except TransportError as error:
        return str(error).removeprefix(f"alert {name}: ")
    try:
        for alert in _made_up():
            to.send(alert)
    except RefusedError as error:
        return f"refused: {error}"
    except UndeliveredError as error:
        return str(error)
    finally:
        to.close()
    return ""


def _made_up() -> list[Alert]:
    """Start and end of an event that never was, of a camera "test"."""
    from datetime import datetime, timedelta, timezone

    from stream.messages import Event, LoggedEvent
    from stream.sinks.alerts.sender import Alert
    from stream.sinks.event_log.rows import as_row

    began_utc = datetime.now(timezone.utc) - timedelta(seconds=3)
    alerts: list[Alert] = []
    for change, latest_s, end_s in (("start", 1.2, None), ("end", 3.0, 3.0)):
        event = Event(
            id=f"test-{uuid.uuid4()}" if not alerts else alerts[0].event["id"],
            camera="test",
            label="test",
            start_s=1.0,
            latest_s=latest_s,
            end_s=end_s,
            detected_s=1.2,
            peak=0.9,
            peak_s=1.2,
            mean=0.8,
        )
        row = as_row(LoggedEvent(event, change, began_utc, "test"))
        alerts.append(Alert(f"{event.id}-{change}", change, row))
    return alerts
