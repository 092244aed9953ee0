"""ESC-50 and its subset ESC-10: 5 s clips of 50 (10) classes in 5 official folds.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 2015. Licence: CC BY-NC 3.0,
ESC-10 CC BY 3.0. The official wav files may be replaced by any other encoding under the
same stems. Clips of one recording share a fold, except for nine clips of four recordings (freesound
131943, 134049, 209698, 234879) in folds 2 to 5: `Clip.recording` identifies them.
"""

from pathlib import Path

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.data.tables import audio_by_stem, find_root, integer, read_table, refuse_missing


def load_esc50(data_root: str | Path | None, duration: float = 5.0, esc10: bool = False) -> Dataset:
    """Load ESC-50, or ESC-10 with labels 0 to 9 in the order of ESC-50's.

    Args:
        data_root: the folder with meta/ and audio/, or its parent if that folder has the name that
            the official archive or soundata gives it.
        duration: seconds of a clip that are read; 5.0 is the whole clip.
        esc10: only the ten classes of ESC-10.

    Raises:
        SsenvError: the dataset is not there, its table is damaged, or audio files are missing.
    """
    root = find_root(
        data_root, ("ESC-50-master", "esc50", "ESC-50"), "meta/esc50.csv", "ESC-50", "esc50"
    )
    table = root / "meta" / "esc50.csv"
    rows = read_table(table, ("filename", "fold", "target", "category", "esc10", "src_file"))
    if esc10:
        rows = [row for row in rows if row["esc10"].lower() == "true"]
        if not rows:
            raise SsenvError(f"{table} marks no clip as esc10: it is not the official table")
    audio = audio_by_stem(root / "audio")
    missing = [row["filename"] for row in rows if Path(row["filename"]).stem not in audio]
    refuse_missing(missing, len(rows), table, "esc50")

    classes = sorted({(integer(row, "target", table), row["category"]) for row in rows})
    label = {target: index for index, (target, _) in enumerate(classes)}
    clips = tuple(
        Clip(
            stem := Path(row["filename"]).stem,
            label[int(row["target"])],
            integer(row, "fold", table),
            audio[stem],
            row["src_file"],
        )
        for row in rows
    )
    class_names = tuple(category for _, category in classes)
    return Dataset("esc10" if esc10 else "esc50", class_names, clips, duration)
