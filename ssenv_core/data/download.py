"""Download the published datasets: resumable, verified, and complete under the final name.

Addresses and checksums come from soundata's registry; its list of MD5 sums per clip is downloaded
too, and checked against the sum in the package. soundata's own downloader is not used: it neither
resumes nor removes a broken archive, and it expects one fixed sum for ESC-50's archive, which
GitHub packs again from the head of a repository whose README has changed since. Nor is pooch,
which librosa uses: it starts an interrupted download again.
"""

import gzip
import hashlib
import http.client
import importlib
import json
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from soundata.validate import validate_index
from tqdm.auto import tqdm

from ssenv_core.base.errors import SsenvError

_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Published:
    """A dataset's official archive, and the index of its files with their MD5 sums."""

    title: str
    folder: str  # the archive's top folder
    archive_url: str
    archive_name: str
    index_url: str
    index_name: str
    index_md5: str
    archive_gigabytes: float
    unpacked_gigabytes: float


def download(name: str, data_root: str | Path) -> Path:
    """Download esc50 (which contains esc10) or urbansound8k below `data_root` for `load_dataset`.

    A complete copy is kept; an interrupted download is resumed if the server supports it.

    Returns:
        The dataset's folder.

    Raises:
        SsenvError: the name has no download, the network, the disk or the server fails, the
            received files do not verify, or an existing copy does not verify (it is not touched).
    """
    sizes = {
        "esc50": ("ESC-50", "ESC-50-master", 0.65, 0.9),
        "urbansound8k": ("UrbanSound8K", "UrbanSound8K", 6.0, 7.1),
    }
    name = "esc50" if name == "esc10" else name
    if name not in sizes:
        raise SsenvError(
            f"no download for dataset {name!r}: esc50, esc10 and urbansound8k have one, "
            "synthetic and folder need none"
        )
    title, folder, archive_gigabytes, unpacked_gigabytes = sizes[name]

    registry = importlib.import_module(f"soundata.datasets.{name}")  # here, as it takes seconds
    archive = registry.REMOTES["all"]
    index = registry.INDEXES[registry.INDEXES["default"]].remote
    published = Published(
        title,
        folder,
        archive.url,
        archive.filename,
        index.url,
        index.filename,
        index.checksum,
        archive_gigabytes,
        unpacked_gigabytes,
    )
    return install(published, Path(data_root))


def install(published: Published, root: Path) -> Path:
    """Download, unpack and verify a dataset below `root`; see `download`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SsenvError(
            f"cannot make the folder {root} for {published.title}: {error.strerror}"
        ) from error
    what = f"the checksums of {published.title} (its archive: {published.archive_gigabytes:g} GB)"
    index_path = fetch(published.index_url, root / published.index_name, what, published.index_md5)
    index = json.loads(index_path.read_text())
    folder = root / published.folder
    if folder.exists():
        if problem := _problem(index, folder):
            raise SsenvError(
                f"{folder} is there but {problem}: move it away and run the same command again"
            )
        return folder

    archive_file = root / published.archive_name
    files = [path for path in (archive_file, _part_of(archive_file)) if path.exists()]
    fetched = sum(path.stat().st_size for path in files) / 1e9
    needed = max(0.0, published.archive_gigabytes - fetched) + published.unpacked_gigabytes
    free = shutil.disk_usage(root).free / 1e9
    if free < needed:
        raise SsenvError(
            f"unpacking {published.title} takes {needed:.1f} GB at {root}, {free:.1f} GB are free: "
            "free some or name another folder"
        )
    archive = fetch(
        published.archive_url,
        archive_file,
        f"{published.title} ({published.archive_gigabytes:g} GB)",
    )
    unpacked = root / f".{published.folder}.unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)  # left by a run that was killed
    try:
        problem = _unpack(archive, unpacked) or _problem(index, unpacked / published.folder)
        if problem:
            archive.unlink()
            raise SsenvError(
                f"the archive from {published.archive_url} was refused and removed: {problem}; "
                "run the same command again"
            )
        (unpacked / published.folder).rename(folder)
        archive.unlink()
    except OSError as error:
        raise SsenvError(
            f"cannot unpack {archive}: {error.strerror or error}; the archive is kept, "
            "run the same command again"
        ) from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    return folder


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def fetch(url: str, path: Path, what: str, md5: str | None = None) -> Path:
    """Download one file; `path` appears only when it is complete.

    Until then the bytes are in `path` + ".part", from which a later call continues.

    Args:
        url: http(s) address.
        path: the target; an existing file (with the right sum) is kept.
        what: what it is and how large, for messages.
        md5: the expected hex sum, or None to check the length only.

    Raises:
        SsenvError: the host cannot be reached or refuses, the transfer stops, the disk is full, or
            the sum differs (the file is removed).
    """
    if path.exists() and (md5 is None or _md5(path) == md5):
        return path
    part = _part_of(path)
    start = part.stat().st_size if part.exists() else 0
    host = urlsplit(url).netloc
    response = _open(url, start, what)
    if response is not None:
        with response:
            if response.status != 206:  # this server cannot resume
                start = 0
            length = response.headers.get("Content-Length")
            total = None if length is None else start + int(length)
            received, reason = _receive(response, part, start, total, what)
        if reason or (total is not None and received < total):
            raise SsenvError(
                f"the download of {what} from {host} stopped after {received / 1e6:.1f} MB "
                f"({reason or 'connection closed'}): run the same command again to go on"
            )
    if md5 is not None:
        received_md5 = _md5(part)
        if received_md5 != md5:
            part.unlink()
            raise SsenvError(
                f"{what}: {url} has the MD5 sum {received_md5}, expected {md5}; it was removed, "
                "run the same command again"
            )
    part.replace(path)
    return path


def _open(url: str, start: int, what: str) -> http.client.HTTPResponse | None:
    """The response to a request for the bytes from `start` on, None if there are no more."""
    host = urlsplit(url).netloc
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise SsenvError(
            f"{host} answers {error.code} {error.reason} to the download of {what}: "
            f"try again later ({url})"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise SsenvError(
            f"cannot reach {host} to download {what}: {reason}; dataset synthetic needs no download"
        ) from None


def _receive(
    response: http.client.HTTPResponse, part: Path, start: int, total: int | None, what: str
) -> tuple[int, str]:
    """Append the body of the response to `part`, which has `start` bytes.

    Returns:
        The size of the part in bytes, and why the transfer stopped early, "" if it did not.
    """
    received = start
    pause = 1.0 if sys.stderr.isatty() else 20.0  # s between lines; fewer in a log
    try:
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(
                desc=what, initial=start, total=total, unit="B", unit_scale=True, mininterval=pause
            ) as bar,
        ):
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    except (OSError, http.client.HTTPException) as error:
        return received, str(error) or type(error).__name__
    return received, ""


def _unpack(archive: Path, folder: Path) -> str:
    """Unpack a zip or tar archive; returns its fault, or ""."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                file.extractall(folder)
        else:
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error):
        return "it is damaged or not an archive"
    return ""


def _problem(index: dict, folder: Path) -> str:
    """How a folder differs from soundata's index of the dataset, or ""."""
    all_missing, all_invalid = validate_index(index, str(folder), verbose=False)
    missing = all_missing["clips"]
    invalid = all_invalid["clips"]
    if not missing and not invalid:
        return ""
    first = next(iter((missing or invalid).values()))[0]
    return (
        f"{len(missing)} of its {len(index['clips'])} clips are missing and {len(invalid)} have "
        f"wrong checksums (first: {Path(first).name})"
    )


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
