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

from model.engines.base import EngineError
from model.engines.cuda_graphs import Graphs, record
from model.engines.linear import Int8Linear, MakeLinear, PackedLinear, PlainLinear
from model.families.timesformer.inference import (
    Attend,
    InferenceNetwork,
    attend_by,
    attend_fused,
    attend_plainly,
)
from model.trained_model import TrainedModel
from stream.config.config import InferenceConfig
from stream.runtime.thread_limits import cores, is_large

_log = logging.getLogger(__name__)
_LONG_ON_CPU = 128  # tokens, from which torch's fused kernel is the faster one
_GPU_KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)
_MOST_COMPILED = 64  # by torch.compile, of all models and batch sizes of a process
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Runs a model with torch. Raises EngineError for what this machine can't do."""

    def __init__(self, model: TrainedModel, choice: InferenceConfig) -> None:
        self._device = torch.device(devices(choice)[0])
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self._device)
        else:
            torch.set_num_threads(1)  # until it is known how large the model is
        precision = (_gpu_precision if on_gpu else cpu_precision)(choice.precision)
        self._network = _network(model, precision, self._device)
        self.name = f"torch {precision} on {self._device}"
        self.sizes: tuple[int, ...] = ()
        self._threads = torch.get_num_threads()
        self._run: Callable[[Tensor], Tensor] = self._network
        if on_gpu and choice.compile != "off":
            self.sizes = buckets(choice.batch)
            self._run = Graphs(self._network)
        self.batches = on_gpu or self._settle_threads(model)
        if precision == "int8":  # clips would share their scale: neighbours must not matter
            self.batches = False
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

    def _settle_threads(self, model: TrainedModel) -> bool:
        """A large model has all cores, see `stream/runtime/thread_limits.py`. True for a small one.

        Several clips of a large one don't fit into the processor's caches: 540 ms a clip instead
        of 450 for base size in bf16.
        """
        large = is_large(partial(self.logits, np.zeros(model.spec.shape(1), np.uint8)))
        self._threads = cores() if large else 1
        torch.set_num_threads(self._threads)  # what is compiled next is compiled for so many
        return not large

    def _compile(self, model: TrainedModel, precision: str, choice: InferenceConfig) -> None:
        """torch.compile with frozen weights; without it, and saying why, where it fails."""
        if precision == "int8":
            raise EngineError("compile: on is for floats; leave it out with precision int8")
        network = _network(model, precision, self._device, compiled=True)
        compiled = torch.compile(network, dynamic=False)
        sizes = buckets(choice.batch) if self.batches else (1,)
        try:
            with (
                torch.inference_mode(),
                torch._inductor.config.patch(freezing=True),
                torch._dynamo.config.patch(recompile_limit=_MOST_COMPILED),
            ):
                for size in sizes:
                    clips = torch.zeros(model.spec.shape(size), dtype=torch.uint8)
                    compiled(clips.to(self._device))
        except Exception as error:  # compilers fail in many ways; none of them is worth the watch
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            _log.warning("torch.compile does not work here, going on without: %.200s", reason)
            return
        self.sizes = sizes
        self._run = Graphs(compiled) if self._device.type == "cuda" else compiled
        self.name += ", compiled"


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
    return ("bf16" if _cuda_multiplies_bf16() else "fp16") if wanted == "auto" else wanted


def cpu_precision(wanted: str) -> str:
    """What "auto" means on this processor. Raises EngineError where `wanted` can't be had."""
    if wanted == "int8" and not (Int8Linear.available() and PackedLinear.available()):
        raise EngineError(
            "precision int8 needs a processor with VNNI and torch with oneDNN; take auto"
        )
    if wanted == "fp16":
        raise EngineError("precision fp16 is for GPUs; take auto, which is bf16 or fp32 on CPUs")
    return ("bf16" if multiplies_bf16() else "fp32") if wanted == "auto" else wanted


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for bf16; emulated, it is slower than fp32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def computes_bf16(device: torch.device) -> bool:
    """Whether a network learns faster in bf16 on this device."""
    return _cuda_multiplies_bf16() if device.type == "cuda" else multiplies_bf16()


def _cuda_multiplies_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _network(
    model: TrainedModel, precision: str, device: torch.device, *, compiled: bool = False
) -> nn.Module:
    exact: MakeLinear = PlainLinear  # a compiler packs weights itself, and sees into these alone
    dtype = _DTYPES.get(precision)
    if dtype is None:  # int8: what is not multiplied is as "auto" would have it
        dtype = torch.bfloat16 if multiplies_bf16() else torch.float32
    if device.type == "cpu" and not compiled and PackedLinear.available(dtype):
        exact = PackedLinear
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
    """Which way of attention is faster for this shape here.

    On a CPU by a rule, so that a film is scored the same each time, to the last bit. On a GPU it
    depends on too much, so it is tried; one that it has not, or not for this type, is left out.
    """
    if device.type == "cpu":
        return attend_plainly if shape[-2] < _LONG_ON_CPU else attend_fused
    sample = torch.randn(shape, device=device).to(dtype)
    ways: list[Attend] = [attend_fused, attend_plainly, *map(attend_by, _GPU_KERNELS)]
    runs: dict[Attend, Callable[[], object]] = {}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of each kernel it can't take
        for way in ways:
            run: Callable[[], Tensor] = partial(way, sample, sample, sample)
            with contextlib.suppress(RuntimeError):  # also where there is no memory for it
                run()
                runs[way] = _replay(run)
        times: dict[Attend, list[float]] = {way: [] for way in runs}
        for _ in range(8):
            for way, timed in runs.items():
                began = time.perf_counter()
                timed()
                times[way].append(time.perf_counter() - began)
    # The first round warms up.
    return min(times, key=lambda way: statistics.median(times[way][1:]), default=attend_fused)


def _replay(run: Callable[[], Tensor]) -> Callable[[], object]:
    """Twenty times in a row as a graph: launching a single kernel takes longer than it runs."""

    def many() -> Tensor:
        return [run() for _ in range(20)][-1]

    graph, _ = record(many)

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return replay
