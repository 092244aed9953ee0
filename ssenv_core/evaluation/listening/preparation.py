"""Prepare a listening test from a study: read its clips, code them, and write the test's files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ssenv_core.base.audio import read_audio
from ssenv_core.base.files import read_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.codecs.protocol import weights_hash
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.tokens import load_tokens_file, require_dataset
from ssenv_core.evaluation.ceiling import available_codecs, reconstruct_clip
from ssenv_core.evaluation.listening.design import Choice, Coded, ListeningTest, Recording
from ssenv_core.evaluation.listening.hosting import write_key, write_page
from ssenv_core.evaluation.listening.ratings import start_ratings
from ssenv_core.generator.file import load_generator, require_heldout


@dataclass(frozen=True)
class Material:
    """What a listening test can draw from: held-out and generated clips, both at `sample_rate`."""

    real: list[Recording]
    generated: list[Recording]
    sample_rate: int


@dataclass(frozen=True)
class CodedItems:
    """Clips of mushra through codecs, and why other codecs are missing, both by `version_name`."""

    by_codec: dict[str, Coded]
    missing: dict[str, str]


@dataclass(frozen=True)
class ListeningFiles:
    """Where a listening test is kept.

    Attributes:
        page: folder of the hosted test.
        key: CSV file that says what each sound is.
        ratings: CSV file that the panel writes.
        returned: folder for the CSV files that listeners send back.
    """

    page: Path
    key: Path
    ratings: Path
    returned: Path

    @property
    def audio(self) -> Path:
        """The folder of the sounds."""
        return self.page / "audio"

    @property
    def all_ratings(self) -> list[Path]:
        """Every CSV file with ratings."""
        return [self.ratings, *sorted(self.returned.glob("*.csv"))]


def read_material(folder: StudyFolder, sounds: Dataset, fold: int) -> Material:
    """Read the clips of a held-out fold, and those that a study has generated.

    Raises:
        SsenvError: `sounds` is not the study's dataset, the generator was trained on this fold, or
            a file is missing or damaged.
    """
    tokens = load_tokens_file(folder.tokens)
    require_dataset(tokens, sounds)
    require_heldout(load_generator(folder.generator, "cpu"), fold)
    rate = tokens.format.sample_rate
    real = [
        Recording(sounds.class_names[clip.label], clip.name, sounds.read(clip, rate))
        for clip in sounds.subset(folds=[fold]).clips
    ]
    generated = [
        Recording(
            clip["class"],
            clip["name"],
            read_audio(folder.generated / f"{clip['name']}.wav", rate)[0],
        )
        for clip in read_json(folder.generated / "recipe.json")["clips"]
    ]
    return Material(real, generated, rate)


def code_items(
    choice: Choice,
    sounds: Dataset,
    codecs: Sequence[str],
    sample_rate: int,
    device: str | torch.device,
) -> CodedItems:
    """Send the clips of mushra through codecs, given as `name@kbps`.

    Raises:
        SsenvError: there is no such codec, or it has no such bandwidth.
    """
    available, missing = available_codecs(codecs, device)
    names = [item.name for item in (choice.training, *choice.items)]
    clips = {clip.name: clip for clip in sounds.clips}
    coded = {}
    for version, codec in available.items():
        wavs = {
            name: reconstruct_clip(codec, sounds, clips[name], sample_rate, device)
            for name in names
        }
        coded[version] = Coded(weights_hash(version, codec), wavs)
    return CodedItems(coded, missing)


def write_test(folder: StudyFolder, test: ListeningTest) -> ListeningFiles:
    """Write page and key, start the ratings, and remove the figure of ratings of an earlier run.

    Raises:
        SsenvError: a file cannot be written.
    """
    root = folder.root / "listening"
    returned = root / "returned"
    page = write_page(root / "test", test)
    key = write_key(root, test)
    ratings = start_ratings(root / "ratings.csv")
    returned.mkdir(exist_ok=True)
    for figure in folder.figures.glob("07_*"):
        figure.unlink()
    return ListeningFiles(page, key, ratings, returned)
