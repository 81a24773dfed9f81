"""Trains a checkpoint on a user's clips: `actionwatch train`."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint import CheckpointError, write_json
from model.data.clip_cache import ClipCache
from model.data.examples import Example, label_indices
from model.data.seen_data import SeenData, as_json
from model.data.splits import Splits
from model.evaluation.calibration import fit_temperature
from model.evaluation.inference import probabilities, view_logits
from model.evaluation.metrics import ClassificationReport
from model.render import render
from model.trained_model import TrainedModel, save
from model.training.distributed import DistributedContext, TrainingError
from model.training.finetune_init import check_trainable, freeze_except, new_head, with_input_shape
from model.training.fit import EpochMetrics, TrainCallbacks, TrainingData, fit
from model.training.output_dir import finalize, reserved
from model.training.prepare import prepare
from model.training.train_config import TrainConfig
from model.training.trainer import resolve_precision
from model.training.training_state import load_state

STATE = "training.pt"  # of an unfinished run
_CACHE = "clips"


@dataclass(frozen=True, slots=True)
class InitCheckpoint:
    """The checkpoint that training starts from."""

    model: TrainedModel
    name: str  # for people: the value of --init
    scratch: bool = False  # use only its architecture, none of its weights
    seen_data: SeenData = field(default_factory=SeenData)  # what its weights were trained on


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The result of a finished run."""

    model: TrainedModel
    history: list[EpochMetrics]
    checkpoint_epoch: int  # the epoch whose weights were saved, from 1
    report: ClassificationReport | None  # None without validation examples


def train(
    splits: Splits,
    out: Path,
    config: TrainConfig,
    init: InitCheckpoint,
    *,
    context: DistributedContext,
    cache: Path | None = None,
    callbacks: TrainCallbacks | None = None,
) -> TrainResult:
    """Train on examples, or resume an interrupted run in `out`; write the checkpoint.

    `out` gets the checkpoint as `save` writes it, a model card, `training.json` and plots. Decoded
    videos are stored in `cache`, or in `out` until the run is finished. Raises DataError,
    CheckpointError, and TrainingError, also while another run writes to `out`.
    """
    callbacks = callbacks or TrainCallbacks()
    # Check the configuration before creating a folder and before hours of decoding.
    context.per_rank_batch(config.batch_size)
    check_trainable(init.model)
    _check_unfreeze(config, init)
    base = with_input_shape(init.model, size=config.size, frames=config.frames, span_s=config.span)
    background = _background(config, base, {one.label for one in splits.train})
    if not background:
        callbacks.on_problem(
            "no label is background, so a run always reports one of the labels; give "
            "--background LABEL for the label that means no event"
        )
    config, init = config.model_copy(update={"background": background}), replace(init, model=base)
    state = out / STATE
    with reserved(out, context):
        fingerprint = _fingerprint(config, init, context)
        load_state(state, fingerprint)  # reject another run's state before decoding
        decoded = ClipCache(cache or out / _CACHE, base.spec, max_slowdown=config.speed_jitter)
        callbacks.on_decode_start(len(context.shard([*splits.train, *splits.val])))
        data, labels, problems = prepare(splits, decoded, context, callbacks.on_decoded)
        for problem in problems:
            callbacks.on_problem(problem)
        model = new_head(
            base,
            out.resolve().name,
            labels,
            background=background,
            drop_path=config.drop_path,
            scratch=init.scratch,
            seed=config.seed,
        )
        freeze_except(model.network, config.unfreeze)
        history, checkpoint_epoch = fit(
            model,
            data,
            config,
            state,
            fingerprint={**fingerprint, "data": _data_digest(data)},
            context=context,
            callbacks=callbacks,
        )

        def finish() -> tuple[float, ClassificationReport | None]:
            calibrated, report = calibrate(model, data)
            result = TrainResult(calibrated, history, checkpoint_epoch, report)
            _write(out, result, config, init, data)
            if cache is None:
                shutil.rmtree(out / _CACHE, ignore_errors=True)
            finalize(out)
            state.unlink(missing_ok=True)
            return calibrated.temperature, report

        temperature, report = context.run_on_main(finish)
    return TrainResult(replace(model, temperature=temperature), history, checkpoint_epoch, report)


def calibrate(
    model: TrainedModel, data: TrainingData
) -> tuple[TrainedModel, ClassificationReport | None]:
    """The model with a temperature fitted to the validation examples, and its report on them.

    The temperature is fitted to single windows, as a live run classifies them.
    """
    if not data.val:
        return model, None
    truth = label_indices(data.val, model.spec.labels)
    logits = view_logits(model, data.views())
    window_truth = np.repeat(truth, [len(one) for one in logits])
    temperature = fit_temperature(np.concatenate(logits), window_truth)
    report = ClassificationReport(model.spec.labels, truth, probabilities(logits, temperature))
    return replace(model, temperature=temperature), report


def _write(
    out: Path, result: TrainResult, config: TrainConfig, init: InitCheckpoint, data: TrainingData
) -> None:
    from model.evaluation.plots import confusion, curve  # matplotlib needs a second

    report, history = result.report, [asdict(metrics) for metrics in result.history]
    save(result.model, out)
    write_json(
        out / "training.json",
        {
            "config": config.model_dump(mode="json"),
            "init": init.name,
            "scratch": init.scratch,
            "clips": {"train": len(data.train), "val": len(data.val)},
            "checkpoint_epoch": result.checkpoint_epoch,
            # `evaluate` reads from it what was trained on, however much data is added later.
            "videos": as_json(
                {"train": data.train, "val": data.val},
                before=None if init.scratch else init.seen_data,
            ),
            "history": [_without_nan(metrics) for metrics in history],
            "val": report.as_dict() if report else None,
        },
    )
    try:
        card = render(
            "trained.md",
            result=result,
            config=config,
            init=init.name,
            train=Counter(one.label for one in data.train),
            val=Counter(one.label for one in data.val),
        )
        (out / "README.md").write_text(card, encoding="utf-8")
        (out / "curve.png").write_bytes(
            curve({key: [metrics[key] for metrics in history] for key in history[0]})
        )
        if report:
            (out / "confusion.png").write_bytes(confusion(report))
    except OSError as error:
        raise CheckpointError(f"{out} can't be written: {error}") from error


def _without_nan(metrics: dict[str, float]) -> dict[str, float | None]:
    """None in place of nan, which JSON does not have."""
    return {key: None if value != value else value for key, value in metrics.items()}


def _background(config: TrainConfig, model: TrainedModel, labels: set[str]) -> tuple[str, ...]:
    """The background labels: those of the config, else those of the initial model.

    Raises TrainingError for labels without clips, and if all labels are background.
    """
    if config.background is None:
        return tuple(sorted(model.spec.background & labels))
    known = f"the labels are {', '.join(sorted(labels))}"
    if unknown := set(config.background) - labels:
        raise TrainingError(
            f"background: no clips are labeled {', '.join(sorted(unknown))}; {known}"
        )
    if labels <= set(config.background):
        raise TrainingError(f"background: at least one label must not be background; {known}")
    return config.background


def _check_unfreeze(config: TrainConfig, init: InitCheckpoint) -> None:
    depth = init.model.network.config.num_hidden_layers
    if isinstance(config.unfreeze, int) and config.unfreeze > depth:
        raise TrainingError(f"unfreeze: {init.name} has {depth} layers, got {config.unfreeze}")
    if init.scratch and config.unfreeze != "all":
        raise TrainingError(f"unfreeze: training from scratch needs all, got {config.unfreeze}")


def _fingerprint(
    config: TrainConfig, init: InitCheckpoint, context: DistributedContext
) -> dict[str, Any]:
    """Everything that the result depends on, except for the data."""
    weights = hashlib.blake2b(digest_size=16)
    if not init.scratch:
        for value in init.model.network.timesformer.state_dict().values():
            weights.update(value.detach().cpu().numpy().tobytes())
    return {
        **config.model_dump(mode="json", exclude={"num_workers"}),
        "precision": resolve_precision(config, context.device),
        "number of processes": context.size,
        "init": repr(init.model.network.config) + weights.hexdigest(),
    }


def _data_digest(data: TrainingData) -> str:
    """A hash of the training and validation examples."""

    def described(examples: Sequence[Example]) -> list[tuple[object, ...]]:
        return [(str(one.path.resolve()), one.label, one.start_s, one.end_s) for one in examples]

    clips = repr([described(data.train), described(data.val)])
    return hashlib.blake2b(clips.encode(), digest_size=16).hexdigest()
