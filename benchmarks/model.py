"""Our inference against transformers' on the same machine, in one run.

All ways of running a network are timed side by side, round by round; figures are medians. The
base-size network has random weights (speed does not depend on them), the embedded one its own.
GFLOP are those that are left after the exact savings, so that the share of the machine's peak is
not flattered by work that is not done; the peak is that of a 2048 x 2048 product in the same
precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import machine, write_report
from model.bench import CHOICES, interleaved
from model.checkpoint import CheckpointError
from model.engines.base import EngineError
from model.engines.linear import Int8Linear, PackedLinear
from model.families.timesformer.configuration import TimesformerConfig
from model.predictor import Predictor
from model.preprocess import normalise
from model.pretraining.dataset import held_out
from model.trained_model import TrainedModel, load
from stream.config.config import InferenceConfig
from stream.runtime.thread_limits import cores
from stream.sources.opencv_capture import SourceError
from stream.sources.uniform_clips import FileClips

_REFERENCE = "transformers fp32"


@dataclass(frozen=True)
class Row:
    """One way of running one network at one batch size."""

    model: str
    engine: str  # torch, openvino or transformers
    way: str  # all that was chosen, for people
    precision: str
    batch: int
    median_s: float  # for the whole batch
    ratio: float  # how many times faster than transformers in fp32
    gflops: float  # a second, of the operations that are left after the exact savings
    peak_share: float | None  # of this machine's product in that precision; None where unknown
    agreement: float  # share of clips that get the same label as by transformers in fp32
    difference: float  # the largest of the logits
    correlation: float  # of the logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds and clips")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument(
        "--clips", type=int, default=500, help="to compare the embedded model's answers"
    )
    parser.add_argument("--films", type=Path, nargs="*", default=[], help="also clips of these")
    parser.add_argument(
        "--compiled", action="store_true", help="also torch.compile (slow to begin)"
    )
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    rounds, clips = (3, 16) if given.quick else (given.rounds, given.clips)
    batches = [1] if given.quick else given.batches
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    print(machine())
    peaks = measured_peaks()
    print("peak: " + ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in peaks.items()))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model, count in (
            ("base", random_base(Path(folder) / "base"), min(clips, 4)),
            ("motion", load("motion"), clips),
        ):
            sample = sample_clips(model, count, given.films)
            for batch in batches:
                new = compare(name, model, sample, batch, rounds, peaks, compiled=given.compiled)
                show(new)
                rows += new
    if given.json:
        write_report(given.json, rows, peaks_gflops=peaks)


def random_base(folder: Path) -> TrainedModel:
    """A base-size network of random weights, saved by transformers and opened by us."""
    from transformers import TimesformerConfig as TheirConfig
    from transformers import TimesformerForVideoClassification as Theirs

    torch.manual_seed(0)
    labels = {number: f"action {number}" for number in range(400)}
    Theirs(TheirConfig(id2label=labels)).save_pretrained(folder)
    return load(folder)


def sample_clips(model: TrainedModel, count: int, films: list[Path]) -> np.ndarray:
    """Drawn clips and clips of films, uint8 (clips, T, H, W, 3)."""
    drawn = held_out(model, count, seed=7)
    found = [drawn[number][0].numpy() for number in range(count)]
    for film in films:
        try:
            found += list(FileClips(film, model.spec))[:count]
        except SourceError as error:
            print(f"left out: {error}")
    return np.stack(found)


def compare(
    name: str,
    model: TrainedModel,
    sample: np.ndarray,
    batch: int,
    rounds: int,
    peaks: dict[str, float],
    *,
    compiled: bool,
) -> list[Row]:
    clips = np.concatenate([sample] * -(-batch // len(sample)))[:batch]
    ways = {**theirs(model), **ours(model, batch, compiled=compiled)}
    runs = {way: _bound(run, clips) for way, run in ways.items()}
    medians = interleaved(runs, rounds)
    logits = {way: _in_parts(run, sample, batch) for way, run in ways.items()}
    exact, gflop = logits[_REFERENCE], batch * gflop_a_clip(model.network.config)
    rows = []
    for way, found in logits.items():
        engine, precision = way.split(" ")[:2]
        peak = peaks.get(precision)
        rows.append(
            Row(
                name,
                engine,
                way,
                precision,
                batch,
                medians[way],
                medians[_REFERENCE] / medians[way],
                gflop / medians[way],
                None if peak is None or engine == "transformers" else gflop / medians[way] / peak,
                float((found.argmax(axis=1) == exact.argmax(axis=1)).mean()),
                float(np.abs(found - exact).max()),
                float(np.corrcoef(found.ravel(), exact.ravel())[0, 1]),
            )
        )
    return rows


def theirs(model: TrainedModel) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """transformers as its documentation has it, and the same in bf16."""
    from transformers import TimesformerForVideoClassification as Theirs

    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model.network.save_pretrained(folder)
        for name, dtype in ((_REFERENCE, torch.float32), ("transformers bf16", torch.bfloat16)):
            device = "cuda" if torch.cuda.is_available() else "cpu"
            network: Any = Theirs.from_pretrained(folder)
            network = network.to(device, dtype).eval()

            def run(clips: np.ndarray, network: Any = network) -> np.ndarray:
                torch.set_num_threads(cores())
                with torch.inference_mode():
                    pixels = torch.from_numpy(clips).to(network.device)
                    pixels = normalise(pixels, model.mean, model.std).to(network.dtype)
                    return network(pixels).logits.float().cpu().numpy()

            ways[name] = run
    return ways


def ours(
    model: TrainedModel, batch: int, *, compiled: bool
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    choices = list(CHOICES)
    if compiled:
        choices += [
            InferenceConfig(precision=precision, compile="on") for precision in ("fp32", "bf16")
        ]
    for choice in choices:
        try:
            predictor = Predictor(model, choice.model_copy(update={"batch": batch}))
        except (EngineError, CheckpointError) as error:
            print(f"left out: {error}")
            continue
        ways[predictor.name] = predictor.logits
    return ways


def gflop_a_clip(config: TimesformerConfig) -> float:
    """What the inference network computes for a clip with divided attention: products alone."""
    hidden, frames = config.hidden_size, config.num_frames
    patches, inner = config.patches_per_frame, config.intermediate_size
    rows = frames * (1 + patches)
    over_time = 2 * rows * hidden * 4 * hidden + 4 * (1 + patches) * frames**2 * hidden
    over_space = 2 * rows * hidden * 4 * hidden + 4 * frames * (1 + patches) ** 2 * hidden
    mlp = 4 * rows * hidden * inner
    last = 4 * rows * hidden * config.num_attention_heads  # asks all tokens, for one query a frame
    embed = 2 * frames * patches * hidden * config.num_channels * config.patch_size**2
    layers = config.num_hidden_layers
    return (embed + layers * over_time + (layers - 1) * (over_space + mlp) + last) / 1e9


def measured_peaks() -> dict[str, float]:
    """GFLOP/s of a square product, by the fastest way that this machine has for each precision."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 2048  # large enough to keep all units busy
    random = torch.Generator().manual_seed(0)
    one, other = (torch.randn(size, size, generator=random) for _ in range(2))
    runs: dict[str, Callable[[], object]] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = one.to(device, dtype), other.to(device, dtype)
        runs[f"{name} product"] = _product(a, b, device)
        if device == "cpu" and PackedLinear.available(dtype):
            runs[f"{name} packed"] = _bound(PackedLinear(b, None, size), a)
    if device == "cpu" and Int8Linear.available():
        whole = Int8Linear.bytes(one)
        runs["int8 packed"] = _bound(Int8Linear(other, None, size).product, *whole, torch.bfloat16)
    torch.set_num_threads(cores())
    with torch.inference_mode():
        medians = interleaved(runs, 15)
    peaks: dict[str, float] = {}
    for way, median in medians.items():
        name = way.split()[0]
        peaks[name] = max(peaks.get(name, 0.0), 2 * size**3 / median / 1e9)
    return peaks


def _product(a: Tensor, b: Tensor, device: str) -> Callable[[], object]:
    def run() -> None:
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def _bound(run: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: run(*arguments)


def _in_parts(run: Callable[[np.ndarray], np.ndarray], clips: np.ndarray, batch: int) -> np.ndarray:
    starts = range(0, len(clips), batch)
    return np.concatenate([run(clips[start : start + batch]) for start in starts])


def show(rows: list[Row]) -> None:
    print(f"\n{rows[0].model}, batch {rows[0].batch}")
    print(f"{'':<30} {'ms':>9} {'ratio':>6} {'of peak':>8} {'same':>7} {'differs':>9} {'corr':>8}")
    for row in rows:
        share = f"{row.peak_share:.0%}" if row.peak_share is not None else ""
        print(
            f"{row.way:<30} {1000 * row.median_s:>9.1f} {row.ratio:>6.2f} {share:>8} "
            f"{row.agreement:>7.1%} {row.difference:>9.2g} {row.correlation:>8.5f}"
        )


if __name__ == "__main__":
    main()
