"""AST: its input, weights from a folder, resuming, and messages if package or weights are missing.

Tests that need `transformers` are skipped without it. None needs the published weights: folders
hold tiny networks with random ones.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssenv_core.base import pretrained, tensors, training_loop
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.classification import ast as module
from ssenv_core.classification.ast import (
    PRETRAINED,
    SCRATCH,
    ast_baseline,
    fine_tune_ast,
    pretrained_ast,
    shorten,
    small_ast,
    spectrograms,
)
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.synthetic import load_synthetic

TINY = {
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
FRAMES = 98  # of one second
REASON = "the extra `ast` (transformers) is not installed"


@pytest.fixture(scope="module")
def sounds() -> Dataset:
    return load_synthetic(clips_per_class=5, duration=1.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny network with the published one's strides and length, where SSENV_AST_DIR says."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    torch.manual_seed(7)
    config = transformers.ASTConfig(**TINY, num_labels=527)
    network = transformers.ASTForAudioClassification(config)
    torch.nn.init.normal_(network.audio_spectrogram_transformer.embeddings.position_embeddings)
    network.save_pretrained(tmp_path / "ast")
    monkeypatch.setenv("SSENV_AST_DIR", str(tmp_path / "ast"))
    return tmp_path / "ast"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that trains in a second, and no folder or hub to take weights from."""
    pytest.importorskip("transformers", reason=REASON)
    monkeypatch.setattr(module, "SMALL", TINY)
    monkeypatch.delenv("SSENV_AST_DIR", raising=False)

    def unreachable(*_: object, **__: object) -> str:
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(pretrained, "snapshot_download", unreachable)


def test_the_folder_s_weights_are_kept_but_for_a_new_last_layer(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason=REASON)
    stored = transformers.ASTForAudioClassification.from_pretrained(folder).state_dict()
    network, again = pretrained_ast(10, 1024, 0), pretrained_ast(10, 1024, 0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert name.startswith("classifier.dense") or torch.equal(tensor, stored[name])
    assert network(torch.zeros(2, 1024, 128)).logits.shape == (2, 10)
    assert not torch.equal(
        network.classifier.dense.weight, pretrained_ast(10, 1024, 1).classifier.dense.weight
    )


def test_a_shorter_clip_keeps_the_positions_in_the_middle(folder: Path) -> None:
    whole, cut = pretrained_ast(10, 1024, 0), pretrained_ast(10, 498, 0)
    grids = [
        net.audio_spectrogram_transformer.embeddings.position_embeddings for net in (whole, cut)
    ]
    assert grids[0].shape[1] == 2 + 12 * 101
    assert grids[1].shape[1] == 2 + 12 * 49
    assert torch.equal(grids[0][:, :2], grids[1][:, :2])
    band = 5
    assert torch.equal(
        grids[1][0, 2 + 49 * band : 2 + 49 * (band + 1)],
        grids[0][0, 2 + 101 * band + 26 : 2 + 101 * band + 26 + 49],
    )
    assert cut(torch.zeros(1, 498, 128)).logits.shape == (1, 10)
    with pytest.raises(SsenvError, match="AST takes 498 frames"):
        shorten(cut, 499)


def test_its_input_is_kaldi_s_log_mel_frames_of_16_khz(sounds: Dataset) -> None:
    pytest.importorskip("transformers", reason=REASON)
    images = spectrograms(replace(sounds, clips=sounds.clips[:3]), FRAMES)
    assert (images.shape, images.dtype) == ((3, FRAMES, 128), torch.float16)
    from torchaudio.compliance.kaldi import fbank

    wav = torch.from_numpy(sounds.read(sounds.clips[1], 16_000))[None]
    expected = (
        fbank(wav, sample_frequency=16_000, window_type="hanning", num_mel_bins=128) + 4.2677393
    ) / (2 * 4.5689974)
    assert torch.allclose(images[1].float(), expected, atol=2e-3)


SETTINGS, RATE = EpochSettings(epochs=4, batch_size=8, checkpoint_minutes=0), 3e-3


def of(sounds: Dataset, classes: int) -> tuple[Dataset, Dataset]:
    few = replace(sounds, clips=tuple(clip for clip in sounds.clips if clip.label < classes))
    return few.subset(exclude_folds=[1]), few.subset(folds=[1])


@pytest.mark.usefixtures("small")
def test_it_learns_and_the_same_seed_repeats_it(sounds: Dataset, tmp_path: Path) -> None:
    training, _ = of(sounds, 2)
    settings = replace(SETTINGS, epochs=60)
    runs = [
        fine_tune_ast(
            small_ast(10, FRAMES, 0), training, training, settings, 1e-2, tmp_path / f"{i}", "cpu"
        )
        for i in range(2)
    ]
    assert runs[0].accuracy > 0.8  # of what it learnt from; chance is 0.5 between the two
    assert runs[0].rows[-1]["loss"] < 0.5 * runs[0].rows[0]["loss"]
    assert runs[0].rows == runs[1].rows
    assert np.array_equal(runs[0].probabilities, runs[1].probabilities)
    assert np.allclose(runs[0].probabilities.sum(1), 1)


class Killed(Exception):
    pass


@pytest.mark.usefixtures("small")
def test_a_killed_training_resumes_to_the_same_losses(
    sounds: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, heldout = of(sounds, 3)

    def tuned(state_file: Path):
        return fine_tune_ast(
            small_ast(10, FRAMES, 0), training, heldout, SETTINGS, RATE, state_file, "cpu"
        )

    straight = tuned(tmp_path / "straight")
    save, written = tensors.save_state, []

    def save_two(*args: object) -> None:
        if len(written) == 2:
            raise Killed
        written.append(save(*args))

    monkeypatch.setattr(training_loop, "save_state", save_two)
    with pytest.raises(Killed):
        tuned(tmp_path / "killed")
    monkeypatch.setattr(training_loop, "save_state", save)
    other = replace(SETTINGS, seed=1)
    with pytest.raises(SsenvError, match="interrupted training with other seed"):
        fine_tune_ast(
            small_ast(10, FRAMES, 0), training, heldout, other, RATE, tmp_path / "killed", "cpu"
        )
    resumed = tuned(tmp_path / "killed")
    assert resumed.rows == straight.rows
    assert np.array_equal(resumed.probabilities, straight.probabilities)


def test_with_weights_there_is_one_row_and_nothing_is_missing(
    folder: Path, sounds: Dataset, tmp_path: Path
) -> None:
    rows, missing = ast_baseline(sounds, 1, replace(SETTINGS, epochs=1), tmp_path / "state", "cpu")
    assert (list(rows), missing) == ([PRETRAINED], {})
    assert rows[PRETRAINED].labels.tolist() == [
        clip.label for clip in sounds.subset(folds=[1]).clips
    ]


@pytest.mark.usefixtures("small")
def test_without_weights_the_row_says_so_and_one_from_scratch_stands_in(
    sounds: Dataset, tmp_path: Path
) -> None:
    rows, missing = ast_baseline(sounds, 1, replace(SETTINGS, epochs=1), tmp_path / "state", "cpu")
    assert list(rows) == [SCRATCH] == ["small AST, from scratch"]
    ((label, reason),) = missing.items()
    assert label == "AST, pretrained: weights not here"
    assert "no route to the hub" in reason
    assert "SSENV_AST_DIR" in reason
    assert "\n" not in reason


@pytest.mark.usefixtures("small")
def test_the_held_out_fold_is_no_training_and_the_rate_the_row_s(
    sounds: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, rates, cycle = [], [], training_loop.one_cycle
    monkeypatch.setattr(
        module, "spectrograms", lambda some, frames: read.append(some) or spectrograms(some, frames)
    )
    monkeypatch.setattr(
        module,
        "one_cycle",
        lambda adam, peak, *rest: rates.append(peak) or cycle(adam, peak, *rest),
    )
    ast_baseline(sounds, 2, replace(SETTINGS, epochs=1), tmp_path / "state", "cpu")
    assert [some.folds for some in read] == [(1, 3, 4, 5), (2,)]
    assert rates == [5e-4]


@pytest.mark.usefixtures("small")
def test_bands_and_moments_are_hidden_in_training_alone(sounds: Dataset, tmp_path: Path) -> None:
    """Where hidden, an image is the mean of what was normalized, 0; nothing in noise is."""
    training, heldout = of(sounds, 3)
    network, seen = small_ast(10, FRAMES, 0), {True: [], False: []}
    network.register_forward_pre_hook(
        lambda net, inputs: seen[net.training].append(inputs[0].detach().clone())
    )
    fine_tune_ast(network, training, heldout, SETTINGS, RATE, tmp_path / "state", "cpu")
    bands, moments = ((torch.cat(seen[True]) == 0).all(dim).sum(1) for dim in (1, 2))
    assert 0 < bands.max() < 24
    assert 0 < moments.max() < FRAMES * 3 // 16
    assert not (torch.cat(seen[False]) == 0).all(1).any()


@pytest.mark.parametrize("spoil", ["nothing there", "not tensors", "a tensor less"])
def test_a_named_folder_without_the_whole_weights_stops_in_one_line(
    folder: Path, sounds: Dataset, tmp_path: Path, spoil: str
) -> None:
    weights = folder / "model.safetensors"
    if spoil == "nothing there":
        weights.unlink()
    elif spoil == "not tensors":
        weights.write_bytes(b"not tensors")
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(weights)
        del tensors["audio_spectrogram_transformer.embeddings.cls_token"]
        save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(SsenvError, match=rf"{folder}.*SSENV_AST_DIR") as caught:
        ast_baseline(sounds, 1, SETTINGS, tmp_path / "state", "cpu")
    assert "\n" not in str(caught.value)


def test_without_the_package_one_line_says_how_to_install_it(
    sounds: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for call in (lambda: pretrained_ast(10, FRAMES, 0), lambda: small_ast(10, FRAMES, 0)):
        with pytest.raises(
            SsenvError,
            match=r"^AST needs the package transformers \(.*\): "
            r"in ssenv's folder, pip install -e '\.\[ast\]'$",
        ):
            call()
    rows, missing = ast_baseline(sounds, 1, SETTINGS, tmp_path / "state", "cpu")
    assert rows == {}
    assert list(missing) == ["AST: transformers is not installed"]
    assert ".[ast]" in missing["AST: transformers is not installed"]
