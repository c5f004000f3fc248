"""Runs on disks that lose, fill up or are closed: products are made again or named, and never half read."""

import os
import random
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lensrec.run_files import is_whole
from lensrec.rundir import RunError, open_run
from tests.reliability.conftest import Reference, one_line
from tests.reliability.hatchery import Hatchery
from tests.reliability.small_run import begun, commands, fingerprints

MADE_AGAIN = (".fits", ".ecsv", "amplitude.json")
"""What a command makes again if it is not whole; the theory is CAMB's, which takes long, and is left out here."""


@pytest.fixture
def run(reference: Reference, tmp_path: Path) -> Path:
    """A copy of the undisturbed run."""
    shutil.copytree(reference.run, tmp_path / "run")
    return tmp_path / "run"


def cut(file: Path, rng: random.Random) -> None:
    """Take the end of a file away; sometimes all of it."""
    file.write_bytes(file.read_bytes()[: rng.choice((0, rng.randrange(file.stat().st_size)))])


def test_products_that_were_cut_are_made_again(hatch: Hatchery, reference: Reference, run: Path) -> None:
    rng = random.Random(1)
    products = [p for p in sorted(run.rglob("*")) if p.name.endswith(MADE_AGAIN) and p.name != "theory.ecsv"]
    for file in rng.sample(products, len(products) // 2):
        cut(file, rng)
    for words in commands(reference.recipe, run):
        answer = hatch(*words)
        assert (answer.status, answer.err) == (0, "")
    assert fingerprints(run) == reference.products


@pytest.mark.parametrize(
    ("product", "command", "said"),
    [
        ("sims/0001/data.fits", "reconstruct", "is not whole; run lensrec simulate first"),
        ("mask.fits", "bandpowers", "not a sound FITS file"),
        ("sims/0002/data.fits", "bandpowers", "not a sound FITS file"),
        ("recon/0001/bandpowers.ecsv", "bandpowers", "run lensrec reconstruct first"),
        ("provenance.json", "simulate", "is damaged"),
        ("recipe.yaml", "reconstruct", "was cut short, or changed by hand"),
    ],
)
def test_what_a_command_reads_and_cannot_make_is_named(
    hatch: Hatchery, reference: Reference, run: Path, product: str, command: str, said: str
) -> None:
    file = run / product
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    if command == "bandpowers":
        shutil.rmtree(run / "spectra")
    words = next(words for words in commands(reference.recipe, run) if words[0] == command)
    line = one_line(hatch(*words))
    assert str(file) in line
    assert said in line
    # what was made before it was met is what it should be
    assert {name for name, value in fingerprints(run).items() if value != reference.products[name]} <= {product}


@pytest.mark.parametrize("product", ["sims/0001/lensed.fits", "recon/0001/kappa_TT.fits", "spectra/0000.ecsv"])
def test_a_folder_in_the_place_of_a_product_is_named(
    hatch: Hatchery, reference: Reference, run: Path, product: str
) -> None:
    (run / product).unlink()
    (run / product).mkdir()
    stage = {"sims": 0, "recon": 1, "spectra": 2}[product.partition("/")[0]]
    line = one_line(hatch(*commands(reference.recipe, run)[stage]))
    assert f"{run / product}: cannot be written (Is a directory)" in line
    assert not list(run.rglob(".part-*"))


def test_a_recipe_that_lost_or_changed_anything_is_refused(run: Path) -> None:
    """The keys that a cut has taken would be those of the defaults: another run, and nothing would tell."""
    file = run / "recipe.yaml"
    whole = file.read_bytes()
    lengths = [n + 1 for n, byte in enumerate(whole[:-1]) if byte == 10]
    lengths += random.Random(1).sample(range(len(whole)), 30)
    assert len(lengths) > 60
    for text in [b"", whole.replace(b"seed: 5", b"seed: 6"), *(whole[:length] for length in lengths)]:
        assert text != whole
        file.write_bytes(text)
        with pytest.raises(RunError, match=f"^{file} was cut short, or changed by hand") as caught:
            open_run(run)
        assert "\n" not in str(caught.value)
    file.write_bytes(whole.partition(b"\n")[2])  # as written by hand
    assert open_run(run).recipe.sky.seed == 5


def test_a_disk_that_is_full_is_told_and_gone_on_from(hatch: Hatchery, reference: Reference, tmp_path: Path) -> None:
    rng, run = random.Random(7), begun(tmp_path / "run", reference.recipe)
    for words in commands(reference.recipe, run):
        largest = max(p.stat().st_size for p in reference.run.rglob("*.fits"))
        for limit in (rng.randrange(600, 4000), rng.randrange(4000, largest)):
            answer = hatch(*words, file_limit=limit)
            assert answer.status in (0, 1), answer  # a command may have no product of that length left to write
            if answer.status:
                line = one_line(answer)
                assert str(run) in line
                assert "cannot be written (File too large)" in line or "the disk took a part of it" in line
            kept = fingerprints(run)
            assert not [name for name in kept if ".part-" in name]
            assert {k: v for k, v in kept.items() if reference.products[k] != v} == {}
        answer = hatch(*words)
        assert (answer.status, answer.err) == (0, "")
    assert fingerprints(run) == reference.products


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte; the run takes three times that."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=524288", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root alone, and not in every container")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk_is_filled_and_what_is_there_is_whole(
    hatch: Hatchery, reference: Reference, small_disk: Path, tmp_path: Path
) -> None:
    run = begun(small_disk / "run", reference.recipe)
    words = commands(reference.recipe, run)[0]
    line = one_line(hatch(*words))
    assert str(run) in line
    assert "cannot be written (" in line
    assert "No space left on device" in line or "the disk took a part of it" in line
    products = [p for p in run.rglob("*") if p.is_file() and p.name != ".lock"]
    assert len(products) > 3
    assert all(is_whole(p) for p in products)
    shutil.copytree(run, tmp_path / "elsewhere")
    answer = hatch(*commands(reference.recipe, tmp_path / "elsewhere")[0])
    assert (answer.status, answer.err) == (0, "")
    made = fingerprints(tmp_path / "elsewhere")
    assert made == {name: reference.products[name] for name in made}
    assert len([name for name in made if name.startswith("sims/")]) == 12


@pytest.fixture
def closed(run: Path) -> Iterator[Path]:
    """A copy of the run that nobody may write in."""
    everything = [run, *run.rglob("*")]
    for path in everything:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    yield run
    for path in everything:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_a_run_that_may_not_be_written_is_told_and_can_be_looked_at(
    hatch: Hatchery, reference: Reference, closed: Path, tmp_path: Path
) -> None:
    for words in [*commands(reference.recipe, closed), ["split", closed]]:
        line = one_line(hatch(*words, powerless=True))
        assert f"{closed}: cannot be written (Permission denied)" in line
    line = one_line(hatch("simulate", reference.recipe, "--out", closed / "sims" / "new", powerless=True))
    assert f"{closed / 'sims' / 'new'}: cannot be written (Permission denied)" in line
    assert fingerprints(closed) == reference.products
    for words in (
        ["inspect", closed],
        ["inspect", closed / "sims" / "0000" / "data.fits"],
        ["report", closed, "--out", tmp_path / "report.html"],
    ):
        answer = hatch(*words, powerless=True)
        assert (answer.status, answer.err) == (0, ""), words
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert fingerprints(closed) == reference.products
