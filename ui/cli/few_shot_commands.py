"""`actionwatch teach`: records samples of an action and fits a few-shot model."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.options import source_spec
from ui.cli.terminal import count, fail, print_error, print_line, progress_bar, stop_at_signals

if TYPE_CHECKING:
    from model.few_shot.fit import FewShotModel
    from model.trained_model import TrainedModel
    from stream.datasets.recorder import RecordingListener

_FEW = 5  # samples of a label


def teach(
    label: Annotated[str, typer.Argument(help="label of the action, or other")],
    source: Annotated[
        list[str],
        typer.Option(
            help="webcam index or address to record samples from, or a video or folder of videos, "
            "one sample each; repeatable"
        ),
    ],
    project: Annotated[Path, typer.Option(help="folder of the samples and the model")] = Path(
        "my-actions"
    ),
    samples: Annotated[int, typer.Option(min=1, max=50, help="how many are recorded")] = 8,
    init: Annotated[
        str, typer.Option(help="feature extractor: embedded name, folder, or Hugging Face name")
    ] = "motion",
    head: Annotated[
        str, typer.Option(help="prototypes, linear, or auto: the better one in leave-one-out tests")
    ] = "auto",
    countdown: Annotated[float, typer.Option(min=0, help="seconds before each sample")] = 2.0,
    duration: Annotated[
        float | None,
        typer.Option(min=0.1, max=60, help="seconds per sample, else the model's span plus 1"),
    ] = None,
) -> None:
    """Teach a model an action with a few samples; see docs/training.md."""
    from model.data.annotation_rows import normalize_label
    from model.data.examples import DataError, read_data
    from model.data.seen_data import read_seen_data
    from model.few_shot.fit import HEADS, OTHER, check_labels, fit_few_shot
    from model.few_shot.result import check_output_dir, write_model
    from model.hub import find_checkpoint
    from model.trained_model import load
    from model.training.finetune_init import check_trainable

    try:
        label = OTHER if label.strip().casefold() == OTHER else normalize_label(label)
    except ValueError as error:
        fail(str(error))
    if head not in (*HEADS, "auto"):
        fail(f"--head {head}: must be auto, {' or '.join(HEADS)}")
    sources = _parse_sources(source)
    check_output_dir(project / "model")  # before samples are recorded
    model = load(init)
    check_trainable(model)
    folder = project / "samples"
    duration_s = duration or model.spec.span_s + 1.0
    _gather(sources, folder, label, _Recording(samples, duration_s, countdown))
    data = read_data(folder)
    for line in data.problems:
        print_error(line)
    try:
        check_labels(data.examples)
    except DataError as error:  # the samples stay; more are needed
        print_line(f"no model was fitted yet: {error}")
        return
    if OTHER not in {one.label for one in data.examples}:
        print_line(
            f"there are no negative samples; `actionwatch teach {OTHER} --source FOLDER` with "
            "videos of anything else reduces false alarms"
        )
    with progress_bar("samples", len(data.examples)) as bar:
        fitted = fit_few_shot(
            model,
            init,
            data.examples,
            head=head,
            name="model",
            seen_data=read_seen_data(find_checkpoint(init)),
            on_progress=bar.advance,
            on_problem=print_error,
        )
    write_model(fitted, project / "model")
    _print_result(fitted, project / "model", model)


@dataclass(frozen=True, slots=True)
class _Recording:
    """How samples are recorded."""

    samples: int
    duration_s: float
    countdown_s: float


def _parse_sources(given: list[str]) -> list[int | Path | str]:
    """A Path for each video file or folder, else a camera. Raises SourceError."""
    from stream.sources.base import check_source, source_type

    parsed: list[int | Path | str] = []
    for text in given:
        one = source_spec(text)
        if isinstance(one, str) and Path(one).is_dir():
            parsed.append(Path(one))
            continue
        check_source(one)
        parsed.append(Path(text) if source_type(one) == "video_file" else one)
    return parsed


def _gather(
    sources: list[int | Path | str], folder: Path, label: str, recording: _Recording
) -> None:
    """Add samples of a label to the folder; from a camera also the missing ones of "other".

    Raises SampleError.
    """
    from model.few_shot.fit import OTHER
    from stream.datasets.recorder import add_videos, count_samples

    for source in sources:
        if isinstance(source, Path):
            videos, problems = _find_videos(source)
            new, more = add_videos(folder, label, videos)
            for line in (*problems, *more):
                print_error(line)
            known = len(videos) - len(more) - new
            added = f"{count(new, 'new sample')} of {label}"
            print_line(f"{source}: {added}" + (f", {known} known" if known else ""))
            continue
        plan = [(label, recording.samples)]
        total = count_samples(folder, label) + recording.samples
        missing = min(total - count_samples(folder, OTHER), recording.samples)
        if label != OTHER and missing > 0:
            plan.append((OTHER, missing))
        _record(source, folder, plan, recording)


def _find_videos(source: Path) -> tuple[list[Path], tuple[str, ...]]:
    from model.data.video_files import SUFFIXES, find_videos

    if source.is_dir():
        found = find_videos(source)
        if not found.videos:
            fail(f"{source} has no videos; give a folder of samples, or one video")
        return [source / video for video in found.videos], found.problems
    if source.suffix.lower() not in SUFFIXES:
        fail(f"{source}: videos need a suffix like .mp4 or .mkv; rename it")
    return [source], ()


def _record(
    source: int | str, folder: Path, plan: list[tuple[str, int]], recording: _Recording
) -> None:
    """Record samples from a camera; exits if it disconnects, or at Ctrl+C.

    `plan` has labels with their counts. Raises SampleError.
    """
    from stream.datasets.recorder import count_samples, record_samples
    from stream.runtime.secrets import redact
    from stream.sources.base import SourceError, open_source

    before = sum(count_samples(folder, label) for label, _ in plan)
    reason = f"source {redact(source)}: stopped"
    try:
        with stop_at_signals() as stop, closing(open_source(source)) as opened:
            for number, (label, samples) in enumerate(plan):
                if stop.is_set():
                    break
                if number:
                    print_line(
                        f"now do anything but {plan[0][0]}, each time something else: stand "
                        "still, walk about, scratch your head"
                    )
                record_samples(
                    opened,
                    folder,
                    label,
                    samples,
                    duration_s=recording.duration_s,
                    countdown_s=recording.countdown_s,
                    stop=stop,
                    listener=_progress(label, samples, recording.duration_s),
                )
            if not stop.is_set():
                return
    except SourceError as error:
        reason = str(error)
        if sum(count_samples(folder, label) for label, _ in plan) == before:
            fail(reason)  # it never connected
    recorded = sum(count_samples(folder, label) for label, _ in plan) - before
    planned = sum(samples for _, samples in plan)
    fail(f"{reason}; {recorded} of {planned} samples were recorded and saved", code=1)


def _progress(label: str, samples: int, duration_s: float) -> RecordingListener:
    """Prints a countdown, one line per second."""
    from stream.datasets.recorder import RecordingListener

    class Progress(RecordingListener):
        last = (0, 0)

        def on_countdown(self, sample: int, left_s: float) -> None:
            now = (sample, max(1, math.ceil(left_s - 0.01)))
            if now != self.last:
                self._print(sample, f"in {now[1]} s")
            self.last = now

        def on_recording(self, sample: int) -> None:
            self._print(sample, f"now, for {duration_s:.1f} s")

        def on_rejected(self, sample: int, reason: str) -> None:
            print_error(f"sample {sample} is recorded again: {reason}")

        def on_saved(self, sample: int) -> None:
            self._print(sample, "saved")

        def _print(self, sample: int, text: str) -> None:
            print_line(f"{label}, sample {sample} of {samples}: {text}")

    return Progress()


def _print_result(fitted: FewShotModel, folder: Path, init: TrainedModel) -> None:
    from model.few_shot.result import standard_error

    report = fitted.report
    if report is None:
        print_line("no label has several samples: no evaluation")
    else:
        print_line("leave-one-out recall:")
        recall = report.recall()
        for label, samples in sorted(fitted.samples_per_label.items()):
            result = (
                f"{recall[label]:6.1%} of {samples} samples" if label in recall else "not measured"
            )
            print_line(f"  {label:<26} {result}")
        if set(recall) == set(fitted.samples_per_label):
            print_line(f"  {'mean class accuracy':<26} {report.mean_class_accuracy:6.1%}")
        if poor := [label for label, value in recall.items() if value <= 1 / len(report.labels)]:
            print_error(
                f"{', '.join(poor)}: no better than chance; record more or longer samples, "
                "or choose actions that look more different"
            )
    fewest = min(fitted.samples_per_label.values())
    print_line(
        f"with {count(fewest, 'sample')} of a label the standard error is "
        f"±{standard_error(fitted):.0%}"
    )
    if fewest < _FEW:
        few = ", ".join(
            one for one, samples in sorted(fitted.samples_per_label.items()) if samples < _FEW
        )
        print_error(f"fewer than {_FEW} samples are hardly enough ({few}); record more")
    print_line(
        f"wrote {folder}: {fitted.head} on {init.spec.model}, in {fitted.duration_s:.0f} s; "
        f"actionwatch run --model {folder}"
    )
