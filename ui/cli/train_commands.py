"""The commands that train models: train, train-motion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.cli.terminal import complain, give_up, progress_bar, say, silence_decoders

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from model.training.distributed import Team
    from model.training.fit import Epoch
    from model.training.tensorboard import Board
    from model.training.train import Result, Told
    from model.training.trainer import Progress

_MISTAKE, _STOPPED = 2, 130  # exit codes; 130 is that of Ctrl+C in a shell


def train(
    data: Annotated[
        Path,
        typer.Argument(help="folder with a folder of films for each label, or a list of films"),
    ],
    out: Annotated[Path, typer.Option(help="folder of the checkpoint; a broken-off run goes on")],
    init: Annotated[
        str, typer.Option(help="what to begin with: embedded name, folder, or Hugging Face name")
    ] = "motion",
    scratch: Annotated[
        bool, typer.Option("--scratch", help="of --init take the shape only, not its weights")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of a recipe, see docs/training.md")
    ] = None,
    films: Annotated[
        Path | None, typer.Option(help="folder of the films of a list, else the list's own")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="all, head, or how many layers at the end may learn")
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(help="a label that means that nothing happens, for no event; repeatable"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="at most so many")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of all that is drawn by lot")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="folder for decoded films, kept for the next run")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="folder for TensorBoard; needs the extra tensorboard")
    ] = None,
) -> None:
    """Train a model on your own clips; see docs/training.md."""
    silence_decoders()
    from stream.runtime.logging_setup import show_notes

    show_notes()
    from stream.runtime.thread_limits import spin_briefly

    spin_briefly()
    from model.checkpoint import CheckpointError
    from model.data.examples import DataError, read_data
    from model.data.seen_data import Record, read_record
    from model.data.splits import split
    from model.hub import find
    from model.trained_model import load
    from model.training.distributed import team
    from model.training.tensorboard import board
    from model.training.train import Start, Told
    from model.training.train import train as trained_on
    from model.training.train_config import Recipe
    from stream.config.load import ConfigError, parse, read_text

    flags = {
        "layers": _layers(layers),
        "background": tuple(background) if background else None,
        "epochs": epochs,
        "seed": seed,
    }
    try:
        recipe = parse(
            Recipe,
            read_text(config) if config else "",
            config,
            {key: value for key, value in flags.items() if value is not None},
        )
        model = load(init)
        found = read_data(data, films=films)
        record = Record() if scratch else read_record(find(init))
        splits = split(
            found.examples, share=recipe.val_share, seed=recipe.seed, learnt=record.learnt
        )
    except (ConfigError, CheckpointError, DataError) as error:
        give_up(str(error))
    start = Start(model, f"The shape of {init}" if scratch else init, scratch, record)
    with team() as own:
        if own.leads:
            for line in (*found.problems, *splits.notes):
                complain(line)
        with _says_why_it_ends(own), ExitStack() as shown:
            told = Told()
            if own.leads:  # one of them speaks
                bar, task = shown.enter_context(progress_bar("", 1))
                numbers = shown.enter_context(board(tensorboard))
                told = _told(bar, task, numbers, recipe.epochs)
            result = trained_on(splits, out, recipe, start, team=own, cache=cache, told=told)
        if own.leads:
            _say_result(out, result, recipe.keep)


def train_motion(
    out: Annotated[
        Path, typer.Option(help="folder of the checkpoint; a broken-off run goes on")
    ] = Path("my-motion"),
    clips: Annotated[int, typer.Option(min=2, help="how many clips to learn from")] = 260_000,
    seed: Annotated[int, typer.Option(min=0, help="of the clips and the first weights")] = 0,
    init: Annotated[
        str, typer.Option(help="embedded name or folder of a motion model to make better")
    ] = "",
) -> None:
    """Train the embedded motion model on drawn clips."""
    from stream.runtime.thread_limits import spin_briefly

    spin_briefly()
    from model.pretraining.config import Recipe
    from model.pretraining.finalize import HELD_OUT, complete
    from model.pretraining.train import Progress as State
    from model.pretraining.train import train_motion as trained_on
    from model.training.distributed import team

    recipe = Recipe(clips=clips, seed=seed, init=init)
    with team() as own, _says_why_it_ends(own):
        with ExitStack() as shown:
            bar, task = None, None
            if own.leads:  # one of them speaks
                bar, task = shown.enter_context(progress_bar("clips", clips))

            def show(state: State) -> None:
                if bar is not None and task is not None:
                    bar.update(
                        task,
                        completed=state.clips,
                        state=f"loss {state.loss:.3f}  accuracy {state.accuracy:.3f}  "
                        f"difficulty {state.difficulty:.2f}",
                    )

            trained_on(out, recipe, team=own, progress=show)
        if own.leads:
            with progress_bar("clips", HELD_OUT) as (bar, task):
                measured = complete(out, recipe, progress=lambda: bar.advance(task, 1))
            say(f"wrote {out}: top-1 {measured.top(1):.1%} on {HELD_OUT} held-out clips")


@contextmanager
def _says_why_it_ends(own: Team) -> Iterator[None]:
    """What goes wrong in a run, and Ctrl+C, in one line: of the processes of a team one says it."""
    from model.checkpoint import CheckpointError
    from model.data.examples import DataError
    from stream.sources.opencv_capture import SourceError

    try:
        yield
        return
    except (CheckpointError, DataError, SourceError, OSError) as error:
        reason, code = str(error), _MISTAKE
    except KeyboardInterrupt:
        reason, code = "stopped; the same command goes on after what was kept last", _STOPPED
    if own.leads:
        complain(reason)
    raise typer.Exit(code)


def _layers(text: str | None) -> str | int | None:
    if text is not None and text.isascii() and text.isdigit() and int(text):
        return int(text)
    if text not in (None, "all", "head"):
        give_up(f"--layers {text}: must be all, head, or how many layers at the end")
    return text


def _told(bar: Bar, task: TaskID, numbers: Board, epochs: int) -> Told:
    """What a run tells: on the bar, line by line for each epoch, and to TensorBoard."""
    from model.training.train import Told

    def decoding(films: int) -> None:
        bar.update(task, total=films, state="films decoded")

    def step(state: Progress) -> None:
        bar.update(
            task,
            total=epochs,
            completed=state.epoch - 1 + state.step / state.steps,
            state=f"epochs  loss {state.loss:.3f}",
        )

    def epoch(state: Epoch) -> None:
        val = f"  val {state.val_balanced:6.1%}  loss {state.val_loss:.3f}"
        say(
            f"epoch {state.epoch:>3}  loss {state.train_loss:.3f}"
            + (val if state.val_loss == state.val_loss else "")
            + f"  {state.seconds:.1f} s, {state.waiting:.0%} of it waiting for clips"
        )
        numbers.write(state)

    return Told(
        resumed=lambda epochs: say(f"goes on after epoch {epochs}"),
        decoding=decoding,
        decoded=lambda: bar.advance(task, 1),
        problem=complain,
        step=step,
        epoch=epoch,
    )


def _say_result(out: Path, result: Result, keep: str) -> None:
    measured = result.measured
    if measured is None:
        say(f"wrote {out}, measured on nothing: no source could be kept aside")
        return
    clips, right = len(measured.truth), measured.top(1)
    low, high = measured.likely
    chosen = "; rather less, as these chose the epoch, too" if keep == "best" else ""
    say(
        f"wrote {out}, the weights after epoch {result.kept}: of {clips} clips kept aside "
        f"{right:.1%} right (likely {low:.0%} to {high:.0%} of others{chosen}), mean of the labels "
        f"{measured.mean_class_accuracy:.1%}; actionwatch run --model {out}"
    )
