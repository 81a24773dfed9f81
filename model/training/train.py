"""From a person's clips to a checkpoint: `actionwatch train`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import CheckpointError, write_json
from model.data.clip_cache import ClipCache
from model.data.seen_data import Record, as_json
from model.data.splits import Splits
from model.evaluation.calibration import fit_temperature
from model.evaluation.inference import probabilities, view_logits
from model.evaluation.metrics import Measured
from model.evaluation.plots import confusion, curve
from model.trained_model import TrainedModel, save
from model.training.dataset import Labelled
from model.training.distributed import Team
from model.training.finetune_init import beginning, free, with_clips
from model.training.fit import Epoch, LearningData, fit
from model.training.model_card import card
from model.training.output_dir import claim, held, release
from model.training.prepare import prepare
from model.training.train_config import Recipe
from model.training.trainer import Progress, precision
from model.training.training_state import read_run

STATE = "training.pt"  # of a run that is not finished
_CACHE = "clips"


@dataclass(frozen=True, slots=True)
class Start:
    """What training begins with."""

    model: TrainedModel
    name: str  # for people: what --init said
    scratch: bool = False  # only its shape, none of its weights
    record: Record = field(default_factory=Record)  # what its weights have learnt from


@dataclass(frozen=True, slots=True)
class Told:
    """Whom a run tells how it goes."""

    decoding: Callable[[int], None] = lambda films: None  # so many will be decoded
    decoded: Callable[[], None] = lambda: None  # one more, from any thread
    problem: Callable[[str], None] = lambda line: None
    resumed: Callable[[int], None] = lambda epochs: None  # so many are done already
    step: Callable[[Progress], None] = lambda state: None
    epoch: Callable[[Epoch], None] = lambda epoch: None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    model: TrainedModel
    history: list[Epoch]
    kept: int  # which epoch's weights, from 1
    measured: Measured | None  # where there are examples for validation


def train(
    splits: Splits,
    out: Path,
    recipe: Recipe,
    start: Start,
    *,
    team: Team,
    cache: Path | None = None,
    told: Told | None = None,
) -> Result:
    """Train on examples, or go on where a run into `out` was broken off; write the checkpoint.

    `out` has it as `save` writes it, with a model card, `training.json` and pictures. Decoded
    films are kept in `cache`, or else in `out` until the run is finished. Raises DataError, and
    CheckpointError, also while another run writes to `out`.
    """
    told = told or Told()
    # What can't be is told before a folder is made, and before hours of decoding.
    team.part(recipe.batch)
    _check_layers(recipe, start)
    init = with_clips(start.model, size=recipe.size, frames=recipe.frames, span_s=recipe.span)
    background = _background(recipe, init, {one.label for one in splits.train})
    if not background:
        told.problem(
            "no label is background, so a watch will see one of them at any time; give "
            "--background LABEL for what is nothing to report"
        )
    recipe = recipe.model_copy(update={"background": background})
    claim(out)
    with ExitStack() as stack:
        team.led(lambda: stack.enter_context(held(out)))
        return _train(splits, out, recipe, replace(start, model=init), team, cache, told)


def _train(
    splits: Splits,
    out: Path,
    recipe: Recipe,
    start: Start,
    team: Team,
    cache: Path | None,
    told: Told,
) -> Result:
    state, init = out / STATE, start.model
    decoded = ClipCache(cache or out / _CACHE, init.spec, slowest=recipe.speed)
    belongs = _belongs(recipe, start, team)
    read_run(state, belongs)  # what is another's is told before all is decoded
    told.decoding(len(team.share([*splits.train, *splits.val])))
    data, labels, problems = prepare(splits, decoded, team, told.decoded)
    for problem in problems:
        told.problem(problem)
    model = beginning(
        init,
        out.resolve().name,
        labels,
        background=recipe.background or (),
        drop_path=recipe.drop_path,
        scratch=start.scratch,
        seed=recipe.seed,
    )
    free(model.network, recipe.layers)
    history, kept = fit(
        model,
        data,
        recipe,
        state,
        belongs={**belongs, "data": _digest(data)},
        team=team,
        resumed=told.resumed,
        progress=told.step,
        after=told.epoch,
    )

    def finish() -> tuple[float, Measured | None]:
        finished, measured = measure(model, data)
        _write(out, finished, history, kept, measured, recipe, start, data)
        if cache is None:
            shutil.rmtree(out / _CACHE, ignore_errors=True)
        release(out)
        state.unlink(missing_ok=True)
        return finished.temperature, measured

    temperature, measured = team.led(finish)
    return Result(replace(model, temperature=temperature), history, kept, measured)


def measure(model: TrainedModel, data: LearningData) -> tuple[TrainedModel, Measured | None]:
    """The model with a temperature fitted to the examples for validation, and what it says of them.

    The temperature is that of single windows, for these are what a watch sees.
    """
    if not data.val:
        return model, None
    truth = np.array([one.label for one in data.val])
    logits = view_logits(model, data.views())
    windows = np.repeat(truth, [len(one) for one in logits])
    temperature = fit_temperature(np.concatenate(logits), windows)
    answers = probabilities(logits, temperature)
    return replace(model, temperature=temperature), Measured(model.spec.labels, truth, answers)


def _write(
    out: Path,
    model: TrainedModel,
    history: list[Epoch],
    kept: int,
    measured: Measured | None,
    recipe: Recipe,
    start: Start,
    data: LearningData,
) -> None:
    save(model, out)
    numbers = measured.numbers() if measured else None
    write_json(
        out / "training.json",
        {
            "recipe": recipe.model_dump(mode="json"),
            "init": start.name,
            "scratch": start.scratch,
            "clips": {"train": len(data.train), "val": len(data.val)},
            "kept_epoch": kept,
            # By these `evaluate` knows later what was learnt from, however much was added since.
            "films": as_json(
                {
                    "train": [one.example for one in data.train],
                    "val": [one.example for one in data.val],
                },
                before=None if start.scratch else start.record,
            ),
            "history": [_plain(asdict(epoch)) for epoch in history],
            "val": numbers,
        },
    )
    try:
        (out / "README.md").write_text(
            card(model, history, measured, recipe, start.name, data), encoding="utf-8"
        )
        columns = {key: [asdict(one)[key] for one in history] for key in asdict(history[0])}
        (out / "curve.png").write_bytes(curve(columns))
        if measured:
            (out / "confusion.png").write_bytes(confusion(measured))
    except OSError as error:
        raise CheckpointError(f"{out} can't be written: {error}") from error


def _plain(epoch: dict[str, float]) -> dict[str, float | None]:
    """Without nan, which JSON does not know."""
    return {key: None if value != value else value for key, value in epoch.items()}


def _background(recipe: Recipe, init: TrainedModel, labels: set[str]) -> tuple[str, ...]:
    """Which labels mean that nothing happens: as the recipe has it, or what training begins with.

    Raises CheckpointError where that can't be.
    """
    if recipe.background is None:
        return tuple(sorted(init.spec.background & labels))
    there_are = f"the labels are {', '.join(sorted(labels))}"
    if unknown := set(recipe.background) - labels:
        raise CheckpointError(
            f"background: no clips are labelled {', '.join(sorted(unknown))}; {there_are}"
        )
    if labels <= set(recipe.background):
        raise CheckpointError(f"background: something must be to report; {there_are}")
    return recipe.background


def _check_layers(recipe: Recipe, start: Start) -> None:
    depth = start.model.network.config.num_hidden_layers
    if isinstance(recipe.layers, int) and recipe.layers > depth:
        raise CheckpointError(f"layers: {start.name} has {depth}, got {recipe.layers}")
    if start.scratch and recipe.layers != "all":
        raise CheckpointError(
            f"layers: {recipe.layers} of a network that has learnt nothing yet are too few; from "
            "scratch all must learn"
        )


def _belongs(recipe: Recipe, start: Start, team: Team) -> dict[str, Any]:
    """Everything that the result depends on, but for the data."""
    weights = hashlib.blake2b(digest_size=16)
    if not start.scratch:
        for value in start.model.network.timesformer.state_dict().values():
            weights.update(value.detach().cpu().numpy().tobytes())
    return {
        **recipe.model_dump(mode="json", exclude={"workers"}),
        "precision": precision(recipe, team.device),
        "number of processes": team.size,
        "init": repr(start.model.network.config) + weights.hexdigest(),
    }


def _digest(data: LearningData) -> str:
    """Digits that change with what is learnt from, or measured on."""

    def described(examples: Sequence[Labelled]) -> list[tuple[object, ...]]:
        plain = (one.example for one in examples)
        return [(str(one.path.resolve()), one.label, one.start_s, one.end_s) for one in plain]

    clips = repr([described(data.train), described(data.val)])
    return hashlib.blake2b(clips.encode(), digest_size=16).hexdigest()
