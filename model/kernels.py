"""Operations that networks and engines share: attention kernels and activations."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.families.base import AttentionFn


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "selu": F.selu,
    "gelu_new": _gelu_tanh,
}


def attention_fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """torch's fused attention; torch selects one of its kernels."""
    shape = query.shape
    query, key, value = (part.flatten(0, -4) for part in (query, key, value))  # slow for more axes
    return F.scaled_dot_product_attention(query, key, value, scale=1.0).view(shape)


def attention_with_backend(backend: SDPBackend) -> AttentionFn:
    """torch's fused attention with this kernel. A call raises RuntimeError if unsupported."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return attention_fused(query, key, value)

    return attend


def attention_eager(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Two products and a softmax: often faster on a CPU, mainly for short sequences."""
    return (query @ key.transpose(-1, -2)).softmax(dim=-1) @ value
