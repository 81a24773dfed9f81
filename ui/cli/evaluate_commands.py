"""`actionwatch evaluate`: how good a model is on labelled clips."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ui.cli.terminal import complain, give_up, progress_bar, say, silence_decoders

if TYPE_CHECKING:
    from model.data.examples import Example
    from model.evaluation.evaluate import Evaluation, Sample
    from model.trained_model import TrainedModel

_SPLITS = ("all", "train", "val", "test")
_DRAWN = re.compile(r"drawn:(\d+)")
_SHOWN = 12  # mistakes on the page


def evaluate(
    checkpoint: Annotated[
        str, typer.Argument(help="embedded name, checkpoint folder, or Hugging Face name")
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="folder or list of films as `train` takes, or drawn:1000 for as many drawn "
            "clips, which the embedded model knows"
        ),
    ],
    films: Annotated[
        Path | None, typer.Option(help="folder of the films of a list, else the list's own")
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="all, train, val or test: as `train` parted them for this checkpoint, clips new "
            "to it as the data say"
        ),
    ] = "all",
    views: Annotated[
        str | None,
        typer.Option(help="windows x crops of each clip, like 1x3; else as many windows as it has"),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="file for a report with the worst mistakes as films")
    ] = None,
    corruption: Annotated[
        str | None, typer.Option(help="spoil the clips first: noise, blur, dark or jpeg")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=5, max=120, help="of the camera of drawn clips, else any")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of drawn clips")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print the numbers as JSON")] = False,
) -> None:
    """Measure a model on labelled clips."""
    silence_decoders()
    from stream.runtime.logging_setup import show_notes

    show_notes()
    from stream.runtime.thread_limits import spin_briefly

    spin_briefly()
    from model.checkpoint import CheckpointError
    from model.data.examples import DataError, read_data
    from model.evaluation.corruptions import CORRUPTIONS
    from model.evaluation.evaluate import evaluate as evaluated
    from model.evaluation.evaluate import film_samples
    from model.predictor import Predictor
    from model.pretraining.evaluate import drawn_samples
    from model.trained_model import load

    if split not in _SPLITS:
        give_up(f"--split {split}: must be one of {', '.join(_SPLITS)}")
    if corruption is not None and corruption not in CORRUPTIONS:
        give_up(f"--corruption {corruption}: must be one of {', '.join(CORRUPTIONS)}")
    drawn = _DRAWN.fullmatch(data)
    if fps is not None and not drawn:
        give_up("--fps: films have an fps of their own; it is for drawn clips, like drawn:1000")
    windows, places = _views(views)
    if html is not None and not html.parent.is_dir():
        give_up(f"--html {html}: there is no folder {html.parent}; make it, or give another file")
    try:
        model = load(checkpoint)
        predictor = Predictor(model)
        samples: Iterable[Sample]
        if drawn:
            count = int(drawn[1])
            samples = drawn_samples(model, count, seed=seed, fps=fps)
        else:
            found = read_data(Path(data), films=films)
            for line in found.problems:
                complain(line)
            examples = _of_split(found.examples, split, checkpoint)
            count = len(examples)
            samples = film_samples(
                examples, model.spec, windows=windows, places=places, problem=complain
            )
        with progress_bar("clips", count) as (bar, task):
            result = evaluated(
                predictor,
                model.spec.labels,
                samples,
                mistakes=_SHOWN if html else 0,
                corruption=corruption,
                progress=lambda: bar.advance(task, 1),
            )
    except (CheckpointError, DataError) as error:
        give_up(str(error))
    if as_json:
        asked = {
            "checkpoint": checkpoint,
            "data": data,
            "split": split,
            "corruption": corruption,
            "fps": fps,
        }
        say(json.dumps({**asked, **_numbers(result)}, ensure_ascii=False))
    else:
        _say(result)
    if html:  # last, for the numbers may have taken an hour
        facts = {"Checkpoint": checkpoint, "Data": data, "Split": split}
        if corruption:
            facts["Spoilt by"] = f"{corruption}; films are shown as they were before"
        if fps:
            facts["Camera"] = f"{fps:g} frames a second"
        _write_page(html, facts, model, result)


def _views(text: str | None) -> tuple[int | None, int]:
    """Windows and crops of a clip; windows None for as many as it has."""
    if text is None:
        return None, 1
    parts = re.fullmatch(r"([1-9]\d{0,2})x([13])", text)
    if not parts:
        give_up(f"--views {text}: must be windows x crops, like 10x1 or 1x3; crops are 1 or 3")
    return int(parts[1]), int(parts[2])


def _of_split(examples: tuple[Example, ...], split: str, checkpoint: str) -> list[Example]:
    """The examples of a split. Raises DataError where nothing says which they are."""
    from model.data.examples import DataError
    from model.data.seen_data import LEARNT, read_record
    from model.hub import find

    record = read_record(find(checkpoint, local_files_only=True))
    held = [record.split_of(one) for one in examples]
    if split == "all":
        if learnt := sum(its == "train" for its in held):
            complain(f"of {len(examples)} clips {learnt} were learnt from; see --split val")
        return list(examples)
    splits = [its or one.split for one, its in zip(examples, held, strict=True)]
    if split == "test":  # it may have stood in for the validation
        splits = [
            "test" if (its, one.split) == ("val", "test") else its
            for one, its in zip(examples, splits, strict=True)
        ]
    if split in ("val", "test") and set(record.films) == {LEARNT} and not set(splits) & {split}:
        raise DataError(
            f"--split {split}: {checkpoint} kept nothing aside; it was taught, and what is known "
            "of left-out takes is in its README.md"
        )
    if not any(splits):
        raise DataError(
            f"--split {split}: neither the data nor {checkpoint} say what is whose; leave --split "
            "out, or give what it was trained on"
        )
    chosen = [one for one, its in zip(examples, splits, strict=True) if its == split]
    if not chosen:
        raise DataError(f"--split {split}: no clip is of it; give what {checkpoint} was trained on")
    return chosen


def _write_page(file: Path, facts: dict[str, str], model: TrainedModel, result: Evaluation) -> None:
    from model.evaluation.html_report import page

    spec = model.spec
    title = f"{spec.model} on {facts['Data']}"
    facts = {
        **facts,
        "Clip": f"{spec.frames} frames of {spec.height} x {spec.width} over {spec.span_s:g} s",
        "Windows": f"{result.views:,}",
        "Speed": f"{1000 * result.window_s:.1f} ms a window ({result.engine})",
    }
    text = page(title, result.measured, result.mistakes, facts=facts)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        give_up(f"{file} can't be written: {error.strerror or error}")


def _numbers(result: Evaluation) -> dict[str, Any]:
    return {
        **result.measured.numbers(),
        "windows": result.views,
        "window_ms": round(1000 * result.window_s, 3),
        "engine": result.engine,
    }


def _say(result: Evaluation) -> None:
    measured = result.measured
    low, high = measured.likely
    say(f"{len(measured.truth)} clips, {result.views} windows")
    for name, value in (
        ("top-1", measured.top(1)),
        *([("top-5", measured.top(5))] if len(measured.labels) > 5 else []),
        ("mean of the labels", measured.mean_class_accuracy),
        ("macro F1", measured.macro_f1),
        ("calibration error", measured.calibration_error()),
    ):
        told = f"  likely {low:.0%} to {high:.0%} of others" if name == "top-1" else ""
        say(f"  {name:<26} {value:6.1%}{told}")
    say("right, by label:")
    for label, share in measured.recall().items():
        say(f"  {label:<26} {share:6.1%}")
    if mistakes := measured.mistakes(6):
        say("commonest mistakes (truth -> answer):")
        for truth, answer, count in mistakes:
            say(f"  {truth} -> {answer}: {count}")
    say(f"{1000 * result.window_s:.1f} ms a window by itself ({result.engine})")
