"""Devices and dtypes are this machine's, or refused in one line."""

from __future__ import annotations

import pytest
import torch

from v2l.device import choose_device, choose_dtype
from v2l.errors import V2LError


def test_auto_is_the_accelerator_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda")
    )
    assert choose_device() == torch.device("cuda")


def test_auto_is_the_cpu_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert choose_device("auto") == torch.device("cpu")


def test_the_cpu_can_always_be_chosen() -> None:
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cuda:99", "vulkan", "cpu please"])
def test_a_device_that_is_not_here_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(V2LError) as refused:
        choose_device(name)
    assert repr(name) in str(refused.value)
    assert "try: --device auto" in str(refused.value)


@pytest.mark.parametrize(("bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_is_bfloat16_where_the_gpu_has_it(
    bf16: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_supported(including_emulation: bool = True) -> bool:
        return bf16 or including_emulation  # every GPU can emulate it, slowly

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert choose_dtype("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize("device", [None, torch.device("cpu"), torch.device("mps")])
def test_auto_elsewhere_is_float32(device: torch.device | None) -> None:
    assert choose_dtype("auto", device) == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_named_dtype_is_that_dtype(dtype: torch.dtype) -> None:
    assert choose_dtype(str(dtype).removeprefix("torch.")) == dtype


@pytest.mark.parametrize("name", ["float64", "half", "", "int8"])
def test_another_dtype_is_refused_with_the_ones_that_work(name: str) -> None:
    with pytest.raises(V2LError, match="allowed: auto, float32, bfloat16, float16; try: --dtype auto"):
        choose_dtype(name)
