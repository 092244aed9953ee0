"""Where and how exactly to compute: the device, the precision that is fast on it, and whether it can compile."""

import os
import shutil
from importlib.util import find_spec

import torch

from ssenv_core.base.errors import SsenvError


def resolve_device(device: str | torch.device) -> torch.device:
    """auto (CUDA where there is one, else the CPU), cpu, cuda or cuda:<n> as a device.

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
        raise SsenvError(
            f"no device {device} here (CUDA devices: {torch.cuda.device_count()}): set device to auto or cpu"
        )
    return device


def resolve_precision(precision: str, device: torch.device) -> str:
    """fp32 or bf16; auto is bf16 where the device computes in it, not merely emulates it."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)
    return "bf16" if fast else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context to compute in, in this precision (see `resolve_precision`)."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=resolve_precision(precision, device) == "bf16"
    )


def can_compile() -> bool:
    """Whether torch.compile finds what it needs to make GPU kernels: triton, and a C compiler for triton."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return find_spec("triton") is not None and compiler is not None
