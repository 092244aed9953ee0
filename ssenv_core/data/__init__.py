"""Datasets by name.

Loading reads tables only; sound is read clip by clip, and nothing is downloaded.
"""

from collections.abc import Callable
from pathlib import Path

from ssenv_core.base.errors import SsenvError, did_you_mean
from ssenv_core.data.esc50 import load_esc50
from ssenv_core.data.folder import load_folder
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.synthetic import load_synthetic
from ssenv_core.data.urbansound8k import load_urbansound8k

DATASETS: dict[str, Callable[[str | Path | None, int, int], Dataset]] = {
    "esc50": lambda root, *_: load_esc50(root),
    "esc10": lambda root, *_: load_esc50(root, esc10=True),
    "urbansound8k": lambda root, *_: load_urbansound8k(root),
    "folder": lambda root, *_: load_folder(root),
    "synthetic": lambda _, clips_per_class, seed: load_synthetic(clips_per_class, seed),
}


def load_dataset(
    name: str, data_root: str | Path | None = None, *, clips_per_class: int = 40, seed: int = 0
) -> Dataset:
    """Load a dataset; its clips are cut or zero-padded to 4 seconds for urbansound8k, 5 for others.

    Args:
        name: a key of DATASETS.
        data_root: where its files are; synthetic needs none.
        clips_per_class: of synthesised datasets.
        seed: of synthesised datasets.

    Raises:
        SsenvError: the name is unknown, the files are missing or damaged, or a number is out of
            range.
    """
    if name not in DATASETS:
        hint = did_you_mean(name, DATASETS) or "there are"
        raise SsenvError(f"no dataset {name!r}: {hint} ({', '.join(DATASETS)})")
    return DATASETS[name](data_root, clips_per_class, seed)
