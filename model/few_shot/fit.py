"""Fit a new classifier on a frozen network to a few samples per label."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from model.data.examples import DataError, Example
from model.data.seen_data import SeenData
from model.data.splits import group_by_source
from model.evaluation.calibration import fit_temperature
from model.evaluation.inference import probabilities
from model.evaluation.metrics import ClassificationReport
from model.few_shot.embeddings import (
    EmbeddedSample,
    embed_samples,
    single_threaded,
    synthetic_tokens,
)
from model.few_shot.heads import (
    NO_GROUP,
    Head,
    Windows,
    cross_validate,
    logistic_regression,
    prototypes,
)
from model.trained_model import TrainedModel
from model.training.augment import mirrored_labels
from model.training.finetune_init import check_trainable, new_head

OTHER = "other"  # the label for everything that is none of the others
HEADS = ("prototypes", "linear")
STILLS, SYNTHETIC = "stills", "synthetic scenes"
# Fraction of a label's recall that must remain: a larger loss is not chance.
_MIN_RETAINED, _MIN_RETAINED_FLIPPED = 0.66, 0.7


@dataclass(frozen=True, slots=True, eq=False)
class FewShotModel:
    """A fitted model, with its cross-validated metrics."""

    model: TrainedModel
    report: ClassificationReport | None  # None where no label has samples of two sources
    head: str
    extras: tuple[str, ...]  # additional training data for "other"
    examples: tuple[Example, ...]  # the samples
    seen_data: SeenData  # what the network was trained on before
    init: str
    duration_s: float

    @property
    def samples_per_label(self) -> dict[str, int]:
        return dict(Counter(one.label for one in self.examples))


def fit_few_shot(
    init: TrainedModel,
    init_name: str,
    examples: Sequence[Example],
    *,
    head: str = "auto",
    name: str = "model",
    seen_data: SeenData | None = None,
    on_progress: Callable[[], None] = lambda: None,
    on_problem: Callable[[str], None] = lambda line: None,
) -> FewShotModel:
    """Fit a classifier to samples; all other layers are frozen.

    `head` is "prototypes", "linear" or "auto", which selects the better one by cross-validation.
    Samples of one source, and copies of them, are held out together. `seen_data` is the data that
    `init` was trained on. `on_progress` is called for each sample, `on_problem` for each sample
    that can't be decoded, and with warnings. Raises DataError for fewer than two labels,
    and TrainingError for a model that is no TimeSformer.
    """
    start = time.perf_counter()
    check_trainable(init)
    seen_data = seen_data or SeenData()
    if head not in (*HEADS, "auto"):
        raise DataError(f"--head {head}: must be auto, {' or '.join(HEADS)}")
    check_labels(examples)
    init.network.eval()
    with single_threaded():
        samples = tuple(
            embed_samples(init, examples, on_progress=on_progress, on_problem=on_problem)
        )
        check_labels([sample.example for sample in samples])
        sources, warnings = group_by_source(sample.example for sample in samples)
        warnings += _sample_warnings(samples, init, init_name, seen_data)
        groups = {one: group for group, source in enumerate(sources) for one in source}
        inputs = _Inputs(samples, groups, synthetic_tokens(init))
        training_set, more = _select_training_set(inputs)
        for warning in warnings + more:
            on_problem(warning)
        results = {
            one: training_set.cross_validate(one) for one in (HEADS if head == "auto" else (head,))
        }
        head = min(results, key=lambda one: results[one].rank)
        fitted = training_set.fit(head, training_set.windows)
    model = new_head(init, name, training_set.labels, background=training_set.background)
    with torch.no_grad():
        model.network.classifier.weight.copy_(torch.from_numpy(fitted.weight))
        model.network.classifier.bias.copy_(torch.from_numpy(fitted.bias))
    model.network.eval()
    return FewShotModel(
        replace(model, temperature=results[head].temperature),
        results[head].report,
        head,
        training_set.extras,
        tuple(sample.example for sample in samples),
        seen_data,
        init_name,
        time.perf_counter() - start,
    )


def check_labels(examples: Sequence[Example]) -> None:
    """Raise DataError for fewer than two labels, one of which may be "other"."""
    labels = sorted({one.label for one in examples})
    if not labels:
        raise DataError("no sample can be decoded; record new ones")
    if len(labels) == 1:
        missing = "of an action" if labels == [OTHER] else f"of {OTHER!r}, which is everything else"
        raise DataError(
            f"all samples have the label {labels[0]!r}; they are stored, add samples {missing}: "
            f"actionwatch teach {'LABEL' if labels == [OTHER] else OTHER} --source ..."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _CrossValidation:
    """Cross-validation results of one head."""

    report: ClassificationReport | None
    temperature: float

    @property
    def rank(self) -> tuple[float, float]:
        """Sort key; lower is better."""
        if self.report is None:
            return 0.0, 0.0
        return -self.report.mean_class_accuracy, self.report.log_loss


@dataclass(frozen=True, slots=True, eq=False)
class _TrainingSet:
    """Windows to fit heads to, and to validate them with."""

    labels: tuple[str, ...]
    extras: tuple[str, ...]
    flip: bool  # whether flipped samples are included
    windows: Windows
    originals: Windows  # of the samples, without flips and extras

    @property
    def background(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label == OTHER)

    def fit(self, head: str, windows: Windows, init: Head | None = None) -> Head:
        if head == "prototypes":
            return prototypes(windows, len(self.labels))
        return logistic_regression(windows, len(self.labels), init)

    def cross_validate(self, head: str) -> _CrossValidation:
        fitted = self.fit(head, self.windows)
        predictions = cross_validate(
            self.windows, self.originals, lambda fold: self.fit(head, fold, fitted)
        )
        labels = self._validation_labels()
        logits = {sample: values for sample, values in predictions if sample in labels}
        if not logits:
            return _CrossValidation(None, 1.0)
        truth = np.array([labels[sample] for sample in logits])
        window_truth = np.repeat(truth, [len(values) for values in logits.values()])
        temperature = fit_temperature(np.concatenate(list(logits.values())), window_truth)
        scores = probabilities(logits.values(), temperature)
        return _CrossValidation(ClassificationReport(self.labels, truth, scores), temperature)

    @property
    def single_source_labels(self) -> list[str]:
        """The labels with samples of only one source, which can't be held out."""
        validated, originals = set(self._validation_labels().values()), self.originals
        indices = (one for one in np.unique(originals.labels).tolist() if one not in validated)
        return [self.labels[one] for one in indices if self.labels[one] != OTHER]

    def recall(self) -> dict[str, float]:
        """Cross-validated recall per label, without "other".

        For a label with a single source it is the recall on the training samples.
        """
        report = self.cross_validate("linear").report
        validated = report.recall() if report else {}
        recall = {label: value for label, value in validated.items() if label != OTHER}
        if not (single_source := self.single_source_labels):
            return recall
        head, originals = self.fit("linear", self.windows), self.originals
        for label in single_source:
            index = self.labels.index(label)
            samples = np.unique(originals.samples[originals.labels == index]).tolist()
            logits = [head.logits(originals.features[originals.samples == one]) for one in samples]
            recall[label] = float((probabilities(logits).argmax(axis=1) == index).mean())
        return recall

    def _validation_labels(self) -> dict[int, int]:
        """Sample -> label, for the labels with samples of several sources."""
        originals = self.originals
        several = {
            label
            for label in np.unique(originals.labels).tolist()
            if len(np.unique(originals.groups[originals.labels == label])) > 1
        }
        pairs = zip(originals.samples.tolist(), originals.labels.tolist(), strict=True)
        return {sample: label for sample, label in pairs if label in several}


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """Embedded data from which training sets are built."""

    samples: tuple[EmbeddedSample, ...]
    groups: dict[Example, int]  # examples of one group are held out together
    synthetic: np.ndarray  # class tokens of synthetic scenes, float64 (N, hidden)


def _select_training_set(inputs: _Inputs) -> tuple[_TrainingSet, list[str]]:
    """Add flipped samples, and extras for "other", unless that lowers a label's recall.

    Also returns warnings for the user.

    Most actions look the same when flipped. Labels that are directions, in whatever words, swap:
    then flips make the predictions of many held-out samples wrong.

    Samples alone don't define "nothing". Fitted to 6 falls and 8 samples of people who sit, stand
    or walk, the embedded model classified every room without motion as a fall, and 69 % of the
    windows of other places. With stills of the samples and synthetic scenes as "other" these were
    1 % and 39 %, and the recall of held-out falls was 5 of 6 instead of 6. For fights, with 10
    samples per label, accuracy in other places stayed the same (63 % for both labels instead of
    62 %), and false alarms in windows of other cameras fell from 29 % to 20 %. But an action may
    itself be motionless, such as lying still.
    """
    best, warnings = _build_training_set(inputs, flip=False), list[str]()
    baseline = best.recall()
    if single_source := best.single_source_labels:
        warnings.append(
            f"samples of {', '.join(single_source)} have one source only: their accuracy can't be "
            "measured, and horizontal flips are off; add samples of another source"
        )
    else:
        flipped = _build_training_set(inputs, flip=True)
        if not _regressed_labels(flipped, baseline, _MIN_RETAINED_FLIPPED):
            best = flipped
    flip = best.flip
    for extras in ((STILLS, SYNTHETIC), (STILLS,), (SYNTHETIC,)):
        candidate = _build_training_set(inputs, extras, flip=flip)
        if not _regressed_labels(candidate, baseline, _MIN_RETAINED):
            best = candidate
            break
    if STILLS not in best.extras:
        with_stills = _build_training_set(inputs, (STILLS,), flip=flip)
        regressed = _regressed_labels(with_stills, baseline, _MIN_RETAINED)
        warnings.append(
            f"a scene without motion may be classified as {' or '.join(regressed)}: stills of the "
            f"samples look the same, so they are not added to {OTHER!r}"
        )
    return best, warnings


def _regressed_labels(
    training_set: _TrainingSet, baseline: dict[str, float], min_retained: float
) -> list[str]:
    """The labels whose recall falls below `min_retained` times the baseline."""
    recall = training_set.recall()
    return [label for label, value in baseline.items() if recall[label] < min_retained * value]


def _build_training_set(
    inputs: _Inputs, extras: tuple[str, ...] = (), *, flip: bool
) -> _TrainingSet:
    samples = inputs.samples
    labels = sorted({one.example.label for one in samples} | ({OTHER} if extras else set()))
    indices = {label: index for index, label in enumerate(labels)}
    flipped_labels = mirrored_labels(labels)
    # Stills weigh as much as the samples of "other", synthetic scenes half as much: samples show
    # the right people. With half of that, many still rooms were classified as falls.
    others = max(1, sum(one.example.label == OTHER for one in samples))
    originals: list[Windows] = []
    more: list[Windows] = []
    for number, sample in enumerate(samples):
        label, group = indices[sample.example.label], inputs.groups[sample.example]
        flipped_label = flipped_labels[label]
        originals.append(_windows(sample.windows, label, number, group))
        if flip and flipped_label is not None:
            more.append(_windows(sample.flipped, flipped_label, number, group))
        if STILLS in extras:
            still_number = len(samples) + number % others
            more.append(_windows(sample.stills, indices[OTHER], still_number, group))
    if SYNTHETIC in extras:
        numbers = 2 * len(samples) + np.arange(len(inputs.synthetic)) % max(1, others // 2)
        synthetic = _windows(inputs.synthetic, indices[OTHER], 0, NO_GROUP)
        more.append(replace(synthetic, samples=numbers))
    return _TrainingSet(
        tuple(labels), extras, flip, _concatenate([*originals, *more]), _concatenate(originals)
    )


def _sample_warnings(
    samples: Sequence[EmbeddedSample], init: TrainedModel, init_name: str, seen_data: SeenData
) -> list[str]:
    warnings, total = list[str](), len(samples)
    if short := sum(sample.is_short for sample in samples):
        warnings.append(
            f"{short} of {total} samples are shorter than the model's {init.spec.span_s:g} s and "
            "are padded with their last frame, which does not occur in live video; record longer "
            "ones"
        )
    if seen := sum(seen_data.was_trained_on(sample.example) for sample in samples):
        warnings.append(
            f"{seen} of {total} samples were already training data of {init_name}: "
            "the cross-validated metrics are too high"
        )
    return warnings


def _windows(features: np.ndarray, label: int, sample: int, group: int) -> Windows:
    return Windows(features, *(np.full(len(features), one) for one in (label, sample, group)))


def _concatenate(parts: Sequence[Windows]) -> Windows:
    fields = ("features", "labels", "samples", "groups")
    return Windows(*(np.concatenate([getattr(part, one) for part in parts]) for one in fields))
