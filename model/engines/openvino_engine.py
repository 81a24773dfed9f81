"""The OpenVINO engine, for Intel and AMD processors: pip install 'actionwatch[openvino]'."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from model.engines.base import ENGINES, EngineError, EngineType, cpu_only
from model.engines.linear import PlainLinear
from model.engines.torch_engine import buckets, cpu_precision
from model.families.base import FAMILIES, InferenceOptions
from model.kernels import attention_fused
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig
from stream.runtime.processes import cores, needs_all_cores

_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """Runs a model with OpenVINO, compiled for each batch size.

    Raises EngineError where OpenVINO is not installed or doesn't support the configuration.
    """

    def __init__(self, model: TrainedModel, config: InferenceConfig) -> None:
        try:
            import openvino
        except ImportError as error:
            raise EngineError(
                "engine openvino is not installed: pip install 'actionwatch[openvino]'"
            ) from error
        if config.precision not in ("auto", *_HINTS):
            raise EngineError(
                f"engine openvino has no precision {config.precision} here; use fp32, bf16, or "
                "the engine torch"
            )
        precision = cpu_precision(config.precision)
        self.name = f"openvino {precision} on cpu"
        options = InferenceOptions(
            torch.float32, PlainLinear, PlainLinear, lambda shape: attention_fused
        )
        network = FAMILIES[model.family].for_inference(model, options).eval()
        core = openvino.Core()

        def compiled(size: int, threads: int) -> Callable[[np.ndarray], Any]:
            sample = torch.zeros(model.spec.shape(size), dtype=torch.uint8)
            with torch.inference_mode(), warnings.catch_warnings():
                # Sizes are fixed, so values that the tracer treats as constants are constant.
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                graph = openvino.convert_model(network, example_input=sample, input=sample.shape)
            hints = {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY",
            }
            return core.compile_model(graph, "CPU", hints)

        clip = np.zeros(model.spec.shape(1), np.uint8)
        large = needs_all_cores(partial(compiled(1, 1), clip))
        threads = cores() if large else 1
        self.supports_batching = not large
        self.batch_sizes = (1,) if large else buckets(config.max_batch_size)
        self._compiled = {size: compiled(size, threads) for size in self.batch_sizes}

    def logits(self, clips: np.ndarray) -> np.ndarray:
        return self._compiled[len(clips)](clips)[0]


ENGINES.add("openvino", EngineType(cpu_only, OpenVinoEngine))
