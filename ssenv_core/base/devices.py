"""Choose the device and the precision, and check whether torch can compile here."""

import os
import shutil
from importlib.util import find_spec

import torch

from ssenv_core.base.errors import SsenvError


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn auto (CUDA where there is one, else the CPU), cpu, cuda or cuda:<n> into a device.

    Raises:
        SsenvError: this machine has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        known = device.type in ("cpu", "cuda")
    except RuntimeError:
        known = False
    if not known:
        raise SsenvError(f"no device {str(device)!r}: set device to auto, cpu, cuda or cuda:<n>")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise SsenvError(
            f"no device {device} here (CUDA devices: {count}): set device to auto or cpu"
        )
    return device


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return fp32 or bf16; auto is bf16 where the device supports it natively."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)
    return "bf16" if fast else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context that computes in this precision (see `resolve_precision`)."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=resolve_precision(precision, device) == "bf16"
    )


def can_compile() -> bool:
    """Whether torch.compile can build GPU kernels: it needs triton and a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return find_spec("triton") is not None and compiler is not None
