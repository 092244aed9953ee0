"""Copies of training clips are found, and other clips are not taken for copies."""

import numpy as np
import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs import load_codec
from ssenv_core.codecs.reconstruction import reconstruct
from ssenv_core.data.synthetic import load_synthetic
from ssenv_core.evaluation.copies import embed_recordings, judge_memorisation
from ssenv_core.metrics.diversity import nearest
from ssenv_core.metrics.failure_modes import examine
from ssenv_core.metrics.spectrotemporal import analyse, log_mel_embedding


def embeddings(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 6)) * [1, 100, 0.01, 1, 1, 0] + 5


def test_the_nearest_is_that_of_a_plain_search_in_deviations_of_the_reference():
    asked, others, reference = embeddings(7, 0), embeddings(9, 1), embeddings(50, 2)
    spread = np.where(reference.std(axis=0) > 0, reference.std(axis=0), 1)
    expected = np.array(
        [[np.sqrt(np.mean(((a - b) / spread) ** 2)) for b in others] for a in asked]
    )
    found = nearest(asked, others, reference)
    assert found.source.tolist() == expected.argmin(axis=1).tolist()
    np.testing.assert_allclose(found.distance, expected.min(axis=1))


@pytest.mark.parametrize("heldout", [8, 40, 200])
def test_copies_are_found_and_named_however_few_the_clips(heldout):
    training, real = embeddings(300, 0), embeddings(heldout, 1)
    copies = training[[5, 17, 250]] + 0.02 * embeddings(3, 2).std(axis=0)
    near = nearest(copies, training, real)
    assert near.source.tolist() == [5, 17, 250]
    found = judge_memorisation(nearest(real, training, real).distance, near.distance)
    assert found.present
    assert found.share == 1
    assert found.sentence.startswith(
        "Memorisation: present: 100% of the generated clips lie nearer"
    )


def test_a_few_copies_among_many_clips_are_found():
    training, real = embeddings(300, 0), embeddings(200, 1)
    generated = np.concatenate([embeddings(80, 3), training[:20]])
    distances = [nearest(side, training, real).distance for side in (real, generated)]
    assert judge_memorisation(*distances).present
    assert (distances[1][80:] < distances[0].min()).all()


@pytest.mark.parametrize(
    ("heldout", "generated"), [(8, 3), (8, 40), (40, 40), (200, 100), (40, 200)]
)
def test_clips_of_their_own_are_not_flagged_more_often_than_one_time_in_ten(heldout, generated):
    flagged = 0
    for seed in range(60):
        training, real, made = (
            embeddings(100, 3 * seed),
            embeddings(heldout, 3 * seed + 1),
            embeddings(generated, 3 * seed + 2),
        )
        flagged += judge_memorisation(
            *(nearest(side, training, real).distance for side in (real, made)), repeats=200
        ).present
    assert flagged <= 6


def test_sets_too_small_to_judge_are_refused():
    for heldout, generated in ((7, 3), (8, 0)):
        with pytest.raises(
            SsenvError, match=f"memorisation: {heldout} held-out and {generated} generated"
        ):
            judge_memorisation(np.ones(heldout), np.ones(generated))


def test_clips_that_all_lie_alike_are_no_memorisation():
    found = judge_memorisation(np.ones(10), np.ones(5))
    assert (found.share, found.present) == (0, False)


def test_a_training_clip_through_the_codec_is_nearer_to_itself_than_held_out_clips_are_to_any():
    sounds = load_synthetic(clips_per_class=5, duration=2.0)
    training, heldout = sounds.subset(exclude_folds=[1]), sounds.subset(folds=[1])
    known, places = embed_recordings(training, 24_000)
    assert places.tolist() == list(range(len(training)))
    wav = training.read(training.clips[7], 24_000)
    np.testing.assert_array_equal(known[7], log_mel_embedding(analyse(wav, 24_000)))
    real = examine([sounds.read(clip, 24_000) for clip in heldout.clips], 24_000).embeddings
    copies = [
        reconstruct(load_codec("melrvq_24khz"), training.read(training.clips[i], 24_000))
        for i in (3, 20)
    ]
    near = nearest(examine(copies, 24_000).embeddings, known, real)
    assert near.source.tolist() == [3, 20]
    assert near.distance.max() < np.quantile(nearest(real, known, real).distance, 0.05)


def test_silent_training_clips_are_left_out(monkeypatch):
    sounds = load_synthetic(clips_per_class=1, duration=1.0)
    read = type(sounds).read
    monkeypatch.setattr(
        type(sounds),
        "read",
        lambda self, clip, rate: read(self, clip, rate) * (clip is not sounds.clips[2]),
    )
    known, places = embed_recordings(sounds, 24_000)
    assert places.tolist() == [0, 1, *range(3, 10)]
    assert len(known) == 9
    monkeypatch.setattr(type(sounds), "read", lambda self, clip, rate: 0 * read(self, clip, rate))
    with pytest.raises(SsenvError, match="all 10 clips of synthetic are silent"):
        embed_recordings(sounds, 24_000)
