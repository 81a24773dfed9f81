"""Linear heads on a frozen network, fitted to a few samples, and their cross-validation.

Both kinds become weight and bias of the network's classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

# Halfway to isotropic: on fights and falls from room cameras, with 5 to 20 samples per label, 0.3
# to 0.8 were within 2 % of each other.
_SHRINKAGE = 0.5
# On the same clips 0.03 to 0.3 were equally good; a lower value overfits single samples.
_L2_PENALTY = 0.1
_MAX_STEPS = 200
_MAX_FOLDS = 30
NO_GROUP = -1


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Embedded windows that a head is fitted to."""

    features: np.ndarray  # float64, (N, hidden)
    labels: np.ndarray  # int, (N,)
    samples: np.ndarray  # int, (N,): windows of one sample hardly differ
    groups: np.ndarray  # int, (N,): held out together; NO_GROUP is never held out

    def without(self, groups: np.ndarray) -> Windows:
        mask = ~np.isin(self.groups, groups)
        columns = (self.features, self.labels, self.samples, self.groups)
        return Windows(*(column[mask] for column in columns))

    @property
    def weights(self) -> np.ndarray:
        """Weight of each window, (N,): equal per label, and per sample within a label."""
        weights = np.zeros(len(self.labels))
        for label in np.unique(self.labels):
            own = self.labels == label
            _, sample, sizes = np.unique(self.samples[own], return_inverse=True, return_counts=True)
            weights[own] = 1 / (len(sizes) * sizes[sample])
        return weights / weights.sum()


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Logits are features @ weight.T + bias."""

    weight: np.ndarray  # float64, (labels, hidden)
    bias: np.ndarray  # float64, (labels,)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(N, hidden) -> (N, labels)"""
        return np.asarray(features @ self.weight.T + self.bias)


def prototypes(windows: Windows, labels: int) -> Head:
    """Linear discriminant analysis: the mean of each label, and one shared covariance.

    The covariance is shrunk towards an isotropic one (Ledoit and Wolf 2004), since there are fewer
    samples than dimensions. The shrinkage is fixed: their estimate assumes independent windows. A
    label without windows is never predicted.
    """
    features, weights = windows.features, windows.weights
    present = [label for label in range(labels) if (windows.labels == label).any()]
    means = np.zeros((labels, features.shape[1]))
    for label in present:
        own = windows.labels == label
        means[label] = np.average(features[own], axis=0, weights=weights[own])
    centered = features - means[windows.labels]
    covariance = (centered * weights[:, None]).T @ centered
    variance = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(len(covariance))
    weight = np.linalg.solve(shrunk, means.T).T
    return _restrict(Head(weight, -0.5 * (weight * means).sum(axis=1)), present)


def logistic_regression(windows: Windows, labels: int, init: Head | None = None) -> Head:
    """Multinomial logistic regression with an L2 penalty; deterministic.

    `init` is a head fitted to almost the same windows, which saves steps. A label without windows
    is never predicted.
    """
    features, weights = windows.features, windows.weights
    mean = np.average(features, axis=0, weights=weights)
    variance = np.average((features - mean) ** 2, axis=0, weights=weights)
    scale = max(float(np.sqrt(variance).mean()), 1e-12)
    inputs = torch.from_numpy((features - mean) / scale)
    truth, window_weights = torch.from_numpy(windows.labels), torch.from_numpy(weights)
    weight = torch.zeros(labels, features.shape[1], dtype=torch.float64)
    bias = torch.zeros(labels, dtype=torch.float64)
    if init is not None:
        weight = torch.from_numpy(init.weight * scale)
        bias = torch.from_numpy(init.bias + init.weight @ mean).clamp(-50, 50)
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_MAX_STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = F.cross_entropy(F.linear(inputs, weight, bias), truth, reduction="none")
        loss = (losses * window_weights).sum() + 0.5 * _L2_PENALTY * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    fitted = weight.detach().numpy() / scale
    present = np.unique(windows.labels).tolist()
    return _restrict(Head(fitted, bias.detach().numpy() - fitted @ mean), present)


def cross_validate(
    windows: Windows, held_out: Windows, fit: Callable[[Windows], Head]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each sample of `held_out` with its logits by a head fitted without its group.

    Leaves out one group at a time; with more than _MAX_FOLDS groups, several at a time.
    """
    groups = np.unique(held_out.groups)
    folds = min(len(groups), _MAX_FOLDS)
    # Interleaved: neighboring groups may all have one label.
    for fold in (groups[number::folds] for number in range(folds)):
        head = fit(windows.without(fold))
        for sample in np.unique(held_out.samples[np.isin(held_out.groups, fold)]):
            yield int(sample), head.logits(held_out.features[held_out.samples == sample])


def _restrict(head: Head, present: list[int]) -> Head:
    """The head, unable to predict labels that are not present."""
    absent = np.setdiff1d(np.arange(len(head.bias)), present)
    head.weight[absent], head.bias[absent] = 0.0, -1e4
    return head
