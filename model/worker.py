"""`python -m model.worker`: asks for clips, answers predictions. Its main thread owns the link."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event as StopEvent

import numpy as np

from stream.config.config import InferenceConfig
from stream.config.load import ConfigError, inference
from stream.messages import Clip, Scores
from stream.runtime.logging_setup import show_notes
from stream.workers.curve_auth import WorkerKeys, worker_keys
from stream.workers.endpoint import check_for_worker
from stream.workers.transport import TransportError, WorkerEnd

_log = logging.getLogger("model.worker")  # its own name is __main__

Predict = Callable[[tuple[Clip, ...]], tuple[Scores, ...]]


def serve(
    predict: Predict,
    link: WorkerEnd,
    stop: StopEvent,
    *,
    room: Callable[[], int],
    orphaned: Callable[[], bool],
) -> None:
    """Answer clips, `room` of them at once, until `stop` or until who started this has gone."""
    while not stop.is_set() and not orphaned():
        clips = link.ask(room=room(), timeout_s=0.5)  # asking is what gets us the newest
        if clips:
            link.answer(predict(clips))


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; the exit code is 2 where it can't work."""
    parser = argparse.ArgumentParser(
        prog="actionwatch worker", description="Run the model for a watch."
    )
    parser.add_argument("--connect", required=True, help="the scheduler's ZeroMQ address")
    parser.add_argument(
        "--keys", type=Path, help="the worker's file of `actionwatch keys`, for an address of tcp"
    )
    parser.add_argument(
        "--model", default="motion", help="embedded name, folder, or Hugging Face name"
    )
    for key, field in InferenceConfig.model_fields.items():
        parser.add_argument(f"--{key}", default=field.default, help=field.description)
    parser.add_argument("--name", default="", help="known by this name when started again")
    parser.add_argument(
        "--number", type=int, default=0, help="of this worker on its machine: chooses the GPU"
    )
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    given = parser.parse_args(arguments)
    try:
        choice = inference(vars(given))
    except ConfigError as error:
        print(f"actionwatch worker: {error}", file=sys.stderr)
        return 2
    show_notes("worker: ")
    stop = StopEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def orphaned() -> bool:
        return given.parent is not None and os.getppid() != given.parent

    try:
        # Before the model, which may take minutes to load.
        check_for_worker(given.connect, keyed=given.keys is not None)
        return _run(given, choice, worker_keys(given.keys), stop, orphaned)
    except TransportError as error:
        print(f"actionwatch worker: {error}", file=sys.stderr)
        return 2


def _run(
    given: argparse.Namespace,
    choice: InferenceConfig,
    keys: WorkerKeys | None,
    stop: StopEvent,
    orphaned: Callable[[], bool],
) -> int:
    """Load the model, then serve. What can't be loaded is told to the scheduler as well."""
    from model.checkpoint import CheckpointError  # torch takes seconds; signals work already
    from model.engines.base import EngineError
    from model.engines.torch_engine import devices
    from model.predictor import Predictor
    from model.trained_model import load

    try:
        there_are = devices(choice)
        choice = choice.model_copy(update={"device": there_are[given.number % len(there_are)]})
        model = load(given.model)
        predictor = Predictor(model, choice)
    except (CheckpointError, EngineError) as error:
        with WorkerEnd(given.connect, None, keys=keys, name=given.name) as link:
            told = link.fail(str(error))
        # Who started this one is told by the scheduler; anyone else reads it here.
        if not told or given.parent is None:
            print(f"actionwatch worker: {error}", file=sys.stderr)
        return 2

    def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
        began = time.monotonic()
        probabilities = predictor.predict(np.stack([clip.frames for clip in clips]))
        took_s = time.monotonic() - began
        return tuple(
            Scores(clip.number, row, took_s) for clip, row in zip(clips, probabilities, strict=True)
        )

    where = f"; asking {given.connect} for clips" if given.parent is None else ""
    _log.info("model %s is ready: %s%s", model.spec.model, predictor.name, where)
    line = WorkerEnd(given.connect, model.spec, keys=keys, name=given.name, devices=len(there_are))
    with line as link:
        serve(predict, link, stop, room=lambda: predictor.most, orphaned=orphaned)
    return 0


if __name__ == "__main__":
    sys.exit(main())
