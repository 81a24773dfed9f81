"""The commands about models: classify, convert, bench."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.terminal import complain, give_up, progress_bar, say, silence_decoders

if TYPE_CHECKING:
    import numpy as np

    from model.predictor import Predictor
    from stream.messages import ClipSpec
    from stream.sources.uniform_clips import FileClips

_BATCH = 4  # clips at once, for memory's sake
_MODEL_HELP = "embedded name, checkpoint folder, or Hugging Face name"


def classify(
    files: Annotated[list[Path], typer.Argument(help="video files", show_default=False)],
    model: Annotated[str, typer.Option(help=_MODEL_HELP)] = "motion",
    top_k: Annotated[int, typer.Option(min=1, help="how many labels to print")] = 5,
    clips: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="clips of each file, else as many as cover it, to 10"),
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="crop, squash or letterbox for wide pictures, else as the model says"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON Lines")] = False,
) -> None:
    """Say what happens in video files: uniform clips over each, their probabilities averaged."""
    silence_decoders()

    from dataclasses import replace

    from model.checkpoint import CheckpointError
    from model.predictor import Predictor
    from model.trained_model import load
    from stream.messages import FITS, top_labels
    from stream.runtime.secrets import shown
    from stream.sources.opencv_capture import SourceError
    from stream.sources.uniform_clips import FileClips

    if fit is not None and fit not in FITS:
        give_up(f"--fit {fit}: must be one of {', '.join(FITS)}")
    from stream.runtime.logging_setup import show_notes

    show_notes()
    try:
        trained = load(model)
        predictor = Predictor(trained)
    except CheckpointError as error:
        give_up(str(error))
    spec = replace(trained.spec, fit=fit) if fit else trained.spec
    failed = False
    with progress_bar("files", len(files)) as (bar, task):
        for file in files:
            name = shown(str(file))
            bar.update(task, state=name)
            try:
                seen = FileClips(file, spec, clips)
                best = top_labels(spec.labels, _average(predictor, seen), top_k)
            except (SourceError, MemoryError, RuntimeError) as error:
                failed = True
                reason = str(error) if isinstance(error, SourceError) else f"{name}: {error}"
                complain(reason)
                if as_json:
                    say(json.dumps({"file": name, "error": reason}, ensure_ascii=False))
            else:
                say(_answer(name, spec, seen, best, as_json=as_json))
            bar.advance(task)
        bar.update(task, state="")
    if failed:
        raise typer.Exit(1)


def _average(predictor: Predictor, clips: Iterable[np.ndarray]) -> np.ndarray:
    """Mean probabilities (labels,) of a file's clips."""
    import numpy as np

    coming, parts = iter(clips), []
    while batch := list(itertools.islice(coming, _BATCH)):
        parts.append(predictor.predict(np.stack(batch)))
    return np.concatenate(parts).mean(axis=0)


def _answer(
    file: str, spec: ClipSpec, seen: FileClips, best: list[tuple[str, float]], *, as_json: bool
) -> str:
    if not as_json:
        sampled = f"{len(seen)} clips of {spec.span_s:.1f} s in {seen.duration_s:.1f} s"
        lines = (f"  {share:6.1%}  {label}" for label, share in best)
        return "\n".join([f"{file}  ({sampled})", *lines])
    labels = [{"label": label, "probability": round(share, 6)} for label, share in best]
    return json.dumps(
        {
            "file": file,
            "model": spec.model,
            "clips": len(seen),
            "span_s": spec.span_s,
            "duration_s": round(seen.duration_s, 3),
            "labels": labels,
        },
        ensure_ascii=False,
    )


def convert(
    file: Annotated[Path, typer.Argument(help="a .pyth file of the authors' code")],
    out: Annotated[Path, typer.Argument(help="folder that is made, for --model")],
    labels: Annotated[
        Path | None, typer.Option(help="text file, a label a line in the order of the model")
    ] = None,
    span: Annotated[
        float | None,
        typer.Option(min=0.01, help="seconds that a clip lasts, else as the published models"),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="attention heads, else one for 64 hidden units")
    ] = None,
) -> None:
    """Turn a checkpoint of TimeSformer's authors into a folder that `--model` takes."""
    from model.checkpoint import CheckpointError
    from model.families.timesformer.convert import convert as converted
    from model.families.timesformer.convert import read_labels
    from model.trained_model import save

    try:
        if (out / "config.json").exists() or (out.exists() and not out.is_dir()):
            give_up(f"{out} is there already; give another folder")
        names = read_labels(labels) if labels else None
        model = converted(file, name=out.name, labels=names, span_s=span, heads=heads)
        save(model, out)
    except CheckpointError as error:
        give_up(str(error))
    config, spec = model.network.config, model.spec
    typer.echo(
        f"wrote {out}: {config.attention_type}, {config.num_hidden_layers} layers, "
        f"{spec.frames} frames of {spec.height} x {spec.width} over {spec.span_s:.1f} s, "
        f"{len(spec.labels)} labels"
    )
    if not labels:
        typer.echo("without --labels they are called LABEL_0, LABEL_1, ...", err=True)


def bench(
    model: Annotated[str, typer.Option(help=_MODEL_HELP)] = "motion",
    batch: Annotated[int, typer.Option(min=1, max=256, help="clips at once")] = 1,
    clips: Annotated[int, typer.Option(min=1, help="drawn clips to compare answers on")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="how often each is timed")] = 9,
) -> None:
    """Compare the engines and precisions that this machine has, and say which to choose."""
    import numpy as np

    from model.bench import best, compare
    from model.checkpoint import CheckpointError
    from model.pretraining.dataset import held_out
    from model.trained_model import load
    from stream.runtime.logging_setup import show_notes

    show_notes()
    try:
        trained = load(model)
        drawn = held_out(trained, clips, seed=0)
        sample = np.stack([drawn[number][0].numpy() for number in range(clips)])
        with progress_bar("ways", 1) as (bar, task):
            rows = compare(
                trained,
                sample,
                batch=batch,
                rounds=rounds,
                progress=lambda name: bar.update(task, state=name),
            )
    except CheckpointError as error:
        give_up(str(error))
    exact = rows[0]
    say(f"{'':<24} {'ms a clip':>10} {'ratio':>6} {'same label':>11} {'difference':>11}")
    for row in sorted(rows, key=lambda row: row.median_s):
        say(
            f"{row.name:<24} {1000 * row.median_s / batch:>10.1f} "
            f"{exact.median_s / row.median_s:>6.2f} {row.agreement:>11.1%} {row.difference:>11.4f}"
        )
    chosen = best(rows)
    say(
        "in the YAML, the fastest that agrees with fp32: "
        f"worker: {{engine: {chosen.choice.engine}, precision: {chosen.precision}}}"
    )
