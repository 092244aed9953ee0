"""Encoding and decoding speed of the embedded codec and of EnCodec 24 kHz, x real time.

EnCodec has random weights, which are as fast as any.
"""

import time

import torch

from ssenv_core.codecs import load_codec
from ssenv_core.codecs.encodec import untrained_encodec
from ssenv_core.codecs.protocol import Codec

SECONDS, ROUNDS = 5.0, 5


def measure() -> dict[str, float]:
    """Medians over rounds in which the codecs take turns: a busy machine slows all of them."""
    codecs = {
        "melrvq_24khz": load_codec("melrvq_24khz", 6.0),
        "encodec_24khz": untrained_encodec("encodec_24khz", 6.0),
    }
    wav = 0.1 * torch.randn(1, 1, int(SECONDS * 24_000), generator=torch.Generator().manual_seed(0))
    for codec in codecs.values():
        seconds(codec, wav)  # the first call sets things up
    times = {name: [] for name in codecs}
    for _ in range(ROUNDS):
        for name, codec in codecs.items():
            times[name].append(seconds(codec, wav))
    encode, decode = (
        {name: torch.tensor(rounds)[:, part].median().item() for name, rounds in times.items()}
        for part in (0, 1)
    )
    rows = {f"{name} encode, x real time": SECONDS / encode[name] for name in codecs}
    rows |= {f"{name} decode, x real time": SECONDS / decode[name] for name in codecs}
    rows |= {
        f"{name} both, x real time": SECONDS / (encode[name] + decode[name]) for name in codecs
    }
    rows["melrvq_24khz both, x encodec_24khz"] = (
        rows["melrvq_24khz both, x real time"] / rows["encodec_24khz both, x real time"]
    )
    return rows


def seconds(codec: Codec, wav: torch.Tensor) -> tuple[float, float]:
    """Of encoding and of decoding."""
    started = time.perf_counter()
    codes = codec.encode(wav)
    encoded = time.perf_counter()
    codec.decode(codes)
    return encoded - started, time.perf_counter() - encoded
