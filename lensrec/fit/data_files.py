"""Where published data lie on this machine, and where they come from.

A data set is a folder of files that are taken as their authors published them: `data_files.yaml` says of each file
where it is to be had and what its sha256 is. The folder is looked for in the one that the environment variable
LENSREC_DATA names, and then in lensrec's cache, which `fetch` fills. Nothing is downloaded unless `fetch` is asked to.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

VARIABLE = "LENSREC_DATA"
"""Environment variable: a folder that holds data sets, each in a folder of its name."""


@dataclass(frozen=True)
class Published:
    """A data set as it was published.

    Attributes
    ----------
    about : str
        The paper.
    address : str
        What the addresses of its files begin with; empty where there is no public one.
    files : mapping of str to (str, str)
        Of each file's path in the folder, the rest of its address, and its sha256.
    none : str
        Why there is no public address.
    """

    about: str
    address: str
    files: Mapping[str, tuple[str, str]]
    none: str


def data_names() -> tuple[str, ...]:
    """Names of all data sets that lensrec knows."""
    return tuple(_registry())


def published_files(name: str) -> Published:
    """What was published under a name.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    known = _registry()
    if name not in known:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(known)}")
    return known[name]


def data_path(name: str) -> Path:
    """Folder of a data set: that in LENSREC_DATA, or else that in the cache, each of its files checked.

    Raises
    ------
    ValueError
        If the name is unknown, or a file is not the published one.
    FileNotFoundError
        If there is no such folder, or one of its files is missing.
    """
    published = published_files(name)
    brought = os.environ.get(VARIABLE)
    if brought and not Path(brought).is_dir():
        raise FileNotFoundError(f"{VARIABLE}={brought}: there is no such folder; correct the variable or unset it")
    searched = [Path(brought) / name] if brought else []
    if published.address:
        searched.append(cache_folder() / name)
    for folder in searched:
        if folder.is_dir():
            _check(name, folder, published)
            return folder
    looked = f"neither {searched[0]} nor {searched[1]} is there" if len(searched) == 2 else _not_there(searched)
    raise FileNotFoundError(f"{name}: {looked}; {_mend(name, published)}")


def fetch(name: str, *, report: Callable[[str], None] | None = None) -> Path:
    """Download what is missing of a data set into the cache.

    A file comes under a temporary name, and gets its own only when its sha256 is right; one that is there already is
    kept if it is.

    Parameters
    ----------
    name : str
    report : callable, optional
        Told each file's path before it is looked at.

    Returns
    -------
    Path
        The folder, as `data_path` gives it without LENSREC_DATA.

    Raises
    ------
    ValueError
        If the name is unknown, the data set has no public address, or what the address gives is another file.
    OSError
        If the address is out of reach, or the cache cannot be written.
    """
    import pooch
    from requests.exceptions import RequestException

    published = published_files(name)
    if not published.address:
        raise ValueError(f"{name} cannot be downloaded: {_mend(name, published)}")
    folder = cache_folder() / name
    downloader = pooch.HTTPDownloader(timeout=30)
    for path, (at, sha256) in published.files.items():
        if report:
            report(path)
        url, target = published.address + at, folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _quiet(pooch.get_logger()):
                pooch.retrieve(url, f"sha256:{sha256}", fname=target.name, path=target.parent, downloader=downloader)
        except RequestException as error:
            raise OSError(
                f"{name}: {url} is out of reach ({type(error).__name__}); try again with a network, "
                f"or bring the folder {name} from elsewhere and name the one that holds it in {VARIABLE}"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{name}: {url} no longer gives the file that was published (its sha256 differs); bring it from "
                f"elsewhere in a folder {name} and name the one that holds that in {VARIABLE}"
            ) from error
    return folder


def cache_folder() -> Path:
    """Folder of what was downloaded, where the operating system keeps such things."""
    import pooch

    return Path(pooch.os_cache("lensrec"))


def _check(name: str, folder: Path, published: Published) -> None:
    for path, (at, sha256) in published.files.items():
        file = folder / path
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; {_mend_file(name, folder, published.address + at)}")
        if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            mend = _mend_file(name, folder, published.address + at)
            raise ValueError(f"{file} is not the published file (its sha256 differs); {mend}")


def _mend_file(name: str, folder: Path, url: str) -> str:
    return f"`lensrec data get {name}` mends it" if folder == cache_folder() / name else f"it is that of {url}"


def _mend(name: str, published: Published) -> str:
    if published.address:
        return f"`lensrec data get {name}` downloads it, or name a folder that holds it in {VARIABLE}"
    return f"{published.none}; name a folder that holds {name} in {VARIABLE}"


def _not_there(searched: list[Path]) -> str:
    return f"{searched[0]} is not there" if searched else "it has no public address"


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@lru_cache(maxsize=1)
def _registry() -> dict[str, Published]:
    entries = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {
        name: Published(
            about=entry["about"],
            address=entry.get("address", ""),
            files={path: (file["at"], file["sha256"]) for path, file in entry.get("files", {}).items()},
            none=entry.get("none", ""),
        )
        for name, entry in entries.items()
    }
