"""TimeSformer in plain torch: divided, joint and space-only attention over space and time.

Bertasius, Wang, Torresani, "Is Space-Time Attention All You Need for Video Understanding?",
arXiv 2102.05095. Where transformers differs from the authors' code, this follows the authors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.checkpoint import Network, read_network, write_network
from model.families.timesformer.configuration import TimesformerConfig
from model.families.timesformer.outputs import ClassifierOutput, ModelOutput
from model.hub import find_checkpoint
from model.kernels import ACTIVATIONS


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch for a random fraction of the batch in training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if self.rate == 0.0 or not self.training:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty(x.shape[0], *([1] * (x.ndim - 1))).bernoulli_(keep)
        return x * mask / keep


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of (batch, tokens, hidden)."""

    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.project = nn.Linear(config.hidden_size, config.hidden_size)
        self.attention_dropout = config.attention_probs_dropout_prob
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, attentions: list[Tensor] | None = None) -> Tensor:
        """(batch, tokens, hidden) -> the same; appends the probabilities to `attentions`."""
        batch, tokens, hidden = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, hidden // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        rate = self.attention_dropout if self.training else 0.0
        # On a CPU the fused kernel is slow for the many short sequences of temporal attention, and
        # its backward pass needs half the time of a training step.
        slow = x.device.type == "cpu" and (tokens <= 32 or torch.is_grad_enabled())
        if slow or attentions is not None:
            scores = (query * (hidden // self.heads) ** -0.5) @ key.transpose(-2, -1)
            probabilities = F.dropout(scores.softmax(dim=-1), rate)
            if attentions is not None:
                attentions.append(probabilities)
            mixed = probabilities @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=rate)
        return self.dropout(self.project(mixed.transpose(1, 2).reshape(batch, tokens, hidden)))


class Mlp(nn.Module):
    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = config.hidden_act
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.dropout(ACTIVATIONS[self.activation](self.fc1(x)))))


class Block(nn.Module):
    """One layer: temporal attention (divided only), spatial or joint attention, MLP.

    Tokens are the class token (batch, hidden) and the patches (batch, frames, patches, hidden).
    """

    def __init__(self, config: TimesformerConfig, drop_path: float) -> None:
        super().__init__()
        self.attention_type = config.attention_type
        hidden, eps = config.hidden_size, config.layer_norm_eps
        if self.attention_type == "divided_space_time":
            self.temporal_norm = nn.LayerNorm(hidden, eps=eps)
            self.temporal_attention = Attention(config)
            self.temporal_project = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps=eps)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(hidden, eps=eps)
        self.mlp = Mlp(config)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, cls: Tensor, patches: Tensor, attentions: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """The tokens after this layer; appends its spatial attention to `attentions`."""
        batch, frames, count, hidden = patches.shape
        if self.attention_type == "divided_space_time":
            patches = patches + self._temporal(patches)
            # The class token attends to each frame separately; the results are averaged.
            tokens = torch.cat([cls[:, None, None].expand(-1, frames, 1, -1), patches], dim=2)
            mixed = self._spatial(tokens.flatten(0, 1), attentions)
            mixed = mixed.view(batch, frames, 1 + count, hidden)
            cls = cls + mixed[:, :, 0].mean(dim=1)
            patches = patches + mixed[:, :, 1:]
        else:
            mixed = self._spatial(flatten_tokens(cls, patches), attentions)
            cls = cls + mixed[:, 0]
            patches = patches + mixed[:, 1:].view(batch, count, frames, hidden).transpose(1, 2)
        tokens = torch.cat([cls[:, None], patches.flatten(1, 2)], dim=1)
        tokens = tokens + self.drop_path(self.mlp(self.mlp_norm(tokens)))
        return tokens[:, 0], tokens[:, 1:].view_as(patches)

    def _temporal(self, patches: Tensor) -> Tensor:
        batch, frames, count, hidden = patches.shape
        tokens = patches.transpose(1, 2).reshape(batch * count, frames, hidden)
        mixed = self.drop_path(self.temporal_attention(self.temporal_norm(tokens)))
        mixed = self.temporal_project(mixed)
        return mixed.view(batch, count, frames, hidden).transpose(1, 2)

    def _spatial(self, tokens: Tensor, attentions: list[Tensor] | None) -> Tensor:
        return self.drop_path(self.attention(self.attention_norm(tokens), attentions))


def flatten_tokens(cls: Tensor, patches: Tensor) -> Tensor:
    """All tokens, (batch, 1 + patches * frames, hidden), ordered by position, then by frame."""
    return torch.cat([cls[:, None], patches.transpose(1, 2).flatten(1, 2)], dim=1)


class _StoredNetwork(nn.Module):
    """A network that can be read from and written to a Hugging Face folder."""

    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls: type[Network],
        name: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> Network:
        """Load a network for inference from a folder, an embedded model or the hub.

        For the other arguments and errors see `model.hub.find_checkpoint`. TimesformerModel
        ignores a classifier in the folder.
        """
        folder = find_checkpoint(
            name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only
        )
        return read_network(cls, folder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` in the format of transformers."""
        write_network(self, self.config.to_dict(), Path(folder))


class TimesformerModel(_StoredNetwork):
    """The network without its classifier."""

    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__(config)
        size, hidden = config.patch_size, config.hidden_size
        self.patch_projection = nn.Conv2d(config.num_channels, hidden, size, stride=size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden))
        self.position = nn.Parameter(torch.zeros(1, 1 + config.patches_per_frame, hidden))
        if config.attention_type != "space_only":
            self.time = nn.Parameter(torch.zeros(1, config.num_frames, hidden))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        depth = config.num_hidden_layers
        rates = (config.drop_path_rate * n / max(1, depth - 1) for n in range(depth))
        self.blocks = nn.ModuleList(Block(config, rate) for rate in rates)
        self.norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.apply(self._init_weights)
        for block in list(self.blocks)[1:]:
            if isinstance(block, Block) and block.attention_type == "divided_space_time":
                # As in the authors' code: only the first layer starts with temporal attention.
                nn.init.zeros_(block.temporal_project.weight)
        for parameter in (self.cls_token, self.position):
            nn.init.trunc_normal_(parameter, std=config.initializer_range)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(
        self,
        pixel_values: Tensor,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ModelOutput | tuple[Any, ...]:
        """Run on normalized pixels, float (batch, frames, channels, height, width).

        None means the configuration's value. The number of frames and the frame size may differ
        from the configuration; embeddings are interpolated.
        Raises ValueError for another shape, or for NaN or infinite pixels.
        """
        if not isinstance(pixel_values, Tensor) or not pixel_values.is_floating_point():
            raise ValueError(
                "pixel values must be a tensor of floats, normalized; see TrainedModel"
            )
        if not torch.isfinite(pixel_values).all():
            raise ValueError("pixel values must be finite numbers; some are NaN or infinite")
        config = self.config
        states: list[Tensor] | None = (
            [] if _or_default(output_hidden_states, config.output_hidden_states) else None
        )
        attentions: list[Tensor] | None = (
            [] if _or_default(output_attentions, config.output_attentions) else None
        )
        cls, patches = self.features(pixel_values, states, attentions)
        output = ModelOutput(
            last_hidden_state=flatten_tokens(cls, patches),
            hidden_states=None if states is None else tuple(states),
            attentions=None if attentions is None else tuple(attentions),
        )
        return output if _or_default(return_dict, config.return_dict) else output.to_tuple()

    def features(
        self,
        pixels: Tensor,
        states: list[Tensor] | None = None,
        attentions: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The class token (batch, hidden) and patches (batch, frames, patches, hidden), normed.

        With "space_only" attention there is one frame, the mean. Appends the hidden states and
        attentions of the layers to `states` and `attentions`.
        """
        cls, patches = self.embed(pixels)
        batch, frames = patches.shape[:2]
        space_only = self.config.attention_type == "space_only"
        if space_only:  # each frame is a separate clip
            cls, patches = cls.repeat_interleave(frames, dim=0), patches.flatten(0, 1)[:, None]
        for block in self.blocks:
            if states is not None:
                states.append(flatten_tokens(cls, patches))
            cls, patches = block(cls, patches, attentions)
        if states is not None:
            states.append(flatten_tokens(cls, patches))
        if space_only:  # the authors average over frames; transformers 5.23 does not
            cls = cls.unflatten(0, (batch, frames)).mean(dim=1)
            patches = patches.unflatten(0, (batch, frames)).mean(dim=1)
        return self.norm(cls), self.norm(patches)

    def embed(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Class token (batch, hidden) and patches (batch, frames, patches, hidden)."""
        config = self.config
        size = config.patch_size
        fits = pixels.ndim == 5 and pixels.shape[2] == config.num_channels
        if not fits or pixels.shape[3] % size or pixels.shape[4] % size or 0 in pixels.shape:
            raise ValueError(
                f"pixel values must be (batch, frames, {config.num_channels}, height, width) with "
                f"height and width multiples of {size}, got {tuple(pixels.shape)}"
            )
        batch, frames = pixels.shape[:2]
        patches = self.patch_projection(pixels.flatten(0, 1))
        position = self._position_embeddings(*patches.shape[2:])
        patches = patches.flatten(2).transpose(1, 2).unflatten(0, (batch, frames))
        patches = self.dropout(patches + position[:, None])
        cls = (self.cls_token + self.position[:, :1])[:, 0].expand(batch, -1)
        if config.attention_type != "space_only":
            patches = self.dropout(patches + self._time_embeddings(frames)[:, :, None])
        return self.dropout(cls), patches

    def _position_embeddings(self, rows: int, columns: int) -> Tensor:
        """Position embeddings for a grid of patches: (1, rows * columns, hidden)."""
        side = self.config.image_size // self.config.patch_size
        trained = self.position[:, 1:]
        if (rows, columns) == (side, side):
            return trained
        grid = trained.transpose(1, 2).unflatten(2, (side, side))
        return F.interpolate(grid, size=(rows, columns), mode="nearest").flatten(2).transpose(1, 2)

    def _time_embeddings(self, frames: int) -> Tensor:
        """Time embeddings: (1, frames, hidden)."""
        if frames == self.config.num_frames:
            return self.time
        return F.interpolate(self.time.transpose(1, 2), size=frames, mode="nearest").transpose(1, 2)


class TimesformerForVideoClassification(_StoredNetwork):
    """The network with a linear classifier on the class token."""

    def __init__(self, config: TimesformerConfig) -> None:
        super().__init__(config)
        self.timesformer = TimesformerModel(config)
        self.classifier = nn.Linear(config.hidden_size, len(config.labels))
        nn.init.trunc_normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ClassifierOutput | tuple[Any, ...]:
        """Classify clips, see TimesformerModel.forward; with `labels` also compute the loss.

        labels: whole numbers (batch,) for one label per clip; floats (batch, labels) from 0 to 1
        for multi-label; floats (batch,) for regression, if the configuration has a single label.
        Raises ValueError for labels of another shape or out of range.
        """
        base = self.timesformer(pixel_values, output_attentions, output_hidden_states, True)
        logits = self.classifier(base.last_hidden_state[:, 0])
        loss = None if labels is None else self._loss(logits, labels)
        output = ClassifierOutput(loss, logits, base.hidden_states, base.attentions)
        return output if _or_default(return_dict, self.config.return_dict) else output.to_tuple()

    def logits(self, pixels: Tensor) -> Tensor:
        """Only the logits, (batch, labels), without checking the pixels."""
        return self.classifier(self.timesformer.features(pixels)[0])

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        problem = self.config.problem_type
        if problem is None and logits.shape[1] == 1:
            problem = "regression"
        elif problem is None:
            multi_label = labels.is_floating_point()
            problem = "multi_label_classification" if multi_label else "single_label_classification"
        single = problem == "single_label_classification"
        if labels.numel() != (len(logits) if single else logits.numel()):
            raise ValueError(
                f"labels must be whole numbers ({len(logits)},) or, for several labels per clip, "
                f"floats {tuple(logits.shape)}; got {labels.dtype} {tuple(labels.shape)}"
            )
        if single:
            if labels.min() < 0 or labels.max() >= logits.shape[1]:
                raise ValueError(f"labels must be from 0 to {logits.shape[1] - 1}")
            return F.cross_entropy(logits, labels.view(-1))
        target = labels.view_as(logits).to(logits.dtype)
        if problem == "regression":
            return F.mse_loss(logits, target)
        return F.binary_cross_entropy_with_logits(logits, target)


def _or_default(given: bool | None, default: bool) -> bool:
    return default if given is None else given
