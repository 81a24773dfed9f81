"""`python -m model.worker`: requests clips and sends scores. Its main thread owns the socket."""

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
from stream.config.load import inference
from stream.messages import Clip, Scores
from stream.runtime.errors import UserError
from stream.runtime.logs import configure_logging
from stream.workers.curve_auth import WorkerKeys, worker_keys
from stream.workers.endpoint import check_connect_endpoint
from stream.workers.transport import WorkerClient

_log = logging.getLogger("model.worker")  # `__name__` is __main__

Predict = Callable[[tuple[Clip, ...]], tuple[Scores, ...]]


def serve(
    predict: Predict,
    client: WorkerClient,
    stop: StopEvent,
    *,
    capacity: Callable[[], int],
    is_orphaned: Callable[[], bool],
) -> None:
    """Score clips, up to `capacity` at once, until `stop` or until the parent process ends."""
    while not stop.is_set() and not is_orphaned():
        clips = client.request_clips(capacity=capacity(), timeout_s=0.5)  # the newest at this time
        if clips:
            client.send_result(predict(clips))


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; the exit code is 2 if it can't run."""
    parser = argparse.ArgumentParser(
        prog="actionwatch worker", description="Run the model for an Actionwatch server."
    )
    parser.add_argument("--connect", required=True, help="the scheduler's ZeroMQ address")
    parser.add_argument(
        "--keys",
        type=Path,
        help="the worker's key file from `actionwatch worker-keys`, for a tcp address",
    )
    parser.add_argument(
        "--model", default="motion", help="embedded name, folder, or Hugging Face name"
    )
    for key, field in InferenceConfig.model_fields.items():
        option = f"--{key.replace('_', '-')}"
        parser.add_argument(option, default=field.default, help=field.description)
    parser.add_argument("--name", default="", help="identifies this worker across restarts")
    parser.add_argument(
        "--number", type=int, default=0, help="index of this worker on its machine; selects the GPU"
    )
    parser.add_argument("--parent", type=int, help="exit when this process is no longer the parent")
    options = parser.parse_args(arguments)
    stop = StopEvent()

    def is_orphaned() -> bool:
        return options.parent is not None and os.getppid() != options.parent

    try:
        config = inference(vars(options))
        configure_logging("worker: ")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        # Before loading the model, which may need minutes.
        check_connect_endpoint(options.connect, keyed=options.keys is not None)
        keys = worker_keys(options.keys) if options.keys is not None else None
        return _run(options, config, keys, stop, is_orphaned)
    except UserError as error:
        print(f"actionwatch worker: {error}", file=sys.stderr)
        return 2


def _run(
    options: argparse.Namespace,
    config: InferenceConfig,
    keys: WorkerKeys | None,
    stop: StopEvent,
    is_orphaned: Callable[[], bool],
) -> int:
    """Load the model, then serve. A model that can't be loaded is reported to the scheduler too."""
    # Not at the top: torch needs seconds to import, and signals are handled by now.
    from model.engines.base import engine_type
    from model.predictor import Predictor
    from model.trained_model import load

    try:
        available = engine_type(config).devices(config)
        config = config.model_copy(update={"device": available[options.number % len(available)]})
        model = load(options.model)
        predictor = Predictor(model, config)
    except UserError as error:
        with WorkerClient(options.connect, None, keys=keys, name=options.name) as client:
            reported = client.report_failure(str(error))
        # A parent process gets the reason from the scheduler; otherwise print it here.
        if not reported or options.parent is None:
            print(f"actionwatch worker: {error}", file=sys.stderr)
        return 2

    def predict(clips: tuple[Clip, ...]) -> tuple[Scores, ...]:
        started_at = time.monotonic()
        probabilities = predictor.predict(np.stack([clip.frames for clip in clips]))
        inference_s = time.monotonic() - started_at
        return tuple(
            Scores(clip.number, row, inference_s)
            for clip, row in zip(clips, probabilities, strict=True)
        )

    where = f"; requesting clips from {options.connect}" if options.parent is None else ""
    _log.info("model %s is ready: %s%s", model.spec.model, predictor.name, where)
    client = WorkerClient(
        options.connect, model.spec, keys=keys, name=options.name, devices=len(available)
    )
    with client:
        serve(
            predict,
            client,
            stop,
            capacity=lambda: predictor.max_batch_size,
            is_orphaned=is_orphaned,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
