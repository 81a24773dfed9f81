"""What an inference engine is, and the registry of engines: one module of this package each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig
from stream.runtime.errors import UserError
from stream.runtime.registry import Registry


class EngineError(UserError):
    """A configuration that this machine doesn't support. The message is one line with the fix."""


class Engine(Protocol):
    """Runs one model on one device. Not thread-safe."""

    name: str  # for display: "torch bf16 on cpu"
    batch_sizes: tuple[int, ...]  # the only sizes it accepts, ascending; empty if it accepts any
    supports_batching: bool  # whether a batch is faster than its clips one by one

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """uint8 RGB (batch, T, H, W, 3) -> float32 (batch, labels).

        Raises MemoryError where the batch doesn't fit into the device's memory.
        """


@dataclass(frozen=True)
class EngineType:
    """A kind of engine, chosen by `worker.engine`.

    `devices` names the devices of this machine that match the configuration. Each may get a
    worker. `create` prepares a model. Both raise EngineError for an unsupported configuration.
    """

    devices: Callable[[InferenceConfig], tuple[str, ...]]
    create: Callable[[TrainedModel, InferenceConfig], Engine]


ENGINES: Registry[EngineType] = Registry("engine", "model.engines")


def engine_type(config: InferenceConfig) -> EngineType:
    """The configured engine. Raises EngineError for an unknown name."""
    if config.engine not in ENGINES:
        known = " or ".join(sorted(ENGINES))
        raise EngineError(f"engine {config.engine} is not known; use {known}")
    return ENGINES[config.engine]


def cpu_only(config: InferenceConfig) -> tuple[str, ...]:
    """The devices of an engine for processors."""
    if config.device not in ("auto", "cpu"):
        raise EngineError(f"engine {config.engine} runs on the cpu; use device auto")
    return ("cpu",)
