"""Columns of sounds, pairs and copies, on a tiny generated study and on known copies."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from tiny import tiny_codec, token_format

from ssenv_core.base.audio import read_audio
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import read_json
from ssenv_core.base.folders import StudyFolder
from ssenv_core.base.tensors import load_tensors
from ssenv_core.codecs import load_codec
from ssenv_core.data import load_dataset
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.tokenizing import tokenize
from ssenv_core.data.tokens import TokenSet, save_tokens
from ssenv_core.evaluation.columns import audible_latents, load_columns, pair_within_classes
from ssenv_core.evaluation.copies import find_copies
from ssenv_core.generator import clip_set, generation
from ssenv_core.generator.file import TrainedGenerator, save_generator
from ssenv_core.generator.plans import Plans
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig
from ssenv_core.study import step

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SMALL = {
    "study": "tiny",
    "samples_per_class": 2,
    "duration": 0.2,
    "steps": [2, 1],
    "long_clips": 1,
    "device": "cpu",
}


def run(name: str, **given: object) -> dict:
    """The code cells of a notebook, run with these parameters; what they leave."""
    namespace = {}
    for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
            namespace |= given if "parameters" in cell.metadata.get("tags", []) else {}
    return namespace


@pytest.fixture(scope="module")
def sounds() -> Dataset:
    whole = load_dataset("synthetic", clips_per_class=2)
    return replace(
        whole,
        duration=0.3,
        class_names=whole.class_names[:3],
        clips=tuple(clip for clip in whole.clips if clip.label < 3),
    )


@pytest.fixture
def folder(sounds: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A study with tokens of folds 1 and 2, and a generator trained on fold 2 by its file."""
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(step, "save_figure", lambda *_: None)
    folder = StudyFolder.of("tiny")
    tokens = tokenize(sounds, load_codec("melrvq_24khz", 1.5, "cpu"), device="cpu")
    save_tokens(folder.tokens, tokens)
    torch.manual_seed(0)
    model = SoundStorm(
        SoundStormConfig(
            n_q=2,
            codebook_size=1024,
            num_classes=3,
            dim=16,
            depth=1,
            heads=2,
            kernel_size=3,
            controls=True,
        )
    )
    plans = Plans.of(tokens.where([2]))
    save_generator(
        folder.generator,
        TrainedGenerator(model.eval(), sounds.class_names, tokens.format, {"folds": [2]}, plans),
    )
    return folder


def test_the_columns_are_the_heldout_clips_and_what_was_generated_with_its_codes(
    folder: StudyFolder, sounds: Dataset
) -> None:
    left = run("03_generate", **SMALL)
    codes, wavs = left["generated"].codes, left["generated"].wavs
    columns = load_columns(folder, sounds, 1, "cpu")
    assert torch.equal(columns.generated_codes, codes)
    assert columns.generated_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert columns.names == tuple(clip.name for clip in sounds.clips if clip.fold == 1)
    assert [len(wav) for wav in (*columns.real, *columns.codec)] == [7200] * 6
    assert columns.planned
    for wav, own, name in zip(columns.generated, wavs, columns.generated_names, strict=True):
        np.testing.assert_array_equal(wav, own)  # unclipped, unlike the file
        stored, _ = read_audio(folder.generated / f"{name}.wav", columns.sample_rate)
        np.testing.assert_allclose(stored, np.clip(wav, -1, 1), atol=1 / 32768)


def test_generating_needs_its_codes_on_the_cpu_for_whatever_is_no_decoding(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnDevice(torch.Tensor):
        """As a CUDA tensor, it has no array before it is on the CPU."""

        def cpu(self) -> torch.Tensor:
            return self.as_subclass(torch.Tensor)

        def numpy(self) -> np.ndarray:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    made: Callable = generation.generate_codes
    monkeypatch.setattr(
        clip_set,
        "generate_codes",
        lambda *args, **kwargs: made(*args, **kwargs).as_subclass(OnDevice),
    )
    left = run("03_generate", **SMALL)
    stored, _ = load_tensors(folder.generated / "codes.safetensors", "generated codes")
    assert torch.equal(stored["codes"].to(torch.int64), left["generated"].codes)
    assert "generated/codes.safetensors" in read_json(folder.step_record("03_generate"))["outputs"]


def test_a_fold_that_the_generator_was_trained_on_is_no_real_side(
    folder: StudyFolder, sounds: Dataset
) -> None:
    with pytest.raises(SsenvError, match="fold 2 is not held out"):
        load_columns(folder, sounds, 2, "cpu")
    with pytest.raises(SsenvError, match="fold 2 is not held out"):
        run("06_classify", study="tiny", fold=2, device="cpu")


def test_a_dataset_that_the_tokens_were_not_made_of_is_refused(
    folder: StudyFolder, sounds: Dataset
) -> None:
    with pytest.raises(SsenvError, match="were not made from this copy"):
        load_columns(folder, sounds.subset(folds=[1]), 1, "cpu")


def test_latents_are_those_of_the_frames_that_sound() -> None:
    codec = tiny_codec()
    wav = np.zeros(3200, dtype=np.float32)
    wav[960:1600] = 0.1 * np.random.default_rng(0).standard_normal(640)
    first, none, second = audible_latents(
        codec, [wav, np.zeros(3200, dtype=np.float32), wav[:1600]]
    )
    whole = codec.embed(torch.from_numpy(wav)[None, None])[0].T.numpy()
    assert np.array_equal(first, whole[3:5])
    assert len(none) == 0
    assert len(second) == 2


def test_pairs_are_the_ith_of_a_class_on_either_side_and_none_where_the_fold_lacks_the_class() -> (
    None
):
    pairs = pair_within_classes(np.array([2, 0, 2, 0, 0]), np.array([0, 0, 1, 2, 2, 2]))
    assert list(pairs.itertuples(index=False, name=None)) == [
        (0, 1, 0),
        (0, 3, 1),
        (2, 0, 3),
        (2, 2, 4),
        (2, 0, 5),
    ]
    assert pair_within_classes(np.array([0]), np.array([1])).empty


def training(clips: int = 6, frames: int = 40, silent: int = 8) -> TokenSet:
    """Random codes; the last frames of every clip are digital silence, which is code 0."""
    codes = torch.randint(1, 1024, (clips, 8, frames), generator=torch.Generator().manual_seed(0))
    active = torch.ones(clips, frames, dtype=torch.bool)
    if silent:
        codes[..., -silent:], active[:, -silent:] = 0, False
    names, zeros = tuple(f"clip{i}" for i in range(clips)), torch.zeros(clips, dtype=torch.int64)
    return TokenSet(
        codes,
        zeros,
        zeros + 1,
        active,
        torch.zeros(*active.shape, 2),
        names,
        ("",) * len(names),
        ("noise",),
        token_format(),
    )


def shifted(codes: torch.Tensor, by: int) -> torch.Tensor:
    """The codes after `by` frames of silence."""
    return torch.cat([torch.zeros_like(codes[..., :by]), codes[..., :-by]], dim=-1)


@pytest.mark.parametrize("silent", [0, 8])
def test_a_copy_whole_shifted_or_cropped_has_a_share_of_one_and_is_traced(silent: int) -> None:
    known = training(silent=silent)
    whole = known.codes[[4, 2]]
    for copy in (whole, whole[..., 11:25], whole[..., 5:]):
        found = find_copies(copy, known)
        assert found.share.tolist() == [1, 1]
        assert found.source.tolist() == [4, 2]


def test_silence_before_after_and_inside_a_copy_is_not_counted() -> None:
    known = training()
    copy = shifted(known.codes[3:4], 8)
    copy[..., 20:25] = 0
    assert find_copies(copy, known).share.tolist() == [1]
    assert find_copies(torch.zeros_like(copy), known).share.tolist() == [0]


def test_half_a_copy_has_a_share_of_half_and_other_sound_next_to_none() -> None:
    known, other = (
        training(),
        torch.randint(1, 1024, (3, 8, 32), generator=torch.Generator().manual_seed(1)),
    )
    assert find_copies(other, known).share.max() < 0.1
    half = torch.cat([known.codes[:1, :, :16], other[:1, :, :16]], dim=-1)
    assert find_copies(half, known).share.tolist() == [pytest.approx(0.5, abs=0.05)]


def test_a_steady_sound_of_the_same_first_code_alone_is_no_copy() -> None:
    known, steady = (
        training(),
        torch.randint(1, 1024, (1, 8, 32), generator=torch.Generator().manual_seed(1)),
    )
    known.codes[0, 0, :32] = steady[:, 0] = 7
    assert find_copies(steady, known).share.max() < 0.1
