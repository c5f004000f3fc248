"""`lensrec inspect` on every kind of file there is: what it says is so, and it leaves nothing behind."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits
from pixell import enmap

from lensrec.cli import main
from lensrec.recipe import Recipe
from lensrec.rundir import create_run, write_json, write_table
from lensrec.sky.io import write_alm, write_map
from lensrec.sky.map_header import MapError
from lensrec.spectra.linear_data import LinearData
from lensrec.spectra.sacc_file import write_sacc
from lensrec.stages.inspection import inspect_file, inspect_folder
from lensrec.stages.inspection.found import plain
from tests.stages.command import lensrec

NSIDE = 32
NPIX = 12 * NSIDE**2
ARCMIN = np.pi / 10800.0


def noise(level: float, seed: int = 3) -> np.ndarray:
    """White T, Q and U of so many µK·arcmin."""
    return np.random.default_rng(seed).normal(size=(3, NPIX)) * level * ARCMIN / np.sqrt(4.0 * np.pi / NPIX)


@pytest.fixture
def planck_like(tmp_path: Path) -> Path:
    """I, Q, U with a hole, and hits beside them, as a mission publishes them."""
    maps = noise(2000.0).astype(np.float32)
    maps[:, : NPIX // 4] = hp.UNSEEN
    hits = np.where(np.arange(NPIX) % 2, 4.0, 16.0)
    names = ["I_STOKES", "Q_STOKES", "U_STOKES", "HITS"]
    header = [("BEAMTYPE", "GAUSSIAN"), ("FWHM", 7.1, "arcmin")]
    path = tmp_path / "planck.fits"
    units = ["uK_CMB"] * 3 + [""]
    hp.write_map(path, [*maps, hits], column_names=names, column_units=units, extra_header=header, dtype=np.float32)
    return path


def test_a_map_with_hits_beside_it(planck_like: Path) -> None:
    found = inspect_file(planck_like).facts
    assert found["content"] == "T, Q and U"
    assert found["masked_fraction"] == pytest.approx(0.25)
    assert found["components"]["Q"]["unseen"] == pytest.approx(0.25)
    assert found["resolution_arcmin"] == pytest.approx(hp.nside2resol(NSIDE, arcmin=True))
    assert [line.split()[0] for line in found["beam"]] == ["BEAMTYPE", "FWHM"]
    hits = found["weights"]["HITS"]
    assert (hits["content"], hits["f_sky"], hits["median"]) == ("hits", 1.0, pytest.approx(10.0, abs=6.0))
    assert hits["depth_ratio"] == pytest.approx(2.0)
    # multipoles 50 to 64 on two thirds of the sky have 1,100 modes in T: 2 % of the level; three times that
    assert found["noise_at_most"]["T_uK_arcmin"] == pytest.approx(2000.0, rel=0.06)
    assert found["noise_at_most"]["P_uK_arcmin"] == pytest.approx(2000.0, rel=0.06)
    assert found["spectrum"]["ℓ_high"][-1] == 2 * NSIDE


def test_the_command_speaks_json_and_writes_nothing(planck_like: Path) -> None:
    before = os.listdir(planck_like.parent), planck_like.stat().st_mtime_ns
    answer = lensrec("inspect", planck_like, "--json")
    assert answer.status == 0
    facts = json.loads(answer.out)
    assert facts == plain(inspect_file(planck_like).facts)
    assert "spectrum" not in json.loads(lensrec("inspect", planck_like, "--json", "--no-spectrum").out)
    assert (os.listdir(planck_like.parent), planck_like.stat().st_mtime_ns) == before


def test_a_picture_in_letters_where_there_is_no_terminal(planck_like: Path) -> None:
    out = lensrec("inspect", planck_like).out
    assert "\033[" not in out
    sky = [line for line in out.splitlines() if len(line.strip(" /.:-=+*#%@")) == 0 and len(line) > 30]
    assert len(sky) >= 14
    # the hole is a quarter of the sky from the north pole on
    assert set(sky[0].strip()) == {"/"}
    assert "/" not in sky[-1]
    assert out.splitlines()[-1] == "problems: none"


class Terminal(io.StringIO):
    """What takes itself for one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "code"),
    [({"COLORTERM": "truecolor"}, "38;2;"), ({}, "38;5;"), ({"NO_COLOR": "1"}, ""), ({"TERM": "dumb"}, "")],
)
def test_colours_are_those_of_the_terminal(
    planck_like: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], code: str
) -> None:
    for name in ("COLORTERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["lensrec", "inspect", str(planck_like), "--no-spectrum"])
    with contextlib.redirect_stdout(Terminal()) as screen, contextlib.suppress(SystemExit):
        main()
    text = screen.getvalue()
    assert (f"\033[0;{code}" in text) if code else ("\033[" not in text)
    assert text.endswith("problems: none\n")


def test_a_picture_to_keep(planck_like: Path, tmp_path: Path) -> None:
    answer = lensrec("inspect", planck_like, "--no-spectrum", "--picture", tmp_path / "sky.png")
    assert answer.status == 0
    assert (tmp_path / "sky.png").read_bytes().startswith(b"\x89PNG")
    answer = lensrec("inspect", planck_like, "--picture", tmp_path / "sky.jpg")
    assert answer.status == 2
    assert not (tmp_path / "sky.jpg").exists()


def test_masks_and_hits_are_no_temperature(tmp_path: Path) -> None:
    mask = np.clip(hp.pix2vec(NSIDE, np.arange(NPIX))[0] + 0.2, 0.0, 1.0)
    write_map(tmp_path / "mask.fits", mask, unit="", column_names=["MASK"])
    found = inspect_file(tmp_path / "mask.fits").facts
    assert found["content"] == "mask"
    assert found["problems"] == []
    assert found["weights"]["MASK"]["w2"] == pytest.approx(np.mean(mask**2), rel=1e-6)
    assert found["weights"]["MASK"]["w4"] == pytest.approx(np.mean(mask**4), rel=1e-6)
    assert found["masked_fraction"] == pytest.approx(np.mean(mask == 0))
    assert "depth_ratio" not in found["weights"]["MASK"]
    assert "spectrum" not in found
    hp.write_map(tmp_path / "hits.fits", 100.0 + np.arange(NPIX) % 7, dtype=np.float64)
    found = inspect_file(tmp_path / "hits.fits").facts
    assert (found["content"], found["problems"]) == ("hits", [])


def test_a_convergence_has_its_own_spectrum(tmp_path: Path) -> None:
    kappa = noise(1.0)[0]
    write_map(tmp_path / "kappa.fits", kappa, unit="", column_names=["KAPPA"])
    found = inspect_file(tmp_path / "kappa.fits").facts
    assert (found["content"], found["problems"]) == ("field", [])
    assert found["spectrum"]["KAPPA"][-1] == pytest.approx(ARCMIN**2, rel=0.15)


def test_a_car_patch(tmp_path: Path) -> None:
    shape, wcs = enmap.geometry(pos=np.radians([[-20, 40], [15, -10]]), res=np.radians(0.5), proj="car")
    level = 300.0
    area = enmap.pixsizemap(shape, wcs)
    maps = np.random.default_rng(8).normal(size=(3, *shape)) * level * ARCMIN / np.sqrt(area)
    maps[:, :10, :20] = 0.0
    enmap.write_map(str(tmp_path / "car.fits"), enmap.ndmap(maps, wcs), extra={"BUNIT": "uK"})
    found = inspect_file(tmp_path / "car.fits")
    whole = float(area.sum()) / (4 * np.pi)
    assert found.facts["masked_fraction"] == pytest.approx(float(area[:10, :20].sum() / area.sum()), rel=1e-3)
    assert found.facts["observed_fraction"] == pytest.approx(whole * (1 - found.facts["masked_fraction"]), rel=1e-3)
    # the last band, from ℓ = 190 to 234, has 580 modes of T on 3.5 % of the sky, 3 % of the level; three times that
    assert found.facts["noise_at_most"]["T_uK_arcmin"] == pytest.approx(level, rel=0.09)
    assert found.facts["noise_at_most"]["P_uK_arcmin"] == pytest.approx(level, rel=0.09)
    assert found.picture is not None
    # what was set to zero lies in the south-east, which is below and to the left
    assert np.isnan(found.picture.image[0, 0])
    assert np.isfinite(found.picture.image[-1, -1])
    enmap.write_map(str(tmp_path / "ivar.fits"), enmap.ndmap(1.7 + 0.0 * maps[0], wcs))
    ivar = inspect_file(tmp_path / "ivar.fits").facts
    assert ivar["weights"]["weights"]["f_sky"] == pytest.approx(whole, rel=1e-3)
    assert lensrec("inspect", tmp_path / "car.fits", "--picture", tmp_path / "car.png").status == 0


def test_alm_files_say_their_fields_and_spectra(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    lmax = 40
    alm = np.array([hp.synalm(np.r_[0, 0, np.full(lmax - 1, 1.0)], lmax=lmax) for _ in range(3)]) * rng.uniform(1, 2)
    write_alm(tmp_path / "teb.fits", alm, unit="uK_CMB")
    found = inspect_file(tmp_path / "teb.fits").facts
    assert (found["fields"], found["lmax"], found["unit"]) == (["T", "E", "B"], lmax, "uK_CMB")
    ell = np.arange(lmax + 1)
    cl = {"TT": hp.alm2cl(alm[0]), "TE": hp.alm2cl(alm[0], alm[1]), "BB": hp.alm2cl(alm[2])}
    low, high = found["spectrum"]["ℓ_low"][-1], found["spectrum"]["ℓ_high"][-1]
    for key, values in cl.items():
        d_ell = (ell * (ell + 1) / (2 * np.pi) * values)[low : high + 1]
        assert found["spectrum"][key][-1] == pytest.approx(np.average(d_ell, weights=2 * ell[low : high + 1] + 1))
    write_alm(tmp_path / "phi_alm.fits", 1e-4 * alm[0].astype(np.complex64))
    found = inspect_file(tmp_path / "phi_alm.fits").facts
    assert "lensing potential" in found["content"]
    assert found["precision"] == "single"
    factor = (ell * (ell + 1)) ** 2 / (2 * np.pi) * 1e-8 * cl["TT"]
    weights = 2 * ell[low : high + 1] + 1
    assert found["spectrum"]["ALM"][-1] == pytest.approx(np.average(factor[low : high + 1], weights=weights), rel=1e-5)


def test_sacc_files_say_what_they_measure(tmp_path: Path) -> None:
    n, lmax = 4, 60
    edges = np.array([2, 20, 40])
    windows = {key: np.zeros((n, lmax + 1)) for key in ("TT", "PP")}
    for row, key in enumerate(("TT", "TT", "PP", "PP")):
        windows[key][row, edges[row % 2] : edges[row % 2 + 1]] = 1.0
    covariance = np.diag([1.0, 4.0, 9.0, 16.0])
    covariance[0, 1] = covariance[1, 0] = 1.0
    data = LinearData(
        "made up",
        np.array(["TT", "TT", "PP", "PP"]),
        np.array([2, 20, 2, 20]),
        np.array([19, 39, 19, 39]),
        np.array([10.0, 30.0, 10.0, 30.0]),
        np.array([3.0, 4.0, 3.0, 8.0]),
        covariance,
        windows,
    )
    write_sacc(tmp_path / "b.sacc.fits", data)
    found = inspect_file(tmp_path / "b.sacc.fits").facts
    assert found["data_points"] == 4
    assert found["blocks"]["tracers"] == ["cmb_s0×cmb_s0", "ck×ck"]
    assert (found["blocks"]["low"], found["blocks"]["high"]) == ([2.0, 2.0], [39.0, 39.0])
    assert found["blocks"]["S/N"][1] == pytest.approx(np.sqrt(1.0 + 4.0))
    assert found["covariance"]["size"] == 4
    assert found["covariance"]["largest_correlation"] == pytest.approx(0.5)
    # eigenvalues of a correlation of ½ are ½ and 1½
    assert found["covariance"]["condition_of_correlation"] == pytest.approx(3.0)
    assert lensrec("inspect", tmp_path / "b.sacc.fits").status == 0


def test_tables_json_and_other_fits(tmp_path: Path) -> None:
    write_table(tmp_path / "t.ecsv", {"ell": np.arange(5), "TT": np.arange(5.0) ** 2}, {"TT": "uK2"}, "a note")
    found = inspect_file(tmp_path / "t.ecsv").facts
    assert (found["rows"], found["comments"]) == (5, ["a note"])
    assert found["table"]["unit"] == ["", "uK2"]
    assert found["table"]["max"] == [4, 16.0]
    (tmp_path / "cut.ecsv").write_text("# %ECSV 1.0\n# ---\nell TT")
    with pytest.raises(MapError, match=r"cut\.ecsv: not a sound ECSV table"):
        inspect_file(tmp_path / "cut.ecsv")
    with pytest.raises(MapError, match="no such file"):
        inspect_file(tmp_path / "gone.json")
    write_json(tmp_path / "s.json", {"A": {"mean": 1.25}, "many": list(range(99))})
    assert "mean: 1.25" in lensrec("inspect", tmp_path / "s.json").out
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 4)), name="MATRIX")]).writeto(tmp_path / "m.fits")
    assert inspect_file(tmp_path / "m.fits").facts["parts"]["shape"][1] == "3×4"
    answer = lensrec("inspect", tmp_path / "s.json", "--picture", tmp_path / "s.png")
    assert answer.status == 1
    assert "there is no picture of JSON files" in answer.err


def test_a_run_says_how_far_it_is(small: Callable[..., Recipe], tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", small(sky={"n_sims": 3}))
    for sim in range(2):
        run.sim(sim, "x").parent.mkdir(parents=True)
        for name in ("phi_alm.fits", "unlensed_alm.fits", "lensed.fits", "data.fits"):
            run.sim(sim, name).write_bytes(_sound())
    found = inspect_folder(tmp_path / "run")
    assert found["stages"]["simulate"] == "2 of 3"
    assert found["stages"]["reconstruct"] == "not yet"
    assert "sims/0000/data.fits  (and 1 more)" in found["files"]
    half = {"mean": 1.18, "sigma": 0.06}
    whole = {"mean": 1.0, "sigma": 0.02}
    write_json(
        tmp_path / "run" / "split.json",
        {"A_L_TTTEEE": half, "A_L_phiphi": whole, "delta": half, "delta_n_sigma": 2.8, "correlation": 0.1},
    )
    out = lensrec("inspect", tmp_path / "run").out
    assert "A_L^TTTEEE = 1.180 ± 0.060" in out
    assert "+2.80 σ" in out
    assert json.loads(lensrec("inspect", tmp_path / "run", "--json").out)["recipe"]["sky"]["n_sims"] == 3


def _sound() -> bytes:
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(np.zeros(4))]).writeto(stream)
    return stream.getvalue()


def test_a_folder_of_a_fit_is_understood_and_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "fit" / "fit").mkdir(parents=True)
    write_json(tmp_path / "fit" / "fit" / "summary.json", {"mnu": {"mean": -0.05, "sigma": 0.06}})
    assert inspect_folder(tmp_path / "fit")["answers"] == ["mnu = -0.05 ± 0.06"]
    (tmp_path / "empty").mkdir()
    answer = lensrec("inspect", tmp_path / "empty")
    assert answer.status == 1
    assert "is no run" in answer.err
