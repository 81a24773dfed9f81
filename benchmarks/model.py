"""Our inference compared with that of transformers, on the same machine, in one run.

All methods are timed interleaved, round by round; results are medians. The base-size network has
random weights (speed does not depend on them), the embedded one its own. GFLOP counts exclude work
that our exact optimizations avoid, so that it does not inflate the fraction of the machine's peak.
The peak is that of a square matrix product in the same precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import Report, parse_args
from model.bench import BENCH_CONFIGS, interleaved_medians
from model.checkpoint import CheckpointError
from model.engines.base import EngineError
from model.engines.linear import Int8Linear, PackedLinear
from model.families.timesformer.configuration import TimesformerConfig
from model.predictor import Predictor
from model.pretraining.dataset import held_out
from model.trained_model import TrainedModel, load, normalize
from stream.config.config import InferenceConfig
from stream.runtime.processes import cores
from stream.sources.base import SourceError
from stream.sources.uniform_clips import UniformClips

_REFERENCE = "transformers fp32"
Method = Callable[[np.ndarray], np.ndarray]  # uint8 (N, T, H, W, 3) -> logits (N, labels)


@dataclass(frozen=True)
class Row:
    """One method of running one network at one batch size."""

    method: str  # all settings, readable
    model: str
    engine: str = field(repr=False)  # torch, openvino or transformers
    precision: str = field(repr=False)
    batch: int
    median_s: float  # for the whole batch
    ratio: float  # how many times faster than transformers in fp32
    gflops: float  # per second, without operations that our exact optimizations avoid
    peak_fraction: float | None  # of this machine's peak in that precision; None if unknown
    agreement: float  # fraction of clips with the same label as transformers in fp32
    difference: float  # largest difference of the logits
    correlation: float  # of the logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--clips", type=int, default=500, help="for comparing the outputs")
    parser.add_argument("--videos", type=Path, nargs="*", default=[], help="add their clips")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too: a slow start")
    args = parse_args(parser, rounds=3, clips=16, batches=[1])
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    report = Report(args.json)
    peaks = measured_peaks()
    print("peak: " + ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in peaks.items()))
    with tempfile.TemporaryDirectory() as folder:
        for name, model, count in (
            ("base", random_base(Path(folder) / "base"), min(args.clips, 4)),
            ("motion", load("motion"), args.clips),
        ):
            sample = sample_clips(model, count, args.videos)
            for batch in args.batches:
                methods = {
                    **transformers_methods(model),
                    **own_methods(model, batch, compiled=args.compiled),
                }
                for row in compare(name, model, methods, sample, batch, args.rounds, peaks):
                    report.add(row)
    report.write(peaks_gflops=peaks)


def random_base(folder: Path) -> TrainedModel:
    """A base-size network with random weights, saved by transformers and loaded by us."""
    from transformers import TimesformerConfig as HFConfig
    from transformers import TimesformerForVideoClassification as HFTimesformer

    torch.manual_seed(0)
    labels = {number: f"action {number}" for number in range(400)}
    HFTimesformer(HFConfig(id2label=labels)).save_pretrained(folder)
    return load(folder)


def sample_clips(model: TrainedModel, count: int, videos: list[Path]) -> np.ndarray:
    """Synthetic clips and clips of videos, uint8 (clips, T, H, W, 3)."""
    synthetic = held_out(model, count, seed=7)
    sampled = [synthetic[number][0].numpy() for number in range(count)]
    for video in videos:
        try:
            sampled += list(UniformClips(video, model.spec))[:count]
        except SourceError as error:
            print(f"skipped: {error}")
    return np.stack(sampled)


def compare(
    name: str,
    model: TrainedModel,
    methods: dict[str, Method],
    sample: np.ndarray,
    batch: int,
    rounds: int,
    peaks: dict[str, float],
) -> Iterator[Row]:
    clips = np.concatenate([sample] * -(-batch // len(sample)))[:batch]
    medians = interleaved_medians({one: partial(methods[one], clips) for one in methods}, rounds)
    logits = {method: _in_batches(run, sample, batch) for method, run in methods.items()}
    exact, gflop = logits[_REFERENCE], batch * gflop_per_clip(model.network.config)
    for method, output in logits.items():
        engine, precision = method.split(" ")[:2]
        peak = None if engine == "transformers" else peaks.get(precision)
        gflops = gflop / medians[method]
        yield Row(
            method,
            name,
            engine,
            precision,
            batch,
            medians[method],
            medians[_REFERENCE] / medians[method],
            gflops,
            None if peak is None else gflops / peak,
            float((output.argmax(axis=1) == exact.argmax(axis=1)).mean()),
            float(np.abs(output - exact).max()),
            float(np.corrcoef(output.ravel(), exact.ravel())[0, 1]),
        )


def transformers_methods(model: TrainedModel) -> dict[str, Method]:
    """transformers as in its documentation, in fp32 and bf16."""
    from transformers import TimesformerForVideoClassification as HFTimesformer

    methods: dict[str, Method] = {}
    with tempfile.TemporaryDirectory() as folder:
        model.network.save_pretrained(folder)
        for name, dtype in ((_REFERENCE, torch.float32), ("transformers bf16", torch.bfloat16)):
            device = "cuda" if torch.cuda.is_available() else "cpu"
            network: Any = HFTimesformer.from_pretrained(folder)
            network = network.to(device, dtype).eval()

            def run(clips: np.ndarray, network: Any = network) -> np.ndarray:
                torch.set_num_threads(cores())
                with torch.inference_mode():
                    pixels = torch.from_numpy(clips).to(network.device)
                    pixels = normalize(pixels, model.mean, model.std).to(network.dtype)
                    return network(pixels).logits.float().cpu().numpy()

            methods[name] = run
    return methods


def own_methods(model: TrainedModel, batch: int, *, compiled: bool) -> dict[str, Method]:
    methods: dict[str, Method] = {}
    choices = list(BENCH_CONFIGS)
    if compiled:
        choices += [InferenceConfig(precision=one, compile="on") for one in ("fp32", "bf16")]
    for choice in choices:
        try:
            predictor = Predictor(model, choice.model_copy(update={"max_batch_size": batch}))
        except (EngineError, CheckpointError) as error:
            print(f"skipped: {error}")
            continue
        methods[predictor.name] = predictor.logits
    return methods


def gflop_per_clip(config: TimesformerConfig) -> float:
    """GFLOP of the matrix products of the inference network for a clip, with divided attention."""
    hidden, frames = config.hidden_size, config.num_frames
    patches, inner = config.patches_per_frame, config.intermediate_size
    rows = frames * (1 + patches)
    temporal = 2 * rows * hidden * 4 * hidden + 4 * (1 + patches) * frames**2 * hidden
    spatial = 2 * rows * hidden * 4 * hidden + 4 * frames * (1 + patches) ** 2 * hidden
    mlp = 4 * rows * hidden * inner
    # In the last layer one query per frame attends to all tokens.
    last = 4 * rows * hidden * config.num_attention_heads
    embed = 2 * frames * patches * hidden * config.num_channels * config.patch_size**2
    layers = config.num_hidden_layers
    return (embed + layers * temporal + (layers - 1) * (spatial + mlp) + last) / 1e9


def measured_peaks() -> dict[str, float]:
    """GFLOP/s of a square matrix product, by the machine's fastest method for each precision."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 2048  # large enough to keep all units busy
    random = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=random) for _ in range(2))
    runs: dict[str, Callable[[], object]] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = left.to(device, dtype), right.to(device, dtype)
        runs[f"{name} product"] = partial(_product, a, b)
        if device == "cpu" and PackedLinear.available(dtype):
            runs[f"{name} packed"] = partial(PackedLinear(b, None, size), a)
    if device == "cpu" and Int8Linear.available():
        quantized = Int8Linear.quantize(left)
        multiply = Int8Linear(right, None, size).multiply
        runs["int8 packed"] = partial(multiply, *quantized, torch.bfloat16)
    torch.set_num_threads(cores())
    with torch.inference_mode():
        medians = interleaved_medians(runs, 15)
    peaks: dict[str, float] = {}
    for method, median in medians.items():
        name = method.split()[0]
        peaks[name] = max(peaks.get(name, 0.0), 2 * size**3 / median / 1e9)
    return peaks


def _product(a: Tensor, b: Tensor) -> None:
    a @ b
    if a.is_cuda:
        torch.cuda.synchronize()


def _in_batches(run: Method, clips: np.ndarray, batch: int) -> np.ndarray:
    starts = range(0, len(clips), batch)
    return np.concatenate([run(clips[start : start + batch]) for start in starts])


if __name__ == "__main__":
    main()
