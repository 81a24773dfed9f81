"""Commands for alerts: alerts test."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.terminal import fail, print_line

if TYPE_CHECKING:
    from stream.config.events import AlertConfig
    from stream.sinks.alerts.sender import Alert

alerts_app = typer.Typer(help="Webhooks and MQTT brokers that receive events.")


@alerts_app.callback(no_args_is_help=True)
def _alerts() -> None:
    """Needed for the name `test`: typer drops the name of a single command."""


@alerts_app.command("test")
def send_test(
    config: Annotated[Path, typer.Argument(help="YAML file with `alerts`")],
    name: Annotated[str | None, typer.Argument(help="only this alert")] = None,
) -> None:
    """Send start and end of a test event to each alert, and print the results."""
    from stream.config.load import load_config

    alerts = load_config(config).alerts
    if not alerts:
        fail(f"{config} has no alerts: add `alerts:` with a name and a webhook or mqtt address")
    if name is not None and name not in alerts:
        fail(f"{config} has no alert {name!r}; choose one of: {', '.join(alerts)}")
    selected = [name] if name is not None else list(alerts)
    problems = {one: _problem(one, alerts[one]) for one in selected}
    for one, problem in problems.items():
        print_line(f"{one}: {problem or 'ok'}")
    if any(problems.values()):
        raise typer.Exit(1)


def _problem(name: str, config: AlertConfig) -> str:
    """Why an alert can't be delivered, or ""."""
    from stream.sinks.alerts.alerts import make_sender
    from stream.sinks.alerts.sender import AlertError, RejectedError, UndeliveredError

    try:
        sender = make_sender(name, config, None)
    except AlertError as error:
        return str(error).removeprefix(f"alert {name}: ")
    try:
        for alert in _test_alerts():
            sender.send(alert)
    except RejectedError as error:
        return f"rejected: {error}"
    except UndeliveredError as error:
        return str(error)
    finally:
        sender.close()
    return ""


def _test_alerts() -> list[Alert]:
    """Start and end of an invented event of a camera "test"."""
    from dataclasses import replace
    from datetime import datetime, timedelta, timezone

    from stream.messages import Event, LoggedEvent
    from stream.sinks.alerts.sender import Alert
    from stream.sinks.event_log.rows import as_row

    start_utc = datetime.now(timezone.utc) - timedelta(seconds=3)
    start = Event(
        id=f"test-{uuid.uuid4()}",
        camera="test",
        label="test",
        start_s=1.0,
        latest_s=1.2,
        end_s=None,
        detected_s=1.2,
        peak=0.9,
        peak_s=1.2,
        mean=0.8,
    )
    end = replace(start, latest_s=3.0, end_s=3.0)
    return [
        Alert(f"{event.id}-{change}", change, as_row(LoggedEvent(event, change, start_utc, "test")))
        for change, event in (("start", start), ("end", end))
    ]
