"""Reading, resampling and writing audio files, always mono float32 in [-1, 1].

libsndfile (through soundfile) decodes and encodes, soxr resamples. Files that cannot be used as
sound are refused here with one line, so that no caller has to check again.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
import torch.nn.functional as F

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import atomic_path

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
SILENCE = 1 / 32768  # one step of 16-bit audio; a sample no larger is silence
UNKNOWN_LENGTH = 0x7FFFF000  # bytes: programs that write wav into a pipe declare at least this


def read_audio(
    path: str | Path, sample_rate: int | None = None, duration: float | None = None
) -> tuple[np.ndarray, int]:
    """Read one file as mono.

    Args:
        path: any file libsndfile decodes.
        sample_rate: resample to this rate (Hz); None keeps the file's.
        duration: cut, or zero-pad at the end, to this many seconds; None keeps the file's.

    Returns:
        The waveform (S,) float32 and its rate in Hz.

    Raises:
        SsenvError: the file is missing, is not audio, is truncated, is empty, or holds NaN or
            infinite samples.
    """
    wav, rate = read_channels(path)
    wav = wav.mean(axis=1)
    if sample_rate is not None and rate != sample_rate:
        wav = resample(wav, rate, sample_rate)
        rate = sample_rate
    if duration is not None:
        wav = fit_length(wav, round(duration * rate))
    return wav, rate


def read_channels(path: str | Path) -> tuple[np.ndarray, int]:
    """Read one file unchanged: the waveform (S, channels) float32 and its rate in Hz.

    Raises as `read_audio` does.
    """
    path = Path(path)
    if not path.is_file():
        raise SsenvError(f"no audio file at {path}")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            frames = file.frames
            log = file.extra_info
            wav = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _not_audio(path, error) from None
    if len(wav) < frames or _is_cut_short(path, log):
        raise SsenvError(f"{path} is truncated: fetch it again or remove it")
    if not len(wav):
        raise SsenvError(f"{path} holds no samples: replace or remove it")
    if not np.isfinite(wav).all():
        raise SsenvError(f"{path} holds samples that are not finite: replace or remove it")
    return wav, rate


def file_rate(path: str | Path) -> int:
    """The rate (Hz) in a file's header. Raises SsenvError if it is missing or not audio."""
    try:
        return soundfile.info(path).samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _not_audio(path, error) from None


def _not_audio(path: str | Path, error: Exception) -> SsenvError:
    reason = str(error).rsplit(":", 1)[-1].strip()
    return SsenvError(f"{path} cannot be read as audio ({reason}): replace or remove it")


def _is_cut_short(path: Path, log: str) -> bool:
    """Whether a file holds less than it declares.

    libsndfile decodes a cut wav, aiff or ogg without an error, and only logs the first two.
    """
    if path.suffix.lower() == ".ogg":
        return not _ogg_is_complete(path)
    declared = re.search(r"^\s*(?:data|SSND) : (\d+) \(should be \d+\)", log, re.MULTILINE)
    return declared is not None and int(declared[1]) < UNKNOWN_LENGTH


def _ogg_is_complete(path: Path) -> bool:
    """Whether the last Ogg page is complete and has the end-of-stream flag (RFC 3533, 6)."""
    page_at_most = 65307
    data = path.read_bytes()[-page_at_most:]
    page = data[data.rfind(b"OggS") :]
    if len(page) < 27:
        return False
    lacing = page[27 : 27 + page[26]]
    return bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(lacing)


def resample(wav: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Resample (S,) float32 from one rate to another (Hz), soxr "HQ"."""
    return soxr.resample(wav, source_rate, target_rate).astype(np.float32, copy=False)


def fit_length(wav: np.ndarray, num_samples: int) -> np.ndarray:
    """Cut, or zero-pad at the end, (S,) to (num_samples,)."""
    if len(wav) >= num_samples:
        return wav[:num_samples]
    return np.pad(wav, (0, num_samples - len(wav)))


def write_audio(path: str | Path, wav: np.ndarray, sample_rate: int) -> Path:
    """Write (S,) as 16-bit PCM in the container of the suffix (wav, flac, aiff).

    Samples beyond [-1, 1] are clipped, never rescaled.

    Raises:
        SsenvError: the file system refuses the write (disk full, no permission).
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        try:
            soundfile.write(temporary, np.clip(wav, -1.0, 1.0), sample_rate, subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise SsenvError(
                f"cannot write {path}: {error.error_string.rstrip('.')}; is the disk full?"
            ) from error
    return path


def active_frames(wav: torch.Tensor, hop: int, num_frames: int) -> torch.Tensor:
    """wav (B, S) -> (B, num_frames) bool: a frame of `hop` samples exceeds one 16-bit step."""
    loud = F.pad(wav.abs() > SILENCE, (0, num_frames * hop - wav.shape[1]))
    return loud.unflatten(1, (num_frames, hop)).any(2)


def list_audio(folder: str | Path) -> list[Path]:
    """Every audio file below a folder, links included, sorted by path.

    Raises:
        SsenvError: the folder is missing or holds no audio file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SsenvError(f"no folder at {folder}")
    seen = set()
    paths = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(parent))
        # A link may lead back up.
        folders[:] = [
            name for name in folders if os.path.realpath(os.path.join(parent, name)) not in seen
        ]
        paths += [Path(parent, name) for name in names]
    files = sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise SsenvError(f"{folder} holds no audio file ({', '.join(SUFFIXES)})")
    return files


def write_folder(
    folder: str | Path, clips: Iterable[tuple[str, np.ndarray]], sample_rate: int
) -> list[Path]:
    """Write named waveforms (name without suffix, (S,)) as wav files into a folder."""
    return [write_audio(Path(folder) / f"{name}.wav", wav, sample_rate) for name, wav in clips]
