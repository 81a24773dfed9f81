"""Train the embedded motion model on drawn clips: `actionwatch train-motion`.

A TimeSformer that is only told the label of hard clips learns nothing from tens of thousands of
them. Four things make it learn, each found to matter:
- lessons: clips get harder when the network is ready for it (`_next_difficulty`);
- a second head that names what moves in each patch, used while training only: hundreds of
  answers a clip in place of one (`dataset.motion_field`);
- each clip comes with itself played backwards (`dataset.with_backwards`);
- at first some heads look at the frames before and after (`know_place_and_time`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from model.checkpoint import CheckpointError
from model.configuration import TimesformerConfig
from model.learning.clips import one_thread
from model.learning.first_weights import know_place_and_time
from model.learning.kept_run import read_run, write_run
from model.learning.optimiser import decays, rate_factor
from model.motion.dataset import FIELD_CHANNELS, DrawnClips, with_backwards
from model.preprocess import normalise
from model.timesformer import (
    TimesformerForVideoClassification,
)
from model.trained import MEAN, STD, TrainedModel, save
from stream.messages import ClipSpec
from stream.synthetic import MOTIONS, STILL

_READY = 0.75  # accuracy at which the next lesson is harder
_HARDER = 0.04
# Whatever the accuracy, lessons become harder between these shares of the run.
_PATIENCE = (0.15, 0.6)


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on. Two runs of one recipe see the same clips."""

    clips: int = 260_000  # as the network sees them: half of them are drawn, half played backwards
    seed: int = 0
    batch: int = 16
    lesson: int = 100  # batches of one difficulty
    rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.005  # share of the clips
    size: int = 64
    patch: int = 8
    frames: int = 8
    span_s: float = 1.6
    hidden: int = 96
    layers: int = 5
    heads: int = 3
    intermediate: int = 288

    def network(self) -> TimesformerConfig:
        return TimesformerConfig(
            image_size=self.size,
            patch_size=self.patch,
            num_frames=self.frames,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate,
            initializer_range=0.5 / math.sqrt(self.hidden),  # 0.02 is too faint if it is narrow
            id2label=dict(enumerate(MOTIONS)),
        )


@dataclass(frozen=True)
class Progress:
    """How far a training run is; loss and accuracy are averages over the latest batches."""

    clips: int
    loss: float
    accuracy: float
    difficulty: float


class _Learner(nn.Module):
    """The network, and the head that names what moves in each patch."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.network = TimesformerForVideoClassification(recipe.network())
        self.field = nn.Linear(recipe.hidden, FIELD_CHANNELS)
        know_place_and_time(self.network.timesformer)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, labels) and the motion field (batch, T, patches, 5)."""
        cls, patches = self.network.timesformer.features(pixels)
        return self.network.classifier(cls), self.field(patches)


@dataclass
class _State:
    """What a run needs to go on, besides weights: kept after each lesson."""

    done: int = 0
    difficulty: float = 0.0
    loss: float = math.log(len(MOTIONS))
    accuracy: float = 1 / len(MOTIONS)


def train_motion(
    out: Path,
    recipe: Recipe,
    *,
    workers: int = 1,
    progress: Callable[[Progress], None] = lambda state: None,
) -> TrainedModel:
    """Train, or go on where a run into `out` was broken off, and write the checkpoint there.

    `out/training.pt` keeps the state after each lesson, until `finish`.
    Raises CheckpointError where `out` holds a run of another recipe, or a finished one.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / "training.pt"
    if (out / "config.json").exists() and not file.exists():
        raise CheckpointError(f"{out} holds a finished checkpoint; give another --out")
    torch.manual_seed(recipe.seed)
    learner = _Learner(recipe)
    learner.to("cuda" if torch.cuda.is_available() else "cpu").train()
    optimiser = torch.optim.AdamW(
        _groups(learner, recipe.weight_decay), lr=recipe.rate, betas=(0.9, 0.98)
    )
    state = _resume(file, recipe, learner, optimiser)
    while state.done < recipe.clips:
        _lesson(recipe, learner, optimiser, state, workers, progress)
        state.difficulty = _next_difficulty(state, state.done / recipe.clips)
        _keep(file, recipe, learner, optimiser, state)
    trained = TrainedModel(learner.network.cpu().eval(), motion_spec(recipe, out.name), MEAN, STD)
    save(trained, out, half=True)
    return trained


def finish(out: Path) -> None:
    """Forget the state of a run whose checkpoint has been written and measured."""
    (out / "training.pt").unlink(missing_ok=True)


def motion_spec(recipe: Recipe, name: str) -> ClipSpec:
    """The whole picture, squashed: nothing at the edge of a wide camera is cut away."""
    return ClipSpec(
        model=name,
        labels=MOTIONS,
        background=frozenset({STILL}),
        frames=recipe.frames,
        span_s=recipe.span_s,
        height=recipe.size,
        width=recipe.size,
        fit="squash",
    )


def field_loss(named: Tensor, field: Tensor) -> Tensor:
    """How wrong the motion field is, both (batch, T, patches, 5): where, and there how."""
    covered = field[..., 0]
    where = F.binary_cross_entropy_with_logits(named[..., 0], covered)
    errors = F.smooth_l1_loss(named[..., 1:], field[..., 1:], reduction="none").sum(dim=-1)
    return 4 * where + (errors * covered).sum() / covered.sum().clamp(min=1)


def _lesson(
    recipe: Recipe,
    learner: _Learner,
    optimiser: torch.optim.Optimizer,
    state: _State,
    workers: int,
    progress: Callable[[Progress], None],
) -> None:
    """One lesson: `recipe.lesson` batches of one difficulty, or fewer at the end of the run."""
    device = next(learner.parameters()).device
    last = min(state.done + recipe.lesson * recipe.batch, recipe.clips)
    drawn = DrawnClips(
        seed=recipe.seed,
        split="train",
        first=state.done // 2,
        last=last // 2,
        frames=recipe.frames,
        size=recipe.size,
        patch=recipe.patch,
        span_s=recipe.span_s,
        difficulty=state.difficulty,
    )
    loader = DataLoader(
        drawn,
        max(1, recipe.batch // 2),
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        worker_init_fn=one_thread,
    )
    for batch in loader:
        frames, labels, field = (part.to(device) for part in with_backwards(*batch))
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * rate_factor(state.done / recipe.clips, recipe.warmup)
        with torch.autocast(device.type, torch.bfloat16):
            logits, named = learner(normalise(frames, MEAN, STD))
        loss = F.cross_entropy(logits.float(), labels)
        optimiser.zero_grad()
        (loss + field_loss(named.float(), field)).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        hits = (logits.argmax(dim=1) == labels).float().mean()
        state.done += len(frames)
        state.loss += 0.02 * (loss.item() - state.loss)
        state.accuracy += 0.02 * (hits.item() - state.accuracy)
        progress(Progress(state.done, state.loss, state.accuracy, state.difficulty))
    state.done = last  # an odd clip at the very end has no pair


def _next_difficulty(state: _State, share: float) -> float:
    harder = state.difficulty + (_HARDER if state.accuracy >= _READY else 0.0)
    begin, end = _PATIENCE
    return min(1.0, max(harder, (share - begin) / (end - begin)))


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in module.named_parameters():
        parts[decays(name, parameter)].append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decaying else 0.0}
        for decaying, parameters in parts.items()
    ]


def _keep(
    file: Path,
    recipe: Recipe,
    learner: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: _State,
) -> None:
    kept = {
        "state": asdict(state),
        "learner": learner.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    write_run(file, asdict(recipe), kept)


def _resume(
    file: Path, recipe: Recipe, learner: nn.Module, optimiser: torch.optim.Optimizer
) -> _State:
    """Where an earlier run into this folder has come to; the beginning for a new run."""
    kept = read_run(file, asdict(recipe))
    if kept is None:
        return _State()
    learner.load_state_dict(kept["learner"])
    optimiser.load_state_dict(kept["optimiser"])
    return _State(**kept["state"])
