"""Changes the configuration of a run while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Collection

from stream.capture.manager import CameraChanges
from stream.config.config import Config
from stream.config.diff import Changes, check_labels, compare
from stream.config.load import ConfigError
from stream.pipeline import Pipeline
from stream.sources.base import SourceError

_log = logging.getLogger(__name__)


def reconfigure(pipeline: Pipeline, config: Config, *, also: Collection[str] = ()) -> Changes:
    """Apply the differences in `config` that can be changed during a run.

    `also` are keys that the caller applies. Afterwards `pipeline.config` is the active one.
    Raises ConfigError, in one line, for an invalid change; then nothing is changed.
    Any thread may call it, except those of the pipeline.
    """
    with pipeline.changing:
        if pipeline.is_scan or pipeline.over.is_set():
            raise ConfigError("shutting down; configuration not changed")
        before = pipeline.config
        merged, changes = compare(before, config, also=also)
        try:
            check_labels(merged, before, pipeline.spec)
            planned = pipeline.camera_manager.plan(merged.cameras)
        except (ConfigError, SourceError) as error:
            raise ConfigError(f"{error}; nothing was changed") from error
        pipeline.config = merged
        _apply(pipeline, before, planned)
    _log.info("configuration: %s", changes)
    return changes


def _apply(pipeline: Pipeline, before: Config, planned: CameraChanges) -> None:
    config = pipeline.config
    for camera in planned.removed:
        for name in camera.stream_names:
            pipeline.scheduler.remove(name)
    # Before the first prediction of the added cameras.
    pipeline.processor.update(planned, config.events)
    for camera in planned.added:
        for stream in camera.streams:
            pipeline.scheduler.add(stream.name, stream)
    if planned:
        pipeline.camera_manager.apply_changes(planned)
    if config.window != before.window:
        pipeline.scheduler.set_stride(config.window.stride)
    pipeline.sessions.update_config(config.dashboard.try_it.max_sessions, config.events)
    pipeline.sinks.update_config(config)
