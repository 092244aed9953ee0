"""Runs every benchmark and writes outputs/bench.json.

Ratios are measured side by side, which makes them reliable on a noisy machine.
"""

import importlib.metadata
import os

import codecs_speed
import soundstorm_speed
import torch

from ssenv_core.base.environment import environment
from ssenv_core.base.files import write_json
from ssenv_core.base.folders import project_root

BENCHMARKS = {"codecs": codecs_speed.measure, "soundstorm": soundstorm_speed.measure}
PEER = "soundstorm-pytorch"


def main() -> None:
    torch.set_num_threads(os.cpu_count())
    results = {}
    for name, measure in BENCHMARKS.items():
        results[name] = measure()
        for row, value in results[name].items():
            print(f"{name}: {row}: {value:.4g}", flush=True)
    about = environment(torch.device("cpu")) | {"threads": torch.get_num_threads()}
    about["packages"][PEER] = importlib.metadata.version(PEER)
    print(
        write_json(
            project_root() / "outputs" / "bench.json", {"environment": about, "results": results}
        )
    )


if __name__ == "__main__":
    main()
