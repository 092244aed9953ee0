"""UrbanSound8K: 8,732 clips of up to 4 s, 10 classes, 10 official folds.

J. Salamon, C. Jacoby, J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research", 2014.
Licence: CC BY-NC 3.0. Slices of one recording share a fold, so folds that this copy lacks are in
`Dataset.missing_folds` and never filled from others.
"""

from pathlib import Path

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.recordings import Clip, Dataset
from ssenv_core.data.tables import audio_by_stem, find_root, integer, read_table, refuse_missing

CLASS_NAMES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
FOLDS = range(1, 11)


def load_urbansound8k(data_root: str | Path | None, duration: float = 4.0) -> Dataset:
    """Load UrbanSound8K; clips shorter than `duration` are zero-padded at the end.

    Args:
        data_root: the folder with metadata/ and audio/, or its parent if that folder has the name
            that the official archive or soundata gives it.
        duration: seconds of a clip that are read; 4.0 holds every whole clip.

    Raises:
        SsenvError: the dataset is not there, its table is damaged, a fold that is there lacks
            files, or no fold is there.
    """
    root = find_root(
        data_root,
        ("UrbanSound8K", "urbansound8k"),
        "metadata/UrbanSound8K.csv",
        "UrbanSound8K",
        "urbansound8k",
    )
    table = root / "metadata" / "UrbanSound8K.csv"
    present = [fold for fold in FOLDS if (root / "audio" / f"fold{fold}").is_dir()]
    if not present:
        raise SsenvError(
            f"{root / 'audio'} holds none of the folders fold1 to fold10: "
            "run `ssenv download urbansound8k`"
        )
    audio = {
        (fold, stem): file
        for fold in present
        for stem, file in audio_by_stem(root / "audio" / f"fold{fold}").items()
    }

    rows = read_table(table, ("slice_file_name", "fold", "classID", "fsID"))
    missing = []
    clips = []
    for row in rows:
        fold = integer(row, "fold", table)
        label = integer(row, "classID", table)
        stem = Path(row["slice_file_name"]).stem
        if not 0 <= label < len(CLASS_NAMES):
            last = len(CLASS_NAMES) - 1
            raise SsenvError(
                f"{table}: classID {label} of {row['slice_file_name']} is not in 0 to {last}"
            )
        if (fold, stem) in audio:
            clips.append(Clip(stem, label, fold, audio[fold, stem], row["fsID"]))
        elif fold in present:
            missing.append(f"fold{fold}/{row['slice_file_name']}")
    refuse_missing(missing, len(rows), table, "urbansound8k")
    if not clips:
        folds = ", ".join(map(str, present))
        raise SsenvError(
            f"{table} lists no clip of the folds that {root / 'audio'} holds ({folds})"
        )

    missing_folds = tuple(fold for fold in FOLDS if fold not in {clip.fold for clip in clips})
    return Dataset("urbansound8k", CLASS_NAMES, tuple(clips), duration, missing_folds)
