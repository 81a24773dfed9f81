"""`actionwatch teach`: a few takes of an action, and a model that knows it."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ui.cli.terminal import (
    complain,
    give_up,
    progress_bar,
    say,
    silence_decoders,
    stop_at_signals,
)

if TYPE_CHECKING:
    from model.few_shot.fit import Taught
    from model.trained_model import TrainedModel
    from stream.datasets.recorder import Told

_FEW = 5  # takes of a label


def teach(
    label: Annotated[str, typer.Argument(help="what is taught, or other: what is none of it")],
    source: Annotated[
        list[str],
        typer.Option(
            help="webcam index or address to record takes from, or a film or folder of films, each "
            "of them a take; repeatable"
        ),
    ],
    into: Annotated[Path, typer.Option(help="folder of all takes, and of the model in it")] = Path(
        "my-actions"
    ),
    takes: Annotated[int, typer.Option(min=1, max=50, help="how many are recorded")] = 8,
    init: Annotated[
        str, typer.Option(help="what sees: embedded name, folder, or Hugging Face name")
    ] = "motion",
    head: Annotated[
        str, typer.Option(help="prototypes, linear, or auto: whichever knows left-out takes better")
    ] = "auto",
    pause: Annotated[float, typer.Option(min=0, help="seconds before each take")] = 2.0,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=60, help="length of a take, else the model's span and one more"),
    ] = None,
) -> None:
    """Teach a model an action with a few takes; see docs/training.md."""
    silence_decoders()
    from model.checkpoint import CheckpointError
    from model.data.annotation_rows import label_of
    from model.data.examples import DataError, read_data
    from model.data.seen_data import read_record
    from model.few_shot.fit import HEADS, OTHER, check_labels
    from model.few_shot.fit import teach as taught_with
    from model.few_shot.result import check_place, write
    from model.hub import find
    from model.trained_model import load
    from stream.datasets.recorder import TakesError

    try:
        label = OTHER if label.strip().casefold() == OTHER else label_of(label)
    except ValueError as error:
        give_up(str(error))
    if head not in (*HEADS, "auto"):
        give_up(f"--head {head}: must be auto, {' or '.join(HEADS)}")
    sources = _sources(source)
    try:
        check_place(into / "model")  # before anybody waves
        model = load(init)
        folder = into / "takes"
        length_s = seconds or model.spec.span_s + 1.0
        _gather(sources, folder, label, _Recording(takes, length_s, pause))
        data = read_data(folder)
        for line in data.problems:
            complain(line)
        try:
            check_labels(data.examples)
        except DataError as error:  # the takes are kept until there are others
            say(f"nothing is fitted yet: {error}")
            return
        if OTHER not in {one.label for one in data.examples}:
            say(
                f"there are no takes of what is nothing to report; `actionwatch teach {OTHER} "
                "--source FOLDER` with films of it makes false alarms rarer"
            )
        with progress_bar("takes", len(data.examples)) as (bar, task):
            taught = taught_with(
                model,
                init,
                data.examples,
                head=head,
                name="model",
                record=read_record(find(init)),
                progress=lambda: bar.advance(task, 1),
                problem=complain,
            )
        write(taught, into / "model")
    except (CheckpointError, DataError, TakesError) as error:
        give_up(str(error))
    _say(taught, into / "model", model)


@dataclass(frozen=True, slots=True)
class _Recording:
    """How takes are recorded."""

    takes: int
    seconds: float
    pause_s: float


def _sources(given: list[str]) -> list[int | Path | str]:
    """What each source means: a Path for films, else a camera. Gives up for what is neither."""
    from stream.sources.base import check_source, is_finite
    from stream.sources.opencv_capture import SourceError

    meant: list[int | Path | str] = []
    for text in given:
        # On the command line everything is text; digits alone mean a webcam.
        one = int(text) if text.isascii() and text.isdigit() else text
        if isinstance(one, str) and Path(one).is_dir():
            meant.append(Path(one))
            continue
        try:
            check_source(one)
        except SourceError as error:
            give_up(str(error))
        meant.append(Path(one) if isinstance(one, str) and is_finite(one) else one)
    return meant


def _gather(
    sources: list[int | Path | str], folder: Path, label: str, recording: _Recording
) -> None:
    """Bring takes of a label into the folder, from a camera of "other", too, where it lacks some.

    Raises TakesError.
    """
    from model.few_shot.fit import OTHER
    from stream.datasets.recorder import add_films, count_takes

    for source in sources:
        if isinstance(source, Path):
            films, problems = _films(source)
            new, more = add_films(folder, label, films)
            for line in (*problems, *more):
                complain(line)
            known = len(films) - len(more) - new
            takes = f"{new} new take{'s' * (new != 1)} of {label}"
            say(f"{source}: {takes}" + (f", {known} known" if known else ""))
            continue
        plan = [(label, recording.takes)]
        there = count_takes(folder, label) + recording.takes
        lacking = min(there - count_takes(folder, OTHER), recording.takes)
        if label != OTHER and lacking > 0:
            plan.append((OTHER, lacking))
        _record(source, folder, plan, recording)


def _films(source: Path) -> tuple[list[Path], tuple[str, ...]]:
    from model.data.video_files import SUFFIXES, look_through

    if source.is_dir():
        found = look_through(source)
        if not found.films:
            give_up(f"{source} holds no films; give a folder of takes, or one film")
        return [source / film for film in found.films], found.problems
    if source.suffix.lower() not in SUFFIXES:
        give_up(f"{source}: films have names that end in .mp4, .mkv or such; rename it")
    return [source], ()


def _record(
    source: int | str, folder: Path, plan: list[tuple[str, int]], recording: _Recording
) -> None:
    """Record takes from a camera; ends the command where it goes away, or at Ctrl+C.

    `plan` has labels, each with how many. Raises TakesError.
    """
    from stream.datasets.recorder import count_takes, record
    from stream.runtime.secrets import shown
    from stream.sources.base import open_source
    from stream.sources.opencv_capture import SourceError

    before = sum(count_takes(folder, label) for label, _ in plan)
    reason = f"source {shown(source)}: stopped"
    try:
        with _signals() as stop, closing(open_source(source)) as opened:
            for number, (label, count) in enumerate(plan):
                if stop.is_set():
                    break
                if number:
                    say(
                        f"now anything else than {plan[0][0]}, each time something new: stand "
                        "still, walk about, scratch your head"
                    )
                record(
                    opened,
                    folder,
                    label,
                    count,
                    seconds=recording.seconds,
                    pause_s=recording.pause_s,
                    stop=stop,
                    told=_told(label, count, recording.seconds),
                )
            if not stop.is_set():
                return
    except SourceError as error:
        reason = str(error)
        if sum(count_takes(folder, label) for label, _ in plan) == before:
            give_up(reason)  # it was never there
    kept = sum(count_takes(folder, label) for label, _ in plan) - before
    wanted = sum(count for _, count in plan)
    _break_off(f"{reason}; {kept} of {wanted} takes were recorded, and are kept")


def _break_off(reason: str) -> NoReturn:
    complain(reason)
    raise typer.Exit(1)


def _told(label: str, count: int, seconds: float) -> Told:
    """Counts down, a line for each second."""
    from stream.datasets.recorder import Told

    last = (0, 0)

    def pausing(take: int, left_s: float) -> None:
        nonlocal last
        now = (take, max(1, math.ceil(left_s - 0.01)))
        if now != last:
            say(f"{label}, take {take} of {count}: in {now[1]} s")
        last = now

    def refused(take: int, why: str) -> None:
        complain(f"take {take} is recorded again: {why}")

    return Told(
        pausing=pausing,
        recording=lambda take: say(f"{label}, take {take} of {count}: now, for {seconds:.1f} s"),
        refused=refused,
        kept=lambda take: say(f"{label}, take {take} of {count}: kept"),
    )


@contextmanager
def _signals() -> Iterator[Event]:
    """Set by Ctrl+C meanwhile; afterwards that ends the command as ever."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    try:
        yield stop_at_signals()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(taught: Taught, folder: Path, init: TrainedModel) -> None:
    from model.few_shot.result import worth

    measured = taught.measured
    if measured is None:
        say("no label has several takes: nothing could be measured")
    else:
        say("right, each take judged by what was learnt from the others:")
        recall = measured.recall()
        for label, count in sorted(taught.takes.items()):
            share = f"{recall[label]:6.1%} of {count} takes" if label in recall else "not measured"
            say(f"  {label:<26} {share}")
        if set(recall) == set(taught.takes):
            say(f"  {'mean of the labels':<26} {measured.mean_class_accuracy:6.1%}")
        if poor := [label for label, share in recall.items() if share <= 1 / len(measured.labels)]:
            complain(
                f"{', '.join(poor)}: known no better than by guessing; give more or longer takes, "
                "or teach what looks more different"
            )
    fewest = min(taught.takes.values())
    say(
        f"with {fewest} take{'s' * (fewest != 1)} of a label a figure is worth ±{worth(taught):.0%}"
    )
    if fewest < _FEW:
        few = ", ".join(one for one, count in sorted(taught.takes.items()) if count < _FEW)
        complain(f"fewer than {_FEW} takes are hardly enough ({few}); record more of them")
    say(
        f"wrote {folder}: {taught.head} on {init.spec.model}, in {taught.seconds:.0f} s; "
        f"actionwatch run --model {folder}"
    )
