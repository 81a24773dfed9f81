"""The `actionwatch` command. Commands import torch and gradio only when they need them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli import (
    access_commands,
    alert_commands,
    camera_commands,
    dataset_commands,
    evaluate_commands,
    event_commands,
    few_shot_commands,
    model_commands,
    replay_commands,
    score_commands,
    train_commands,
    video_commands,
)
from ui.cli.options import Model, given, source_spec
from ui.cli.terminal import CommandGroup, fail, stop_at_signals

if TYPE_CHECKING:
    from stream.config.config import Config

app = typer.Typer(
    name="actionwatch",
    cls=CommandGroup,
    help="Recognize actions in live video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(event_commands.events_app, name="events")
event_commands.events_app.command()(replay_commands.replay)
event_commands.events_app.command()(event_commands.prune)
event_commands.events_app.command()(dataset_commands.export_dataset)
app.add_typer(alert_commands.alerts_app, name="alerts")
for command in (
    camera_commands.list_cameras,
    camera_commands.doctor,
    video_commands.scan,
    video_commands.annotate,
    score_commands.evaluate_events,
    few_shot_commands.teach,
    train_commands.train,
    train_commands.train_motion,
    evaluate_commands.evaluate,
    model_commands.classify,
    model_commands.convert,
    model_commands.bench,
    access_commands.password,
    access_commands.token,
    access_commands.worker_keys,
):
    app.command()(command)


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(help="YAML file; see configs/")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="webcam index, rtsp:// or http:// address, file, or demo:SEED (default); "
            "repeatable"
        ),
    ] = None,
    model: Model = None,
    data: Annotated[
        Path | None, typer.Option(help="folder of the event log, else actionwatch-data")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="record a clip of each event")] = False,
    duration: Annotated[float | None, typer.Option(min=0, help="seconds until it stops")] = None,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="without the dashboard")] = False,
    host: Annotated[
        str | None, typer.Option(help="the dashboard's address, else 127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(help="the dashboard's port, else 7860")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="no login: everybody is an operator")
    ] = False,
) -> None:
    """Recognize actions in the video of cameras, log events, and serve the dashboard.

    SIGHUP reloads the YAML file.
    """
    from stream.config.load import load_config

    dashboard = given(
        host=host, port=port, enabled=False if no_ui else None, insecure=insecure or None
    )
    overrides = given(
        cameras=_cameras(source) if source else None,
        model=model,
        data=None if data is None else str(data),
        recording={"enabled": True} if record else None,
        dashboard=dashboard or None,
    )
    settings = load_config(config, overrides)
    if "cameras" not in settings.model_fields_set:
        typer.echo("no camera given: using the synthetic scene demo:", err=True)
    _run(settings, duration, file=config, overrides=overrides)


def _cameras(sources: list[str]) -> dict[str, Any]:
    """Cameras from the command line: `camera`, or `camera-1`, `camera-2`, ... if several."""
    cameras = [{"source": source_spec(source)} for source in sources]
    if len(cameras) == 1:
        return {"camera": cameras[0]}
    return {f"camera-{number}": one for number, one in enumerate(cameras, start=1)}


def _run(
    config: Config, duration: float | None, *, file: Path | None, overrides: dict[str, Any]
) -> None:
    from stream.pipeline import Pipeline
    from stream.runtime.logs import configure_logging
    from stream.runtime.metrics import summary
    from stream.runtime.processes import limit_malloc_arenas
    from ui.config_reload import ConfigReloader
    from ui.sighup import SighupHandler

    limit_malloc_arenas()
    configure_logging()
    with ExitStack() as stack:
        stopped = stack.enter_context(stop_at_signals())
        if config.dashboard.enabled:
            from ui.web.server import Server, open_listener

            listener = stack.enter_context(open_listener(config.dashboard))
        pipeline = stack.enter_context(Pipeline(config))
        reload = ConfigReloader(pipeline, file, overrides)
        sighup = SighupHandler(reload, stopped)
        sighup.listen()
        if config.dashboard.enabled:
            stack.enter_context(Server(pipeline, listener, reload))
        _wait(pipeline.over, stopped, duration, sighup.poll)
        pipeline.request_stop()  # the dashboard and the pipeline stop in parallel
    scored = pipeline.metrics.total("windows")
    if scored or not pipeline.failure:
        typer.echo(summary(pipeline.metrics))
    if pipeline.failure:
        fail(pipeline.failure)
    if not scored and pipeline.spec is None:
        typer.echo("no worker was ready in time: no window was scored", err=True)
    elif not scored and pipeline.spec is not None:
        typer.echo(
            "no full window: the run was shorter than the model's "
            f"{pipeline.spec.span_s:.1f} s clip",
            err=True,
        )


def _wait(
    over: threading.Event,
    stopped: threading.Event,
    duration: float | None,
    poll: Callable[[], None],
) -> None:
    """Wait for the end of the run, a signal, or the duration. Calls `poll` meanwhile."""
    from time import monotonic

    until = None if duration is None else monotonic() + duration
    while not over.is_set() and not stopped.is_set():
        poll()
        if until is not None and monotonic() >= until:
            return
        # Short waits: signals are handled between them.
        over.wait(0.1 if until is None else max(0.0, min(0.1, until - monotonic())))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def worker(context: typer.Context) -> None:
    """Run a worker for a run on another machine: --connect ENDPOINT --model PATH."""
    from model.worker import main as run_worker

    raise typer.Exit(run_worker(context.args))


def main() -> None:
    app()
