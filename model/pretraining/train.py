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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.checkpoint import CheckpointError
from model.engines.torch_engine import computes_bf16
from model.families.timesformer.network import TimesformerForVideoClassification
from model.pretraining.config import PretrainConfig
from model.pretraining.dataset import FIELD_CHANNELS, SyntheticClips, with_reversed
from model.trained_model import MEAN, STD, TrainedModel, load, normalize, save
from model.training.distributed import DistributedContext, TrainingError
from model.training.finetune_init import check_trainable
from model.training.init_weights import mimetic_init
from model.training.loader import make_loader
from model.training.optimizer import has_weight_decay, lr_factor
from model.training.output_dir import finalize, reserved
from model.training.training_state import load_state, save_state
from stream.messages import ClipSpec
from stream.synthetic.motions import MOTIONS, OTHER, STILL

_READY_ACCURACY = 0.75  # from this accuracy the next stage is harder
_DIFFICULTY_STEP = 0.04
# Between these fractions of the run, difficulty also rises linearly, whatever the accuracy.
_FORCED_RAMP = (0.15, 0.6)


@dataclass
class Progress:
    """Progress of a training run, saved after each stage."""

    clips: int = 0  # that were trained on
    # Total clips of the run: the number given at its start, then each changed number at a resume.
    clip_targets: list[int] = field(default_factory=list)
    difficulty: float = 0.0
    # Moving averages over batches.
    loss: float = math.log(len(MOTIONS))
    accuracy: float = 1 / len(MOTIONS)


class _Learner(nn.Module):
    """The network, and the auxiliary head that predicts the motion of each patch."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        self.network = TimesformerForVideoClassification(config.network)
        self.motion_field = nn.Linear(config.network.hidden_size, FIELD_CHANNELS)
        mimetic_init(self.network.timesformer)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, labels) and the motion field (batch, T, patches, 5)."""
        cls, patches = self.network.timesformer.features(pixels)
        return self.network.classifier(cls), self.motion_field(patches)


def train_motion(
    out: Path,
    config: PretrainConfig,
    *,
    context: DistributedContext,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainedModel:
    """Train, or resume an interrupted run into `out`, and write the checkpoint there.

    `out/training.pt` holds the state after each stage, until `delete_training_state`. A resumed run
    may have another number of clips, which lengthens or shortens its remainder. Each process of a
    distributed run renders its own clips.
    Raises CheckpointError if `out` holds a run with another config, and TrainingError if it holds a
    finished one, if `config.clips` is below the number already trained on, if a batch can't be
    divided evenly among processes, and if the network diverges.
    """
    context.per_rank_batch(config.batch_size // 2, "clips and their reverses")
    file, spec = out / "training.pt", motion_spec(config, out.resolve().name)
    with reserved(out, context):
        torch.manual_seed(config.seed)
        learner = _Learner(config).to(context.device).train()
        optimizers = _optimizers(learner, config)
        progress = _resume(file, config, learner, optimizers)
        if config.clips < progress.clips:
            raise TrainingError(
                f"{file} was already trained on {progress.clips} clips; give --clips "
                f"{progress.clips} or more"
            )
        if config.clips not in progress.clip_targets[-1:]:
            progress.clip_targets.append(config.clips)
        wrapped = context.wrap(learner)

        def save_progress() -> None:
            saved = {
                "progress": asdict(progress),
                "learner": learner.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            }
            save_state(file, _fingerprint(config), saved)

        while progress.clips < config.clips:
            _train_stage(config, spec, wrapped, optimizers, progress, context, on_progress)
            # The main process's accuracy decides for all.
            progress.difficulty = context.run_on_main(
                lambda: _next_difficulty(progress, progress.clips / config.clips)
            )
            context.run_on_main(save_progress)
        trained = TrainedModel(learner.network.cpu().eval(), spec, MEAN, STD)
        if context.is_main:
            save(trained, out, half=True)
    return trained


def clip_targets(out: Path) -> list[int]:
    """Total clips of the run into `out`: the first number, then each changed one at a resume."""
    saved = load_state(out / "training.pt", {})
    return [] if saved is None else list(saved["progress"]["clip_targets"])


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
        frames=config.network.num_frames,
        span_s=config.span_s,
        height=config.network.image_size,
        width=config.network.image_size,
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
    spec: ClipSpec,
    learner: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    progress: Progress,
    context: DistributedContext,
    on_progress: Callable[[Progress], None],
) -> None:
    """Train `config.stage_batches` batches of one difficulty, or fewer at the end of the run."""
    end = min(progress.clips + config.stage_batches * config.batch_size, config.clips)
    start, pairs = progress.clips // 2, config.batch_size // 2
    # Distributed runs need whole batches, since the processes wait for each other.
    count = end // 2 - start
    count -= count % pairs if context.size > 1 else 0
    dataset = SyntheticClips(
        spec,
        config.network.patch_size,
        range(start + context.rank, start + count, context.size),
        config.seed,
        "train",
        progress.difficulty,
    )
    bf16 = computes_bf16(context.device)
    for batch in make_loader(dataset, context, batch_size=context.per_rank_batch(pairs)):
        frames, labels, truth = (part.to(context.device) for part in with_reversed(*batch))
        lr = config.peak_lr * lr_factor(progress.clips / config.clips, config.warmup)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = lr
        with torch.autocast(context.device.type, torch.bfloat16, enabled=bf16):
            logits, predicted = learner(normalize(frames, MEAN, STD))
        loss = F.cross_entropy(logits.float(), labels)
        learner.zero_grad()
        (loss + field_loss(predicted.float(), truth)).backward()
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        if not norm.isfinite():
            raise TrainingError(
                f"after {progress.clips:,} clips the gradients became NaN/inf; use a lower "
                "learning rate or another --seed"
            )
        for optimizer in optimizers:
            optimizer.step()
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        progress.clips += len(frames) * context.size
        progress.loss += 0.02 * (loss.item() - progress.loss)
        progress.accuracy += 0.02 * (accuracy.item() - progress.accuracy)
        on_progress(replace(progress))
    progress.clips = end  # an odd last clip has no pair and is skipped


def _next_difficulty(progress: Progress, fraction: float) -> float:
    """Difficulty of the next stage, after this fraction of the run."""
    step = _DIFFICULTY_STEP if progress.accuracy >= _READY_ACCURACY else 0.0
    start, end = _FORCED_RAMP
    return min(1.0, max(progress.difficulty + step, (fraction - start) / (end - start)))


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


def _fingerprint(config: PretrainConfig) -> dict[str, object]:
    """The options that a resumed run must repeat: all but its length."""
    return {key: value for key, value in asdict(config).items() if key != "clips"}


def _resume(
    file: Path,
    config: PretrainConfig,
    learner: _Learner,
    optimizers: Sequence[torch.optim.Optimizer],
) -> Progress:
    """Load the state of an interrupted run into this folder, or the initial state of a new run."""
    saved = load_state(file, _fingerprint(config))
    if saved is None and config.init:
        _load_init_weights(config, learner.network)
        return Progress(difficulty=1.0)  # the init model is past the easy stages
    if saved is None:
        return Progress()
    learner.load_state_dict(saved["learner"])
    for optimizer, values in zip(optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    return Progress(**saved["progress"])


def _load_init_weights(config: PretrainConfig, network: TimesformerForVideoClassification) -> None:
    """Load the weights of `init`. Raises CheckpointError for another architecture or labels."""
    init = load(config.init)
    check_trainable(init)
    architecture = replace(init.network.config, extra={})
    if architecture != network.config or init.spec.span_s != config.span_s:
        raise CheckpointError(
            f"--init {config.init}: must be a motion model of the same architecture and labels; "
            "train one without --init"
        )
    network.load_state_dict(init.network.state_dict())
