"""The engine that is always there: torch, on a CPU or a CUDA GPU."""

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

from model.engine import EngineError
from model.inference import Attend, InferenceNetwork, attend_by, attend_fused, attend_plainly
from model.linear import Int8Linear, MakeLinear, PackedLinear, PlainLinear
from model.trained import TrainedModel
from stream.config import InferenceConfig
from stream.threads import threads_for

_log = logging.getLogger(__name__)
_GPU_KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Runs a model with torch. Raises EngineError for what this machine can't do."""

    def __init__(self, model: TrainedModel, choice: InferenceConfig) -> None:
        self._device = torch.device(devices(choice)[0])
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self._device)
        precision = (_gpu_precision if on_gpu else cpu_precision)(choice.precision)
        self._network = _network(model, precision, self._device)
        self.name = f"torch {precision} on {self._device}"
        self.sizes: tuple[int, ...] = ()
        self._threads = torch.get_num_threads()
        self._run: Callable[[Tensor], Tensor] = self._network
        if on_gpu and choice.compile != "off":
            self.sizes = buckets(choice.batch)
            self._run = _Graphs(self._network)
        if not on_gpu:
            self._settle_threads(model)
        if choice.compile == "on":
            self._compile(model, precision, choice)

    def logits(self, clips: np.ndarray) -> np.ndarray:
        if torch.get_num_threads() != self._threads:  # they are the whole process's
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                pixels = torch.from_numpy(clips).to(self._device)
                return self._run(pixels).cpu().numpy()
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except RuntimeError as error:
            if "allocate memory" in str(error):  # what torch says of a CPU
                raise MemoryError(str(error)) from error
            raise

    def _settle_threads(self, model: TrainedModel) -> None:
        """A small model keeps to one core, see `stream/threads.py`."""
        self._threads = 1
        self._threads = threads_for(partial(self.logits, np.zeros(model.spec.shape(1), np.uint8)))

    def _compile(self, model: TrainedModel, precision: str, choice: InferenceConfig) -> None:
        """torch.compile with frozen weights; without it, and saying why, where it fails."""
        if precision == "int8":
            raise EngineError("compile: on is for floats; leave it out with precision int8")
        network = _network(model, precision, self._device, compiled=True)
        compiled = torch.compile(network, dynamic=False)
        sizes = buckets(choice.batch)
        try:
            with torch.inference_mode(), torch._inductor.config.patch(freezing=True):
                for size in sizes:
                    clips = torch.zeros(model.spec.shape(size), dtype=torch.uint8)
                    compiled(clips.to(self._device))
        except Exception as error:  # compilers fail in many ways; none of them is worth the watch
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            _log.warning("torch.compile does not work here, going on without: %.200s", reason)
            return
        self.sizes = sizes
        self._run = _Graphs(compiled) if self._device.type == "cuda" else compiled
        self.name += ", compiled"


class _Graphs:
    """Runs a network on a GPU as CUDA graphs, one for each batch size, recorded at first use."""

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self._network = network
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, clips: Tensor) -> Tensor:
        if len(clips) not in self._graphs:
            self._graphs[len(clips)] = self._record(clips)
        graph, pixels, logits = self._graphs[len(clips)]
        pixels.copy_(clips)
        graph.replay()
        return logits

    def _record(self, clips: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        pixels = clips.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries set themselves up outside the recording
            for _ in range(3):
                self._network(pixels)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = self._network(pixels)
        return graph, pixels, logits


def devices(choice: InferenceConfig) -> tuple[str, ...]:
    """The devices of this machine that a choice may mean, of which each could have a worker.

    Raises EngineError for a GPU that is not there.
    """
    if choice.engine != "torch" and choice.device not in ("auto", "cpu"):
        raise EngineError(f"engine {choice.engine} runs on the cpu; take device auto")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if choice.device == "cpu" or choice.engine != "torch" or (choice.device == "auto" and not gpus):
        return ("cpu",)
    there_are = tuple(f"cuda:{number}" for number in range(gpus))
    if choice.device in ("auto", "cuda") and there_are:
        return there_are
    if choice.device in there_are:
        return (choice.device,)
    found = f"torch {torch.__version__} finds {', '.join(there_are) or 'no GPU'}"
    raise EngineError(f"device {choice.device} is not there: {found}; take auto")


def buckets(most: int) -> tuple[int, ...]:
    """Batch sizes to prepare: 1, 2, 4, ... up to `most`."""
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(2 * sizes[-1], most))
    return tuple(sizes)


def _gpu_precision(wanted: str) -> str:
    if wanted == "int8":
        raise EngineError("precision int8 is for CPUs; take auto, which is bf16 or fp16 on GPUs")
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return ("bf16" if bf16 else "fp16") if wanted == "auto" else wanted


def cpu_precision(wanted: str) -> str:
    """What "auto" means on this processor. Raises EngineError where `wanted` can't be had."""
    if wanted == "int8" and not (Int8Linear.available() and PackedLinear.available()):
        raise EngineError(
            "precision int8 needs a processor with VNNI and torch with oneDNN; take auto"
        )
    if wanted == "fp16":
        raise EngineError("precision fp16 is for GPUs; take auto, which is bf16 or fp32 on CPUs")
    return ("bf16" if _multiplies_bf16() else "fp32") if wanted == "auto" else wanted


def _multiplies_bf16() -> bool:
    """Whether this processor has instructions for bf16; emulated, it is slower than fp32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def _network(
    model: TrainedModel, precision: str, device: torch.device, *, compiled: bool = False
) -> nn.Module:
    exact: MakeLinear = PlainLinear
    # A compiler packs weights itself, and sees into plain layers only.
    if device.type == "cpu" and not compiled and PackedLinear.available():
        exact = PackedLinear
    dtype = _DTYPES.get(precision)
    if dtype is None:  # int8: what is not multiplied is as "auto" would have it
        dtype = torch.bfloat16 if _multiplies_bf16() else torch.float32
    make = Int8Linear if precision == "int8" else exact
    config, spec = model.network.config, model.spec
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    patches = config.patches_per_frame
    joint = config.attention_type == "joint_space_time"
    over_space = (1, heads, 1 + patches * spec.frames, size)
    over_space = over_space if joint else (spec.frames, heads, 1 + patches, size)
    network = InferenceNetwork(
        model,
        dtype=dtype,
        make=make,
        make_exact=exact,
        over_time=_fastest((1 + patches, heads, spec.frames, size), dtype, device),
        over_space=_fastest(over_space, dtype, device),
    )
    return network.to(device).eval()


def _fastest(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Attend:
    """Which way of attention is faster for this shape here: it depends on device, type and length,
    so it is tried. A kernel that a GPU has not, or not for this type, is left out."""
    sample = torch.randn(shape, device=device).to(dtype)
    on_gpu = device.type == "cuda"
    calls = 20 if on_gpu else 1  # in a row: a single kernel is over before the next is launched

    def seconds(attend: Attend) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            attend(sample, sample, sample)
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    ways: list[Attend] = [attend_fused, attend_plainly]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of each kernel it can't take
        for backend in _GPU_KERNELS if on_gpu else ():
            with contextlib.suppress(RuntimeError):
                attend_by(backend)(sample, sample, sample)
                ways.append(attend_by(backend))
        rounds = [[seconds(way) for way in ways] for _ in range(8)][1:]  # the first one warms up
    medians = [statistics.median(times) for times in zip(*rounds, strict=True)]
    return ways[medians.index(min(medians))]
