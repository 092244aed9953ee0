"""The classifier on tokens whose classes are told apart by construction."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssenv_core.classification import (
    Classifier,
    ClassifierSettings,
    fine_tune,
    load_classifier,
    probe,
    save_classifier,
)
from ssenv_core.errors import SsenvError
from ssenv_core.soundstorm import SoundStorm, SoundStormConfig
from ssenv_core.tokens import TENSORS, TokenSet

CONFIG = SoundStormConfig(n_q=2, codebook_size=16, num_classes=3, dim=16, depth=1, heads=2, kernel_size=3, dropout=0.0)


def tokens(clips: int, seed: int, separable: bool = True) -> TokenSet:
    """Clips of 12 frames; class c uses the codes 4c to 4c + 3 of both levels where classes are separable, else any."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(clips) % 3
    codes = torch.randint(4, (clips, 2, 12), generator=generator) + 4 * labels[:, None, None]
    if not separable:
        codes = torch.randint(16, (clips, 2, 12), generator=generator)
    active = torch.ones(clips, 12, dtype=torch.bool)
    active[:, 8:] = torch.arange(clips)[:, None] % 2 == 0
    names = tuple(f"clip{i}" for i in range(clips))
    controls = torch.zeros(*active.shape, 2)
    return TokenSet(codes, labels, torch.ones(clips, dtype=torch.int64), active, controls, names, ("a", "b", "c"), {"dataset": "made up"})


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(SoundStorm(CONFIG).eval(), 3)


def test_a_probe_names_separable_classes_and_leaves_the_model_alone(classifier: Classifier) -> None:
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    assert probe(classifier, tokens(60, 0), tokens(30, 1), "cpu").accuracy > 0.9
    assert all(torch.equal(before[name], value) for name, value in classifier.model.state_dict().items())


def of_classes(data: TokenSet, classes: tuple[int, ...]) -> TokenSet:
    keep = torch.isin(data.labels, torch.tensor(classes))
    kept = {name: getattr(data, name)[keep] for name in TENSORS}
    return replace(data, **kept, names=tuple(f"clip{i}" for i in keep.nonzero()[:, 0].tolist()))


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)])
def test_the_head_is_left_holding_the_probe(classifier: Classifier, classes: tuple[int, ...]) -> None:
    training, heldout = of_classes(tokens(60, 0), classes), of_classes(tokens(30, 1), classes)
    result = probe(classifier, training, heldout, "cpu")
    assert set(result.predictions) == set(classes)
    with torch.inference_mode():
        named = torch.stack(
            [classifier(codes[None], padding[None])[0].argmax() for codes, padding in zip(heldout.codes, heldout.padding, strict=True)]
        )
    assert (named.numpy() == result.predictions).all()


def test_a_probe_of_meaningless_codes_is_near_chance(classifier: Classifier) -> None:
    assert probe(classifier, tokens(90, 0, separable=False), tokens(90, 1, separable=False), "cpu").accuracy < 0.55


def test_padding_has_no_part_in_the_pooled_feature(classifier: Classifier) -> None:
    codes, padding = torch.randint(16, (1, 2, 12)), torch.arange(12)[None] >= 8
    other = codes.clone()
    other[..., 8:] = 3
    with torch.inference_mode():
        assert torch.allclose(classifier.pooled(codes, padding), classifier.pooled(other, padding), atol=1e-6)


def test_fine_tuning_starts_from_the_probe_and_lowers_the_loss(classifier: Classifier) -> None:
    training, heldout = tokens(60, 0), tokens(30, 1)
    start = probe(classifier, training, heldout, "cpu")
    result = fine_tune(classifier, training, heldout, ClassifierSettings(epochs=4, batch_size=10, learning_rate=1e-3), "cpu")
    assert result.rows[-1]["loss"] < result.rows[0]["loss"]
    assert result.accuracy >= start.accuracy - 0.1


def test_the_same_seed_gives_the_same_fine_tuning() -> None:
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        fresh = Classifier(SoundStorm(CONFIG), 3)
        losses.append([row["loss"] for row in fine_tune(fresh, tokens(20, 0), tokens(9, 1), ClassifierSettings(epochs=2), "cpu").rows])
    assert losses[0] == losses[1]


def test_what_is_saved_loads_to_the_same_logits(classifier: Classifier, tmp_path) -> None:
    data = tokens(6, 2)
    again, names, _ = load_classifier(save_classifier(tmp_path / "c.safetensors", classifier, data.class_names, data.metadata))
    assert names == ("a", "b", "c")
    with torch.inference_mode():
        assert torch.equal(again(data.codes), classifier.eval()(data.codes))


def test_a_file_that_is_no_classifier_is_refused_in_one_line(tmp_path) -> None:
    (tmp_path / "c.safetensors").write_text("not tensors")
    with pytest.raises(SsenvError, match="not a readable soundstorm classifier"):
        load_classifier(tmp_path / "c.safetensors")


def test_a_file_of_another_classifier_is_refused_in_one_line(classifier: Classifier, tmp_path: Path) -> None:
    classifier.head = torch.nn.Linear(CONFIG.dim, 5)
    with pytest.raises(SsenvError, match="run 06_classify again") as caught:
        load_classifier(save_classifier(tmp_path / "c.safetensors", classifier, ("a", "b", "c"), {}))
    assert "\n" not in str(caught.value)


def test_one_class_is_nothing_to_learn_and_is_said_in_one_line(classifier: Classifier) -> None:
    one = of_classes(tokens(12, 0), (1,))
    with pytest.raises(SsenvError, match="are of one class") as caught:
        probe(classifier, one, one, "cpu")
    assert "\n" not in str(caught.value)
