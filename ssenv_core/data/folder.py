"""Any folder of audio files as a dataset.

Labels come from `labels.csv` in the folder (columns filename, label and, optionally, fold; only the
files it lists are used), else from the first sub-folder on a file's path, else it is
"unlabelled". Where no fold is given, a hash of the file's name selects one of five: a file has the
same fold in every copy, whatever other files there are, so folds are only roughly equal in size.
"""

import hashlib
from pathlib import Path

from ssenv_core.base.audio import list_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.data.recordings import AudioFile, Clip, Dataset
from ssenv_core.data.tables import integer, read_table

NUM_FOLDS = 5
DURATION = 5.0  # seconds
UNLABELLED = "unlabelled"


def load_folder(data_root: str | Path | None) -> Dataset:
    """Load a folder; clips are named by their path below it, clips and classes ordered by name.

    Args:
        data_root: the folder; longer files are cut to 5 seconds, shorter ones zero-padded at the
            end.

    Raises:
        SsenvError: there is no such folder, it holds no audio, or labels.csv is damaged or lists a
            file that is not there.
    """
    if data_root is None:
        raise SsenvError("dataset folder needs data_root, the folder that holds the audio files")
    root = Path(data_root)
    table = root / "labels.csv"
    if table.is_file():
        entries = _from_table(table)
    else:
        names = [path.relative_to(root) for path in list_audio(root)]
        entries = [
            (name.as_posix(), _label_from_path(name), _fold_of(name.as_posix())) for name in names
        ]
    class_names = tuple(sorted({label for _, label, _ in entries}))
    files = {name: AudioFile(root / name, (root / name).stat().st_size) for name, _, _ in entries}
    clips = tuple(
        Clip(name, class_names.index(label), fold, files[name])
        for name, label, fold in sorted(entries)
    )
    return Dataset("folder", class_names, clips, DURATION)


def _from_table(table: Path) -> list[tuple[str, str, int]]:
    """(name, label, fold) of every row of labels.csv."""
    entries = {}
    for row in read_table(table, ("filename", "label")):
        name = Path(row["filename"]).as_posix()
        fold = integer(row, "fold", table) if row.get("fold") else _fold_of(name)
        if not (table.parent / name).is_file():
            raise SsenvError(f"{table} lists {name}, which is not in {table.parent}")
        if name in entries:
            raise SsenvError(f"{table} lists {name} twice")
        if fold < 1:
            raise SsenvError(f"{table}: fold {fold} of {name} must be 1 or more")
        entries[name] = (name, row["label"], fold)
    return list(entries.values())


def _label_from_path(relative: Path) -> str:
    return relative.parts[0] if len(relative.parts) > 1 else UNLABELLED


def _fold_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % NUM_FOLDS + 1
