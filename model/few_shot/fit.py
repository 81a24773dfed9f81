"""A new classifier on a frozen network, learnt from a few takes of each label."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from model.data.examples import DataError, Example
from model.data.seen_data import Record
from model.data.splits import related
from model.evaluation.calibration import fit_temperature
from model.evaluation.inference import probabilities
from model.evaluation.metrics import Measured
from model.few_shot.embeddings import Shot, drawn_tokens, one_thread, read_shots
from model.few_shot.heads import NO_GROUP, Head, Windows, left_out, linear, prototypes
from model.trained_model import TrainedModel
from model.training.augment import mirrored
from model.training.finetune_init import beginning

OTHER = "other"  # what is none of the labels
HEADS = ("prototypes", "linear")
STILLS, DRAWN = "stills", "drawn scenes"
# Of the takes that a label has right: fewer are a sign, and no accident.
_SPARED, _SPARED_IN_MIRROR = 0.66, 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """A model that was taught, and how well it knows takes that it was not taught with."""

    model: TrainedModel
    measured: Measured | None  # None where no label has takes of two sources
    head: str
    extras: tuple[str, ...]  # what it was shown besides takes, to know what is nothing
    examples: tuple[Example, ...]  # the takes
    record: Record  # what the network has learnt from before
    init: str
    seconds: float

    @property
    def takes(self) -> dict[str, int]:
        """How many of each label."""
        return dict(Counter(one.label for one in self.examples))


def teach(
    init: TrainedModel,
    init_name: str,
    examples: Sequence[Example],
    *,
    head: str = "auto",
    name: str = "model",
    record: Record | None = None,
    progress: Callable[[], None] = lambda: None,
    problem: Callable[[str], None] = lambda line: None,
) -> Taught:
    """Fit a classifier to takes; all other layers stay as they are.

    `head` is "prototypes", "linear" or "auto", which takes the one that answers left-out takes
    better. A take is left out together with all that was cut from the same source, and copies of
    it. `record` is of what `init` has learnt from. `progress` is told of each take, `problem` of
    each that can't be decoded, and of what else is odd. Raises DataError where there is nothing to
    tell apart.
    """
    began = time.perf_counter()
    record = record or Record()
    if head not in (*HEADS, "auto"):
        raise DataError(f"--head {head}: must be auto, {' or '.join(HEADS)}")
    check_labels(examples)
    init.network.eval()
    with one_thread():
        shots = tuple(read_shots(init, examples, progress=progress, problem=problem))
        check_labels([shot.example for shot in shots])
        units, notes = related(shot.example for shot in shots)
        notes += _short(shots, init.spec.span_s) + _learnt(shots, init_name, record)
        groups = {one: group for group, unit in enumerate(units) for one in unit}
        lesson, more = _best_lesson(_Shown(shots, groups, drawn_tokens(init)))
        for note in notes + more:
            problem(note)
        answers = {one: lesson.ask(one) for one in (HEADS if head == "auto" else (head,))}
        head = min(answers, key=lambda one: answers[one].rank)
        found = lesson.fit(head, lesson.windows)
    model = beginning(init, name, lesson.labels, background=lesson.background)
    with torch.no_grad():
        model.network.classifier.weight.copy_(torch.from_numpy(found.weight))
        model.network.classifier.bias.copy_(torch.from_numpy(found.bias))
    model.network.eval()
    return Taught(
        replace(model, temperature=answers[head].temperature),
        answers[head].measured,
        head,
        lesson.extras,
        tuple(shot.example for shot in shots),
        record,
        init_name,
        time.perf_counter() - began,
    )


def check_labels(examples: Sequence[Example]) -> None:
    """Raise DataError where takes don't show two things, one of which may be "other"."""
    labels = sorted({one.label for one in examples})
    if not labels:
        raise DataError("there are no takes that can be decoded")
    if len(labels) == 1:
        more = "of something to see" if labels == [OTHER] else f"of {OTHER!r}, which is all else"
        raise DataError(
            f"there are only takes of {labels[0]!r}; the takes stay, and more are needed {more}: "
            f"actionwatch teach {'LABEL' if labels == [OTHER] else OTHER} --source ..."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Of one head to takes that were left out."""

    measured: Measured | None
    temperature: float

    @property
    def rank(self) -> tuple[float, float]:
        """The lower the better."""
        if self.measured is None:
            return 0.0, 0.0
        return -self.measured.mean_class_accuracy, self.measured.log_loss


@dataclass(frozen=True, slots=True, eq=False)
class _Lesson:
    """What heads learn from, and by what they are measured."""

    labels: tuple[str, ...]
    extras: tuple[str, ...]
    mirror: bool  # whether takes are learnt in a mirror, too
    windows: Windows
    seen: Windows  # those of the takes as they are

    @property
    def background(self) -> tuple[str, ...]:
        return tuple(label for label in self.labels if label == OTHER)

    def fit(self, head: str, windows: Windows, begin: Head | None = None) -> Head:
        if head == "prototypes":
            return prototypes(windows, len(self.labels))
        return linear(windows, len(self.labels), begin)

    def ask(self, head: str) -> _Answers:
        whole = self.fit(head, self.windows)
        answers = left_out(self.windows, self.seen, lambda some: self.fit(head, some, whole))
        known = self._known_elsewhere()
        logits = {take: said for take, said in answers if take in known}
        if not logits:
            return _Answers(None, 1.0)
        truth = np.array([known[take] for take in logits])
        of_windows = np.repeat(truth, [len(said) for said in logits.values()])
        temperature = fit_temperature(np.concatenate(list(logits.values())), of_windows)
        shares = probabilities(logits.values(), temperature)
        return _Answers(Measured(self.labels, truth, shares), temperature)

    @property
    def of_one_source(self) -> list[str]:
        """The labels that are taught by one source alone, so that none of it can be left out."""
        several, seen = set(self._known_elsewhere().values()), self.seen
        numbers = (one for one in np.unique(seen.labels).tolist() if one not in several)
        return [self.labels[one] for one in numbers if self.labels[one] != OTHER]

    def known(self) -> dict[str, float]:
        """The share of left-out takes that are right, of each label that is taught.

        Of one source alone it is that of its takes by what was learnt from them.
        """
        measured = self.ask("linear").measured
        recall = measured.recall() if measured else {}
        known = {label: share for label, share in recall.items() if label != OTHER}
        if not (alone := self.of_one_source):
            return known
        head, seen = self.fit("linear", self.windows), self.seen
        for label in alone:
            number = self.labels.index(label)
            takes = np.unique(seen.takes[seen.labels == number]).tolist()
            logits = [head.logits(seen.features[seen.takes == one]) for one in takes]
            known[label] = float((probabilities(logits).argmax(axis=1) == number).mean())
        return known

    def _known_elsewhere(self) -> dict[int, int]:
        """The labels of the takes whose label others show, too, by take."""
        seen = self.seen
        several = {
            label
            for label in np.unique(seen.labels).tolist()
            if len(np.unique(seen.groups[seen.labels == label])) > 1
        }
        pairs = zip(seen.takes.tolist(), seen.labels.tolist(), strict=True)
        return {take: label for take, label in pairs if label in several}


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """All that a lesson can be made of."""

    shots: tuple[Shot, ...]
    groups: dict[Example, int]  # what is left out together
    drawn: np.ndarray  # class tokens of drawn scenes, float64 (N, hidden)


def _best_lesson(shown: _Shown) -> tuple[_Lesson, list[str]]:
    """A lesson with takes in a mirror, and with more than takes for "other", if no label suffers.

    Also what a person should know of it.

    In a mirror most actions are what they were. Where labels are directions, in whatever words,
    they become each other: then many left-out takes that are right without it are wrong with it.

    Takes alone don't say what is nothing. Taught with 6 falls and 8 takes of people who sit, stand
    or walk, the embedded model called every room in which nothing moved a fall, and 69 % of the
    windows of other places. With single pictures of the takes and drawn scenes as "other" these
    were 1 % and 39 %, and left-out falls 5 of 6 instead of all. Of fights, with 10 takes a label,
    it knew as many in other places as before (63 % of both labels instead of 62 %), and called 20 %
    of other cameras' windows fights instead of 29 %. But what is taught may be just that: to lie
    still, say.
    """
    best, notes = _lesson(shown, mirror=False), list[str]()
    without = best.known()
    if unsure := best.of_one_source:
        notes.append(
            f"takes of {', '.join(unsure)} are of one source only: nothing tells how well they are "
            "known, nor whether they look the same in a mirror, so none is learnt from its mirror "
            "image until there are more"
        )
    else:
        in_mirror = _lesson(shown, mirror=True)
        if not _suffering(in_mirror, without, _SPARED_IN_MIRROR):
            best = in_mirror
    mirror = best.mirror
    for extras in ((STILLS, DRAWN), (STILLS,), (DRAWN,)):
        lesson = _lesson(shown, extras, mirror=mirror)
        if not _suffering(lesson, without, _SPARED):
            best = lesson
            break
    if STILLS not in best.extras:
        like = _suffering(_lesson(shown, (STILLS,), mirror=mirror), without, _SPARED)
        notes.append(
            f"a scene in which nothing moves may be called {' or '.join(like)}: single pictures of "
            f"takes look like that, so they are not learnt as {OTHER!r}"
        )
    return best, notes


def _suffering(lesson: _Lesson, without: dict[str, float], spared: float) -> list[str]:
    """The labels that lose too many of the takes that were right without what a lesson has more."""
    known = lesson.known()
    return [label for label, share in without.items() if known[label] < spared * share]


def _lesson(shown: _Shown, extras: tuple[str, ...] = (), *, mirror: bool) -> _Lesson:
    shots = shown.shots
    labels = sorted({shot.example.label for shot in shots} | ({OTHER} if extras else set()))
    numbers = {label: number for number, label in enumerate(labels)}
    images = mirrored(labels)
    # Stills weigh as much as the takes of "other", drawn scenes half as much: takes show the right
    # people. With half of that the network called a good part of the still rooms falls.
    others = max(1, sum(shot.example.label == OTHER for shot in shots))
    seen: list[Windows] = []
    more: list[Windows] = []
    for take, shot in enumerate(shots):
        label, group = numbers[shot.example.label], shown.groups[shot.example]
        image = images[label]
        seen.append(_windows(shot.windows, label, take, group))
        if mirror and image is not None:
            more.append(_windows(shot.mirrored, image, take, group))
        if STILLS in extras:
            unit = len(shots) + take % others
            more.append(_windows(shot.stills, numbers[OTHER], unit, group))
    if DRAWN in extras:
        units = 2 * len(shots) + np.arange(len(shown.drawn)) % max(1, others // 2)
        as_other = _windows(shown.drawn, numbers[OTHER], 0, NO_GROUP)
        more.append(replace(as_other, takes=units))
    return _Lesson(tuple(labels), extras, mirror, _joined([*seen, *more]), _joined(seen))


def _learnt(shots: Sequence[Shot], init_name: str, record: Record) -> list[str]:
    count = sum(record.learnt(shot.example) for shot in shots)
    if not count:
        return []
    return [
        f"{count} of {len(shots)} takes were learnt from before, by {init_name}: what is told of "
        "left-out takes will be too good"
    ]


def _short(shots: Sequence[Shot], span_s: float) -> list[str]:
    count = sum(shot.is_short for shot in shots)
    if not count:
        return []
    return [
        f"{count} of {len(shots)} takes are shorter than the {span_s:g} s that the model looks at, "
        "and stand still at their end, which no watch will see; give longer ones"
    ]


def _windows(features: np.ndarray, label: int, take: int, group: int) -> Windows:
    return Windows(features, *(np.full(len(features), one) for one in (label, take, group)))


def _joined(parts: Sequence[Windows]) -> Windows:
    fields = ("features", "labels", "takes", "groups")
    return Windows(*(np.concatenate([getattr(part, one) for part in parts]) for one in fields))
