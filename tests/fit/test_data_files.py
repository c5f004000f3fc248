"""Finding, checking and fetching published files, from a server on this machine alone."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lensrec.fit import data_files
from lensrec.fit.data_files import Published, data_names, data_path, fetch, published_files

FILES = {"a.txt": ("deep/a.txt", b"one\n"), "sub/b.dat": ("b.dat", b"two\n" * 40)}


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data set "thing" at an address of this machine, and one without any; the cache in a temporary folder."""
    root = tmp_path / "public"
    for at, content in FILES.values():
        (root / at).parent.mkdir(parents=True, exist_ok=True)
        (root / at).write_bytes(content)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(root)))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    files = {path: (at, hashlib.sha256(content).hexdigest()) for path, (at, content) in FILES.items()}
    known = {
        "thing": Published("a paper", f"http://127.0.0.1:{http.server_port}/", files, ""),
        "made": Published("a paper", "", {}, "it was made by hand"),
    }
    monkeypatch.setattr(data_files, "_registry", lambda: known)
    monkeypatch.setattr(data_files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("LENSREC_DATA", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield root
    http.shutdown()
    http.server_close()
    thread.join()


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fetched_files_are_found_and_kept(server: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    folder = fetch("thing", report=seen.append)
    assert seen == list(FILES)
    assert everything(folder) == {path: content for path, (_, content) in FILES.items()}
    assert data_path("thing") == folder == tmp_path / "cache" / "thing"
    # what is there and right isn't asked for again
    (server / "b.dat").unlink()
    assert fetch("thing") == folder


def test_an_altered_file_of_the_cache_is_named_and_mended(server: Path) -> None:
    folder = fetch("thing")
    (folder / "a.txt").write_bytes(b"other\n")
    with pytest.raises(ValueError, match=r"a\.txt is not the published file .* `lensrec data get thing` mends it"):
        data_path("thing")
    fetch("thing")
    assert data_path("thing") == folder


def test_a_wrong_download_leaves_nothing(server: Path, tmp_path: Path) -> None:
    (server / "b.dat").write_bytes(b"an error page\n")
    with pytest.raises(ValueError, match=r"b\.dat no longer gives the file that was published"):
        fetch("thing")
    assert everything(tmp_path / "cache") == {"thing/a.txt": b"one\n"}
    with pytest.raises(FileNotFoundError, match=r"sub/b\.dat is missing; `lensrec data get thing` mends it"):
        data_path("thing")


def test_out_of_reach(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (server / "b.dat").unlink()
    with pytest.raises(OSError, match=r"b\.dat is out of reach \(HTTPError\)"):
        fetch("thing")
    # port 9 discards, and nobody listens there
    offline = Published("a paper", "http://127.0.0.1:9/", published_files("thing").files, "")
    monkeypatch.setattr(data_files, "_registry", lambda: {"thing": offline})
    monkeypatch.setattr(data_files, "cache_folder", lambda: tmp_path / "other")
    with pytest.raises(OSError, match=r"a\.txt is out of reach \(ConnectionError\).* LENSREC_DATA") as caught:
        fetch("thing")
    assert "\n" not in str(caught.value)
    assert everything(tmp_path / "other") == {}


def test_the_variable_comes_before_the_cache(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = fetch("thing")
    brought = tmp_path / "brought"
    monkeypatch.setenv("LENSREC_DATA", str(brought))
    with pytest.raises(FileNotFoundError, match=r"LENSREC_DATA=.*brought: there is no such folder"):
        data_path("thing")
    brought.mkdir()
    assert data_path("thing") == cached
    for path, (_, content) in FILES.items():
        (brought / "thing" / path).parent.mkdir(parents=True, exist_ok=True)
        (brought / "thing" / path).write_bytes(content)
    assert data_path("thing") == brought / "thing"
    (brought / "thing" / "a.txt").write_bytes(b"other\n")
    with pytest.raises(ValueError, match=r"a\.txt is not the published file .*; it is that of http://.*/deep/a\.txt"):
        data_path("thing")


def test_what_is_not_there(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"thing: .*cache/thing is not there; `lensrec data get thing` downloads"
    ):
        data_path("thing")
    with pytest.raises(FileNotFoundError, match=r"made: it has no public address; it was made by hand; name a folder"):
        data_path("made")
    with pytest.raises(ValueError, match="made cannot be downloaded: it was made by hand"):
        fetch("made")
    for ask in (data_path, fetch):
        with pytest.raises(ValueError, match="unknown data set 'thin'; known are thing, made"):
            ask("thin")
    monkeypatch.setenv("LENSREC_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"thing: neither .* nor .* is there; `lensrec data get thing`"):
        data_path("thing")
    (tmp_path / "made").mkdir()
    assert data_path("made") == tmp_path / "made"


def test_the_register_is_whole() -> None:
    assert {
        "planck2018_plik_lite",
        "planck_pr4_lensing",
        "act_dr6_lensing",
        "act_planck_spt_lensing",
        "desi_dr2",
    } <= set(data_names())
    for name in data_names():
        known = published_files(name)
        assert known.about
        assert bool(known.address) == bool(known.files) != bool(known.none)
        # a commit in the address: what is there cannot change
        assert not known.address or re.fullmatch(r"https://\S+/[0-9a-f]{40}/\S*", known.address)
        for path, (at, sha256) in known.files.items():
            assert Path(at).name == Path(path).name
            assert re.fullmatch("[0-9a-f]{64}", sha256)


@pytest.mark.parametrize("name", data_names())
def test_the_files_of_this_machine_are_the_published(name: str, published_folder: Callable[[str], Path]) -> None:
    folder = published_folder(name)
    assert data_path(name) == folder
