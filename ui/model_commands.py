"""The commands about models: train, evaluate, classify, convert."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.terminal import complain, give_up, progress_bar, say, show_notes, silence_decoders

if TYPE_CHECKING:
    import numpy as np

    from model.evaluate import Report
    from model.predictor import Predictor
    from model.trained import TrainedModel
    from stream.messages import ClipSpec
    from stream.sampling import FileClips

train_app = typer.Typer(help="Train a model.", no_args_is_help=True)

_CARD_CLIPS = 1000
_BATCH = 4  # clips at once, for memory's sake
_MODEL_HELP = "embedded name, checkpoint folder, or Hugging Face name"


@train_app.command("motion")
def train_motion(
    out: Annotated[
        Path, typer.Option(help="folder of the checkpoint; a broken-off run goes on")
    ] = Path("motion"),
    clips: Annotated[int, typer.Option(min=2, help="how many clips to learn from")] = 260_000,
    seed: Annotated[int, typer.Option(min=0, help="of the clips and the first weights")] = 0,
) -> None:
    """Train the embedded motion model on drawn clips."""
    from model.card import motion_card
    from model.checkpoint import CheckpointError
    from model.train import Progress as State
    from model.train import Recipe, finish
    from model.train import train_motion as train
    from model.trained import load

    with progress_bar("clips", clips) as (bar, task):

        def show(state: State) -> None:
            bar.update(
                task,
                completed=state.clips,
                state=f"loss {state.loss:.3f}  accuracy {state.accuracy:.3f}  "
                f"difficulty {state.difficulty:.2f}",
            )

        recipe = Recipe(clips=clips, seed=seed)
        try:
            train(out, recipe, progress=show)
        except (CheckpointError, OSError) as error:
            give_up(str(error))
    report = _evaluated(load(out), _CARD_CLIPS, seed=0)  # as it was written, not as it was trained
    card = motion_card(out.name, recipe, report, eval_seed=0)
    (out / "README.md").write_text(card, encoding="utf-8")
    finish(out)
    typer.echo(f"wrote {out}: top-1 {report.top1:.1%} on {_CARD_CLIPS} held-out clips")


def evaluate(
    model: Annotated[str, typer.Option(help=_MODEL_HELP)] = "motion",
    clips: Annotated[int, typer.Option(min=1, help="how many held-out clips to draw")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="of the clips")] = 0,
) -> None:
    """Measure a motion model on held-out drawn clips at full difficulty."""
    from model.checkpoint import CheckpointError
    from model.trained import load

    show_notes()
    try:
        report = _evaluated(load(model), clips, seed=seed)
    except CheckpointError as error:
        give_up(str(error))
    typer.echo(f"top-1 {report.top1:.1%} on {clips} held-out clips at full difficulty, seed {seed}")
    for label, share in report.recall().items():
        typer.echo(f"  {label:<26} {share:.1%}")
    typer.echo("commonest mistakes (truth -> answer):")
    for truth, answer, count in report.mistakes(6):
        typer.echo(f"  {truth} -> {answer}: {count}")


def _evaluated(model: TrainedModel, clips: int, *, seed: int) -> Report:
    from model.evaluate import evaluate_motion

    with progress_bar("clips", clips) as (bar, task):
        return evaluate_motion(
            model, clips=clips, seed=seed, progress=lambda done: bar.advance(task, done)
        )


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
    from model.trained import load
    from stream.credentials import shown
    from stream.decoding import SourceError
    from stream.messages import FITS, top_labels
    from stream.sampling import FileClips

    if fit is not None and fit not in FITS:
        give_up(f"--fit {fit}: must be one of {', '.join(FITS)}")
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
    from model.convert import convert as converted
    from model.convert import read_labels
    from model.trained import save

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
    from model.dataset import held_out
    from model.trained import load

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
