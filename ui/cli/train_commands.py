"""Commands that train models: train, train-motion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.runtime.errors import UserError
from ui.cli.options import AnnotatedVideos, CheckpointOut, given
from ui.cli.terminal import (
    USAGE_ERROR,
    ProgressBar,
    fail,
    prepare_torch,
    print_error,
    print_line,
    progress_bar,
)

if TYPE_CHECKING:
    from model.training.distributed import DistributedContext
    from model.training.fit import EpochMetrics, TrainCallbacks
    from model.training.tensorboard import TensorBoardLogger
    from model.training.train import TrainResult
    from model.training.trainer import Progress

_INTERRUPTED = 130  # exit code, as of shells


def train(
    data: Annotated[
        Path, typer.Argument(help="folder with a folder of videos per label, or an annotation file")
    ],
    out: CheckpointOut,
    init: Annotated[
        str, typer.Option(help="initial checkpoint: embedded name, folder, or Hugging Face name")
    ] = "motion",
    scratch: Annotated[
        bool, typer.Option("--scratch", help="use only the architecture of --init, not its weights")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with training settings, see docs/training.md")
    ] = None,
    videos: AnnotatedVideos = None,
    unfreeze: Annotated[
        str | None, typer.Option(help="layers to train: all, head, or a number of last layers")
    ] = None,
    background: Annotated[
        list[str] | None, typer.Option(help="a label that never becomes an event; repeatable")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="maximum number of epochs")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="random seed")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="folder for decoded videos, reused by later runs")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="folder for TensorBoard; needs the extra tensorboard")
    ] = None,
) -> None:
    """Train a model on your own clips; see docs/training.md."""
    prepare_torch()
    from model.data.examples import read_data
    from model.data.seen_data import SeenData, read_seen_data
    from model.data.splits import split
    from model.hub import find_checkpoint
    from model.trained_model import load
    from model.training.distributed import init_distributed
    from model.training.fit import TrainCallbacks
    from model.training.tensorboard import TensorBoardLogger
    from model.training.train import InitCheckpoint
    from model.training.train import train as run_training
    from model.training.train_config import TrainConfig
    from stream.config.load import parse, read_text

    flags = given(
        unfreeze=_parse_unfreeze(unfreeze),
        background=tuple(background) if background else None,
        epochs=epochs,
        seed=seed,
    )
    train_config = parse(TrainConfig, read_text(config) if config else "", config, flags)
    model = load(init)
    found = read_data(data, videos=videos)
    record = SeenData() if scratch else read_seen_data(find_checkpoint(init))
    splits = split(
        found.examples,
        val_fraction=train_config.val_fraction,
        seed=train_config.seed,
        was_trained_on=record.was_trained_on,
    )
    checkpoint = InitCheckpoint(
        model, f"the architecture of {init}" if scratch else init, scratch, record
    )
    with init_distributed() as context:
        if context.is_main:
            for line in (*found.problems, *splits.notes):
                print_error(line)
        with _report_errors(context), ExitStack() as stack:
            callbacks = TrainCallbacks()
            if context.is_main:  # only the main process prints
                bar = stack.enter_context(progress_bar("", 1))
                tensorboard_logger = stack.enter_context(closing(TensorBoardLogger(tensorboard)))
                callbacks = _callbacks(bar, tensorboard_logger, train_config.epochs)
            result = run_training(
                splits,
                out,
                train_config,
                checkpoint,
                context=context,
                cache=cache,
                callbacks=callbacks,
            )
        if context.is_main:
            _print_result(out, result, train_config.checkpoint)


def train_motion(
    out: CheckpointOut = Path("my-motion"),
    clips: Annotated[int, typer.Option(min=2, help="number of training clips")] = 260_000,
    seed: Annotated[
        int, typer.Option(min=0, help="random seed of the clips and the initial weights")
    ] = 0,
    init: Annotated[
        str, typer.Option(help="embedded name or folder of a motion model to continue from")
    ] = "",
) -> None:
    """Train the embedded motion model on synthetic clips."""
    from stream.runtime.processes import limit_openmp_spin

    limit_openmp_spin()
    from model.pretraining.config import PretrainConfig
    from model.pretraining.evaluate import HELD_OUT, finalize_checkpoint
    from model.pretraining.train import Progress as PretrainProgress
    from model.pretraining.train import train_motion as run_pretraining
    from model.training.distributed import init_distributed

    config = PretrainConfig(clips=clips, seed=seed, init=init)
    with init_distributed() as context, _report_errors(context):
        with progress_bar("clips", clips, visible=context.is_main) as bar:

            def show(state: PretrainProgress) -> None:
                bar.update(
                    completed=state.clips,
                    state=f"loss {state.loss:.3f}  accuracy {state.accuracy:.3f}  "
                    f"difficulty {state.difficulty:.2f}",
                )

            run_pretraining(out, config, context=context, on_progress=show)
        if context.is_main:
            with progress_bar("clips", HELD_OUT) as bar:
                measured = finalize_checkpoint(out, config, on_progress=bar.advance)
            print_line(f"wrote {out}: top-1 {measured.top(1):.1%} on {HELD_OUT} held-out clips")


@contextmanager
def _report_errors(context: DistributedContext) -> Iterator[None]:
    """Report errors and Ctrl+C of a run in one line, from the main process only."""
    try:
        yield
        return
    except (UserError, OSError) as error:
        reason, code = str(error), USAGE_ERROR
    except KeyboardInterrupt:
        reason = "stopped; run the same command again to resume from the last saved state"
        code = _INTERRUPTED
    if context.is_main:
        print_error(reason)
    raise typer.Exit(code)


def _parse_unfreeze(text: str | None) -> str | int | None:
    if text is not None and text.isascii() and text.isdigit() and int(text):
        return int(text)
    if text not in (None, "all", "head"):
        fail(f"--unfreeze {text}: must be all, head, or a number of last layers")
    return text


def _callbacks(
    bar: ProgressBar, tensorboard_logger: TensorBoardLogger, epochs: int
) -> TrainCallbacks:
    """Callbacks that update the progress bar, print epochs, and log to TensorBoard."""
    from model.training.fit import TrainCallbacks

    def on_decode_start(examples: int) -> None:
        bar.update(total=examples, state="videos decoded")

    def on_step(progress: Progress) -> None:
        bar.update(
            total=epochs,
            completed=progress.epoch - 1 + progress.step / progress.steps,
            state=f"epochs  loss {progress.loss:.3f}",
        )

    def on_epoch(metrics: EpochMetrics) -> None:
        val = f"  val {metrics.val_balanced_accuracy:6.1%}  loss {metrics.val_loss:.3f}"
        print_line(
            f"epoch {metrics.epoch:>3}  loss {metrics.train_loss:.3f}"
            + (val if metrics.val_loss == metrics.val_loss else "")
            + f"  {metrics.duration_s:.1f} s, {metrics.data_wait:.0%} waiting for clips"
        )
        tensorboard_logger.write(metrics)

    return TrainCallbacks(
        on_resume=lambda epochs: print_line(f"resumed after epoch {epochs}"),
        on_decode_start=on_decode_start,
        on_decoded=bar.advance,
        on_problem=print_error,
        on_step=on_step,
        on_epoch=on_epoch,
    )


def _print_result(out: Path, result: TrainResult, selection: str) -> None:
    report = result.report
    if report is None:
        print_line(f"wrote {out}, not evaluated: no source could be held out")
        return
    clips = len(report.truth)
    low, high = report.accuracy_interval
    bias = "; optimistic: these clips also selected the epoch" if selection == "best" else ""
    print_line(
        f"wrote {out}, the weights after epoch {result.checkpoint_epoch}: top-1 "
        f"{report.top(1):.1%} on {clips} held-out clips (95% interval {low:.0%} to {high:.0%}"
        f"{bias}), mean class accuracy {report.mean_class_accuracy:.1%}; "
        f"actionwatch run --model {out}"
    )
