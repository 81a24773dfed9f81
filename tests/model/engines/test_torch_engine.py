"""Precisions by processor, with the answers of torch's checks of CPU features."""

from __future__ import annotations

import pytest
import torch

from model.engines.base import EngineError
from model.engines.torch_engine import cpu_precision

_CHECKS = ("_is_vnni_supported", "_is_avx512_bf16_supported", "_is_amx_tile_supported")


def processor(monkeypatch: pytest.MonkeyPatch, *supported: str) -> None:
    for check in _CHECKS:
        monkeypatch.setattr(torch.cpu, check, lambda found=check in supported: found)


@pytest.mark.parametrize(
    ("supported", "expected"),
    [
        ((), "fp32"),  # AVX2
        (("_is_vnni_supported",), "fp32"),  # AVX512 with VNNI
        (("_is_vnni_supported", "_is_avx512_bf16_supported"), "bf16"),
        (_CHECKS, "bf16"),
    ],
    ids=["AVX2", "VNNI", "AVX512-BF16", "AMX"],
)
def test_auto_is_bf16_only_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, supported: tuple[str, ...], expected: str
) -> None:
    processor(monkeypatch, *supported)
    assert cpu_precision("auto") == expected


def test_builds_of_torch_without_these_checks_use_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    for check in _CHECKS:
        monkeypatch.delattr(torch.cpu, check, raising=False)
    assert cpu_precision("auto") == "fp32"
    with pytest.raises(EngineError, match="precision int8 needs a processor with VNNI"):
        cpu_precision("int8")


def test_int8_needs_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch)
    with pytest.raises(
        EngineError, match=r"precision int8 needs a processor with VNNI .*; use auto"
    ):
        cpu_precision("int8")
    processor(monkeypatch, "_is_vnni_supported")
    assert cpu_precision("int8") == "int8"
