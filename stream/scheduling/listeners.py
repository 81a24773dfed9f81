"""What the scheduler reports, and to which objects."""

from __future__ import annotations

from typing import Protocol

from stream.messages import ClipSpec, Prediction


class PredictionListener(Protocol):
    """Receives the model's specification and its predictions, on the scheduler's thread."""

    def on_model(self, spec: ClipSpec) -> None: ...

    def on_prediction(self, prediction: Prediction) -> None: ...


class WorkerListener(Protocol):
    """Receives what workers report of themselves, on the scheduler's thread."""

    def on_hello(self, worker: bytes, devices: int) -> None:
        """A worker is ready; its machine has so many devices."""

    def on_timeout(self, worker: bytes) -> None:
        """A worker did not return its results in time."""

    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        """A worker, or with b"" any worker, can't score a window."""
