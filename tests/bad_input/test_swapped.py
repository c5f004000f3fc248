"""Q and U that are swapped, or turned: no header tells, but on a map of high signal to noise B modes do."""

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_ell, alm_size
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis_tp
from lensrec.stages.polarisation import doubtful_polarisation
from lensrec.stages.setting import Optics
from tests.bad_input import small_run
from tests.bad_input.fits_files import STOKES, Column, healpix

NSIDE, LMAX = 32, 64
WAYS: dict[str, Callable[[NDArray], list[NDArray]]] = {
    "Q and U swapped": lambda m: [m[0], m[2], m[1]],
    "U of the other sign": lambda m: [m[0], m[1], -m[2]],
    "Q of the other sign": lambda m: [m[0], -m[1], m[2]],
    "axes turned by 45 degrees": lambda m: [m[0], m[2], -m[1]],
}


def sky(noise: float, seed: int = 5) -> tuple[NDArray, dict[str, NDArray]]:
    """I, Q, U with E modes that fall as 1/ℓ², B modes a hundred times weaker, and white noise; and what is expected."""
    ell = np.arange(LMAX + 1.0)
    e = np.where(ell >= 2, 60.0 / np.maximum(ell, 1.0) ** 2, 0.0)
    totals = {"EE": e + noise, "BB": np.where(ell >= 2, 0.01 * e, 0.0) + noise}
    rng = np.random.default_rng(seed)

    def drawn(cl: NDArray) -> NDArray:
        alm = (rng.normal(size=alm_size(LMAX)) + 1j * rng.normal(size=alm_size(LMAX))) / np.sqrt(2.0)
        alm[: LMAX + 1] = alm[: LMAX + 1].real * np.sqrt(2.0)
        return alm * np.sqrt(cl[alm_ell(LMAX)])

    teb = np.stack([drawn(100.0 * e), drawn(totals["EE"]), drawn(totals["BB"])])
    return synthesis_tp(teb, healpix_grid(NSIDE), nthreads=1), totals


def band() -> NDArray:
    """A mask that leaves half of the sky, with a border of ten degrees."""
    import healpy

    _, latitude = healpy.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    return np.clip((np.abs(latitude) - 25.0) / 10.0, 0.0, 1.0)


OPTICS = Optics(np.ones(LMAX + 1), np.ones(LMAX + 1))


@pytest.mark.parametrize("masked", [False, True], ids=["whole sky", "half of it"])
@pytest.mark.parametrize("way", WAYS)
def test_swapped_or_turned_axes_are_seen(way: str, masked: bool) -> None:
    maps, totals = sky(1e-3)
    mask = band() if masked else None
    wrong = np.stack(WAYS[way](maps))
    line = doubtful_polarisation(wrong, totals, OPTICS, NSIDE, (4, LMAX), mask=mask, nthreads=1)
    assert "Q and U may be swapped" in line
    assert "\n" not in line
    # even shares where E and B are mixed, as a wrong sign does; all of E in B where the axes are turned
    ratio = float(line.partition("have ")[2].split()[0])
    assert ratio > (3 if masked else 10) if "45" in way else 0.5 < ratio < 2


@pytest.mark.parametrize("masked", [False, True], ids=["whole sky", "half of it"])
@pytest.mark.parametrize("noise", [1e-4, 1e-3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_said_of_a_map_that_is_right(noise: float, masked: bool, seed: int) -> None:
    maps, totals = sky(noise, seed)
    assert not doubtful_polarisation(
        maps, totals, OPTICS, NSIDE, (4, LMAX), mask=band() if masked else None, nthreads=1
    )


def test_nothing_is_said_where_noise_hides_it() -> None:
    maps, totals = sky(1.0)
    wrong = np.stack(WAYS["Q and U swapped"](maps))
    assert not doubtful_polarisation(wrong, totals, OPTICS, NSIDE, (8, LMAX), nthreads=1)


def test_nothing_is_said_of_a_few_modes() -> None:
    maps, totals = sky(1e-3)
    wrong = np.stack(WAYS["Q and U swapped"](maps))
    assert not doubtful_polarisation(wrong, totals, OPTICS, NSIDE, (4, 9), nthreads=1)


def test_a_beam_that_leaves_noise_alone_is_no_reason_to_warn() -> None:
    maps, totals = sky(1e-3)
    beam = np.where(np.arange(LMAX + 1) < 30, 1.0, 1e-3)
    expected = {key: cl + 1e3 * (beam < 1) for key, cl in totals.items()}
    wrong = np.stack(WAYS["Q and U swapped"](maps))
    assert doubtful_polarisation(wrong, expected, Optics(beam, beam), NSIDE, (4, LMAX), nthreads=1).startswith(
        "between ℓ = 4 and 29 "
    )


@pytest.mark.parametrize("way", [None, "Q and U swapped"])
def test_a_command_warns_and_goes_on(way: str | None, tmp_path: Path) -> None:
    from tests.stages.command import lensrec

    maps, totals = sky(1e-3)
    rows = maps if way is None else WAYS[way](maps)
    columns = [Column(name, "D", row) for name, row in zip(STOKES, rows, strict=True)]
    (tmp_path / "m.fits").write_bytes(healpix(NSIDE, columns))

    def theory(recipe: object) -> object:
        spectra = small_run.theory(400)
        for kind in (spectra.lensed, spectra.gradient, spectra.unlensed):
            kind["EE"][: LMAX + 1] = totals["EE"]
            kind["BB"][:] = 1e-2 * kind["EE"]
        return spectra

    words = ["reconstruct", "--map", tmp_path / "m.fits", "--fwhm", "1", "--noise", "1", "--out", tmp_path / "x"]
    words += ["--lmax", 60, "--lmin", 4, "--estimators", "EE", "--set", "reconstruction.n1=none"]
    with (
        mock.patch("lensrec.stages.reconstruct_run.theory_of", theory),
        mock.patch("lensrec.rundir.check_columns"),
        mock.patch("lensrec.cli._view"),
    ):
        answer = lensrec(*words)
    assert answer.status == 0, answer
    assert ("Q and U may be swapped" in answer.err) == (way is not None)
