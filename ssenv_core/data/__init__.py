"""The datasets of the study by name. Loading reads tables only, sound is read clip by clip; nothing is ever downloaded by loading."""

import difflib
from collections.abc import Callable
from pathlib import Path

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.download import download
from ssenv_core.data.esc50 import load_esc50
from ssenv_core.data.folder import load_folder
from ssenv_core.data.recordings import Clip, Dataset, with_variations
from ssenv_core.data.synthetic import load_synthetic
from ssenv_core.data.urbansound8k import load_urbansound8k

__all__ = ["DATASET_NAMES", "Clip", "Dataset", "download", "load_dataset", "with_variations"]

DATASET_NAMES = ("esc50", "esc10", "urbansound8k", "folder", "synthetic")


def load_dataset(
    name: str, data_root: str | Path | None = None, *, clips_per_class: int = 40, seed: int = 0
) -> Dataset:
    """Load a dataset; its clips are cut or zero-padded to 4 seconds for urbansound8k, 5 for the others.

    Args:
        name: one of DATASET_NAMES.
        data_root: where its files are; synthetic needs none.
        clips_per_class: synthetic only.
        seed: synthetic only.

    Raises:
        SsenvError: the name is unknown, the files are not there or are damaged, or a number is out of range.
    """
    if name not in DATASET_NAMES:
        nearest = difflib.get_close_matches(name, DATASET_NAMES, n=1, cutoff=0)[0]
        raise SsenvError(
            f"no dataset {name!r}: did you mean {nearest}? There are {', '.join(DATASET_NAMES)}"
        )
    loaders: dict[str, Callable[[], Dataset]] = {
        "esc50": lambda: load_esc50(data_root),
        "esc10": lambda: load_esc50(data_root, esc10=True),
        "urbansound8k": lambda: load_urbansound8k(data_root),
        "folder": lambda: load_folder(data_root),
        "synthetic": lambda: load_synthetic(clips_per_class, seed),
    }
    return loaders[name]()
