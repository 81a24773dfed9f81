"""How good is a model: accuracy and confusions on held-out drawn clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from model.checkpoint import CheckpointError
from model.dataset import held_out
from model.preprocess import normalise
from model.trained import TrainedModel
from stream.synthetic import MOTIONS


@dataclass(frozen=True, eq=False)
class Report:
    """`confusion` is int (labels, labels): rows are the truth, columns the answers."""

    labels: tuple[str, ...]
    confusion: np.ndarray

    @property
    def top1(self) -> float:
        return float(np.trace(self.confusion) / self.confusion.sum())

    def recall(self) -> dict[str, float]:
        """Share of each label's clips that were named rightly."""
        totals = np.maximum(1, self.confusion.sum(axis=1))
        shares = np.diag(self.confusion) / totals
        return dict(zip(self.labels, shares.tolist(), strict=True))

    def mistakes(self, count: int) -> list[tuple[str, str, int]]:
        """The commonest (truth, answer, clips), most first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [np.unravel_index(index, wrong.shape) for index in order]
        return [(self.labels[t], self.labels[a], int(wrong[t, a])) for t, a in pairs if wrong[t, a]]


def evaluate_motion(
    model: TrainedModel,
    *,
    clips: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Score held-out drawn clips at full difficulty. `progress` is told how many more are done.

    Raises CheckpointError where the model does not know the drawn motions.
    """
    spec = model.spec
    if spec.labels != MOTIONS:
        raise CheckpointError(
            f"model {spec.model} has other labels than the drawn motions "
            f"({', '.join(MOTIONS)}), so drawn clips can't tell how good it is"
        )
    drawn = held_out(model, clips, seed=seed)
    confusion = np.zeros((len(spec.labels), len(spec.labels)), dtype=np.int64)
    with torch.inference_mode():
        for frames, labels, _ in DataLoader(drawn, batch_size=32):
            answers = model.network.logits(normalise(frames, model.mean, model.std))
            np.add.at(confusion, (labels.numpy(), answers.argmax(dim=1).numpy()), 1)
            progress(len(frames))
    return Report(spec.labels, confusion)
