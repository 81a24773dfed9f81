"""Train the embedded motion model on drawn clips: `actionwatch train-motion`.

A TimeSformer that is only told the label of hard clips learns nothing from tens of thousands of
them. Five things make it learn, each found to matter:
- lessons: clips get harder when the network is ready for it (`_next_difficulty`);
- a second head that predicts how each patch moves, used while training only: hundreds of answers a
  clip in place of one, and which way a thing turns or grows can be read off them
  (`dataset.motion_field`);
- each clip comes with itself played backwards (`dataset.with_backwards`);
- at first some heads look at the frames before and after (`know_place_and_time`);
- Muon in place of AdamW for the matrices of the layers, which learn from half as many clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.checkpoint import CheckpointError
from model.engines.torch_engine import computes_bf16
from model.families.timesformer.network import TimesformerForVideoClassification
from model.preprocess import normalise
from model.pretraining.config import Recipe
from model.pretraining.dataset import FIELD_CHANNELS, DrawnClips, with_backwards
from model.trained_model import MEAN, STD, TrainedModel, load, save
from model.training.distributed import Team
from model.training.init_weights import know_place_and_time
from model.training.loader import make_loader
from model.training.optimizer import decays, rate_factor
from model.training.output_dir import claim, held, release
from model.training.training_state import read_run, write_run
from stream.messages import ClipSpec
from stream.synthetic import MOTIONS, OTHER, STILL

_READY = 0.75  # accuracy at which the next lesson is harder
_HARDER = 0.04
# Whatever the accuracy, lessons become harder between these shares of the run.
_PATIENCE = (0.15, 0.6)


@dataclass(frozen=True)
class Progress:
    """How far a training run is; loss and accuracy are averages over the latest batches."""

    clips: int
    loss: float
    accuracy: float
    difficulty: float


class _Learner(nn.Module):
    """The network, and the head that predicts how each patch moves."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.network = TimesformerForVideoClassification(recipe.network())
        self.motion_field = nn.Linear(recipe.hidden, FIELD_CHANNELS)
        know_place_and_time(self.network.timesformer)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, labels) and the motion field (batch, T, patches, 5)."""
        cls, patches = self.network.timesformer.features(pixels)
        return self.network.classifier(cls), self.motion_field(patches)


@dataclass
class _State:
    """What a run needs to go on, besides weights: kept after each lesson."""

    done: int = 0
    # Of the run in clips, as it was begun, and each time that it went on with another.
    lengths: list[int] = field(default_factory=list)
    difficulty: float = 0.0
    loss: float = math.log(len(MOTIONS))
    accuracy: float = 1 / len(MOTIONS)


def train_motion(
    out: Path,
    recipe: Recipe,
    *,
    team: Team,
    progress: Callable[[Progress], None] = lambda state: None,
) -> TrainedModel:
    """Train, or go on where a run into `out` was broken off, and write the checkpoint there.

    `out/training.pt` keeps the state after each lesson, until `finish`. A run that goes on may be
    given another number of clips: what is left of it is made longer or shorter. Of a team each
    process draws its share of the clips.
    Raises CheckpointError where `out` holds a run of another recipe, or a finished one, for fewer
    clips than it has learnt from, where a batch can't be shared out evenly, and where the network
    diverges.
    """
    claim(out)
    team.part(recipe.batch // 2, "clips and their reverses")
    with ExitStack() as stack:
        team.led(lambda: stack.enter_context(held(out)))
        return _train_motion(out, recipe, team, progress)


def _train_motion(
    out: Path, recipe: Recipe, team: Team, progress: Callable[[Progress], None]
) -> TrainedModel:
    file = out / "training.pt"
    torch.manual_seed(recipe.seed)
    learner = _Learner(recipe).to(team.device).train()
    optimisers = _optimisers(learner, recipe)
    state = _resume(file, recipe, learner, optimisers)
    if recipe.clips < state.done:
        raise CheckpointError(
            f"{file} has learnt from {state.done} clips already; give --clips that many or more"
        )
    if recipe.clips not in state.lengths[-1:]:
        state.lengths.append(recipe.clips)
    wrapped = team.wrap(learner)
    while state.done < recipe.clips:
        _lesson(recipe, wrapped, optimisers, state, team, progress)
        # What one process found hard decides for all.
        state.difficulty = team.led(lambda: _next_difficulty(state, state.done / recipe.clips))
        team.led(lambda: _keep(file, recipe, learner, optimisers, state))
    trained = TrainedModel(
        learner.network.cpu().eval(), motion_spec(recipe, out.resolve().name), MEAN, STD
    )
    if team.leads:
        save(trained, out, half=True)
    return trained


def lengths(out: Path) -> list[int]:
    """How many clips the run into `out` was begun with, and was given when it went on."""
    kept = read_run(out / "training.pt", {})
    return [] if kept is None else list(kept["state"]["lengths"])


def finish(out: Path) -> None:
    """Forget the state of a run whose checkpoint has been written and measured."""
    release(out)
    (out / "training.pt").unlink(missing_ok=True)


def motion_spec(recipe: Recipe, name: str) -> ClipSpec:
    """The whole picture, squashed: nothing at the edge of a wide camera is cut away."""
    return ClipSpec(
        model=name,
        labels=MOTIONS,
        background=frozenset({STILL, OTHER}),
        frames=recipe.frames,
        span_s=recipe.span_s,
        height=recipe.size,
        width=recipe.size,
        fit="squash",
    )


def field_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """How wrong a motion field is, both (batch, T, patches, 5): where, and there how."""
    covered = truth[..., 0]
    where = F.binary_cross_entropy_with_logits(predicted[..., 0], covered)
    errors = F.smooth_l1_loss(predicted[..., 1:], truth[..., 1:], reduction="none").sum(dim=-1)
    return 4 * where + (errors * covered).sum() / covered.sum().clamp(min=1)


def _lesson(
    recipe: Recipe,
    learner: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    state: _State,
    team: Team,
    progress: Callable[[Progress], None],
) -> None:
    """One lesson: `recipe.lesson` batches of one difficulty, or fewer at the end of the run."""
    last = min(state.done + recipe.lesson * recipe.batch, recipe.clips)
    first, pairs = state.done // 2, recipe.batch // 2
    # Whole batches where several processes wait for each other.
    count = last // 2 - first
    count -= count % pairs if team.size > 1 else 0
    drawn = DrawnClips(
        seed=recipe.seed,
        split="train",
        first=first + team.rank,
        last=first + count,
        frames=recipe.frames,
        size=recipe.size,
        patch=recipe.patch,
        span_s=recipe.span_s,
        difficulty=state.difficulty,
        every=team.size,
    )
    bf16 = computes_bf16(team.device)
    for batch in make_loader(drawn, team, batch_size=team.part(pairs)):
        frames, labels, truth = (part.to(team.device) for part in with_backwards(*batch))
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = recipe.highest_rate * rate_factor(
                    state.done / recipe.clips, recipe.warmup
                )
        with torch.autocast(team.device.type, torch.bfloat16, enabled=bf16):
            logits, predicted = learner(normalise(frames, MEAN, STD))
        loss = F.cross_entropy(logits.float(), labels)
        learner.zero_grad()
        (loss + field_loss(predicted.float(), truth)).backward()
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        if not norm.isfinite():
            raise CheckpointError(
                f"after {state.done:,} clips the gradients are no numbers any more; try another "
                "--seed"
            )
        for optimiser in optimisers:
            optimiser.step()
        hits = (logits.argmax(dim=1) == labels).float().mean()
        state.done += len(frames) * team.size
        state.loss += 0.02 * (loss.item() - state.loss)
        state.accuracy += 0.02 * (hits.item() - state.accuracy)
        progress(Progress(state.done, state.loss, state.accuracy, state.difficulty))
    state.done = last  # what is left over at the very end has no pair


def _next_difficulty(state: _State, share: float) -> float:
    harder = state.difficulty + (_HARDER if state.accuracy >= _READY else 0.0)
    begin, end = _PATIENCE
    return min(1.0, max(harder, (share - begin) / (end - begin)))


def _optimisers(learner: _Learner, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for all else, at one rate.

    Jordan et al., "Muon", 2024; the rate is scaled as in Liu et al., arXiv 2502.16982, so that one
    rate suits both.
    """
    inner = [
        parameter
        for parameter in learner.network.timesformer.blocks.parameters()
        if parameter.ndim == 2
    ]
    known = {id(parameter) for parameter in inner}
    outer: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in learner.named_parameters():
        if id(parameter) not in known:
            outer[decays(name, parameter)].append(parameter)
    groups = [
        {"params": parameters, "weight_decay": recipe.weight_decay if decaying else 0.0}
        for decaying, parameters in outer.items()
    ]
    return [
        torch.optim.Muon(
            inner,
            lr=recipe.rate,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98)),
    ]


def _keep(
    file: Path,
    recipe: Recipe,
    learner: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    state: _State,
) -> None:
    kept = {
        "state": asdict(state),
        "learner": learner.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
    }
    write_run(file, _belongs(recipe), kept)


def _belongs(recipe: Recipe) -> dict[str, object]:
    """All but the length of the run, which may be changed."""
    return {key: value for key, value in asdict(recipe).items() if key != "clips"}


def _resume(
    file: Path, recipe: Recipe, learner: _Learner, optimisers: Sequence[torch.optim.Optimizer]
) -> _State:
    """Where an earlier run into this folder has come to; the beginning for a new run."""
    kept = read_run(file, _belongs(recipe))
    if kept is None and recipe.init:
        _know_what_is_known(recipe, learner.network)
        return _State(difficulty=1.0)  # nothing easy is left to learn
    if kept is None:
        return _State()
    learner.load_state_dict(kept["learner"])
    for optimiser, before in zip(optimisers, kept["optimisers"], strict=True):
        optimiser.load_state_dict(before)
    return _State(**kept["state"])


def _know_what_is_known(recipe: Recipe, network: TimesformerForVideoClassification) -> None:
    """Take over the weights of `init`. Raises CheckpointError for another shape or labels."""
    begun = load(recipe.init)
    shape = replace(begun.network.config, extra={})
    if shape != network.config or begun.spec.span_s != recipe.span_s:
        raise CheckpointError(
            f"--init {recipe.init}: a motion model of this shape and these labels is expected; "
            f"train one without --init"
        )
    network.load_state_dict(begun.network.state_dict())
