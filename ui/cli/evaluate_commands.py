"""`actionwatch evaluate`: metrics of a model on labeled clips."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.runtime.errors import reason_of
from ui.cli.options import MODEL_HELP, AnnotatedVideos
from ui.cli.terminal import fail, prepare_torch, print_error, print_line, progress_bar

if TYPE_CHECKING:
    from model.data.examples import Example
    from model.evaluation.evaluate import Evaluation, Sample
    from model.trained_model import TrainedModel

_SPLITS = ("all", "train", "val", "test")
_SYNTHETIC = re.compile(r"synthetic:(\d+)")
_MAX_MISTAKES = 12  # in the report


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help=MODEL_HELP)],
    data: Annotated[
        str,
        typer.Argument(
            help="folder or annotation file of videos as for `train`, or synthetic:1000 for 1000 "
            "synthetic clips of the embedded model's classes"
        ),
    ],
    videos: AnnotatedVideos = None,
    split: Annotated[
        str,
        typer.Option(
            help="all, train, val or test: as `train` split the data for this checkpoint; for "
            "other clips the data's own split"
        ),
    ] = "all",
    views: Annotated[
        str | None, typer.Option(help="windows x crops of each clip, like 1x3; else all windows")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="file for a report with videos of the worst mistakes")
    ] = None,
    corruption: Annotated[
        str | None, typer.Option(help="corrupt the clips first: noise, blur, dark or jpeg")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=5, max=120, help="frame rate of synthetic clips")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of synthetic clips")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print the metrics as JSON")] = False,
) -> None:
    """Evaluate a model on labeled clips."""
    prepare_torch()
    from model.data.examples import read_data
    from model.evaluation.corruptions import CORRUPTIONS
    from model.evaluation.evaluate import evaluate as run_evaluation
    from model.evaluation.evaluate import video_samples
    from model.predictor import Predictor
    from model.pretraining.evaluate import synthetic_samples
    from model.trained_model import load

    if split not in _SPLITS:
        fail(f"--split {split}: must be one of {', '.join(_SPLITS)}")
    if corruption is not None and corruption not in CORRUPTIONS:
        fail(f"--corruption {corruption}: must be one of {', '.join(CORRUPTIONS)}")
    synthetic = _SYNTHETIC.fullmatch(data)
    if fps is not None and not synthetic:
        fail("--fps: only for synthetic clips (synthetic:1000); videos have a frame rate")
    windows, crops = _parse_views(views)
    if html is not None and not html.parent.is_dir():
        fail(f"--html {html}: no folder {html.parent}; create it, or give another file")
    model = load(checkpoint)
    predictor = Predictor(model)
    samples: Iterable[Sample]
    if synthetic:
        count = int(synthetic[1])
        samples = synthetic_samples(model, count, seed=seed, fps=fps)
    else:
        found = read_data(Path(data), videos=videos)
        for line in found.problems:
            print_error(line)
        examples = _select_split(found.examples, split, checkpoint)
        count = len(examples)
        samples = video_samples(
            examples, model.spec, windows=windows, crops=crops, on_problem=print_error
        )
    with progress_bar("clips", count) as bar:
        result = run_evaluation(
            predictor,
            model.spec.labels,
            samples,
            mistakes=_MAX_MISTAKES if html else 0,
            corruption=corruption,
            on_progress=bar.advance,
        )
    if as_json:
        options = {
            "checkpoint": checkpoint,
            "data": data,
            "split": split,
            "corruption": corruption,
            "fps": fps,
        }
        numbers = {
            **result.report.as_dict(),
            "windows": result.views,
            "window_ms": round(1000 * result.window_s, 3),
            "engine": result.engine,
        }
        print_line(json.dumps({**options, **numbers}, ensure_ascii=False))
    else:
        _print_report(result)
    if html:  # last: the metrics may have needed an hour
        facts = {"Checkpoint": checkpoint, "Data": data, "Split": split}
        if corruption:
            facts["Corruption"] = f"{corruption}; videos are shown without it"
        if fps:
            facts["Camera"] = f"{fps:g} frames/s"
        _write_report(html, facts, model, result)


def _parse_views(text: str | None) -> tuple[int | None, int]:
    """Windows and crops per clip; windows is None for all."""
    if text is None:
        return None, 1
    parts = re.fullmatch(r"([1-9]\d{0,2})x([13])", text)
    if not parts:
        fail(f"--views {text}: must be windows x crops, like 10x1 or 1x3; crops are 1 or 3")
    return int(parts[1]), int(parts[2])


def _select_split(examples: tuple[Example, ...], split: str, checkpoint: str) -> list[Example]:
    """The examples of a split. Raises DataError if the split is unknown or empty."""
    from model.data.examples import DataError
    from model.data.seen_data import TRAIN_SPLIT, read_seen_data
    from model.hub import find_checkpoint

    seen_data = read_seen_data(find_checkpoint(checkpoint, local_files_only=True))
    seen_splits = [seen_data.split_of(one) for one in examples]
    if split == "all":
        if trained := sum(its == "train" for its in seen_splits):
            print_error(
                f"{trained} of {len(examples)} clips were in the training set; see --split val"
            )
        return list(examples)
    splits = [its or one.split for one, its in zip(examples, seen_splits, strict=True)]
    if split == "test":  # it may have been used for validation
        splits = [
            "test" if (its, one.split) == ("val", "test") else its
            for one, its in zip(examples, splits, strict=True)
        ]
    if (
        split in ("val", "test")
        and set(seen_data.videos) == {TRAIN_SPLIT}
        and not set(splits) & {split}
    ):
        raise DataError(
            f"--split {split}: {checkpoint} is a few-shot model without held-out clips; its "
            "README.md has leave-one-out results"
        )
    if not any(splits):
        raise DataError(
            f"--split {split}: neither the data nor {checkpoint} define splits; omit --split, "
            "or give the data it was trained on"
        )
    selected = [one for one, its in zip(examples, splits, strict=True) if its == split]
    if not selected:
        raise DataError(
            f"--split {split}: no clips in this split; give the data {checkpoint} was trained on"
        )
    return selected


def _write_report(
    file: Path, facts: dict[str, str], model: TrainedModel, result: Evaluation
) -> None:
    from model.evaluation.html_report import render_report

    spec = model.spec
    title = f"{spec.model} on {facts['Data']}"
    facts = {
        **facts,
        "Clip": f"{spec.frames} frames of {spec.height} x {spec.width} over {spec.span_s:g} s",
        "Windows": f"{result.views:,}",
        "Speed": f"{1000 * result.window_s:.1f} ms per window ({result.engine})",
    }
    text = render_report(title, result.report, result.mistakes, facts=facts)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{file} can't be written: {reason_of(error)}")


def _print_report(result: Evaluation) -> None:
    report = result.report
    low, high = report.accuracy_interval
    print_line(f"{len(report.truth)} clips, {result.views} windows")
    for name, value in (
        ("top-1", report.top(1)),
        *([("top-5", report.top(5))] if len(report.labels) > 5 else []),
        ("mean class accuracy", report.mean_class_accuracy),
        ("macro F1", report.macro_f1),
        ("calibration error", report.calibration_error()),
    ):
        interval = f"  (95% interval {low:.0%} to {high:.0%})" if name == "top-1" else ""
        print_line(f"  {name:<26} {value:6.1%}{interval}")
    print_line("recall by label:")
    for label, recall in report.recall().items():
        print_line(f"  {label:<26} {recall:6.1%}")
    if mistakes := report.mistakes(6):
        print_line("most frequent confusions (truth -> prediction):")
        for truth, predicted, count in mistakes:
            print_line(f"  {truth} -> {predicted}: {count}")
    print_line(f"{1000 * result.window_s:.1f} ms per window ({result.engine})")
