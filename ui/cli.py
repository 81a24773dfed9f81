"""The `actionwatch` command. Torch and gradio are imported only by the commands that need them."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui import camera_commands, model_commands
from ui.terminal import give_up, show_notes, silence_decoders

if TYPE_CHECKING:
    from stream.config import Config

app = typer.Typer(
    name="actionwatch",
    help="Recognise actions in live video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
events_app = typer.Typer(help="Read the event log.", no_args_is_help=True)
app.add_typer(events_app, name="events")
app.add_typer(model_commands.train_app, name="train")
for command in (
    camera_commands.sources,
    camera_commands.doctor,
    model_commands.evaluate,
    model_commands.classify,
    model_commands.convert,
    model_commands.bench,
):
    app.command()(command)


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(help="YAML file; see configs/")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="webcam index, rtsp:// or http:// address, file, or demo:SEED as by default; "
            "repeatable"
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="embedded name, checkpoint folder, or Hugging Face name")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="folder of the event log, else actionwatch-data")
    ] = None,
    duration: Annotated[float | None, typer.Option(min=0, help="seconds until it stops")] = None,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="without the dashboard")] = False,
    host: Annotated[
        str | None, typer.Option(help="the dashboard's address, else 127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="the dashboard's port, else 7860")] = None,
) -> None:
    """Watch cameras: log events, and show them in a browser."""
    from stream.config import ConfigError, load_config

    overrides: dict[str, Any] = {}
    if source:
        overrides["cameras"] = _cameras(source)
    if model is not None:
        overrides["model"] = model
    if data is not None:
        overrides["data"] = str(data)
    shown = {"host": host, "port": port, "enabled": False if no_ui else None}
    dashboard = {key: value for key, value in shown.items() if value is not None}
    if dashboard:
        overrides["dashboard"] = dashboard
    try:
        settings = load_config(config, overrides)
    except ConfigError as error:
        give_up(str(error))
    if "cameras" not in settings.model_fields_set:
        typer.echo("no camera was given: watching the drawn scene demo:", err=True)
    _watch(settings, duration)


def _cameras(sources: list[str]) -> dict[str, Any]:
    """Cameras from the command line: `camera`, or `camera-1`, `camera-2`, ... where many."""
    # On the command line everything is text; digits alone mean a webcam.
    meant = [int(source) if source.isascii() and source.isdigit() else source for source in sources]
    if len(meant) == 1:
        return {"camera": {"source": meant[0]}}
    return {f"camera-{number}": {"source": one} for number, one in enumerate(meant, start=1)}


def _watch(config: Config, duration: float | None) -> None:
    silence_decoders()

    from stream.decoding import SourceError
    from stream.event_log import EventLogError
    from stream.metrics import summary
    from stream.pipeline import Pipeline
    from stream.transport import TransportError

    show_notes()
    stopped = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stopped.set())
    try:
        with ExitStack() as stack:
            if config.dashboard.enabled:
                from ui.server import Server, ServerError, reserve

                try:
                    listener = stack.enter_context(reserve(config.dashboard))
                except ServerError as error:
                    give_up(str(error))
            pipeline = stack.enter_context(Pipeline(config))
            if config.dashboard.enabled:
                stack.enter_context(Server(pipeline, listener))
            _wait(pipeline.over, stopped, duration)
            pipeline.tell_stop()  # the dashboard and the watch stop side by side
    except (SourceError, TransportError, EventLogError) as error:
        give_up(str(error))
    seen = pipeline.metrics.total("windows")
    if seen or not pipeline.failure:
        typer.echo(summary(pipeline.metrics))
    if pipeline.failure:
        give_up(pipeline.failure)
    if not seen and pipeline.spec is None:
        typer.echo("no worker was ready in time: nothing was looked at", err=True)
    elif not seen and pipeline.spec is not None:
        typer.echo(
            f"no window was seen: model {pipeline.spec.model} looks at "
            f"{pipeline.spec.span_s:.1f} s at a time, and nothing was watched for that long",
            err=True,
        )


def _wait(over: threading.Event, stopped: threading.Event, duration: float | None) -> None:
    """Until the run is over, a signal came, or the time is up."""
    from time import monotonic

    until = None if duration is None else monotonic() + duration
    while not over.is_set() and not stopped.is_set():
        if until is not None and monotonic() >= until:
            return
        # Short waits: a signal is only handled between them.
        over.wait(0.1 if until is None else max(0.0, min(0.1, until - monotonic())))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def worker(context: typer.Context) -> None:
    """Run the model for a watch on another machine: --connect ENDPOINT --model PATH."""
    from model.worker import main as work

    raise typer.Exit(work(context.args))


@events_app.command("list")
def events_list(
    data: Annotated[Path, typer.Option(help="folder of the event log")],
    camera: Annotated[str | None, typer.Option(help="only this camera")] = None,
    label: Annotated[str | None, typer.Option(help="only this label")] = None,
    since: Annotated[str | None, typer.Option(help="ISO 8601 time, UTC unless it says")] = None,
) -> None:
    """Print events, oldest first, for reading."""
    for row in _rows(data, camera, label, since):
        end = "(open)" if row["end"] is None else f"{row['end_s'] - row['start_s']:6.1f} s"
        closed = f"  closed by {row['closed_by']}" if row["closed_by"] else ""
        typer.echo(
            f"{row['start']}  {row['camera']:<12}  {row['label']:<26}  {end:>8}  "
            f"peak {row['peak']:.2f}{closed}"
        )


@events_app.command("export")
def events_export(
    data: Annotated[Path, typer.Option(help="folder of the event log")],
    format: Annotated[str, typer.Option(help="jsonl or csv")] = "jsonl",
    camera: Annotated[str | None, typer.Option(help="only this camera")] = None,
    label: Annotated[str | None, typer.Option(help="only this label")] = None,
    since: Annotated[str | None, typer.Option(help="ISO 8601 time, UTC unless it says")] = None,
) -> None:
    """Write events to the standard output, for other programs."""
    from stream.exports import FORMATS, export

    if format not in FORMATS:
        give_up(f"--format {format}: must be one of {', '.join(FORMATS)}")
    export(_rows(data, camera, label, since), sys.stdout, format)


def _rows(
    data: Path, camera: str | None, label: str | None, since: str | None
) -> list[dict[str, Any]]:
    from stream.event_log import EventLog, EventLogError

    try:
        with EventLog.open(data) as log:
            return list(log.rows(camera=camera, label=label, since=_moment(since)))
    except EventLogError as error:
        give_up(str(error))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    except ValueError:
        give_up(f"--since {text}: must be a time like 2026-01-31 or 2026-01-31T08:00:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
