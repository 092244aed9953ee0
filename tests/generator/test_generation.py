"""Generation: a clip follows from its seed alone; classes, codes and codec must belong together."""

import itertools
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_codec, token_format
from torch.utils._python_dispatch import TorchDispatchMode

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.tensors import save_tensors
from ssenv_core.data.tokens import TokenSet, require_codec
from ssenv_core.evaluation import controls as scoring
from ssenv_core.generator.canvas import Canvas
from ssenv_core.generator.file import (
    TrainedGenerator,
    class_index,
    load_generator,
    save_generator,
    shipped_generator,
)
from ssenv_core.generator.generation import (
    decode_clip,
    encode_file,
    generate_codes,
    generate_waveforms,
    joints,
    record_decoding,
    windows,
)
from ssenv_core.generator.plans import Plans
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig
from ssenv_core.soundstorm.sampling import Sampling

CLASSES = ("dog", "rain", "siren")
CONFIG = SoundStormConfig(
    n_q=2, codebook_size=1024, num_classes=3, dim=16, depth=1, heads=2, kernel_size=3
)


@pytest.fixture(scope="module")
def codec():
    return tiny_codec(bandwidth=1.5)


@pytest.fixture(scope="module")
def generator(codec):
    torch.manual_seed(0)
    return TrainedGenerator(
        SoundStorm(CONFIG).eval(), CLASSES, token_format(codec), {"settings": {}}
    )


def generate(generator, labels, canvas=None, *, duration=0.2, seed=7, batch_size=8, **sampling):
    canvas = canvas or Canvas.blank(generator, len(labels), duration)
    sampling = Sampling(**{"steps": (3, 2), **sampling})
    return generate_codes(
        generator, labels, sampling, canvas, seed=seed, device="cpu", batch_size=batch_size
    )


def test_item_is_independent_of_its_batch(generator):
    labels = [0, 1, 2, 0, 1]
    together = generate(generator, labels)
    assert torch.equal(generate(generator, labels, batch_size=2), together)
    assert torch.equal(generate(generator, labels, batch_size=1), together)
    assert torch.equal(generate(generator, labels[:3]), together[:3])


def test_in_bf16_too_an_item_is_independent_of_its_batch(generator):
    torch.manual_seed(0)
    model = SoundStorm(replace(CONFIG, dim=64)).eval()
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.3)
    seen = set()

    def used(*_):
        enabled = torch.is_autocast_enabled("cpu")
        seen.add(torch.get_autocast_dtype("cpu") if enabled else None)

    model.register_forward_hook(used)
    wide, sampling = replace(generator, model=model), Sampling((3, 2))
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", None)):
        seen.clear()
        together, alone = (
            generate_codes(
                wide,
                [0, 1, 2],
                sampling,
                Canvas.blank(wide, 3, 0.4),
                seed=7,
                device="cpu",
                precision=precision,
                batch_size=size,
            )
            for size in (3, 1)
        )
        assert torch.equal(together, alone)
        assert seen == {dtype}


def test_items_of_one_class_differ_and_so_do_seeds(generator):
    codes = generate(generator, [1, 1])
    assert not torch.equal(codes[0], codes[1])
    assert torch.equal(generate(generator, [1, 1]), codes)
    assert not torch.equal(generate(generator, [1, 1], seed=8), codes)


def test_class_and_guidance_reach_the_decoding(generator):
    assert not torch.equal(generate(generator, [0]), generate(generator, [2]))
    assert not torch.equal(generate(generator, [0]), generate(generator, [0], guidance=5.0))


@pytest.mark.parametrize(
    ("duration", "frames"), [(0.2, 15), (0.201, 16), (1 / 75, 1), (0.001, 1), (1.0, 75)]
)
def test_a_part_of_a_frame_counts_as_a_whole_one(generator, duration, frames):
    codes = generate(generator, [0], duration=duration, steps=(1, 1))
    assert codes.shape == (1, 2, frames)
    assert codes.dtype == torch.int64
    assert ((codes >= 0) & (codes < 1024)).all()


def test_as_many_labels_as_clips_are_needed(generator):
    with pytest.raises(ValueError, match="2 labels for a canvas of 1 clips"):
        generate(generator, [0, 1], Canvas.blank(generator, 1, 0.2))


def test_no_class_is_a_label_and_others_beyond_it_are_not(generator):
    assert generate(generator, [3]).shape == (1, 2, 15)
    for label in (4, -1):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\]"):
            generate(generator, [label])


def test_settings_out_of_range_are_one_line(generator):
    for changes, named in (
        ({"duration": 0}, "duration"),
        ({"steps": (3,)}, "steps"),
        ({"guidance": -1}, "guidance"),
    ):
        with pytest.raises(SsenvError, match=named) as error:
            generate(generator, [0], **changes)
        assert "\n" not in str(error.value)


@pytest.fixture
def recording(generator):
    return generate(generator, [0, 1], duration=0.4, seed=3)


def test_a_continued_sound_begins_with_what_was_given(generator, recording):
    begun = recording[..., :20]
    longer = generate(generator, [0, 1], Canvas.continuing(generator, begun, 0.4))
    assert longer.shape == (2, 2, 30)
    assert torch.equal(longer[..., :20], begun)
    assert not torch.equal(longer[..., 20:], recording[..., 20:])
    with pytest.raises(
        SsenvError, match=r"has 0\.27 s: a duration of 0\.2 s leaves nothing to generate"
    ):
        Canvas.continuing(generator, begun, 0.2)


def test_an_inpainted_sound_changes_between_the_given_times_alone(generator, recording):
    changed = (
        generate(generator, [0, 1], Canvas.inpainting(generator, recording, 0.1, 0.2)) != recording
    )
    assert changed[..., 8:15].any(dim=-1).all()
    assert not changed[..., :8].any()
    assert not changed[..., 15:].any()
    to_the_end = Canvas.inpainting(generator, recording, 0.1, float("inf")).given
    assert torch.equal(to_the_end, Canvas.inpainting(generator, recording, 0.1, 0.4).given)
    for start, stop in (
        (0.2, 0.1),
        (0.4, 0.5),
        (-1, 0.2),
        (float("nan"), 0.2),
        (0.1, float("nan")),
    ):
        with pytest.raises(SsenvError, match=r"no part of the sound's 0\.40 s"):
            Canvas.inpainting(generator, recording, start, stop)


def test_a_varied_sound_keeps_what_is_not_renewed_and_each_clip_renews_other_tokens(
    generator, recording
):
    canvas = Canvas.varying(recording, 0.3, seed=1)
    assert canvas.given.sum(-1).unique().tolist() == [21]
    assert not torch.equal(canvas.given[0], canvas.given[1])
    made = generate(generator, [0, 1], canvas)
    assert torch.equal(made[canvas.given], recording[canvas.given])
    assert (made != recording).sum() > 10
    assert torch.equal(Canvas.varying(recording[:1], 0.3, seed=1).given, canvas.given[:1])
    for share in (0.0, 1.5):
        with pytest.raises(SsenvError, match="share of a sound"):
            Canvas.varying(recording, share, seed=1)
    with pytest.raises(SsenvError, match="leaves nothing of the sound's 30 frames to vary"):
        Canvas.varying(recording, 0.01, seed=1)


def test_a_long_variation_is_the_same_whatever_is_varied_with_it(generator, recording):
    """What is renewed of a clip says in which windows, and not what is renewed of the others."""
    long, changed = recording[:1].repeat(4, 1, 3), 0
    for seed in range(12):
        canvas = Canvas.varying(long, 0.02, seed=seed)
        together = generate(generator, [0] * 4, canvas)
        assert torch.equal(together[canvas.given], long[canvas.given])
        assert torch.equal(
            generate(generator, [0], replace(canvas, codes=long[:1], given=canvas.given[:1])),
            together[:1],
        )
        changed += int((together != long).sum())
    assert changed > 100


def test_what_is_asked_reaches_every_window_and_a_generator_without_controls_refuses_it(generator):
    with pytest.raises(SsenvError, match="trained without controls"):
        Canvas.blank(generator, 1, 0.2).with_onsets_and_loudness(generator, onsets=[0.1])
    torch.manual_seed(0)
    model = SoundStorm(replace(CONFIG, controls=True)).eval()
    controlled = replace(generator, model=model)
    shown = []
    original = model.forward
    model.forward = lambda inputs: shown.append(inputs.controls) or original(inputs)
    canvas = Canvas.blank(controlled, 2, 1.0).with_onsets_and_loudness(
        controlled, onsets=[0.1, 0.5]
    )
    generate(controlled, [0, 1], canvas, steps=(1, 1))
    for controls, start in zip(shown[::2], (0, 15, 30, 45), strict=True):
        asked = [start + int(frame) for frame in controls[0, :, 1].nonzero()]
        assert asked == [frame for frame in (7, 37) if start <= frame < start + 30]
        assert torch.equal(controls[1, :, 1], controls[0, :, 1])
        assert controls[..., 0].isnan().all()


def test_a_generator_that_follows_its_controls_scores_better_with_them(codec, monkeypatch):
    """The one code per frame is the loudness if it is specified, else 0.

    The sound is noise of that level.
    """
    torch.manual_seed(0)
    model = SoundStorm(replace(CONFIG, controls=True)).eval()
    loudness = torch.linspace(0, 1, 150).expand(2, 150)
    controls = torch.stack((loudness, (torch.arange(150) == 60).expand(2, 150)), dim=-1).float()
    labels, zeros = torch.tensor([0, 2]), torch.zeros(2, dtype=torch.int64)
    made = token_format(codec, duration=2.0)
    tokens = TokenSet(
        torch.zeros(2, 2, 150, dtype=torch.int64),
        labels,
        zeros,
        loudness > -1,
        controls,
        ("a", "b"),
        ("", ""),
        CLASSES,
        made,
    )
    obedient = TrainedGenerator(model, CLASSES, made, {})

    asked = []

    def follow(generator, labels, sampling, canvas, **_):
        assert labels == [0, 2]
        if canvas.controls is None:
            return canvas.codes
        asked.append((~canvas.controls.isnan()).all(dim=1).tolist())
        return (
            (canvas.controls[..., :1].transpose(1, 2).nan_to_num(0.0) * 1000)
            .long()
            .expand(-1, 2, -1)
        )

    def sound(generator, codec, codes, **_):
        rng = np.random.default_rng(0)
        level = 10 ** (-4 * (1 - codes[:, 0].numpy().repeat(320, axis=1) / 1000))
        return [(row * rng.standard_normal(row.size)).astype(np.float32) for row in level]

    monkeypatch.setattr(scoring, "generate_codes", follow)
    monkeypatch.setattr(scoring, "generate_waveforms", sound)
    scores = scoring.control_scores(obedient, codec, tokens, Sampling((1, 1)), seed=0, device="cpu")
    assert scores.loc["loudness_correlation", "both"] > 0.95
    assert abs(scores.loc["loudness_correlation", "class alone"]) < 0.5
    assert list(scores.columns) == [
        "both",
        "loudness alone",
        "onsets alone",
        "class alone",
        "recording",
    ]
    assert asked == [[[True, True]] * 2, [[True, False]] * 2, [[False, True]] * 2]
    assert (
        scores.loc["loudness_correlation", "loudness alone"]
        == scores.loc["loudness_correlation", "both"]
    )
    assert (
        scores.loc["loudness_correlation", "onsets alone"]
        == scores.loc["loudness_correlation", "class alone"]
    )


def test_the_most_that_could_be_asked_of_a_generator_is_what_the_recordings_own_codes_do(
    codec, monkeypatch
):
    decoded = []

    def sound(generator, codec, codes, **_):
        decoded.append(codes)
        return [np.zeros(24_000)]

    monkeypatch.setattr(
        scoring, "generate_codes", lambda generator, labels, sampling, canvas, **_: canvas.codes + 1
    )
    monkeypatch.setattr(scoring, "generate_waveforms", sound)
    codes, controls = torch.full((1, 2, 75), 7), torch.full((1, 75, 2), 0.5)
    made = token_format(codec, duration=1.0)
    tokens = TokenSet(
        codes,
        torch.tensor([0]),
        torch.tensor([1]),
        controls[..., 0] > 0,
        controls,
        ("a",),
        ("",),
        CLASSES,
        made,
    )
    generator = TrainedGenerator(
        SoundStorm(replace(CONFIG, controls=True)).eval(), CLASSES, made, {}
    )
    scoring.control_scores(generator, codec, tokens, Sampling((1, 1)), seed=0, device="cpu")
    assert [part.unique().tolist() for part in decoded] == [[1]] * 4 + [[7]]


def test_silence_that_was_given_earns_no_score(codec, monkeypatch):
    """Loudness that is independent of the controls, except in the silence."""
    wav = 0.1 * np.random.default_rng(0).standard_normal(24_000)
    wav[12_000:] = 0.0
    monkeypatch.setattr(
        scoring, "generate_codes", lambda generator, labels, sampling, canvas, **_: canvas.codes
    )
    monkeypatch.setattr(scoring, "generate_waveforms", lambda *_, **__: [wav])
    controls = torch.rand(1, 75, 2, generator=torch.Generator().manual_seed(0))
    controls[:, 37:, 0] = 0.0
    made = token_format(codec, duration=1.0)
    codes = torch.zeros(1, 2, 75, dtype=torch.int64)
    tokens = TokenSet(
        codes,
        torch.tensor([0]),
        torch.tensor([1]),
        controls[..., 0] > 0,
        controls,
        ("a",),
        ("",),
        CLASSES,
        made,
    )
    generator = TrainedGenerator(
        SoundStorm(replace(CONFIG, controls=True)).eval(), CLASSES, made, {}
    )
    scores = scoring.control_scores(
        generator, codec, tokens, Sampling((1, 1)), seed=0, device="cpu"
    )
    assert scores.loc["loudness_correlation"].abs().max() < 0.4


def plan_controls(generator, labels, seed, seconds):
    return (
        Canvas.blank(generator, len(labels), seconds).with_plans(generator, labels, seed).controls
    )


def test_a_plan_is_what_a_training_clip_of_the_class_does_and_goes_on_with_another(generator):
    controls = torch.arange(5.0)[:, None, None].expand(5, 30, 2)
    made = replace(generator, plans=Plans(torch.tensor([0, 0, 1, 1, 1]), controls))
    picked = plan_controls(made, [0, 1] * 20, 3, 0.8)
    assert picked.shape == (40, 60, 2)
    for label, clips in ((0, {0, 1}), (1, {2, 3, 4})):
        first, second = picked[label::2, :30].flatten(1), picked[label::2, 30:].flatten(1)
        assert torch.equal(first, first[:, :1].expand_as(first))
        assert torch.equal(second, second[:, :1].expand_as(second))
        assert set(first[:, 0].tolist()) == set(second[:, 0].tolist()) == clips
        assert not torch.equal(first, second)
    assert plan_controls(made, [0], 3, 0.2).shape == (1, 15, 2)
    with pytest.raises(SsenvError, match="no clip of no class was in the training"):
        plan_controls(made, [3], 3, 0.4)


def test_where_a_plan_is_silent_the_codes_of_silence_are_given(generator):
    controls = torch.full((1, 30, 2), 0.5)
    controls[:, 10:15, 0] = 0.0
    canvas = Canvas.blank(generator, 2, 0.6)
    conditioned = canvas.with_plans(
        replace(generator, plans=Plans(torch.tensor([0]), controls, torch.tensor([7, 9]))),
        [0, 0],
        3,
    )
    silent = torch.zeros(45, dtype=torch.bool)
    silent[10:15] = silent[40:45] = True
    assert torch.equal(conditioned.given, silent.expand(2, 2, 45))
    assert torch.equal(conditioned.codes, torch.tensor([7, 9])[:, None] * silent.expand(2, 2, 45))
    made = generate(generator, [0, 0], replace(conditioned, controls=None))
    assert torch.equal(made[..., 10:15], conditioned.codes[..., 10:15])
    assert torch.equal(
        conditioned.padding, torch.arange(45).expand(2, 45) >= 40
    )  # behind the last sound
    first, *_ = record_decoding(
        generator,
        [0, 0],
        Sampling(steps=(3, 2)),
        replace(conditioned, controls=None),
        seeds=[1, 2],
        device="cpu",
    )
    assert torch.equal(first.free, ~silent.expand(2, 45))
    without = canvas.with_plans(
        replace(generator, plans=Plans(torch.tensor([0]), controls)), [0, 0], 3
    )
    assert not without.given.any()
    assert without.padding is None


@pytest.mark.parametrize("n_frames", [30, 75])  # in one window, and in several
def test_what_is_padding_does_not_change_the_rest(generator, n_frames):
    torch.manual_seed(1)
    telling = replace(generator, model=deepcopy(generator.model))
    for head in telling.model.heads:  # so that what is around a frame matters
        torch.nn.init.normal_(head.weight, std=2.0)
    short, long = n_frames - 10, n_frames - 5
    blank, padding = (
        Canvas.blank(telling, 2, n_frames / 75),
        torch.arange(n_frames) >= torch.tensor([[short], [long]]),
    )
    given = padding[:, None].expand(2, 2, n_frames)
    one, other = (
        replace(blank, codes=torch.randint(1024, (2, 2, n_frames)), given=given, silence=padding)
        for _ in range(2)
    )
    first, second = (generate(telling, [0, 1], canvas) for canvas in (one, other))
    assert torch.equal(first[0, :, :short], second[0, :, :short])
    assert torch.equal(first[1, :, :long], second[1, :, :long])
    assert torch.equal(first[0, :, short:], one.codes[0, :, short:])
    shown = generate(telling, [0, 1], replace(other, silence=None))
    assert not torch.equal(shown[0, :, :short], second[0, :, :short])


def test_what_is_asked_for_is_given_where_it_is_silent(generator):
    """Of held-out clips as of plans."""
    asked = torch.full((1, 30, 2), 0.5)
    asked[:, 20:, 0] = 0.001  # -79.9 dB
    blank = Canvas.blank(generator, 1, 0.4)
    conditioned = blank.with_controls(
        replace(generator, plans=Plans(torch.tensor([0]), asked, torch.tensor([7, 9]))), asked
    )
    assert torch.equal(conditioned.controls, asked)
    assert torch.equal(conditioned.padding, torch.arange(30)[None] >= 20)
    assert torch.equal(conditioned.given, conditioned.padding.expand(1, 2, 30))
    assert not blank.with_controls(generator, asked).given.any()


def test_codes_are_decoded_where_the_codec_is(codec):
    codes, moved = torch.randint(1024, (2, 10)), []

    class Elsewhere:
        def to(self, device):
            moved.append(device)
            return codes

    here, there = (decode_clip(codec, one, seed=1, index=0) for one in (codes, Elsewhere()))
    assert moved == [codec.codebooks.device]
    assert np.array_equal(here, there)


@pytest.mark.parametrize("duration", [0.0, -1.0, float("inf"), float("nan")])
def test_a_duration_that_is_none_is_refused(generator, duration):
    with pytest.raises(SsenvError, match="must be more than 0 seconds, and finite"):
        Canvas.blank(generator, 1, duration)


def test_the_shortest_clip_has_a_frame(generator):
    assert Canvas.blank(generator, 1, 1e-12).codes.shape == (1, 2, 1)


def test_the_plan_of_a_clip_follows_from_seed_and_place_alone(generator):
    made = replace(generator, plans=Plans(torch.arange(60) % 3, torch.rand(60, 30, 2)))
    some = plan_controls(made, [0, 1, 2, 0], 3, 0.4)
    assert torch.equal(plan_controls(made, [0, 1], 3, 0.4), some[:2])
    assert not torch.equal(some[0], some[3])
    assert not torch.equal(plan_controls(made, [0, 1, 2, 0], 4, 0.4), some)


def test_a_generator_without_plans_or_without_those_of_a_class_says_so(generator):
    with pytest.raises(SsenvError, match="this generator has no plans"):
        plan_controls(generator, [0], 0, 0.4)
    made = replace(generator, plans=Plans(torch.tensor([0]), torch.zeros(1, 30, 2)))
    with pytest.raises(SsenvError, match="no clip of rain was in the training"):
        plan_controls(made, [1], 0, 0.4)


class CastsOfWeights(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._to_copy.default and isinstance(
            args[0], torch.nn.Parameter
        )
        return func(*args, **(kwargs or {}))


def test_bf16_casts_the_weights_of_a_file_once_and_not_in_every_pass(tmp_path):
    torch.manual_seed(0)
    path = save_generator(
        tmp_path / "generator.safetensors",
        TrainedGenerator(SoundStorm(CONFIG).eval(), CLASSES, token_format(n_q=2), {"folds": [2]}),
    )
    generator, casts = load_generator(path, "cpu"), []
    for steps in ((1, 1), (8, 1)):
        with CastsOfWeights() as mode:
            canvas = Canvas.blank(generator, 1, 0.4)
            generate_codes(
                generator, [0], Sampling(steps), canvas, seed=0, device="cpu", precision="bf16"
            )
        casts.append(mode.count)
    assert casts[0] == casts[1] > 0


def seen_by(generator, monkeypatch):
    """The codes that the model is shown from now on, pass by pass."""
    shown = []
    original = generator.model.forward

    def watch(inputs):
        shown.append(inputs.codes.clone())
        return original(inputs)

    monkeypatch.setattr(generator.model, "forward", watch)
    return shown


@pytest.mark.parametrize("n_frames", [1, 29, 30, 31, 45, 46, 100])
@pytest.mark.parametrize("length", [1, 2, 29, 30])
def test_windows_cover_a_clip_and_overlap_by_half_at_least(n_frames, length):
    spans = list(windows(0, n_frames, n_frames, length))
    assert spans[0][0] == 0
    assert spans[-1][1] == n_frames
    assert all(stop - start == min(length, n_frames) for start, stop in spans)
    for (start, stop), (later, end) in itertools.pairwise(spans):
        assert start < later <= stop - length // 2
        assert stop < end


@given(st.data())
def test_windows_cover_a_hole_and_see_what_is_around_it(data):
    n_frames, length = data.draw(st.integers(1, 100)), data.draw(st.integers(2, 30))
    first = data.draw(st.integers(0, n_frames - 1))
    last = data.draw(st.integers(first + 1, n_frames))
    spans = list(windows(first, last, n_frames, length))
    around = length // 4
    assert 0 <= spans[0][0] <= max(0, first - around)
    assert min(n_frames, last + around) <= spans[-1][1] <= n_frames
    assert all(stop - start == min(length, n_frames) for start, stop in spans)
    assert len(spans) == 1 or last - first > length // 2
    for (start, stop), (later, end) in itertools.pairwise(spans):
        assert start < later <= stop - length // 2
        assert stop < end


def test_a_short_hole_in_a_long_sound_is_filled_in_at_once_with_what_comes_before_and_after(
    generator, monkeypatch
):
    sound = torch.randint(1024, (2, 2, 75), generator=torch.Generator().manual_seed(1))
    seen = seen_by(generator, monkeypatch)
    made = generate(generator, [0, 1], Canvas.inpainting(generator, sound, 26 / 75, 34 / 75))
    assert len(seen) == 5  # one window: three iterations and two
    assert torch.equal(seen[0][:, 0, :11], sound[:, 0, 15:26])
    assert torch.equal(seen[0][:, 0, 19:], sound[:, 0, 34:45])
    assert (seen[0][..., 11:19] == 1024).all()
    assert (made != sound).any(dim=1).any(dim=0).nonzero()[:, 0].tolist() == list(range(26, 34))


def test_a_sound_of_which_all_is_given_stays(generator):
    sound = torch.randint(1024, (1, 2, 75), generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        generate(generator, [0], Canvas(sound, torch.ones_like(sound, dtype=torch.bool))), sound
    )


def test_a_long_clip_is_made_in_windows_that_go_on_from_one_another(generator, monkeypatch):
    """Frames 0 to 30 form a clip of the training's length; later windows have half of it given."""
    shown = seen_by(generator, monkeypatch)
    long = generate(generator, [0, 1], duration=1.0)
    assert len(shown) == 4 * 5
    assert long.shape == (2, 2, 75)
    assert torch.equal(long[..., :30], generate(generator, [0, 1], duration=0.4))
    firsts = shown[:20:5]  # of three iterations and two
    assert [codes.shape[-1] for codes in firsts] == [30] * 4
    for codes, start in zip(firsts[1:], (15, 30, 45), strict=True):
        assert torch.equal(codes[:, 0, :15], long[:, 0, start : start + 15])
        assert (codes[:, 0, 15:] == 1024).all()


def test_joints_are_where_another_window_begins_to_be_filled_in(generator):
    assert joints(generator, 0.4) == []
    assert joints(generator, 1.0) == pytest.approx([0.4, 0.6, 0.8])


def test_a_recording_is_read_as_the_codes_that_the_generator_knows(generator, codec, tmp_path):
    wav = (0.1 * np.random.default_rng(0).standard_normal(4000)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wav, 24_000, subtype="FLOAT")
    codes, seconds = encode_file(generator, codec, tmp_path / "a.wav")
    assert seconds == 4000 / 24_000
    assert torch.equal(codes, codec.encode(torch.from_numpy(wav)[None, None]))
    with pytest.raises(SsenvError, match="the codec is loud"):
        encode_file(generator, Loud(), tmp_path / "a.wav")


def test_same_seed_same_waveform_whatever_is_decoded_with_it(generator, codec):
    codes = generate(generator, [0, 1, 2])
    wavs = generate_waveforms(generator, codec, codes, seed=7)
    again = generate_waveforms(generator, codec, codes[:2], seed=7)
    other = generate_waveforms(generator, codec, codes, seed=8)
    assert all(wav.shape == (15 * 320,) and wav.dtype == np.float32 for wav in wavs)
    assert all(np.array_equal(a, b) for a, b in zip(wavs, again, strict=False))
    assert not any(np.array_equal(a, b) for a, b in zip(wavs, other, strict=True))


def test_items_draw_their_own_noise(generator, codec):
    same = generate(generator, [0]).expand(2, -1, -1)
    one, two = generate_waveforms(generator, codec, same, seed=7)
    assert not np.array_equal(one, two)


class Loud:
    """A codec whose clips peak at the value of their first code."""

    name, token_hash, n_q, codebooks = "loud", "ff" * 32, 2, torch.zeros(2, 4, 1)

    def decode(self, codes, generator=None):
        return codes[:, :1, :1].float().expand(-1, 1, 10)


def test_peaks_beyond_full_scale_are_counted_and_kept(generator, capsys):
    loud = TrainedGenerator(
        generator.model, CLASSES, token_format(codec="loud", token_hash=Loud.token_hash, n_q=2), {}
    )
    codes = torch.tensor([0, 1, 3, 2])[:, None, None].expand(-1, 2, 5)
    wavs = generate_waveforms(loud, Loud(), codes, seed=0)
    assert [wav.max() for wav in wavs] == [0, 1, 3, 2]
    assert "2 of 4 clips peak beyond full scale" in capsys.readouterr().out


def test_tokens_of_another_codec_are_refused_in_one_line(generator, codec):
    with pytest.raises(
        SsenvError, match=r"the tokens are of melrvq_24khz .*the codec is loud"
    ) as error:
        generate_waveforms(generator, Loud(), torch.zeros(1, 2, 5, dtype=torch.int64), seed=0)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_kind_is_refused_in_one_line(tmp_path):
    path = save_tensors(
        tmp_path / "codec.safetensors", {"x": torch.zeros(1)}, {"kind": "melrvq codec"}
    )
    with pytest.raises(
        SsenvError, match=r"codec\.safetensors holds 'melrvq codec', not a soundstorm generator"
    ) as error:
        load_generator(path, "cpu")
    assert "\n" not in str(error.value)


def test_a_generator_from_its_file_generates_the_same(tmp_path, generator):
    loaded = load_generator(save_generator(tmp_path / "generator.safetensors", generator), "cpu")
    assert torch.equal(generate(loaded, [0, 2]), generate(generator, [0, 2]))


def test_class_index_finds_a_class_and_names_the_nearest_to_a_mistake():
    assert class_index(CLASSES, "rain") == 1
    with pytest.raises(SsenvError, match=r"no class 'sirens' .* did you mean siren") as error:
        class_index(CLASSES, "sirens")
    assert "\n" not in str(error.value)


def test_the_shipped_generator_is_small_and_of_the_shipped_codec_and_knows_no_clip_of_fold_1():
    path = shipped_generator()
    assert path.stat().st_size < 25e6
    shipped = load_generator(path, "cpu")
    require_codec(shipped.format, shipped.format.load_codec())
    assert (len(shipped.class_names), shipped.training["folds"]) == (50, [2, 3, 4, 5])
    assert shipped.model.config.controls
