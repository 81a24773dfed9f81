"""Commands for models: classify, convert, bench."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.options import MODEL_HELP
from ui.cli.terminal import fail, print_error, print_line, progress_bar

if TYPE_CHECKING:
    import numpy as np

    from model.predictor import Predictor
    from stream.messages import ClipSpec
    from stream.sources.uniform_clips import UniformClips

_BATCH_SIZE = 4  # clips; limits memory


def classify(
    files: Annotated[list[Path], typer.Argument(help="video files", show_default=False)],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "motion",
    top_k: Annotated[int, typer.Option(min=1, help="how many labels to print")] = 5,
    clips: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="clips per file, else as many as cover it, at most 10"),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="crop, squash or letterbox wide frames, else the model's setting"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON Lines")] = False,
) -> None:
    """Classify video files: average the probabilities of uniformly sampled clips."""
    from stream.messages import FITS, top_labels

    if fit is not None and fit not in FITS:
        fail(f"--fit {fit}: must be one of {', '.join(FITS)}")
    # After the check: torch needs seconds to import.
    from dataclasses import replace

    from model.predictor import Predictor
    from model.trained_model import load
    from stream.runtime.logs import configure_logging
    from stream.runtime.secrets import redact
    from stream.sources.base import SourceError
    from stream.sources.uniform_clips import UniformClips

    configure_logging()
    trained = load(model)
    predictor = Predictor(trained)
    spec = replace(trained.spec, fit=fit) if fit else trained.spec
    failed = False
    with progress_bar("files", len(files)) as bar:
        for file in files:
            name = redact(str(file))
            bar.update(state=name)
            try:
                sampled = UniformClips(file, spec, clips)
                best = top_labels(spec.labels, _average(predictor, sampled), top_k)
            except (SourceError, MemoryError, RuntimeError) as error:
                failed = True
                reason = str(error) if isinstance(error, SourceError) else f"{name}: {error}"
                print_error(reason)
                if as_json:
                    print_line(json.dumps({"file": name, "error": reason}, ensure_ascii=False))
            else:
                print_line(_format(name, spec, sampled, best, as_json=as_json))
            bar.advance()
        bar.update(state="")
    if failed:
        raise typer.Exit(1)


def _average(predictor: Predictor, clips: Iterable[np.ndarray]) -> np.ndarray:
    """Mean probabilities (labels,) of a file's clips."""
    import numpy as np

    remaining, parts = iter(clips), []
    while batch := list(itertools.islice(remaining, _BATCH_SIZE)):
        parts.append(predictor.predict(np.stack(batch)))
    return np.concatenate(parts).mean(axis=0)


def _format(
    file: str,
    spec: ClipSpec,
    sampled: UniformClips,
    best: list[tuple[str, float]],
    *,
    as_json: bool,
) -> str:
    if not as_json:
        summary = f"{len(sampled)} clips of {spec.span_s:.1f} s in {sampled.duration_s:.1f} s"
        lines = (f"  {probability:6.1%}  {label}" for label, probability in best)
        return "\n".join([f"{file}  ({summary})", *lines])
    labels = [{"label": label, "probability": round(probability, 6)} for label, probability in best]
    return json.dumps(
        {
            "file": file,
            "model": spec.model,
            "clips": len(sampled),
            "span_s": spec.span_s,
            "duration_s": round(sampled.duration_s, 3),
            "labels": labels,
        },
        ensure_ascii=False,
    )


def convert(
    file: Annotated[Path, typer.Argument(help="a .pyth checkpoint of the TimeSformer authors")],
    out: Annotated[Path, typer.Argument(help="new checkpoint folder, for --model")],
    labels: Annotated[
        Path | None, typer.Option(help="text file with one label per line, in class order")
    ] = None,
    span: Annotated[
        float | None,
        typer.Option(min=0.01, help="seconds per clip, else that of the published models"),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="attention heads, else one per 64 hidden units")
    ] = None,
) -> None:
    """Convert a checkpoint of the TimeSformer authors to a folder for `--model`."""
    if (out / "config.json").exists() or (out.exists() and not out.is_dir()):
        fail(f"{out} exists already; give another folder")
    # After the check: torch needs seconds to import.
    from model.families.timesformer.convert import convert as converted
    from model.families.timesformer.convert import read_labels
    from model.trained_model import save

    names = read_labels(labels) if labels else None
    model = converted(file, name=out.name, labels=names, span_s=span, heads=heads)
    save(model, out)
    config, spec = model.network.config, model.spec
    typer.echo(
        f"wrote {out}: {config.attention_type}, {config.num_hidden_layers} layers, "
        f"{spec.frames} frames of {spec.height} x {spec.width} over {spec.span_s:.1f} s, "
        f"{len(spec.labels)} labels"
    )
    if not labels:
        typer.echo("no --labels: the labels are LABEL_0, LABEL_1, ...", err=True)


def bench(
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "motion",
    batch: Annotated[int, typer.Option(min=1, max=256, help="clips per batch")] = 1,
    clips: Annotated[int, typer.Option(min=1, help="synthetic clips to compare")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="timed repetitions")] = 9,
) -> None:
    """Compare the engines and precisions available here, and recommend one."""
    import numpy as np

    from model.bench import compare, fastest
    from model.pretraining.dataset import held_out
    from model.trained_model import load
    from stream.runtime.logs import configure_logging

    configure_logging()
    trained = load(model)
    synthetic = held_out(trained, clips, seed=0)
    sample = np.stack([synthetic[number][0].numpy() for number in range(clips)])
    with progress_bar("variants", 1) as bar:
        rows = compare(
            trained,
            sample,
            batch=batch,
            rounds=rounds,
            on_progress=lambda name: bar.update(state=name),
        )
    exact = rows[0]
    print_line(f"{'':<24} {'ms/clip':>10} {'ratio':>6} {'same label':>11} {'difference':>11}")
    for row in sorted(rows, key=lambda row: row.median_s):
        print_line(
            f"{row.name:<24} {1000 * row.median_s / batch:>10.1f} "
            f"{exact.median_s / row.median_s:>6.2f} {row.agreement:>11.1%} "
            f"{row.max_difference:>11.4f}"
        )
    chosen = fastest(rows)
    print_line(
        "in the YAML, the fastest that agrees with fp32: "
        f"worker: {{engine: {chosen.config.engine}, precision: {chosen.config.precision}}}"
    )
