"""The classifier on tokens whose classes are told apart by construction."""

import warnings
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny import tiny_codec, token_format

from ssenv_core.base import tensors
from ssenv_core.base import training_loop as epochs
from ssenv_core.base.errors import SsenvError
from ssenv_core.classification.classifier import (
    Classifier,
    FeatureSpec,
    TrainedClassifier,
    load_classifier,
    read_features,
    save_classifier,
)
from ssenv_core.classification.fine_tuning import ClassifierSettings, fine_tune
from ssenv_core.classification.judge import Judge, LogMelCNN
from ssenv_core.classification.probes import (
    Classification,
    classify_with_judge,
    gain,
    learning_curve,
    probe,
)
from ssenv_core.data import load_dataset
from ssenv_core.data.tokens import TENSORS, TokenSet
from ssenv_core.soundstorm.inputs import Inputs
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

CONFIG = SoundStormConfig(
    n_q=2, codebook_size=16, num_classes=3, dim=16, depth=1, heads=2, kernel_size=3, dropout=0.0
)


def tokens(clips: int, seed: int, separable: bool = True) -> TokenSet:
    """Clips of 12 frames; if separable, class c uses the codes 4c to 4c + 3 of both levels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(clips) % 3
    codes = torch.randint(4, (clips, 2, 12), generator=generator) + 4 * labels[:, None, None]
    if not separable:
        codes = torch.randint(16, (clips, 2, 12), generator=generator)
    active = torch.ones(clips, 12, dtype=torch.bool)
    active[:, 8:] = torch.arange(clips)[:, None] % 2 == 0
    names = tuple(f"clip{i}" for i in range(clips))
    controls = torch.zeros(*active.shape, 2)
    return TokenSet(
        codes,
        labels,
        torch.ones(clips, dtype=torch.int64),
        active,
        controls,
        names,
        ("",) * clips,
        ("a", "b", "c"),
        token_format(),
    )


def probed(classifier: Classifier, training: TokenSet, heldout: TokenSet) -> Classification:
    return probe(
        classifier,
        read_features(classifier, training, "cpu"),
        read_features(classifier, heldout, "cpu"),
    )


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(SoundStorm(CONFIG).eval(), 3)


def test_a_probe_names_separable_classes_and_leaves_the_model_alone(classifier: Classifier) -> None:
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    assert probed(classifier, tokens(60, 0), tokens(30, 1)).accuracy > 0.9
    assert all(
        torch.equal(before[name], value) for name, value in classifier.model.state_dict().items()
    )


def of_classes(data: TokenSet, classes: tuple[int, ...]) -> TokenSet:
    keep = torch.isin(data.labels, torch.tensor(classes))
    kept = {name: getattr(data, name)[keep] for name in TENSORS}
    return replace(data, **kept, names=tuple(f"clip{i}" for i in keep.nonzero()[:, 0].tolist()))


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)])
def test_the_head_is_left_holding_the_probe(
    classifier: Classifier, classes: tuple[int, ...]
) -> None:
    training, heldout = of_classes(tokens(60, 0), classes), of_classes(tokens(30, 1), classes)
    result = probed(classifier, training, heldout)
    assert set(result.predictions) == set(classes)
    with torch.inference_mode():
        named = torch.stack(
            [
                classifier(codes[None], padding[None])[0].argmax()
                for codes, padding in zip(heldout.codes, heldout.padding, strict=True)
            ]
        )
    assert (named.numpy() == result.predictions).all()


def test_a_probe_of_meaningless_codes_is_near_chance(classifier: Classifier) -> None:
    assert (
        probed(classifier, tokens(90, 0, separable=False), tokens(90, 1, separable=False)).accuracy
        < 0.55
    )


@pytest.mark.parametrize("pooling", ["mean", "attentive", "statistics"])
def test_padding_has_no_part_in_the_pooled_feature(pooling: str) -> None:
    torch.manual_seed(0)
    classifier = Classifier(SoundStorm(CONFIG).eval(), 3, FeatureSpec(pooling=pooling))
    codes, padding = torch.randint(16, (1, 2, 12)), torch.arange(12)[None] >= 8
    other = codes.clone()
    other[..., 8:] = 3
    with torch.inference_mode():
        assert torch.allclose(
            classifier.pooled(codes, padding), classifier.pooled(other, padding), atol=1e-6
        )


def test_the_first_level_alone_hears_nothing_of_the_others() -> None:
    torch.manual_seed(0)
    first = Classifier(SoundStorm(CONFIG).eval(), 3, FeatureSpec(levels=1))
    codes = torch.randint(16, (2, 2, 12))
    other = codes.clone()
    other[:, 1] = 3
    with torch.inference_mode():
        assert torch.equal(first(codes), first(other))
        assert not torch.equal(first(codes), first(codes.flip(0)))
    assert (codes[:, 1] < 16).all()  # left as they were


def test_a_layer_of_0_reads_the_summed_embeddings(classifier: Classifier) -> None:
    shallow = Classifier(classifier.model, 3, FeatureSpec(layer=0))
    codes = torch.randint(16, (2, 2, 12))
    with torch.inference_mode():
        expected = classifier.model.features(Inputs(codes), layer=0).mean(1)
        assert torch.allclose(shallow.pooled(codes, None), expected, atol=1e-6)
        assert not torch.allclose(classifier.pooled(codes, None), expected, atol=1e-2)


def test_attentive_pooling_begins_as_the_mean_and_learns() -> None:
    torch.manual_seed(0)
    attentive = Classifier(SoundStorm(CONFIG).eval(), 3, FeatureSpec(pooling="attentive"))
    mean = Classifier(attentive.model, 3)
    data = tokens(20, 0)
    with torch.inference_mode():
        assert torch.allclose(
            attentive.pooled(data.codes, data.padding),
            mean.pooled(data.codes, data.padding),
            atol=1e-6,
        )
        attentive.attention.normal_(std=3)
        sharp = attentive.pooled(data.codes, data.padding)
        assert not torch.allclose(sharp, mean.pooled(data.codes, data.padding), atol=1e-2)
        stray = data.codes.masked_fill(data.padding[:, None], 3)
        assert torch.allclose(attentive.pooled(stray, data.padding), sharp, atol=1e-6)
    torch.nn.init.zeros_(attentive.attention)
    loss = torch.nn.functional.cross_entropy(attentive(data.codes, data.padding), data.labels)
    loss.backward()
    assert attentive.attention.grad.abs().max() > 0


def test_statistics_are_mean_deviation_and_maximum_over_frames_and_all_are_learnt_from() -> None:
    torch.manual_seed(0)
    classifier = Classifier(SoundStorm(CONFIG).eval(), 3, FeatureSpec(pooling="statistics"))
    codes = torch.randint(16, (2, 2, 12))
    hidden = classifier.model.features(Inputs(codes))
    expected = torch.cat([hidden.mean(1), hidden.std(1, correction=0), hidden.amax(1)], dim=1)
    pooled = classifier.pooled(codes, None)
    assert torch.allclose(pooled, expected, atol=1e-3)
    for part in pooled.split(CONFIG.dim, dim=1):
        (gradient,) = torch.autograd.grad(
            part.square().sum(), classifier.model.code_embedding.weight, retain_graph=True
        )
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0
    steady = classifier.pooled(codes[..., :1], None)  # one frame, which does not deviate
    steady.sum().backward()
    assert classifier.model.code_embedding.weight.grad.isfinite().all()


def test_fine_tuning_starts_from_the_probe_and_lowers_the_loss(
    classifier: Classifier, tmp_path: Path
) -> None:
    training, heldout = tokens(60, 0), tokens(30, 1)
    unprobed = deepcopy(classifier)
    start = probed(classifier, training, heldout)
    still = ClassifierSettings(epochs=1, batch_size=10, learning_rate=1e-9)
    first = fine_tune(deepcopy(classifier), training, heldout, still, tmp_path / "first", "cpu")
    other = fine_tune(unprobed, training, heldout, still, tmp_path / "unprobed", "cpu")
    assert first.probabilities == pytest.approx(start.probabilities, abs=1e-4)
    assert first.rows[0]["loss"] < 0.5 < 1 < other.rows[0]["loss"]
    settings = ClassifierSettings(epochs=4, batch_size=10, learning_rate=1e-3, warmup=1.0)
    result = fine_tune(classifier, training, heldout, settings, tmp_path / "s", "cpu")
    assert result.rows[-1]["loss"] < result.rows[0]["loss"]
    assert [row["epoch"] for row in result.rows] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "options", [{"token_masking": 0.5}, {"mixup": 0.4}, {"label_smoothing": 0.1}]
)
def test_hidden_frames_mixed_clips_and_smooth_targets_are_harder_and_still_learnt(
    options: dict, tmp_path: Path
) -> None:
    losses = {}
    for name, chosen in (("plain", {}), ("harder", options)):
        torch.manual_seed(0)
        fresh = Classifier(SoundStorm(CONFIG), 3)
        settings = ClassifierSettings(epochs=8, batch_size=10, learning_rate=3e-3, **chosen)
        result = fine_tune(
            fresh, tokens(60, 0), tokens(30, 1), settings, tmp_path / f"{name}.safetensors", "cpu"
        )
        losses[name] = result.rows[-1]["loss"]
        assert result.accuracy > 0.8
    assert losses["harder"] > losses["plain"]


class Killed(Exception):
    pass


def test_a_killed_fine_tuning_resumes_to_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harder = {"token_masking": 0.2, "level_masking": 0.3, "mixup": 0.4, "crop_frames": 9}
    settings = ClassifierSettings(
        epochs=4, batch_size=10, learning_rate=1e-3, warmup=0.3, checkpoint_minutes=0, **harder
    )

    def tuned(state_file: Path) -> Classification:
        torch.manual_seed(0)
        dropping = Classifier(SoundStorm(replace(CONFIG, dropout=0.2)), 3)
        return fine_tune(dropping, tokens(20, 0), tokens(9, 1), settings, state_file, "cpu")

    straight = tuned(tmp_path / "straight.safetensors")
    save, written = tensors.save_state, []

    def save_two(*args: object) -> None:
        if len(written) == 2:
            raise Killed
        written.append(save(*args))

    monkeypatch.setattr(epochs, "save_state", save_two)
    with pytest.raises(Killed):
        tuned(tmp_path / "killed.safetensors")
    monkeypatch.setattr(epochs, "save_state", save)
    resumed = tuned(tmp_path / "killed.safetensors")
    assert resumed.rows == straight.rows
    assert np.array_equal(resumed.probabilities, straight.probabilities)


def test_a_state_of_another_start_is_refused_while_its_training_is_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_file = tmp_path / "s.safetensors"
    save = tensors.save_state
    monkeypatch.setattr(
        epochs, "save_state", lambda *args: (save(*args), (_ for _ in ()).throw(Killed))
    )
    settings = ClassifierSettings(epochs=3, checkpoint_minutes=0)
    with pytest.raises(Killed):
        fine_tune(
            Classifier(SoundStorm(CONFIG), 3),
            tokens(20, 0),
            tokens(9, 1),
            settings,
            state_file,
            "cpu",
        )
    monkeypatch.undo()
    with pytest.raises(SsenvError, match="interrupted training with other start"):
        fine_tune(
            Classifier(SoundStorm(CONFIG), 3),
            tokens(20, 0),
            tokens(9, 1),
            settings,
            state_file,
            "cpu",
        )


def test_more_labelled_clips_name_more_and_no_more_are_used_than_there_are(
    classifier: Classifier,
) -> None:
    features = [read_features(classifier, tokens(60, seed), "cpu") for seed in (0, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve = learning_curve(*features, [1, 8, 32], 3, 0)
    assert curve["clips"].tolist() == [1] * 3 + [8] * 3
    few, many = (curve.loc[curve["clips"] == count, "accuracy"] for count in (1, 8))
    assert many.mean() > few.mean()
    assert few.std() > 0
    again = learning_curve(*features, [8], 3, 0)
    assert again["accuracy"].tolist() == many.tolist()


def test_features_can_be_had_of_some_clips_alone(classifier: Classifier) -> None:
    data = tokens(9, 0)
    data.active[4] = False
    features = read_features(classifier, data, "cpu")
    some = features.select({"clip7", "clip2", "clip4", "other"})
    assert some.names == ("clip2", "clip7")
    assert some.labels.tolist() == [2, 1]
    assert np.array_equal(some.values, features.values[[2, 6]])


@pytest.mark.parametrize("reading", [FeatureSpec(levels=3), FeatureSpec(layer=2)])
def test_more_levels_or_blocks_than_the_model_has_are_refused(reading: FeatureSpec) -> None:
    with pytest.raises(SsenvError, match="more than the generator's"):
        Classifier(SoundStorm(CONFIG), 3, reading)


@pytest.mark.parametrize(
    "reading",
    [
        FeatureSpec(),
        FeatureSpec(levels=1, layer=0, pooling="attentive"),
        FeatureSpec(pooling="statistics"),
    ],
)
def test_what_is_saved_loads_to_the_same_logits(reading: FeatureSpec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data, classifier = tokens(6, 2), Classifier(SoundStorm(CONFIG).eval(), 3, reading)
    again = load_classifier(
        save_classifier(
            tmp_path / "c.safetensors", TrainedClassifier(classifier, data.class_names, data.format)
        )
    )
    assert (again.class_names, again.format, again.classifier.reading) == (
        ("a", "b", "c"),
        data.format,
        reading,
    )
    with torch.inference_mode():
        assert torch.equal(again.classifier(data.codes), classifier(data.codes))


def test_a_file_of_sound_is_named_as_its_tokens_are_and_silence_around_it_has_no_part(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    codec, config = (
        tiny_codec(),
        SoundStormConfig(num_classes=3, dim=16, depth=1, heads=2, kernel_size=3),
    )
    classifier = Classifier(SoundStorm(config).eval(), 3)
    trained = TrainedClassifier(classifier, ("a", "b", "c"), token_format(codec))
    sound = 0.1 * np.random.default_rng(0).standard_normal(9_600).astype(np.float32)
    quiet = np.zeros(32_000, np.float32)
    for name, wav in (
        ("sound", sound),
        ("silence", quiet),
        ("between", np.concatenate([quiet, sound, quiet])),
    ):
        soundfile.write(tmp_path / f"{name}.wav", wav, 24_000, subtype="FLOAT")
    with torch.inference_mode():
        logits = trained.classifier(codec.encode(torch.from_numpy(sound)[None, None]))
    named = trained.probabilities(tmp_path / "sound.wav", codec)
    assert named == pytest.approx(logits[0].softmax(0).numpy(), abs=1e-5)
    assert trained.probabilities(tmp_path / "between.wav", codec) == pytest.approx(named, abs=0.05)
    with pytest.raises(SsenvError, match=r"silence\.wav is silent throughout"):
        trained.probabilities(tmp_path / "silence.wav", codec)
    with pytest.raises(SsenvError, match="the tokens are of"):
        trained.probabilities(tmp_path / "sound.wav", tiny_codec(seed=1))


def test_a_file_that_is_no_classifier_is_refused_in_one_line(tmp_path) -> None:
    (tmp_path / "c.safetensors").write_text("not tensors")
    with pytest.raises(SsenvError, match="not a readable soundstorm classifier"):
        load_classifier(tmp_path / "c.safetensors")


def test_a_file_of_another_classifier_is_refused_in_one_line(
    classifier: Classifier, tmp_path: Path
) -> None:
    classifier.head = torch.nn.Linear(CONFIG.dim, 5)
    trained = TrainedClassifier(classifier, ("a", "b", "c"), token_format())
    path = save_classifier(tmp_path / "c.safetensors", trained)
    with pytest.raises(SsenvError, match="run 06_classify again") as caught:
        load_classifier(path)
    assert "\n" not in str(caught.value)


def test_one_class_is_nothing_to_learn_and_is_said_in_one_line(classifier: Classifier) -> None:
    one = of_classes(tokens(12, 0), (1,))
    with pytest.raises(SsenvError, match="are of one class") as caught:
        probed(classifier, one, one)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mixup", [0.0, 0.3])
def test_fine_tuning_learns_from_crops_in_half_precision(
    classifier: Classifier, tmp_path: Path, mixup: float
) -> None:
    settings = ClassifierSettings(
        epochs=8, batch_size=8, learning_rate=5e-3, crop_frames=4, precision="bf16", mixup=mixup
    )
    result = fine_tune(
        classifier, tokens(60, 0), tokens(30, 1), settings, tmp_path / "state.safetensors", "cpu"
    )
    assert result.accuracy > 0.9
    assert all(weight.dtype == torch.float32 for weight in classifier.parameters())


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """All codes (B, Q, T) that a classifier is shown in training."""
    seen, embed = [], Classifier.embed

    def watched(self, codes):
        if self.training:
            seen.append(codes)
        return embed(self, codes)

    monkeypatch.setattr(Classifier, "embed", watched)
    return seen


def test_fine_tuning_sees_as_many_frames_as_asked(
    classifier: Classifier, tmp_path: Path, shown: list[torch.Tensor]
) -> None:
    fine_tune(
        classifier,
        tokens(24, 0),
        tokens(6, 1),
        ClassifierSettings(epochs=1, batch_size=8, crop_frames=5),
        tmp_path / "s",
        "cpu",
    )
    assert {codes.shape[2] for codes in shown} == {5}


def test_one_span_of_a_clips_own_frames_is_hidden_at_every_level(
    classifier: Classifier, tmp_path: Path, shown: list[torch.Tensor]
) -> None:
    settings, data = ClassifierSettings(epochs=40, batch_size=60, token_masking=0.3), tokens(60, 0)
    fine_tune(classifier, data, tokens(6, 1), settings, tmp_path / "s", "cpu")
    hidden = torch.cat(shown) == CONFIG.mask_token
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    begins = (
        hidden[:, 0].int().diff(dim=1, prepend=torch.zeros(len(hidden), 1, dtype=torch.int)) == 1
    )
    assert begins.sum(1).max() == 1
    assert set(begins.nonzero()[:, 1].tolist()) == set(range(12))
    (short,) = {length for length in (~data.padding).sum(1).tolist() if length < 12}
    assert (short, hidden[:, 0].sum(1).max()) == (8, 7)  # of 12 frames, up to 0.6
    assert hidden.float().mean() == pytest.approx(0.3 * (12 + short) / 24, abs=0.02)


def test_finer_levels_are_hidden_in_their_share_of_the_clips_and_never_the_first(
    classifier: Classifier, tmp_path: Path, shown: list[torch.Tensor]
) -> None:
    settings = ClassifierSettings(epochs=10, batch_size=30, level_masking=0.8)
    fine_tune(classifier, tokens(60, 0), tokens(6, 1), settings, tmp_path / "s", "cpu")
    hidden = torch.cat(shown) == CONFIG.mask_token
    assert not hidden[:, 0].any()
    assert torch.equal(hidden[:, 1].any(1), hidden[:, 1].all(1))
    assert hidden[:, 1, 0].float().mean() == pytest.approx(
        0.4, abs=0.06
    )  # of two levels the finer, or none


def test_a_clip_mixed_with_its_like_is_itself(tmp_path: Path) -> None:
    """Of equal clips every mixture is the clip: mixing loses and adds nothing of it."""
    one = tokens(12, 0).at(torch.full((12,), 4))
    losses = []
    for mixup in (0.0, 0.4):
        torch.manual_seed(0)
        fresh = Classifier(SoundStorm(CONFIG), 3)
        result = fine_tune(
            fresh,
            one,
            one,
            ClassifierSettings(epochs=3, batch_size=4, mixup=mixup),
            tmp_path / f"{mixup}",
            "cpu",
        )
        losses.append([row["loss"] for row in result.rows])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_clip_mixed_with_nothing_of_another_is_itself_whichever_is_longer(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, mixed, classify = tokens(30, 0), [], Classifier.classify

    def watched(self, pooled):
        if self.training:
            mixed.append(pooled.detach())
        return classify(self, pooled)

    monkeypatch.setattr(Classifier, "classify", watched)
    monkeypatch.setattr(
        torch.distributions.Beta, "sample", lambda self, shape: torch.arange(*shape) % 2.0
    )  # shares of 0 and 1
    settings = ClassifierSettings(
        epochs=1, batch_size=30, learning_rate=1e-9, mixup=0.4, precision="fp32"
    )
    own = torch.from_numpy(read_features(classifier, data, "cpu").values).float()
    fine_tune(classifier, data, tokens(6, 1), settings, tmp_path / "s", "cpu")
    assert {len(pooled) for pooled in mixed} == {30}
    nearest = (torch.cat(mixed)[:, None] - own).norm(dim=2).min(1)
    assert nearest.values.max() < 1e-3
    assert sorted(nearest.indices.tolist()) == list(range(30))


def named(right: list[bool], recordings: tuple[str, ...] | None = None) -> Classification:
    labels = np.zeros(len(right), np.int64)
    probabilities = np.stack([right, np.logical_not(right)], axis=1).astype(float)
    return Classification(labels, probabilities, recordings or ("",) * len(right), [], 0.0)


def test_the_gain_of_one_classifier_over_another_is_paired_by_clip() -> None:
    better, worse = named([True] * 80 + [False] * 20), named([True] * 60 + [False] * 40)
    mean, low, high = gain(better, worse, seed=0)
    assert mean == pytest.approx(0.2)
    sd = np.sqrt(0.2 * 0.8 / 100)  # of the mean of 20 differences of 1 and 80 of 0
    assert (low, high) == pytest.approx((0.2 - 1.96 * sd, 0.2 + 1.96 * sd), abs=0.02)
    assert gain(better, better, seed=0) == (0.0, 0.0, 0.0)
    with pytest.raises(SsenvError, match="same clips"):
        gain(better, named([True] * 99), seed=0)


def test_intervals_of_slices_of_few_recordings_are_wider() -> None:
    right, slices = [True] * 60 + [False] * 40, tuple(f"recording {i // 10}" for i in range(100))
    alone, cut = named(right), named(right, slices)
    assert cut.interval[1] - cut.interval[0] > 2.5 * (alone.interval[1] - alone.interval[0])
    none = named([False] * 100)
    assert np.diff(gain(cut, none, 0)[1:]) > 2.5 * np.diff(gain(alone, none, 0)[1:])


@pytest.mark.parametrize("silent", [0, 3])
def test_every_result_knows_the_recordings_of_its_clips(
    silent: int, classifier: Classifier, tmp_path: Path
) -> None:
    data = replace(tokens(9, 1), recordings=tuple(f"recording {i // 2}" for i in range(9)))
    data.active[silent] = False
    heard = tuple(recording for i, recording in enumerate(data.recordings) if i != silent)
    assert probed(classifier, tokens(9, 0), data).recordings == heard
    settings = ClassifierSettings(epochs=1, batch_size=9)
    assert (
        fine_tune(classifier, tokens(9, 0), data, settings, tmp_path / "s", "cpu").recordings
        == heard
    )
    features = read_features(classifier, data, "cpu")
    assert features.select(features.names[2:4]).recordings == heard[2:4]


def test_a_judge_is_not_asked_about_the_fold_that_it_was_trained_on() -> None:
    judge, sounds = (
        Judge(LogMelCNN(10), ("a",) * 10, {"folds": [1, 2], "seconds": 0.0}, "cpu"),
        load_dataset("synthetic", clips_per_class=5, seed=0),
    )
    assert len(classify_with_judge(judge, sounds, 3).labels) == 10
    with pytest.raises(SsenvError, match=r"^fold 2 is not held out: the judge"):
        classify_with_judge(judge, sounds, 2)
