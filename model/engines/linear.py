"""Linear layers for inference: plain torch, oneDNN with packed weights, and oneDNN int8.

A layer computes activation(x W^T + b), or x W^T + b + residual. torch's `nn.Linear` passes float32
to a BLAS that runs at half speed on AMD processors, and repacks its weights in each call.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.kernels import ACTIVATIONS

_ZERO_POINT = 128  # of the unsigned bytes that represent signed values
# oneDNN's names of the activations that it can fuse with the product.
_FUSED = {"gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "relu": ("relu", "")}


class PlainLinear(nn.Module):
    """Works on every device, and can be compiled and exported."""

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(
        self, x: Tensor, activation: str | None = None, residual: Tensor | None = None
    ) -> Tensor:
        x = F.linear(x, self.weight, self.bias)
        if activation is not None:
            x = ACTIVATIONS[activation](x)
        return x if residual is None else x + residual


class PackedLinear(nn.Module):
    """oneDNN with the weight packed once; float32 or bfloat16 on a CPU.

    Activation and residual are fused with the product. torch.compile uses the same operators for
    frozen weights.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
        self._bias = None if bias is None else bias.contiguous()

    @staticmethod
    def available(dtype: torch.dtype = torch.float32) -> bool:
        """Whether torch has these operators for `dtype` on this processor."""
        ops = torch.ops.mkldnn
        if not (torch.backends.mkldnn.is_available() and hasattr(ops, "_linear_pointwise")):
            return False
        return dtype == torch.float32 or ops._is_mkldnn_bf16_supported()

    def forward(
        self, x: Tensor, activation: str | None = None, residual: Tensor | None = None
    ) -> Tensor:
        ops = torch.ops.mkldnn._linear_pointwise
        if residual is not None:
            return ops.binary(x, residual, self._weight, self._bias, "add")
        fused, algorithm = _FUSED.get(activation or "", ("none", ""))
        x = ops(x, self._weight, self._bias, fused, [], algorithm)
        if activation is not None and fused == "none":
            x = ACTIVATIONS[activation](x)
        return x


class Int8Linear(nn.Module):
    """oneDNN int8 on a CPU, with dynamic quantization: weights have a scale per output, x has one
    scale, computed in each call, so that no calibration is needed. x and the result are floats."""

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int) -> None:
        super().__init__()
        weight = weight.float()
        self._scale = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12)
        quantized = (weight / self._scale[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(quantized, None)
        self._weight_zero_points = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = None if bias is None else bias.float().contiguous()

    @staticmethod
    def available() -> bool:
        """Whether this processor multiplies int8 faster than floats, and torch supports it."""
        fast = getattr(torch.cpu, "_is_vnni_supported", lambda: False)()
        return fast and hasattr(torch.ops.onednn, "qlinear_pointwise")

    def forward(
        self, x: Tensor, activation: str | None = None, residual: Tensor | None = None
    ) -> Tensor:
        fused, algorithm = _FUSED.get(activation or "", ("none", ""))
        result = self.multiply(*self.quantize(x), x.dtype, fused, algorithm)
        if activation is not None and fused == "none":
            result = ACTIVATIONS[activation](result)
        return result if residual is None else result + residual

    @staticmethod
    def quantize(x: Tensor) -> tuple[Tensor, float]:
        """x as uint8 with zero point 128, and the scale of one step."""
        lowest, highest = torch.aminmax(x)
        scale = max(float(highest), -float(lowest), 1e-12) / 127
        rounded = x.to(torch.float32, copy=True).mul_(1 / scale).round_()
        # Signed and then shifted: torch converts to unsigned bytes four times slower.
        return rounded.to(torch.int8).view(torch.uint8).bitwise_xor_(_ZERO_POINT), scale

    def multiply(
        self, x: Tensor, scale: float, dtype: torch.dtype, fused: str = "none", algorithm: str = ""
    ) -> Tensor:
        """activation(x W^T + b) for x and scale from `quantize`, as `dtype`."""
        return torch.ops.onednn.qlinear_pointwise(
            x, scale, _ZERO_POINT, self._weight, self._scale, self._weight_zero_points, self._bias,
            1.0, 0, dtype, fused, [], algorithm,
        )  # fmt: skip
