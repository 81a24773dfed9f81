"""Train the embedded motion model on synthetic clips: `actionwatch train-motion`.

With labels of hard clips alone, a TimeSformer learns nothing from tens of thousands of them. Five
measures make it learn; each is needed:
- a curriculum: clips become harder as accuracy rises (`_next_difficulty`);
- an auxiliary head, used only in training, that predicts the motion of each patch: hundreds of
  targets per clip instead of one, which also show the direction of turns and growth
  (`dataset.motion_field`);
- each clip is paired with its reverse (`dataset.with_reversed`);
- some heads are initialized to attend to the previous and next frame (`mimetic_init`);
- Muon instead of AdamW for the matrices of the layers: it needs half as many clips.
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
from model.preprocess import normalize
from model.pretraining.config import PretrainConfig
from model.pretraining.dataset import FIELD_CHANNELS, SyntheticClips, with_reversed
from model.trained_model import MEAN, STD, TrainedModel, load, save
from model.training.distributed import DistributedContext
from model.training.init_weights import mimetic_init
from model.training.loader import make_loader
from model.training.optimizer import has_weight_decay, lr_factor
from model.training.output_dir import acquire, finalize, locked
from model.training.training_state import load_state, save_state
from stream.messages import ClipSpec
from stream.synthetic import MOTIONS, OTHER, STILL

_READY_ACCURACY = 0.75  # from this accuracy the next stage is harder
_DIFFICULTY_STEP = 0.04
# Between these fractions of the run, difficulty also rises linearly, whatever the accuracy.
_FORCED_RAMP = (0.15, 0.6)


@dataclass(frozen=True)
class Progress:
    """Progress of a training run; loss and accuracy are moving averages over batches."""

    clips: int
    loss: float
    accuracy: float
    difficulty: float


class _Learner(nn.Module):
    """The network, and the auxiliary head that predicts the motion of each patch."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.network = TimesformerForVideoClassification(config.network_config())
        self.motion_field = nn.Linear(config.hidden, FIELD_CHANNELS)
        mimetic_init(self.network.timesformer)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, labels) and the motion field (batch, T, patches, 5)."""
        cls, patches = self.network.timesformer.features(pixels)
        return self.network.classifier(cls), self.motion_field(patches)


@dataclass
class _State:
    """State of a run besides the weights, saved after each stage."""

    clips_done: int = 0
    # Total clips of the run: the number given at its start, then each changed number at a resume.
    clip_targets: list[int] = field(default_factory=list)
    difficulty: float = 0.0
    loss: float = math.log(len(MOTIONS))
    accuracy: float = 1 / len(MOTIONS)


def train_motion(
    out: Path,
    config: PretrainConfig,
    *,
    context: DistributedContext,
    on_progress: Callable[[Progress], None] = lambda state: None,
) -> TrainedModel:
    """Train, or resume an interrupted run into `out`, and write the checkpoint there.

    `out/training.pt` holds the state after each stage, until `delete_training_state`. A resumed run
    may have another number of clips, which lengthens or shortens its remainder. Each process of a
    distributed run renders its own clips.
    Raises CheckpointError if `out` holds a run with another config or a finished one, if
    `config.clips` is below the number already trained on, if a batch can't be divided evenly among
    processes, and if the network diverges.
    """
    acquire(out)
    context.per_rank_batch(config.batch_size // 2, "clips and their reverses")
    with ExitStack() as stack:
        context.run_on_main(lambda: stack.enter_context(locked(out)))
        return _train_motion(out, config, context, on_progress)


def _train_motion(
    out: Path,
    config: PretrainConfig,
    context: DistributedContext,
    on_progress: Callable[[Progress], None],
) -> TrainedModel:
    file = out / "training.pt"
    torch.manual_seed(config.seed)
    learner = _Learner(config).to(context.device).train()
    optimizers = _optimizers(learner, config)
    state = _resume(file, config, learner, optimizers)
    if config.clips < state.clips_done:
        raise CheckpointError(
            f"{file} was already trained on {state.clips_done} clips; give --clips "
            f"{state.clips_done} or more"
        )
    if config.clips not in state.clip_targets[-1:]:
        state.clip_targets.append(config.clips)
    wrapped = context.wrap(learner)
    while state.clips_done < config.clips:
        _train_stage(config, wrapped, optimizers, state, context, on_progress)
        # The main process's accuracy decides for all.
        state.difficulty = context.run_on_main(
            lambda: _next_difficulty(state, state.clips_done / config.clips)
        )
        context.run_on_main(lambda: _save_state(file, config, learner, optimizers, state))
    trained = TrainedModel(
        learner.network.cpu().eval(), motion_spec(config, out.resolve().name), MEAN, STD
    )
    if context.is_main:
        save(trained, out, half=True)
    return trained


def clip_targets(out: Path) -> list[int]:
    """Total clips of the run into `out`: the first number, then each changed one at a resume."""
    saved = load_state(out / "training.pt", {})
    return [] if saved is None else list(saved["state"]["clip_targets"])


def delete_training_state(out: Path) -> None:
    """Delete the state of a run whose checkpoint has been written and evaluated."""
    finalize(out)
    (out / "training.pt").unlink(missing_ok=True)


def motion_spec(config: PretrainConfig, name: str) -> ClipSpec:
    """The clip spec of a motion model: whole frames, squashed, so that no edge is cropped."""
    return ClipSpec(
        model=name,
        labels=MOTIONS,
        background=frozenset({STILL, OTHER}),
        frames=config.frames,
        span_s=config.span_s,
        height=config.size,
        width=config.size,
        fit="squash",
    )


def field_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Loss of a motion field (batch, T, patches, 5): BCE of presence, and L1 of motion there."""
    covered = truth[..., 0]
    presence = F.binary_cross_entropy_with_logits(predicted[..., 0], covered)
    errors = F.smooth_l1_loss(predicted[..., 1:], truth[..., 1:], reduction="none").sum(dim=-1)
    return 4 * presence + (errors * covered).sum() / covered.sum().clamp(min=1)


def _train_stage(
    config: PretrainConfig,
    learner: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    state: _State,
    context: DistributedContext,
    on_progress: Callable[[Progress], None],
) -> None:
    """Train `config.stage_batches` batches of one difficulty, or fewer at the end of the run."""
    end = min(state.clips_done + config.stage_batches * config.batch_size, config.clips)
    start, pairs = state.clips_done // 2, config.batch_size // 2
    # Distributed runs need whole batches, since the processes wait for each other.
    count = end // 2 - start
    count -= count % pairs if context.size > 1 else 0
    dataset = SyntheticClips(
        seed=config.seed,
        split="train",
        start=start + context.rank,
        stop=start + count,
        frames=config.frames,
        size=config.size,
        patch=config.patch,
        span_s=config.span_s,
        difficulty=state.difficulty,
        step=context.size,
    )
    bf16 = computes_bf16(context.device)
    for batch in make_loader(dataset, context, batch_size=context.per_rank_batch(pairs)):
        frames, labels, truth = (part.to(context.device) for part in with_reversed(*batch))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = config.peak_lr * lr_factor(
                    state.clips_done / config.clips, config.warmup
                )
        with torch.autocast(context.device.type, torch.bfloat16, enabled=bf16):
            logits, predicted = learner(normalize(frames, MEAN, STD))
        loss = F.cross_entropy(logits.float(), labels)
        learner.zero_grad()
        (loss + field_loss(predicted.float(), truth)).backward()
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        if not norm.isfinite():
            raise CheckpointError(
                f"after {state.clips_done:,} clips the gradients became NaN/inf; use a lower "
                "learning rate or another --seed"
            )
        for optimizer in optimizers:
            optimizer.step()
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        state.clips_done += len(frames) * context.size
        state.loss += 0.02 * (loss.item() - state.loss)
        state.accuracy += 0.02 * (accuracy.item() - state.accuracy)
        on_progress(Progress(state.clips_done, state.loss, state.accuracy, state.difficulty))
    state.clips_done = end  # an odd last clip has no pair and is skipped


def _next_difficulty(state: _State, fraction: float) -> float:
    """Difficulty of the next stage, after this fraction of the run."""
    step = _DIFFICULTY_STEP if state.accuracy >= _READY_ACCURACY else 0.0
    start, end = _FORCED_RAMP
    return min(1.0, max(state.difficulty + step, (fraction - start) / (end - start)))


def _optimizers(learner: _Learner, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for all other parameters, with one learning rate.

    Jordan et al., "Muon", 2024; scaled as in Liu et al., arXiv 2502.16982, so that one learning
    rate suits both.
    """
    matrices = [
        parameter
        for parameter in learner.network.timesformer.blocks.parameters()
        if parameter.ndim == 2
    ]
    in_muon = {id(parameter) for parameter in matrices}
    others: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in learner.named_parameters():
        if id(parameter) not in in_muon:
            others[has_weight_decay(name, parameter)].append(parameter)
    groups = [
        {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0}
        for decays, parameters in others.items()
    ]
    return [
        torch.optim.Muon(
            matrices,
            lr=config.lr,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98)),
    ]


def _save_state(
    file: Path,
    config: PretrainConfig,
    learner: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    state: _State,
) -> None:
    saved = {
        "state": asdict(state),
        "learner": learner.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    save_state(file, _fingerprint(config), saved)


def _fingerprint(config: PretrainConfig) -> dict[str, object]:
    """The options that a resumed run must repeat: all but its length."""
    return {key: value for key, value in asdict(config).items() if key != "clips"}


def _resume(
    file: Path,
    config: PretrainConfig,
    learner: _Learner,
    optimizers: Sequence[torch.optim.Optimizer],
) -> _State:
    """Load the state of an interrupted run into this folder, or the initial state of a new run."""
    saved = load_state(file, _fingerprint(config))
    if saved is None and config.init:
        _load_init_weights(config, learner.network)
        return _State(difficulty=1.0)  # the init model is past the easy stages
    if saved is None:
        return _State()
    learner.load_state_dict(saved["learner"])
    for optimizer, values in zip(optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    return _State(**saved["state"])


def _load_init_weights(config: PretrainConfig, network: TimesformerForVideoClassification) -> None:
    """Load the weights of `init`. Raises CheckpointError for another architecture or labels."""
    init = load(config.init)
    architecture = replace(init.network.config, extra={})
    if architecture != network.config or init.spec.span_s != config.span_s:
        raise CheckpointError(
            f"--init {config.init}: must be a motion model of the same architecture and labels; "
            "train one without --init"
        )
    network.load_state_dict(init.network.state_dict())
