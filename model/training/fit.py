"""A training run: epoch after epoch, what is kept after each, and going on after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from model.checkpoint import CheckpointError
from model.data.clip_cache import ClipCache
from model.evaluation.inference import probabilities, view_logits
from model.evaluation.metrics import Measured
from model.trained_model import TrainedModel
from model.training.dataset import Labelled
from model.training.distributed import Team
from model.training.train_config import Recipe
from model.training.trainer import Learner, Progress
from model.training.training_state import read_run, write_run


@dataclass(frozen=True, slots=True)
class LearningData:
    """Examples to learn from and to measure on, whose films can be decoded."""

    train: Sequence[Labelled]
    val: Sequence[Labelled]
    cache: ClipCache

    def views(self, team: Team | None = None) -> Iterator[np.ndarray]:
        """Of each example of `val`, or of a process's share: uint8 RGB (V, T, H, W, 3)."""
        val = team.share(self.val) if team else self.val
        return (self.cache.views(one.example) for one in val)


@dataclass(frozen=True, slots=True)
class Epoch:
    """How an epoch went. What is measured on `val` is nan where there is none."""

    epoch: int  # from 1
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_balanced: float  # mean of the labels' accuracies
    seconds: float
    waiting: float  # share of the training time in which clips were waited for


@dataclass
class _State:
    history: list[Epoch] = field(default_factory=list)
    best: int = -1  # which of them
    weights: dict[str, Tensor] = field(default_factory=dict)  # averaged, after the best epoch


def fit(
    model: TrainedModel,
    data: LearningData,
    recipe: Recipe,
    file: Path,
    *,
    belongs: Mapping[str, Any],
    team: Team,
    resumed: Callable[[int], None] = lambda epochs: None,
    progress: Callable[[Progress], None] = lambda state: None,
    after: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[list[Epoch], int]:
    """Train the model's network, or go on where a run into `file` was broken off.

    Returns the epochs, and which of them was kept, from 1. The network has its averaged weights
    afterwards: those with the highest mean accuracy of labels, and of these with the lowest loss;
    the last ones if the recipe says so, or without `val`. `belongs` is what the result depends on,
    by name. Raises CheckpointError where `file` is another's, or can't be written, and where the
    network diverges.
    """
    learner = Learner(model, data.train, data.cache, recipe, team)
    state = _resume(file, belongs, learner)
    if state.history:
        resumed(len(state.history))
    while len(state.history) < recipe.epochs and not _is_stale(state, recipe):
        number = len(state.history)
        began = time.perf_counter()
        loss, waiting = learner.learn(number, progress)
        measured = _measure(learner, data, team) if data.val else None
        epoch = Epoch(
            epoch=number + 1,
            train_loss=loss,
            val_loss=measured.log_loss if measured else math.nan,
            val_accuracy=measured.top(1) if measured else math.nan,
            val_balanced=measured.mean_class_accuracy if measured else math.nan,
            seconds=time.perf_counter() - began,
            waiting=waiting,
        )
        if recipe.keep == "last" or _is_best(epoch, state):
            state.best = number
            state.weights = learner.averaged.copy()
        state.history.append(epoch)
        team.led(lambda: _keep(file, belongs, learner, state))
        after(epoch)
    model.network.load_state_dict(state.weights)
    model.network.eval()
    return state.history, state.best + 1


def _is_best(epoch: Epoch, state: _State) -> bool:
    if state.best < 0 or math.isnan(epoch.val_loss):
        return True
    before = state.history[state.best]
    return (epoch.val_balanced, -epoch.val_loss) > (before.val_balanced, -before.val_loss)


def _is_stale(state: _State, recipe: Recipe) -> bool:
    return len(state.history) - 1 - state.best >= recipe.patience


def _measure(learner: Learner, data: LearningData, team: Team) -> Measured:
    """The averaged weights on the examples for validation, of which each process looks at some."""
    own = {key: value.clone() for key, value in learner.network.state_dict().items()}
    learner.network.load_state_dict(learner.averaged.weights)
    try:
        logits = team.together(view_logits(learner.model, data.views(team)))
    finally:
        learner.network.load_state_dict(own)
    truth = np.array([one.label for one in data.val])
    if not all(np.isfinite(one).all() for one in logits):
        raise CheckpointError("the network answers with what is no number; take a lower rate")
    return Measured(learner.model.spec.labels, truth, probabilities(logits))


def _keep(file: Path, belongs: Mapping[str, Any], learner: Learner, state: _State) -> None:
    kept = {
        "network": learner.network.state_dict(),
        "optimiser": learner.optimiser.state_dict(),
        "averaged": learner.averaged.weights,
        "steps": learner.averaged.steps,
        "history": [asdict(one) for one in state.history],
        "best": state.best,
        "weights": state.weights,
    }
    write_run(file, belongs, kept)


def _resume(file: Path, belongs: Mapping[str, Any], learner: Learner) -> _State:
    kept = read_run(file, belongs)
    if kept is None:
        return _State()
    learner.network.load_state_dict(kept["network"])
    learner.optimiser.load_state_dict(kept["optimiser"])
    learner.averaged.load(kept["averaged"], kept["steps"])
    return _State([Epoch(**one) for one in kept["history"]], kept["best"], kept["weights"])
