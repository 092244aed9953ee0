"""Embeddings agree with the libraries; weights come from a folder; one line if unavailable.

Tests that need `transformers` or `torchvggish` are skipped without them. Folders hold random
weights: no published ones are needed.
"""

import hashlib
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from ssenv_core.base import pretrained
from ssenv_core.base.errors import SsenvError
from ssenv_core.codecs import encodec
from ssenv_core.evaluation import embeddings
from ssenv_core.evaluation.embeddings import (
    EMBEDDINGS,
    Embedding,
    frechet_by_embedding,
    load_embedding,
)
from ssenv_core.metrics.frechet import frechet_beside_floor
from ssenv_core.study.params import EmbeddingName

REASON = "the extra `embeddings` (transformers, torchvggish) is not installed"
AUDIO = {
    "hidden_size": 64,
    "patch_embeds_hidden_size": 8,
    "depths": [1] * 4,
    "num_attention_heads": [1] * 4,
    "projection_dim": 12,
}
TEXT = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 20,
}
VARIABLES = {"encodec": "SSENV_ENCODEC_DIR", "clap": "SSENV_CLAP_DIR", "vggish": "SSENV_VGGISH_DIR"}


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, no cache, and nothing to download from."""

    def unreachable(*_: object, **__: object) -> str:
        raise OSError("no route\nto the host")

    monkeypatch.setattr(pretrained, "snapshot_download", unreachable)
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a narrow CLAP, text half and all, as it is published."""
    transformers = pytest.importorskip("transformers", reason=REASON)
    folder = tmp_path_factory.mktemp("clap")
    torch.manual_seed(0)
    config = transformers.ClapConfig(
        audio_config=AUDIO, text_config=TEXT | {"projection_dim": 12}, projection_dim=12
    )
    transformers.ClapModel(config).save_pretrained(folder)
    transformers.ClapFeatureExtractor(frequency_min=50, truncation="rand_trunc").save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def vggish(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A folder with VGGish, and the network itself: the package has one size, 289 MB."""
    package = pytest.importorskip("torchvggish.torchvggish", reason=REASON)
    torch.manual_seed(0)
    network = package.VGG(package.make_layers(), postprocess=False)
    path = tmp_path_factory.mktemp("vggish") / "vggish-10086976.pth"
    torch.save(network.state_dict(), path)
    yield path, network.eval()
    path.unlink()


def test_encodec_s_are_the_package_s_latents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = encodec.RELEASES["encodec_24khz"].build(pretrained=False).eval()
    path = tmp_path / "encodec_24khz-d7cc33bc.th"
    torch.save(model.state_dict(), path)
    release = encodec.RELEASES["encodec_24khz"]
    weights = replace(release.weights, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(encodec.RELEASES, "encodec_24khz", replace(release, weights=weights))
    monkeypatch.setenv("SSENV_ENCODEC_DIR", str(tmp_path))
    embedding, wav = load_embedding("encodec"), noise(24_001)
    with torch.inference_mode():
        expected = model.encoder(torch.from_numpy(wav)[None, None])[0].T.numpy()
    assert embedding.sample_rate == 24_000
    assert expected.shape == (76, 128)
    assert np.array_equal(embedding.embed(wav), expected)


def test_clap_s_are_the_library_s_audio_features(
    clap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers", reason=REASON)
    monkeypatch.setenv("SSENV_CLAP_DIR", str(clap))
    embedding, wav = load_embedding("clap"), noise(2 * 48_000)
    model, extractor = (
        transformers.ClapModel.from_pretrained(clap).eval(),
        transformers.ClapFeatureExtractor.from_pretrained(clap),
    )
    with torch.inference_mode():
        expected = model.get_audio_features(
            **extractor(wav, sampling_rate=48_000, return_tensors="pt")
        ).pooler_output.numpy()
    assert embedding.sample_rate == 48_000
    assert expected.shape == (1, 12)
    np.testing.assert_allclose(embedding.embed(wav), expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)


def test_clap_hears_a_long_clip_in_whole_windows_of_ten_seconds(
    clap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSENV_CLAP_DIR", str(clap))
    embedding, wav = load_embedding("clap"), noise(23 * 48_000)
    apart = np.concatenate(
        [embedding.embed(wav[i * 480_000 : (i + 1) * 480_000]) for i in range(2)]
    )
    np.testing.assert_allclose(embedding.embed(wav), apart, atol=1e-5)


def test_clap_is_read_from_a_pickle_of_tensors_too(
    clap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((clap / name).read_bytes())
    torch.save(load_file(clap / "model.safetensors"), tmp_path / "pytorch_model.bin")
    wav, found = noise(48_000), []
    for folder in (clap, tmp_path):
        monkeypatch.setenv("SSENV_CLAP_DIR", str(folder))
        found.append(load_embedding("clap").embed(wav))
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.parametrize(
    "spoil", ["config.json", "preprocessor_config.json", "model.safetensors", "fusion"]
)
def test_a_clap_that_is_not_whole_or_another_one_is_one_line(
    clap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    for file in clap.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    if spoil == "fusion":
        transformers = pytest.importorskip("transformers", reason=REASON)
        config = transformers.ClapConfig(
            audio_config=AUDIO | {"enable_fusion": True, "fusion_type": "aff_2d"}, text_config=TEXT
        )
        transformers.ClapModel(config).save_pretrained(tmp_path)
    else:
        (tmp_path / spoil).unlink()
    monkeypatch.setenv("SSENV_CLAP_DIR", str(tmp_path))
    with pytest.raises(
        SsenvError, match=rf"{tmp_path}.*(SSENV_CLAP_DIR|laion/clap-htsat-unfused)"
    ) as error:
        load_embedding("clap")
    assert "\n" not in str(error.value)


def test_vggish_s_are_the_package_s_before_the_last_activation(
    vggish, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, network = vggish
    from torchvggish.vggish_input import waveform_to_examples

    monkeypatch.setattr(
        embeddings,
        "VGGISH",
        replace(embeddings.VGGISH, sha256=hashlib.sha256(path.read_bytes()).hexdigest()),
    )
    monkeypatch.setenv("SSENV_VGGISH_DIR", str(path.parent))
    embedding, wav = load_embedding("vggish"), noise(3 * 16_000)
    with torch.no_grad():
        expected = network(waveform_to_examples(wav.astype(np.float64), 16_000)).numpy()
    found = embedding.embed(wav)
    assert (embedding.sample_rate, found.shape) == (16_000, (3, 128))
    assert found.min() < 0
    np.testing.assert_allclose(np.maximum(found, 0), expected, atol=1e-5)
    short = embedding.embed(wav[:100])
    assert short.shape == (1, 128)
    assert np.array_equal(short, embedding.embed(np.pad(wav[:100], (0, 15_500))))


def test_vggish_with_another_hash_is_refused(vggish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSENV_VGGISH_DIR", str(vggish[0].parent))
    with pytest.raises(SsenvError, match=r"has the sha256 .* expected 1008697624580379\.\."):
        load_embedding("vggish")


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_unavailable_weights_are_reported_in_one_line(name: str) -> None:
    if name != "encodec":
        pytest.importorskip({"clap": "transformers", "vggish": "torchvggish"}[name], reason=REASON)
    tables, missing = frechet_by_embedding([name], {}, 24_000)
    assert (tables, list(missing)) == ({}, [name])
    assert "no route to the host" in missing[name]
    assert VARIABLES[name] in missing[name]
    assert "\n" not in missing[name]


@pytest.mark.parametrize(
    ("name", "package"), [("clap", "transformers"), ("vggish", "torchvggish.torchvggish")]
)
def test_without_its_package_one_line_names_the_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    line = (
        rf"(?i)^{name} needs the package {package.split('.')[0]} \(.*\): "
        r"in ssenv's folder, pip install -e '\.\[embeddings\]'$"
    )
    with pytest.raises(SsenvError, match=line):
        load_embedding(name)


def test_the_names_are_those_that_can_be_asked_for() -> None:
    assert set(get_args(EmbeddingName)) == set(EMBEDDINGS)
    with pytest.raises(
        SsenvError,
        match=r"unknown embedding 'vgish': did you mean 'vggish'\? \(encodec, clap, vggish\)",
    ):
        load_embedding("vgish")


def means_of_frames(wav: np.ndarray) -> np.ndarray:
    return wav[: len(wav) // 100 * 100].reshape(-1, 100)[:, :3]


def test_columns_are_resampled_and_compared_as_the_codec_s_latents_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        EMBEDDINGS, "encodec", lambda device: Embedding("encodec", 12_000, means_of_frames)
    )
    columns = {
        side: [noise(6_000, 10 * i + j) for j in range(6)]
        for i, side in enumerate(("real", "codec", "generated"))
    }
    tables, missing = frechet_by_embedding(["encodec"], columns, 24_000, seed=3)
    assert missing == {}
    embedding = Embedding("encodec", 12_000, means_of_frames)
    embedded = {
        side: embedding.of([(wav, 24_000) for wav in wavs], 6) for side, wavs in columns.items()
    }
    assert [len(clip) for clip in embedded["real"]] == [30] * 6
    assert tables["encodec"].equals(frechet_beside_floor(**embedded, seed=3))
