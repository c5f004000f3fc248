"""Whole runs through the commands: what they leave, how they go on after a kill, and what a mistake is told."""

import json
import shutil
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.table import Table

from lensrec.rundir import create_run, open_run
from tests.stages.command import Answer, contents, lensrec, stopped_before

KEYS = ("TT", "EE", "TE", "TB", "EB", "MV")
N_SIMS, NSIDE, LMAX = 3, 64, 128
RECIPE = f"""
name: small
cosmology: {{lens_potential_accuracy: 1}}
sky: {{nside: {NSIDE}, lmax: 400, lmax_data: {LMAX}, seed: 5, n_sims: {N_SIMS}, epsilon: 1e-5}}
instrument: {{fwhm: 30 arcmin, noise_t: 20}}
mask: {{galactic_cut: 15, apodisation: 8}}
reconstruction: {{lmin_t: 10, lmin_p: 10, L_max: {LMAX}, n_bins: 5, mean_field_sims: 4, n1: none}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipes") / "small.yaml"
    file.write_text(RECIPE)
    (file.parent / "whole.yaml").write_text("recipe: small.yaml\nstages: [simulate, reconstruct, view]\n")
    return file


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A run that nothing disturbed, and what the command said."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, lensrec("run", recipe.with_name("whole.yaml"), "--out", out)


def test_the_whole_chain_says_what_it_does(whole: tuple[Path, Answer]) -> None:
    out, answer = whole
    assert (answer.status, answer.err) == (0, "")
    assert f"simulate: {N_SIMS}/{N_SIMS}" in answer.out
    assert "Gaussian skies: 4/4" in answer.out
    assert f"reconstruct: {N_SIMS}/{N_SIMS}" in answer.out
    assert answer.out.endswith(f"simulate, reconstruct, view done, pictures in {out / 'pictures'}\n")


def test_skies_are_what_healpy_reads(whole: tuple[Path, Answer]) -> None:
    run, _ = whole
    mask = hp.read_map(run / "mask.fits")
    assert (hp.get_nside(mask), mask.min(), mask.max()) == (NSIDE, 0.0, 1.0)
    for sim in range(N_SIMS):
        folder = run / "sims" / f"{sim:04d}"
        assert sorted(p.name for p in folder.iterdir()) == [
            "data.fits",
            "lensed.fits",
            "phi_alm.fits",
            "unlensed_alm.fits",
        ]
        lensed, data = (hp.read_map(folder / name, field=(0, 1, 2)) for name in ("lensed.fits", "data.fits"))
        assert lensed.shape == data.shape == (3, 12 * NSIDE**2)
        # T has an rms of 90 µK up to ℓ = 400, Q and U of a few
        assert 50 < lensed[0].std() < 130
        assert np.all(data[:, mask == 0] == 0.0)
        assert np.all(data[:, mask > 0] != 0.0)
        assert hp.Alm.getlmax(len(hp.read_alm(folder / "phi_alm.fits"))) == 400
        assert all(len(hp.read_alm(folder / "unlensed_alm.fits", hdu=hdu)) == hp.Alm.getsize(400) for hdu in (1, 2, 3))


def test_estimates_are_what_healpy_reads(whole: tuple[Path, Answer]) -> None:
    run, _ = whole
    for sim in range(N_SIMS):
        folder = run / "recon" / f"{sim:04d}"
        for key in KEYS:
            phi, omega = (hp.read_alm(folder / f"phi_{key}_alm.fits", hdu=hdu) for hdu in (1, 2))
            assert len(phi) == len(omega) == hp.Alm.getsize(LMAX)
            assert np.count_nonzero(phi) > 0.9 * len(phi)
        kappa, wiener = (hp.read_map(folder / name) for name in ("kappa_MV.fits", "kappa_MV_wiener.fits"))
        assert hp.get_nside(kappa) == NSIDE
        assert 0 < wiener.std() < kappa.std()
        amplitude = json.loads((folder / "amplitude.json").read_text())
        about = amplitude.pop("about")
        assert about["taken_off"] == ["semi-analytic RDN0 about N0 of 4 Gaussian skies", "mean field"]
        assert about["not_taken_off"] == ["N1", "response by simulations"]
        assert 0 < about["L_low"] < about["L_high"] <= LMAX
        assert set(amplitude) == set(KEYS)


def test_tables_have_the_columns_they_promise(whole: tuple[Path, Answer]) -> None:
    run, _ = whole
    theory = Table.read(run / "theory.ecsv")
    kinds = [f"{key}_{kind}" for kind in ("unlensed", "lensed", "gradient") for key in ("TT", "EE", "BB", "TE")]
    assert theory.colnames == ["ell", *kinds, "PP", "TP", "EP"]
    np.testing.assert_array_equal(theory["ell"], np.arange(401))
    assert str(theory["TT_lensed"].unit) == "uK2"
    response = Table.read(run / "recon" / "response.ecsv")
    assert response.colnames == ["L", *(f"{what}_{key}" for key in KEYS for what in ("R", "N0"))]
    np.testing.assert_array_equal(response["L"], np.arange(LMAX + 1))
    for where in ("0000", "0001", "0002", "."):
        powers = Table.read(run / "recon" / where / "bandpowers.ecsv")
        columns = ("auto", "sigma", "n0", "n0_sigma", "n1", "mf", "response", "curl", "curl_sigma", "cross")
        columns += ("transfer", "transfer_sigma")
        assert set(powers.colnames) == {
            *("L_low", "L_high", "L", "fiducial", "input"),
            *(f"{column}_{key}" for column in columns for key in KEYS),
        }
        assert len(powers) == 5
        assert powers["L_low"][0] == 2
        assert powers["L_high"][-1] == LMAX
        assert all(np.isfinite(powers[name]).all() for name in powers.colnames)


def test_the_mean_of_a_run_is_that_of_its_skies(whole: tuple[Path, Answer]) -> None:
    run, _ = whole
    mean = Table.read(run / "recon" / "bandpowers.ecsv")
    single = [Table.read(run / "recon" / f"{sim:04d}" / "bandpowers.ecsv") for sim in range(N_SIMS)]
    # rtol: three float64 are added
    np.testing.assert_allclose(mean["auto_MV"], np.mean([one["auto_MV"] for one in single], axis=0), rtol=1e-14)
    for name in ("sigma_MV", "transfer_sigma_MV"):
        one = np.mean([table[name] for table in single], axis=0)
        np.testing.assert_allclose(mean[name], one / np.sqrt(N_SIMS), rtol=1e-14)


def test_the_reconstruction_follows_the_input(whole: tuple[Path, Answer]) -> None:
    mean = Table.read(whole[0] / "recon" / "bandpowers.ecsv")
    # all of 5 bands times 6 estimators within 4.5 σ: false alarm 2e-4
    for key in KEYS:
        pull = (mean[f"transfer_{key}"] - 1) / mean[f"transfer_sigma_{key}"]
        assert np.abs(pull).max() < 4.5, key


def test_pictures_are_drawn(whole: tuple[Path, Answer]) -> None:
    pictures = sorted(p.stem for p in (whole[0] / "pictures").glob("*.png"))
    assert {"lensed_sky", "lensed_zoom", "phi_sky", "phi_zoom", "phi_spectrum", "transfer"} <= set(pictures)
    for name in pictures:
        head = (whole[0] / "pictures" / f"{name}.png").read_bytes()
        assert head.startswith(b"\x89PNG")
        assert len(head) > 10_000


def test_a_second_run_skips_everything(whole: tuple[Path, Answer], recipe: Path) -> None:
    run, _ = whole
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*.fits")}
    simulated = lensrec("simulate", recipe, "--out", run)
    assert simulated.status == 0
    assert f"{N_SIMS} of {N_SIMS} skies are simulated already" in simulated.out
    reconstructed = lensrec("reconstruct", run)
    assert reconstructed.status == 0
    assert f"{N_SIMS} of {N_SIMS} skies are reconstructed already" in reconstructed.out
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*.fits")} == before


def test_another_recipe_is_refused_with_its_keys(whole: tuple[Path, Answer], recipe: Path) -> None:
    run, _ = whole
    before = contents(run, "")
    answer = lensrec("simulate", recipe, "--out", run, "--set", "sky.seed=6", "--set", "instrument.noise_t=21")
    assert answer.status == 1
    line = told(answer)
    assert "sky.seed: 5 -> 6" in line
    assert "instrument.noise_t: 20.0 -> 21.0" in line
    assert "sky.nside" not in line
    assert (run / ".lock").read_text() == ""  # let go of after an error, too
    line = told(lensrec("reconstruct", run, "--set", "reconstruction.lmax_t=100"))
    assert "reconstruction.lmax_t: 128 -> 100" in line
    assert contents(run, "") == before


@pytest.mark.parametrize("product", ["mask.fits", "sims/0000/phi_alm.fits", "sims/0001/lensed.fits"])
def test_a_killed_simulation_goes_on_to_the_same_bits(
    whole: tuple[Path, Answer], recipe: Path, tmp_path: Path, product: str
) -> None:
    reference, _ = whole
    run = tmp_path / "run"
    create_run(run, open_run(reference).recipe)
    shutil.copy(reference / "theory.ecsv", run)  # CAMB takes seconds
    with stopped_before(product, "simulate", recipe, "--out", run) as process:
        halves = list(run.rglob(".part-*"))
        assert [p.name.endswith(Path(product).name) for p in halves] == [True]
        line = told(lensrec("simulate", recipe, "--out", run))
        assert f"is in use by process {process.pid} " in line
        assert list(run.rglob(".part-*")) == halves  # what another command is writing is let be
    assert not (run / product).exists()
    kept = {p: p.stat().st_mtime_ns for p in run.glob("sims/0000/*.fits")}
    answer = lensrec("simulate", recipe, "--out", run)
    assert (answer.status, answer.err) == (0, "")
    assert ("1 of 3 skies are simulated already" in answer.out) == product.startswith("sims/0001")
    if product.startswith("sims/0001"):
        assert {p: p.stat().st_mtime_ns for p in run.glob("sims/0000/*.fits")} == kept
    assert not list(run.rglob(".part-*"))
    parts = ("sims", "theory.ecsv", "mask.fits")
    assert contents(run, *parts) == contents(reference, *parts)
    assert len(json.loads((run / "provenance.json").read_text())["resumed"]) == 2


def test_a_reconstruction_killed_again_and_again_ends_with_the_same_bits(
    whole: tuple[Path, Answer], tmp_path: Path
) -> None:
    reference, _ = whole
    run = tmp_path / "run"
    ignore = shutil.ignore_patterns("recon", "pictures")
    shutil.copytree(reference, run, ignore=ignore)
    for product in ("gaussian/0002/phi_TB_alm.fits", "recon/0000/bandpowers.ecsv", "recon/0001/kappa_MV.fits"):
        with stopped_before(product, "reconstruct", run):
            assert "is in use by process" in told(lensrec("reconstruct", run))
        assert not list(run.rglob(f"**/{product}"))
    answer = lensrec("reconstruct", run)
    assert (answer.status, answer.err) == (0, "")
    assert "1 of 3 skies are reconstructed already" in answer.out
    assert "4 of 4 Gaussian skies are there already" in answer.out
    assert "Gaussian skies:" not in answer.out  # none was drawn again
    assert contents(run, "recon") == contents(reference, "recon")


def test_a_run_without_its_mask_is_not_taken_for_a_whole_sky(whole: tuple[Path, Answer], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole[0], run, ignore=shutil.ignore_patterns("recon", "pictures", "mask.fits"))
    assert "mask.fits: no such file" in told(lensrec("reconstruct", run))


def told(answer: Answer) -> str:
    """The one line on stderr of a command that failed."""
    assert answer.status == 1, answer
    assert answer.err.startswith("lensrec: ")
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.out + answer.err
    return answer.err.strip()
