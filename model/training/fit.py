"""A training run: epochs, validation, the state saved after each epoch, and resuming."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from model.data.clip_cache import ClipCache
from model.data.examples import Example, label_indices
from model.evaluation.inference import probabilities, view_logits
from model.evaluation.metrics import ClassificationReport
from model.families.timesformer.network import TimesformerForVideoClassification
from model.trained_model import TrainedModel
from model.training.distributed import DistributedContext, TrainingError
from model.training.train_config import TrainConfig
from model.training.trainer import Progress, Trainer
from model.training.training_state import load_state, save_state


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Examples for training and validation whose videos can be decoded."""

    train: Sequence[Example]
    val: Sequence[Example]
    cache: ClipCache

    def views(self, context: DistributedContext | None = None) -> Iterator[np.ndarray]:
        """The views of each `val` example, or of this rank's shard: uint8 RGB (V, T, H, W, 3)."""
        val = context.shard(self.val) if context else self.val
        return map(self.cache.views, val)


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """Losses and accuracies of an epoch; the `val` values are nan without validation examples."""

    epoch: int  # from 1
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float  # mean of the per-label accuracies
    duration_s: float
    data_wait: float  # fraction of the training time spent waiting for clips


@dataclass(frozen=True, slots=True)
class TrainCallbacks:
    """Called as the run proceeds."""

    on_decode_start: Callable[[int], None] = lambda examples: None  # number to decode
    on_decoded: Callable[[], None] = lambda: None  # one more, from any thread
    on_problem: Callable[[str], None] = lambda line: None
    on_resume: Callable[[int], None] = lambda epochs: None  # number of finished epochs
    on_step: Callable[[Progress], None] = lambda progress: None
    on_epoch: Callable[[EpochMetrics], None] = lambda metrics: None


@dataclass
class _RunState:
    history: list[EpochMetrics] = field(default_factory=list)
    best: int = -1  # index in history
    weights: dict[str, Tensor] = field(default_factory=dict)  # EMA weights after the best epoch


def fit(
    model: TrainedModel,
    data: TrainingData,
    config: TrainConfig,
    file: Path,
    *,
    fingerprint: Mapping[str, Any],
    context: DistributedContext,
    callbacks: TrainCallbacks,
) -> tuple[list[EpochMetrics], int]:
    """Train the model's network, or resume the interrupted run saved in `file`.

    Returns the metrics of all epochs, and the epoch, from 1, whose EMA weights the network then
    has: the one with the highest balanced accuracy and, among equals, the lowest loss; the last
    one if the config says so or without `val`. `fingerprint` holds everything that the result
    depends on, by name. Raises CheckpointError if `file` belongs to another run or can't be
    written, and TrainingError if the network diverges.
    """
    trainer = Trainer(model, data.train, data.cache, config, context)
    state = _resume(file, fingerprint, trainer)
    if state.history:
        callbacks.on_resume(len(state.history))
    while len(state.history) < config.epochs and not _is_stale(state, config):
        index = len(state.history)
        started = time.perf_counter()
        loss, data_wait = trainer.train_epoch(index, callbacks.on_step)
        report = _validate(trainer, data, context) if data.val else None
        metrics = EpochMetrics(
            epoch=index + 1,
            train_loss=loss,
            val_loss=report.log_loss if report else math.nan,
            val_accuracy=report.top(1) if report else math.nan,
            val_balanced_accuracy=report.mean_class_accuracy if report else math.nan,
            duration_s=time.perf_counter() - started,
            data_wait=data_wait,
        )
        if config.checkpoint == "last" or _is_best(metrics, state):
            state.best = index
            averages = trainer.ema.module.state_dict()
            state.weights = {key: value.cpu().clone() for key, value in averages.items()}
        state.history.append(metrics)
        context.run_on_main(lambda: _save(file, fingerprint, trainer, state))
        callbacks.on_epoch(metrics)
    model.network.load_state_dict(state.weights)
    model.network.eval()
    return state.history, state.best + 1


def _is_best(metrics: EpochMetrics, state: _RunState) -> bool:
    if state.best < 0 or math.isnan(metrics.val_loss):
        return True
    best = state.history[state.best]
    return (metrics.val_balanced_accuracy, -metrics.val_loss) > (
        best.val_balanced_accuracy,
        -best.val_loss,
    )


def _is_stale(state: _RunState, config: TrainConfig) -> bool:
    return len(state.history) - 1 - state.best >= config.patience


def _validate(
    trainer: Trainer, data: TrainingData, context: DistributedContext
) -> ClassificationReport:
    """Evaluate the EMA weights on the validation examples, sharded over the ranks."""
    network = cast(TimesformerForVideoClassification, trainer.ema.module)
    model = replace(trainer.model, network=network)
    logits = context.all_gather(view_logits(model, data.views(context)))
    truth = label_indices(data.val, model.spec.labels)
    if not all(np.isfinite(one).all() for one in logits):
        raise TrainingError("the logits became NaN/inf; use a lower learning rate")
    return ClassificationReport(model.spec.labels, truth, probabilities(logits))


def _save(file: Path, fingerprint: Mapping[str, Any], trainer: Trainer, state: _RunState) -> None:
    saved = {
        "network": trainer.network.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "ema": trainer.ema.module.state_dict(),
        "ema_steps": int(trainer.ema.n_averaged) - 1,
        "history": [asdict(one) for one in state.history],
        "best": state.best,
        "weights": state.weights,
    }
    save_state(file, fingerprint, saved)


def _resume(file: Path, fingerprint: Mapping[str, Any], trainer: Trainer) -> _RunState:
    saved = load_state(file, fingerprint)
    if saved is None:
        return _RunState()
    trainer.network.load_state_dict(saved["network"])
    trainer.optimizer.load_state_dict(saved["optimizer"])
    trainer.ema.module.load_state_dict(saved["ema"])
    trainer.ema.n_averaged.fill_(saved["ema_steps"] + 1)
    return _RunState(
        [EpochMetrics(**one) for one in saved["history"]], saved["best"], saved["weights"]
    )
