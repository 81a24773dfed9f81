"""Linear heads on the features of a frozen network, learnt from a few takes, and left-out answers.

Both kinds end as weight and bias of the network's own classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

# Halfway to round: on fights and falls filmed by room cameras, with 5 to 20 takes a label, 0.3 to
# 0.8 were within 2 % of each other.
_SHRINKAGE = 0.5
# On the same clips 0.03 to 0.3 were alike; less remembers single takes.
_DECAY = 0.1
_MOST_STEPS = 200
_MOST_FITS = 30  # for leaving out
NO_GROUP = -1


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """What a head learns from."""

    features: np.ndarray  # float64, (N, hidden)
    labels: np.ndarray  # int, (N,)
    takes: np.ndarray  # int, (N,): windows of one take are hardly different from each other
    groups: np.ndarray  # int, (N,): what is left out together; NO_GROUP is never left out

    def without(self, groups: np.ndarray) -> Windows:
        kept = ~np.isin(self.groups, groups)
        parts = (self.features, self.labels, self.takes, self.groups)
        return Windows(*(part[kept] for part in parts))

    @property
    def weights(self) -> np.ndarray:
        """Of each window, (N,): labels count alike, and the takes of a label do."""
        weights = np.zeros(len(self.labels))
        for label in np.unique(self.labels):
            own = self.labels == label
            _, of_take, sizes = np.unique(self.takes[own], return_inverse=True, return_counts=True)
            weights[own] = 1 / (len(sizes) * sizes[of_take])
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
    """The mean of each label, and how far from it is far: linear discriminant analysis.

    Labels share one covariance, shrunk towards a round one as Ledoit and Wolf 2004 do, for there
    are fewer takes than dimensions; by how much is fixed, as their estimate takes windows of one
    take for independent. A label without windows is never the answer.
    """
    features, weights = windows.features, windows.weights
    present = [label for label in range(labels) if (windows.labels == label).any()]
    means = np.zeros((labels, features.shape[1]))
    for label in present:
        own = windows.labels == label
        means[label] = np.average(features[own], axis=0, weights=weights[own])
    around = features - means[windows.labels]
    covariance = (around * weights[:, None]).T @ around
    size = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * size * np.eye(len(covariance))
    weight = np.linalg.solve(shrunk, means.T).T
    return _only(Head(weight, -0.5 * (weight * means).sum(axis=1)), present)


def linear(windows: Windows, labels: int, begin: Head | None = None) -> Head:
    """Multinomial logistic regression with an L2 penalty. The same for the same windows.

    `begin` is a head of nearly the same windows, from where it is not far. A label without
    windows is never the answer.
    """
    features, weights = windows.features, windows.weights
    middle = np.average(features, axis=0, weights=weights)
    spread = np.average((features - middle) ** 2, axis=0, weights=weights)
    scale = max(float(np.sqrt(spread).mean()), 1e-12)
    inputs = torch.from_numpy((features - middle) / scale)
    truth, shares = torch.from_numpy(windows.labels), torch.from_numpy(weights)
    weight = torch.zeros(labels, features.shape[1], dtype=torch.float64)
    bias = torch.zeros(labels, dtype=torch.float64)
    if begin is not None:
        weight = torch.from_numpy(begin.weight * scale)
        bias = torch.from_numpy(begin.bias + begin.weight @ middle).clamp(-50, 50)
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_MOST_STEPS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        wrong = F.cross_entropy(F.linear(inputs, weight, bias), truth, reduction="none")
        total = (wrong * shares).sum() + 0.5 * _DECAY * weight.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    found = weight.detach().numpy() / scale
    present = np.unique(windows.labels).tolist()
    return _only(Head(found, bias.detach().numpy() - found @ middle), present)


def left_out(
    windows: Windows, seen: Windows, fit: Callable[[Windows], Head]
) -> Iterator[tuple[int, np.ndarray]]:
    """Of each take of `seen` its windows' logits, by a head that knows nothing of its group.

    Many groups are left out several at a time, for each time takes a fit.
    """
    groups = np.unique(seen.groups)
    fits = min(len(groups), _MOST_FITS)
    # Interleaved: neighbours may all be of one label.
    for some in (groups[number::fits] for number in range(fits)):
        head = fit(windows.without(some))
        for take in np.unique(seen.takes[np.isin(seen.groups, some)]):
            yield int(take), head.logits(seen.features[seen.takes == take])


def _only(head: Head, present: list[int]) -> Head:
    """The head with these labels alone as answers."""
    absent = np.setdiff1d(np.arange(len(head.bias)), present)
    head.weight[absent], head.bias[absent] = 0.0, -1e4
    return head
