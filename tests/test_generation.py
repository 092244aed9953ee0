"""Generation: a clip follows from its seed alone, and codes, classes and codecs that do not belong together are refused."""

import numpy as np
import pytest
import torch
from tiny import tiny_codec

from ssenv_core.artifacts import save_tensors
from ssenv_core.checkpoints import TrainedGenerator, load_generator, save_generator
from ssenv_core.errors import SsenvError
from ssenv_core.generation import class_index, generate_codes, generate_waveforms
from ssenv_core.soundstorm import SoundStorm, SoundStormConfig

CLASSES = ("dog", "rain", "siren")
CONFIG = SoundStormConfig(n_q=2, codebook_size=1024, num_classes=3, dim=16, depth=1, heads=2, kernel_size=3)


@pytest.fixture(scope="module")
def codec():
    return tiny_codec(bandwidth=1.5)


@pytest.fixture(scope="module")
def generator(codec):
    torch.manual_seed(0)
    metadata = {"codec": codec.name, "token_hash": codec.token_hash, "n_q": 2, "bandwidth": 1.5, "frame_rate": 75.0}
    return TrainedGenerator(SoundStorm(CONFIG).eval(), CLASSES, metadata, {"settings": {}})


def generate(generator, labels, **changes):
    settings = {"duration": 0.2, "steps": (3, 2), "temperature": 1.0, "choice_temperature": 4.5, "guidance": 1.0, "seed": 7}
    return generate_codes(generator, labels, **settings | changes, device="cpu")


def test_item_is_independent_of_its_batch(generator):
    labels = [0, 1, 2, 0, 1]
    together = generate(generator, labels)
    assert torch.equal(generate(generator, labels, batch_size=2), together)
    assert torch.equal(generate(generator, labels, batch_size=1), together)
    assert torch.equal(generate(generator, labels[:3]), together[:3])


def test_items_of_one_class_differ_and_so_do_seeds(generator):
    codes = generate(generator, [1, 1])
    assert not torch.equal(codes[0], codes[1])
    assert torch.equal(generate(generator, [1, 1]), codes)
    assert not torch.equal(generate(generator, [1, 1], seed=8), codes)


def test_class_and_guidance_reach_the_decoding(generator):
    assert not torch.equal(generate(generator, [0]), generate(generator, [2]))
    assert not torch.equal(generate(generator, [0]), generate(generator, [0], guidance=5.0))


@pytest.mark.parametrize(("duration", "frames"), [(0.2, 15), (0.201, 16), (1 / 75, 1), (0.001, 1), (1.0, 75)])
def test_a_part_of_a_frame_counts_as_a_whole_one(generator, duration, frames):
    codes = generate(generator, [0], duration=duration, steps=(1, 1))
    assert codes.shape == (1, 2, frames)
    assert codes.dtype == torch.int64
    assert ((codes >= 0) & (codes < 1024)).all()


def test_no_class_is_a_label_and_others_beyond_it_are_not(generator):
    assert generate(generator, [3]).shape == (1, 2, 15)
    for label in (4, -1):
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\]"):
            generate(generator, [label])


def test_settings_out_of_range_are_one_line(generator):
    for changes, named in (({"duration": 0}, "duration"), ({"steps": (3,)}, "steps"), ({"guidance": -1}, "guidance")):
        with pytest.raises(SsenvError, match=named) as error:
            generate(generator, [0], **changes)
        assert "\n" not in str(error.value)


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

    name, token_hash, n_q = "loud", "ff" * 32, 2

    def decode(self, codes, generator=None):
        return codes[:, :1, :1].float().expand(-1, 1, 10)


def test_peaks_beyond_full_scale_are_counted_and_kept(generator, capsys):
    loud = TrainedGenerator(generator.model, CLASSES, {"codec": "loud", "token_hash": Loud.token_hash, "n_q": 2}, {})
    codes = torch.tensor([0, 1, 3, 2])[:, None, None].expand(-1, 2, 5)
    wavs = generate_waveforms(loud, Loud(), codes, seed=0)
    assert [wav.max() for wav in wavs] == [0, 1, 3, 2]
    assert "2 of 4 clips peak beyond full scale" in capsys.readouterr().out


def test_tokens_of_another_codec_are_refused_in_one_line(generator, codec):
    with pytest.raises(SsenvError, match=r"the tokens are of melrvq_24khz .*the codec is loud") as error:
        generate_waveforms(generator, Loud(), torch.zeros(1, 2, 5, dtype=torch.int64), seed=0)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_kind_is_refused_in_one_line(tmp_path):
    path = save_tensors(tmp_path / "codec.safetensors", {"x": torch.zeros(1)}, {"kind": "melrvq codec"})
    with pytest.raises(SsenvError, match=r"codec\.safetensors holds 'melrvq codec', not a soundstorm generator") as error:
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
