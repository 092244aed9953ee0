"""Downloads resume, verify, and leave nothing incomplete under a final name.

A small server on the loopback serves them.
"""

import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field, replace

import pytest

from ssenv_core.base.errors import SsenvError
from ssenv_core.data.download import Published, download, fetch, install

CLIPS = {f"audio/{name}.wav": name.encode() * 3000 for name in ("rain", "wind", "dog")}


def md5(data):
    return hashlib.md5(data).hexdigest()


@dataclass
class Server:
    """Files by path, with the faults a test asks for, and the requests it has seen."""

    files: dict = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None  # bytes of the body after which the connection closes
    requests: list = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.requests.append((self.path, asked))
            if self.path not in state.files:
                return self.send_error(404)
            body, start = state.files[self.path], 0
            if asked and state.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(body):
                    return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : state.cut_after])

        def log_message(self, *_):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{listening.server_port}"
    yield state
    listening.shutdown()
    listening.server_close()


def zip_of(files, folder="SET-master"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{folder}/{name}", data)
    return buffer.getvalue()


def tar_of(files, folder="SET-master"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def publish(server, archive):
    """Put an archive and the index of CLIPS on the server."""
    index = json.dumps(
        {"clips": {name: {"audio": [name, md5(data)]} for name, data in CLIPS.items()}}
    ).encode()
    server.files |= {"/set": archive, "/index": index}
    return Published(
        "SET",
        "SET-master",
        f"{server.url}/set",
        "set.archive",
        f"{server.url}/index",
        "index.json",
        md5(index),
        1e-4,
        1e-4,
    )


def assert_one_line(error):
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_installs_a_verified_dataset_and_leaves_nothing_else(server, tmp_path, pack):
    folder = install(publish(server, pack(CLIPS)), tmp_path)
    assert {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wav")
    } == CLIPS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SET-master", "index.json"]


def test_a_complete_copy_is_not_fetched_again(server, tmp_path):
    published = publish(server, zip_of(CLIPS))
    folder = install(published, tmp_path)
    server.requests.clear()
    assert install(published, tmp_path) == folder
    assert server.requests == []


def test_a_copy_that_does_not_verify_is_refused_and_not_touched(server, tmp_path):
    published = publish(server, zip_of(CLIPS))
    folder = install(published, tmp_path)
    (folder / "audio/dog.wav").write_bytes(b"mine")
    with pytest.raises(
        SsenvError, match=r"1 have wrong checksums \(first: dog.wav\): move it away"
    ) as error:
        install(published, tmp_path)
    assert_one_line(error)
    assert (folder / "audio/dog.wav").read_bytes() == b"mine"


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_continues(server, tmp_path, ranges):
    data = zip_of(CLIPS)
    server.ranges, server.cut_after = ranges, 1000
    published = publish(server, data)
    server.files["/index"] = server.files["/index"].ljust(900)  # short enough to pass
    published = replace(published, index_md5=md5(server.files["/index"]))
    with pytest.raises(
        SsenvError, match=r"stopped after .* run the same command again to go on"
    ) as error:
        install(published, tmp_path)
    assert_one_line(error)
    assert not (tmp_path / "set.archive").exists()
    assert not (tmp_path / "SET-master").exists()
    assert (tmp_path / "set.archive.part").read_bytes() == data[:1000]

    server.cut_after = None
    server.requests.clear()
    folder = install(published, tmp_path)
    assert server.requests == [("/set", "bytes=1000-")]
    assert (folder / "audio/rain.wav").read_bytes() == CLIPS["audio/rain.wav"]


def test_a_part_that_is_already_whole_is_finished(server, tmp_path):
    server.files["/file"] = b"all of it"
    (tmp_path / "file.part").write_bytes(b"all of it")
    assert (
        fetch(f"{server.url}/file", tmp_path / "file", "a file", md5(b"all of it")).read_bytes()
        == b"all of it"
    )


def test_a_wrong_sum_is_refused_and_removed(server, tmp_path):
    server.files["/file"] = b"not what was promised"
    with pytest.raises(SsenvError, match="has the MD5 sum") as error:
        fetch(f"{server.url}/file", tmp_path / "file", "a file", md5(b"promised"))
    assert_one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_a_kept_file_with_a_wrong_sum_is_fetched_again(server, tmp_path):
    server.files["/file"] = b"new"
    (tmp_path / "file").write_bytes(b"old")
    assert (
        fetch(f"{server.url}/file", tmp_path / "file", "a file", md5(b"new")).read_bytes() == b"new"
    )


def altered():
    return zip_of(CLIPS | {"audio/dog.wav": b"another recording"})


def incomplete():
    return zip_of({name: data for name, data in CLIPS.items() if "dog" not in name})


def damaged():
    data = bytearray(zip_of(CLIPS))
    data[5000] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    "make",
    [altered, incomplete, damaged, lambda: tar_of(CLIPS)[:-40], lambda: b"<html>sorry</html>"],
)
def test_an_archive_that_does_not_verify_leaves_no_dataset_and_no_archive(server, tmp_path, make):
    with pytest.raises(SsenvError, match="was refused and removed") as error:
        install(publish(server, make()), tmp_path)
    assert_one_line(error)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_no_network_is_one_line_that_names_host_and_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(
        SsenvError,
        match=r"cannot reach 127.0.0.1:9 to download SET \(1 GB\): "
        r".*dataset synthetic needs no download",
    ) as error:
        fetch("http://127.0.0.1:9/set", tmp_path / "set", "SET (1 GB)")
    assert_one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_of_the_server_is_passed_on(server, tmp_path):
    with pytest.raises(
        SsenvError, match="answers 404 Not Found to the download of a file"
    ) as error:
        fetch(f"{server.url}/gone", tmp_path / "file", "a file")
    assert_one_line(error)


def test_too_little_disk_is_said_before_the_download(server, tmp_path):
    published = replace(publish(server, zip_of(CLIPS)), unpacked_gigabytes=1e9)
    with pytest.raises(SsenvError, match="GB are free") as error:
        install(published, tmp_path)
    assert_one_line(error)
    assert "/set" not in [path for path, _ in server.requests]


def test_what_is_there_of_the_archive_needs_no_room_again(server, tmp_path, monkeypatch):
    """Archive and content take 1 MB each: with the archive there, only the content needs room."""
    published = replace(
        publish(server, zip_of(CLIPS)), archive_gigabytes=1e-3, unpacked_gigabytes=1e-3
    )
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1.5e6}))
    with pytest.raises(SsenvError, match="GB are free"):
        install(published, tmp_path)
    (tmp_path / "set.archive").write_bytes(zip_of({**CLIPS, "filling.bin": os.urandom(1_000_000)}))
    assert install(published, tmp_path).exists()


def test_a_dataset_without_download_is_refused(tmp_path):
    with pytest.raises(SsenvError, match="no download for dataset 'synthetic'"):
        download("synthetic", tmp_path)


def test_the_official_sources_come_from_soundata(server, tmp_path, monkeypatch):
    from soundata.datasets import esc50

    published = publish(server, zip_of(CLIPS, "ESC-50-master"))
    index = esc50.INDEXES[esc50.INDEXES["default"]].remote
    monkeypatch.setattr(esc50.REMOTES["all"], "url", published.archive_url)
    monkeypatch.setattr(index, "url", published.index_url)
    monkeypatch.setattr(index, "checksum", published.index_md5)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1e12}))
    assert download("esc10", tmp_path) == tmp_path / "ESC-50-master"
