"""The default engine: torch, on a CPU or a CUDA GPU."""

from __future__ import annotations

import contextlib
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from model.engines.base import ENGINES, EngineError, EngineType
from model.engines.cuda_graphs import CudaGraphRunner, capture_graph
from model.engines.linear import Int8Linear, PackedLinear, PlainLinear
from model.families.base import FAMILIES, AttentionFn, InferenceOptions, LinearFactory
from model.kernels import attention_eager, attention_fused, attention_with_backend
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig
from stream.runtime.errors import first_line
from stream.runtime.processes import cores, needs_all_cores

_log = logging.getLogger(__name__)
_MIN_FUSED_TOKENS_CPU = 128  # from this length torch's fused attention is faster on a CPU
_GPU_KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)
_MAX_COMPILED = 64  # graphs of torch.compile: all models and batch sizes of a process
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Runs a model with torch. Raises EngineError for an unsupported configuration."""

    def __init__(self, model: TrainedModel, config: InferenceConfig) -> None:
        self._device = torch.device(_devices(config)[0])
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self._device)
        else:
            torch.set_num_threads(1)  # until _choose_threads has measured the model
        precision = (_gpu_precision if on_gpu else cpu_precision)(config.precision)
        self._network = _network(model, precision, self._device)
        self.name = f"torch {precision} on {self._device}"
        self.batch_sizes: tuple[int, ...] = ()
        self._threads = torch.get_num_threads()
        self._run: Callable[[Tensor], Tensor] = self._network
        if on_gpu and config.compile != "off":
            self.batch_sizes = buckets(config.max_batch_size)
            self._run = CudaGraphRunner(self._network)
        self.supports_batching = on_gpu or self._choose_threads(model)
        if precision == "int8":  # clips of a batch would share one quantization scale
            self.supports_batching = False
        if config.compile == "on":
            self._compile(model, precision, config)

    def logits(self, clips: np.ndarray) -> np.ndarray:
        if torch.get_num_threads() != self._threads:  # the setting is process-wide
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                pixels = torch.from_numpy(clips).to(self._device)
                return self._run(pixels).cpu().numpy()
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if "allocate memory" in str(error):  # torch's message for a CPU
                raise MemoryError(str(error)) from error
            raise

    def _choose_threads(self, model: TrainedModel) -> bool:
        """Give a large model all cores, see `stream/runtime/processes.py`.

        Returns whether batches are faster, which holds for small models. A batch of a large one
        doesn't fit into the processor's caches: 540 ms a clip instead of 450 for base size in bf16.
        """
        large = needs_all_cores(partial(self.logits, np.zeros(model.spec.shape(1), np.uint8)))
        self._threads = cores() if large else 1
        torch.set_num_threads(self._threads)  # torch.compile specializes on this count
        return not large

    def _compile(self, model: TrainedModel, precision: str, config: InferenceConfig) -> None:
        """Compile with frozen weights. Where that fails, log the reason and run uncompiled."""
        if precision == "int8":
            raise EngineError("compile: on needs a float precision; remove it for precision int8")
        network = _network(model, precision, self._device, compiled=True)
        compiled = torch.compile(network, dynamic=False)
        sizes = buckets(config.max_batch_size) if self.supports_batching else (1,)
        try:
            with (
                torch.inference_mode(),
                torch._inductor.config.patch(freezing=True),
                torch._dynamo.config.patch(recompile_limit=_MAX_COMPILED),
            ):
                for size in sizes:
                    clips = torch.zeros(model.spec.shape(size), dtype=torch.uint8)
                    compiled(clips.to(self._device))
        except Exception as error:  # compilers fail in many ways; none may end the run
            reason = first_line(error)
            _log.warning("torch.compile failed, running without it: %.200s", reason)
            return
        self.batch_sizes = sizes
        self._run = CudaGraphRunner(compiled) if self._device.type == "cuda" else compiled
        self.name += ", compiled"


def _devices(config: InferenceConfig) -> tuple[str, ...]:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.device == "cpu" or (config.device == "auto" and not gpus):
        return ("cpu",)
    available = tuple(f"cuda:{number}" for number in range(gpus))
    if config.device in ("auto", "cuda") and available:
        return available
    if config.device in available:
        return (config.device,)
    found = f"torch {torch.__version__} finds {', '.join(available) or 'no GPU'}"
    raise EngineError(f"device {config.device} does not exist: {found}; use auto")


def buckets(max_batch_size: int) -> tuple[int, ...]:
    """Batch sizes to prepare: 1, 2, 4, ... up to `max_batch_size`."""
    sizes = [1]
    while sizes[-1] < max_batch_size:
        sizes.append(min(2 * sizes[-1], max_batch_size))
    return tuple(sizes)


def _gpu_precision(requested: str) -> str:
    if requested == "int8":
        raise EngineError("precision int8 is for CPUs; use auto, which is bf16 or fp16 on GPUs")
    return ("bf16" if _cuda_supports_bf16() else "fp16") if requested == "auto" else requested


def cpu_precision(requested: str) -> str:
    """Resolve "auto" for this processor. Raises EngineError for an unsupported precision."""
    if requested == "int8" and not (Int8Linear.available() and PackedLinear.available()):
        raise EngineError(
            "precision int8 needs a processor with VNNI and torch with oneDNN; use auto"
        )
    if requested == "fp16":
        raise EngineError("precision fp16 is for GPUs; use auto, which is bf16 or fp32 on CPUs")
    return ("bf16" if cpu_supports_bf16() else "fp32") if requested == "auto" else requested


def cpu_supports_bf16() -> bool:
    """Whether this processor has bf16 instructions; emulated, bf16 is slower than fp32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def computes_bf16(device: torch.device) -> bool:
    """Whether training is faster in bf16 on this device."""
    return _cuda_supports_bf16() if device.type == "cuda" else cpu_supports_bf16()


def _cuda_supports_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _network(
    model: TrainedModel, precision: str, device: torch.device, *, compiled: bool = False
) -> nn.Module:
    # torch.compile packs weights itself, and can trace only PlainLinear.
    exact: LinearFactory = PlainLinear
    dtype = _DTYPES.get(precision)
    if dtype is None:  # int8: all but the matrix products use the dtype of "auto"
        dtype = torch.bfloat16 if cpu_supports_bf16() else torch.float32
    if device.type == "cpu" and not compiled and PackedLinear.available(dtype):
        exact = PackedLinear
    linear = Int8Linear if precision == "int8" else exact
    options = InferenceOptions(dtype, linear, exact, lambda shape: _fastest(shape, dtype, device))
    return FAMILIES[model.family].for_inference(model, options).to(device).eval()


def _fastest(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> AttentionFn:
    """The fastest attention implementation for (..., heads, tokens, size) on this device.

    On a CPU a fixed rule decides, so that a video's scores are bit-identical in every run. On a GPU
    too many factors matter, so candidates are timed; unsupported ones are skipped.
    """
    if device.type == "cpu":
        return attention_eager if shape[-2] < _MIN_FUSED_TOKENS_CPU else attention_fused
    sample = torch.randn(shape, device=device).to(dtype)
    backends = map(attention_with_backend, _GPU_KERNELS)
    candidates: list[AttentionFn] = [attention_fused, attention_eager, *backends]
    runs: dict[AttentionFn, Callable[[], object]] = {}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns about unsupported kernels
        for candidate in candidates:
            run: Callable[[], Tensor] = partial(candidate, sample, sample, sample)
            with contextlib.suppress(RuntimeError):  # unsupported, or out of memory
                run()
                runs[candidate] = _replay(run)
        times: dict[AttentionFn, list[float]] = {candidate: [] for candidate in runs}
        for _ in range(8):
            for candidate, timed in runs.items():
                start = time.perf_counter()
                timed()
                times[candidate].append(time.perf_counter() - start)
    # The first round warms up.
    return min(times, key=lambda one: statistics.median(times[one][1:]), default=attention_fused)


def _replay(run: Callable[[], Tensor]) -> Callable[[], object]:
    """Twenty runs in one CUDA graph: the launch of a single kernel is slower than the kernel."""

    def repeated() -> Tensor:
        return [run() for _ in range(20)][-1]

    graph, _ = capture_graph(repeated)

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return replay


ENGINES.add("torch", EngineType(_devices, TorchEngine))
