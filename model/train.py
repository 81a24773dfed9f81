"""Train the embedded motion model on drawn clips: `actionwatch train motion`.

A TimeSformer that only ever sees one label a clip learns nothing here: where the object is
and how it moves must be found first. So clips get harder as training goes on, and while
training a second head names, for each patch, what moves there (`dataset.motion_field`); that
is 128 answers a clip in place of one. The head is thrown away at the end.
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

from model import checkpoint as checkpoints
from model.checkpoint import Checkpoint, CheckpointError
from model.dataset import FIELD_CHANNELS, DrawnClips, one_thread
from model.preprocess import normalise
from model.timesformer import TimesformerConfig, TimesformerForVideoClassification
from stream.messages import ClipSpec
from stream.synthetic import MOTIONS, STILL

MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on. Two runs of one recipe draw the same clips."""

    clips: int = 400_000
    seed: int = 0
    batch: int = 16
    rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.005  # share of the clips
    ramp: float = 0.35  # share of the clips over which they become hard
    field_weight: float = 1.0
    size: int = 64
    patch: int = 16
    frames: int = 8
    span_s: float = 1.6
    hidden: int = 192
    layers: int = 6
    heads: int = 6
    intermediate: int = 384

    def network(self) -> TimesformerConfig:
        return TimesformerConfig(
            image_size=self.size,
            patch_size=self.patch,
            num_frames=self.frames,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate,
            initializer_range=0.5
            / math.sqrt(self.hidden),  # 0.02 is too faint for a narrow network
            id2label=dict(enumerate(MOTIONS)),
        )


@dataclass(frozen=True)
class Progress:
    """How far a training run is; the averages are over the latest hundred batches or so."""

    clips: int
    loss: float
    accuracy: float
    difficulty: float


def train_motion(
    out: Path,
    recipe: Recipe,
    *,
    save_every: int = 500,
    workers: int = 1,
    progress: Callable[[Progress], None] = lambda state: None,
) -> Checkpoint:
    """Train, or go on where a run into `out` was broken off, and write the checkpoint there.

    `out/training.pt` keeps the state, every `save_every` batches, until the run is complete.
    Raises CheckpointError where `out` holds a run of another recipe.
    """
    torch.manual_seed(recipe.seed)
    network = TimesformerForVideoClassification(recipe.network())
    _know_place_and_time(network)
    field_head = nn.Linear(recipe.hidden, FIELD_CHANNELS)
    learner = nn.ModuleDict({"network": network, "field": field_head})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    learner.to(device).train()
    optimiser = torch.optim.AdamW(
        _groups(learner, recipe.weight_decay), lr=recipe.rate, betas=(0.9, 0.98)
    )
    state_file = out / "training.pt"
    done = _resume(state_file, recipe, learner, optimiser)
    loss_average = accuracy = 0.0
    drawn = DrawnClips(
        seed=recipe.seed,
        split="train",
        first=done,
        last=recipe.clips,
        frames=recipe.frames,
        size=recipe.size,
        patch=recipe.patch,
        span_s=recipe.span_s,
        ramp=int(recipe.clips * recipe.ramp),
    )
    loader = DataLoader(
        drawn,
        recipe.batch,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        worker_init_fn=one_thread,
    )
    for number, (frames, labels, field) in enumerate(loader, start=1):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * _schedule(done / recipe.clips, recipe.warmup)
        labels = labels.to(device)
        pixels = normalise(frames.to(device), MEAN, STD)
        with torch.autocast(device, torch.bfloat16):
            cls, patches = network.timesformer(pixels)
            logits = network.classifier(cls)
            named = field_head(patches)
        loss = F.cross_entropy(logits.float(), labels)
        total = loss + recipe.field_weight * field_loss(named.float(), field.to(device))
        optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
        done += len(frames)
        hits = float((logits.argmax(dim=1) == labels).float().mean())
        blend = 1 / min(number, 100)
        accuracy += blend * (hits - accuracy)
        loss_average += blend * (loss.item() - loss_average)
        if number % save_every == 0:
            _save_state(state_file, recipe, learner, optimiser, done)
        progress(
            Progress(done, loss_average, accuracy, min(1.0, done / recipe.clips / recipe.ramp))
        )
    trained = Checkpoint(network.cpu().eval(), motion_spec(recipe, out.name), MEAN, STD)
    checkpoints.save(trained, out, half=True)
    state_file.unlink(missing_ok=True)
    return trained


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


def _know_place_and_time(network: TimesformerForVideoClassification) -> None:
    """Begin with sines and cosines as position and time embeddings, as large as the patches.

    From the usual zeros for time, a network takes tens of thousands of clips to find out that
    frames have an order.
    """
    body = network.timesformer
    hidden, side = body.config.hidden_size, body.config.image_size // body.config.patch_size
    down, across = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place = torch.cat(
        [_waves(down.flatten(), hidden // 2), _waves(across.flatten(), hidden // 2)], 1
    )
    with torch.no_grad():
        body.position[0, 1:] = 0.5 * place
        body.time[0] = 0.5 * _waves(torch.arange(body.config.num_frames), hidden)


def _waves(places: Tensor, channels: int) -> Tensor:
    """Sines and cosines of `places`, (N,), from slow to fast: (N, channels)."""
    pace = math.pi * torch.logspace(-5, 0, channels // 2, base=2)
    angles = places[:, None] * pace
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def field_loss(named: Tensor, field: Tensor) -> Tensor:
    """How wrong the motion field is, both (batch, T, patches, 5): where, and there how."""
    covered = field[..., 0]
    where = F.binary_cross_entropy_with_logits(named[..., 0], covered)
    errors = F.smooth_l1_loss(named[..., 1:], field[..., 1:], reduction="none").sum(dim=-1)
    return 4 * where + (errors * covered).sum() / covered.sum().clamp(min=1)


def _schedule(share: float, warmup: float) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 1 %."""
    if share < warmup:
        return max(0.01, share / warmup)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases, norms and embeddings don't, as usual for transformers."""
    named = list(module.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 or "projection.weight" in name]
    chosen = {id(p) for p in matrices}
    others = [p for _, p in named if id(p) not in chosen]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _save_state(
    file: Path, recipe: Recipe, learner: nn.Module, optimiser: torch.optim.Optimizer, done: int
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "recipe": asdict(recipe),
        "done": done,
        "learner": learner.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    fresh = file.with_suffix(".new")  # a kill while writing must not cost the run
    torch.save(state, fresh)
    fresh.replace(file)


def _resume(
    file: Path, recipe: Recipe, learner: nn.Module, optimiser: torch.optim.Optimizer
) -> int:
    """Clips that an earlier run into this folder has done; 0 for a new run."""
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    if state["recipe"] != asdict(recipe):
        differs = [
            key for key, value in asdict(recipe).items() if state["recipe"].get(key) != value
        ]
        raise CheckpointError(
            f"{file} belongs to a run with another {', '.join(differs)}; "
            "go on with the same options, or give a new --out"
        )
    learner.load_state_dict(state["learner"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["done"])
