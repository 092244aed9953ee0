"""EnCodec's tokens through Vocos: the package's sound, EnCodec's tokens, weights run no code.

No published weights are needed: the networks are the published ones, with random weights.
"""

import pytest
import torch
import yaml
from encodec.model import EncodecModel
from vocos import Vocos
from vocos import pretrained as vocos_pretrained

from ssenv_core.base import pretrained
from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs import codec_levels, load_codec, vocos_encodec
from ssenv_core.codecs.encodec import EnCodec, untrained_encodec
from ssenv_core.codecs.vocos_encodec import LEVELS, VocosEnCodec, untrained_vocos

CONFIG = {  # configs/vocos-encodec.yaml of the Vocos repository
    "feature_extractor": {
        "class_path": "vocos.feature_extractors.EncodecFeatures",
        "init_args": {
            "encodec_model": "encodec_24khz",
            "bandwidths": [1.5, 3.0, 6.0, 12.0],
            "train_codebooks": False,
        },
    },
    "backbone": {
        "class_path": "vocos.models.VocosBackbone",
        "init_args": {
            "input_channels": 128,
            "dim": 384,
            "intermediate_dim": 1152,
            "num_layers": 8,
            "adanorm_num_embeddings": 4,
        },
    },
    "head": {
        "class_path": "vocos.heads.ISTFTHead",
        "init_args": {"dim": 384, "n_fft": 1280, "hop_length": 320, "padding": "same"},
    },
}
PUBLISHED_TENSORS, PUBLISHED_NUMBERS = (
    82,
    10_081_410 + 1280,
)  # parameters, and the window of the inverse STFT


@pytest.fixture(scope="module")
def encodec_model():
    torch.manual_seed(0)
    model = untrained_encodec("encodec_24khz").model
    for layer in model.quantizer.vq.layers:
        torch.nn.init.normal_(layer.codebook)
    return model


@pytest.fixture(scope="module")
def vocos():
    torch.manual_seed(1)
    model = untrained_vocos()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


@pytest.fixture
def published(tmp_path, monkeypatch, vocos, encodec_model):
    """A folder with the two files of the hub's repository, which both loaders take for it."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    torch.save(vocos.state_dict(), folder / "pytorch_model.bin")

    def fetch(repo_id, filename, revision=None):
        assert repo_id == "charactr/vocos-encodec-24khz"
        return str(folder / filename)

    def fetch_snapshot(repo_id, allow_patterns):
        assert repo_id == "charactr/vocos-encodec-24khz"
        assert allow_patterns == ["pytorch_model.bin"]
        return str(folder)

    monkeypatch.setattr(vocos_pretrained, "hf_hub_download", fetch)
    monkeypatch.setattr(pretrained, "snapshot_download", fetch_snapshot)
    monkeypatch.setattr(EncodecModel, "encodec_model_24khz", lambda pretrained: encodec_model)
    monkeypatch.setattr(
        vocos_encodec, "load_encodec", lambda name, bandwidth: EnCodec(encodec_model, bandwidth)
    )
    monkeypatch.delenv("SSENV_VOCOS_DIR", raising=False)
    return folder


def random_codes(levels, frames=12, items=2):
    return torch.randint(
        1024, (items, levels, frames), generator=torch.Generator().manual_seed(levels)
    )


def test_the_network_is_as_large_as_the_published_one():
    tensors = untrained_vocos().state_dict()
    assert (len(tensors), sum(tensor.numel() for tensor in tensors.values())) == (
        PUBLISHED_TENSORS,
        PUBLISHED_NUMBERS,
    )


def test_the_sound_is_the_packages_own(published):
    theirs = Vocos.from_pretrained("charactr/vocos-encodec-24khz")
    for bandwidth_id, (bandwidth, levels) in enumerate(LEVELS.items()):
        codec, codes = load_codec("vocos_encodec_24khz", bandwidth), random_codes(levels)
        expected = theirs.decode(
            theirs.codes_to_features(codes.transpose(0, 1)),
            bandwidth_id=torch.tensor([bandwidth_id]),
        )
        decoded = codec.decode(codes)
        assert codec.n_q == codec_levels("vocos_encodec_24khz", bandwidth) == levels
        assert decoded.shape == (2, 1, 12 * 320)
        assert torch.equal(decoded[:, 0], expected)


def test_the_tokens_are_those_of_encodec(encodec_model, vocos):
    codec, encodec = VocosEnCodec(encodec_model, vocos, 3.0), EnCodec(encodec_model, 3.0)
    wav = 0.1 * torch.randn(1, 1, 4_001, generator=torch.Generator().manual_seed(0))
    assert torch.equal(codec.encode(wav), encodec.encode(wav))
    assert codec.token_hash == encodec.token_hash
    assert (codec.name, encodec.name) == ("vocos_encodec_24khz", "encodec_24khz")


@torch.inference_mode()
def test_fewer_levels_are_decoded_at_the_least_bandwidth_that_holds_them(encodec_model, vocos):
    codec = VocosEnCodec(encodec_model, vocos, 12.0)
    heard = []
    hook = vocos.backbone.norm.scale.register_forward_pre_hook(
        lambda _, given: heard.append(given[0].tolist())
    )
    try:
        shapes = [codec.decode(random_codes(16)[:, :levels]).shape for levels in range(17)]
    finally:
        hook.remove()
    assert set(shapes) == {(2, 1, 12 * 320)}
    assert heard == [[0]] * 3 + [[1]] * 2 + [[2]] * 4 + [[3]] * 8


@pytest.mark.parametrize("bandwidth", [24.0, 0.75])
def test_a_bandwidth_that_vocos_was_not_trained_for_is_refused_before_any_download(
    bandwidth, monkeypatch
):
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    for refused in (load_codec, codec_levels):
        with pytest.raises(
            SsenvError,
            match=rf"^vocos_encodec_24khz has no {bandwidth:g} kbps: choose one of 1.5, 3, 6, 12$",
        ):
            refused("vocos_encodec_24khz", bandwidth)


def test_the_codec_is_frozen(encodec_model, vocos):
    codec = VocosEnCodec(encodec_model.train(), vocos.train())
    assert not any(
        module.training for part in (codec.model, codec.vocos) for module in part.modules()
    )
    assert not any(parameter.requires_grad for parameter in codec.parameters())


def test_weights_come_from_the_named_folder_without_its_config(published, vocos, monkeypatch):
    monkeypatch.setenv("SSENV_VOCOS_DIR", str(published))
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    (published / "config.yaml").unlink()
    codec = load_codec("vocos_encodec_24khz")
    assert all(
        torch.equal(tensor, vocos.state_dict()[name])
        for name, tensor in codec.vocos.state_dict().items()
    )


def assert_says_what_to_do(error):
    text = str(error.value)
    assert "\n" not in text
    for part in (
        "pytorch_model.bin",
        "SSENV_VOCOS_DIR",
        "https://huggingface.co/charactr/vocos-encodec-24khz",
        "melrvq_24khz",
    ):
        assert part in text


def test_a_folder_without_the_file_is_an_error_and_not_a_download(published, tmp_path, monkeypatch):
    monkeypatch.setenv("SSENV_VOCOS_DIR", str(tmp_path))
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    with pytest.raises(SsenvError, match=f"names {tmp_path}, which lacks them") as error:
        load_codec("vocos_encodec_24khz")
    assert_says_what_to_do(error)


def test_a_failed_download_is_one_line(published, monkeypatch):
    def refuse(repo_id, allow_patterns):
        raise ConnectionError("the hub\ncannot be reached")

    monkeypatch.setattr(pretrained, "snapshot_download", refuse)
    with pytest.raises(SsenvError, match="the download failed: the hub cannot be reached") as error:
        load_codec("vocos_encodec_24khz")
    assert_says_what_to_do(error)


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("code in a weights file was run",))


@pytest.mark.parametrize(
    "content", [Payload(), {"head.out.bias": torch.zeros(1282)}, {1: torch.zeros(1)}, [1, 2]]
)
def test_a_file_of_something_else_is_refused_unrun(published, content):
    torch.save(content, published / "pytorch_model.bin")
    with pytest.raises(SsenvError, match="does not hold this model") as error:
        load_codec("vocos_encodec_24khz")
    assert_says_what_to_do(error)
