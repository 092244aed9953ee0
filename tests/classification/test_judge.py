"""The judge learns classes from sound, repeats and resumes exactly, and takes any rate."""

import numpy as np
import pytest
import torch

from ssenv_core.base import training_loop
from ssenv_core.base.audio import resample
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import load_state, save_state
from ssenv_core.base.training_loop import EpochSettings
from ssenv_core.classification import judge as module
from ssenv_core.classification.judge import SAMPLE_RATE, Judge, LogMel, train_judge

NAMES = ("tone", "noise")


def sound(label: int, seed: int) -> np.ndarray:
    """3 s of a tone, or of noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    tone, noise = 0.3 * np.sin(2 * np.pi * 440 * t), 0.1 * rng.standard_normal(t.size)
    return ((0.01 * noise + tone) if label == 0 else noise).astype(np.float32)


LABELS = np.arange(16) % 2
SOUNDS = [sound(label, seed) for seed, label in enumerate(LABELS)]


def train(path, n_epochs=2, **settings) -> Judge:
    return train_judge(SOUNDS, LABELS, NAMES, EpochSettings(n_epochs, **settings), path, "cpu")


@pytest.fixture(scope="module", autouse=True)
def _small():
    """A tenth of the width: nothing here depends on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHANNELS", (8, 16))
        yield


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Judge:
    return train(tmp_path_factory.mktemp("judge") / "state.safetensors", n_epochs=60)


def test_it_classifies_sounds_that_it_was_not_trained_on(judge):
    assert [judge.predict(sound(label, 100 + label), SAMPLE_RATE) for label in (0, 1)] == [0, 1]


def test_it_predicts_the_same_class_at_any_rate(judge):
    wav = resample(sound(1, 200), SAMPLE_RATE, 44_100)
    assert judge.predict(wav, 44_100) == 1
    assert judge.probabilities(wav, 44_100).sum() == pytest.approx(1)


def test_any_length_can_be_classified_and_silence_too(judge):
    for wav in (sound(0, 1)[:100], np.zeros(500, np.float32), sound(0, 1)):
        assert judge.probabilities(wav, SAMPLE_RATE).shape == (2,)


def test_padding_does_not_matter(judge):
    wav = sound(0, 3)
    padded = np.concatenate([np.zeros(10 * 480, np.float32), wav, np.zeros(30 * 480, np.float32)])
    assert judge.probabilities(padded, SAMPLE_RATE) == pytest.approx(
        judge.probabilities(wav, SAMPLE_RATE), abs=0.1
    )


def test_file_holds_the_whole_judge(judge, tmp_path):
    again = Judge.load(judge.save(tmp_path / "judge.safetensors", folds=(2, 3)), "cpu")
    assert again.class_names == NAMES
    assert again.metadata == judge.metadata | {"folds": [2, 3]}
    assert np.array_equal(
        again.probabilities(sound(0, 9), SAMPLE_RATE), judge.probabilities(sound(0, 9), SAMPLE_RATE)
    )


def test_a_fold_that_it_was_trained_on_is_refused(judge, tmp_path):
    again = Judge.load(judge.save(tmp_path / "judge.safetensors", folds=(2, 3)), "cpu")
    again.require_heldout(1)
    with pytest.raises(
        SsenvError,
        match=r"^fold 3 is not held out: the judge was trained on folds 2, 3; "
        r"run 01_tokenize with fold=3$",
    ):
        again.require_heldout(3)
    with pytest.raises(SsenvError, match="does not say which folds"):
        judge.require_heldout(1)


def test_a_judge_of_another_size_is_refused_in_one_line(judge, tmp_path, monkeypatch):
    path = judge.save(tmp_path / "judge.safetensors", folds=(2, 3))
    monkeypatch.setattr(module, "CHANNELS", (8, 8))
    with pytest.raises(SsenvError, match="a judge of another architecture"):
        Judge.load(path, "cpu")


def test_equal_settings_give_the_equal_judge_and_another_seed_another(tmp_path):
    first, second, other = (
        train(tmp_path / f"{i}.safetensors", seed=seed) for i, seed in enumerate((1, 1, 2))
    )
    weights = [
        torch.cat([p.flatten() for p in judge.network.parameters()])
        for judge in (first, second, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_interrupted_training_ends_in_the_same_judge(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole.safetensors", checkpoint_minutes=1e-9)
    mixup, calls = module._mixup, []

    def interrupt(x, y):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return mixup(x, y)

    monkeypatch.setattr(module, "_mixup", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "state.safetensors", checkpoint_minutes=1e-9)
    monkeypatch.setattr(module, "_mixup", lambda x, y: calls.append(1) or mixup(x, y))
    resumed = train(tmp_path / "state.safetensors", checkpoint_minutes=1e-9)
    assert len(calls) == 3  # the first epoch was not repeated
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_of_another_precision_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    train(path, n_epochs=1)
    state, metadata = load_state(path, "judge training state")
    save_state(path, state, metadata | {"finished": False})
    resolved = {"bf16": "fp32", "fp32": "bf16"}[metadata["identity"]["precision"]]
    monkeypatch.setattr(training_loop, "resolve_precision", lambda wanted, device: resolved)
    with pytest.raises(SsenvError, match="interrupted training with other precision: remove it"):
        train(path, n_epochs=1)


def test_state_of_other_sounds_is_refused_unless_it_ended(tmp_path):
    path = tmp_path / "state.safetensors"
    train(path, n_epochs=1)
    train(path, n_epochs=2)  # the other one had ended
    state, metadata = load_state(path, "judge training state")
    save_state(path, state, metadata | {"finished": False})
    with pytest.raises(SsenvError, match="interrupted training with other epochs: remove it"):
        train(path, n_epochs=3)
    louder = [sound.copy() for sound in SOUNDS]
    louder[3][100] += 0.1
    with pytest.raises(SsenvError, match="interrupted training with other sound: remove it"):
        train_judge(louder, LABELS, NAMES, EpochSettings(2), path, "cpu")
    with pytest.raises(SsenvError, match="interrupted training with other classes: remove it"):
        train_judge(SOUNDS, LABELS, (*NAMES, "silence"), EpochSettings(2), path, "cpu")


def test_training_clips_of_one_class_are_refused(tmp_path):
    with pytest.raises(SsenvError, match=r"all 16 training clips are of one class"):
        train_judge(SOUNDS, 0 * LABELS, NAMES, EpochSettings(1), tmp_path / "state", "cpu")


def test_views_are_crops_of_their_own_clip():
    clips = torch.arange(3.0)[:, None, None].expand(3, 64, 200) * 100
    lengths = torch.tensor([200, 50, 200])
    views = module._views(clips, lengths, torch.tensor([2, 1]))
    assert views.shape == (2, 64, module.CROP)
    assert (views[0] - 200).abs().max() <= 2
    assert (views[1] - 100).abs().max() <= 2


def test_mixup_keeps_the_larger_share_and_targets_sum_to_one():
    x, y = torch.zeros(8, 64, 10), torch.eye(8)
    mixed, targets = module._mixup(x, y)
    assert targets.sum(1).numpy() == pytest.approx(1)
    assert (targets.argmax(1) == torch.arange(8)).all()
    assert mixed.abs().max() < 1e-4  # equal powers in shares that sum to one are that power


def test_log_mel_leaves_out_padding_and_floors_silence():
    mel = LogMel()
    wav = torch.cat([torch.zeros(24_000), torch.randn(24_000), torch.zeros(24_000)])
    assert 50 <= mel.trimmed(wav).shape[1] <= 54
    assert mel(wav).shape[1] == 151
    assert mel.trimmed(torch.zeros(4800)).unique().numel() == 1
