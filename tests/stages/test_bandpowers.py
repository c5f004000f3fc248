"""Band powers and the split of a run: by the commands, by Python, and against what was put in."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sacc
from scipy.stats import chi2

import lensrec as lr
from lensrec.fit import response_surface as surface_module
from lensrec.recipe import Mask
from lensrec.rundir import open_run, read_table, write_table
from lensrec.sky.instrument import gaussian_beam
from lensrec.sky.io import write_map
from lensrec.sky.random import unit_alm
from lensrec.spectra.sacc_file import read_sacc
from lensrec.sphere.alm import alm_to_cl, scale_alm
from lensrec.stages.debias import Biases
from lensrec.stages.joint import four_point_block
from lensrec.stages.phi_bandpowers import phi_bandpowers
from lensrec.stages.prepare_run import prepare_run
from lensrec.stages.reconstruct import Reconstruction
from lensrec.stages.response import SimulatedResponse
from lensrec.stages.setting import setting_of, theory_of
from lensrec.stages.split import with_beam
from lensrec.stages.split_published import split_published
from lensrec.stages.surface import surface_at, surface_of
from lensrec.theory.acoustic_scale import PARAMETERS, UnlensedCosmology
from lensrec.theory.spectra import TheorySpectra
from tests.stages.command import lensrec

Make = Callable[..., lr.Recipe]
RECIPE = """
name: small
cosmology: {lens_potential_accuracy: 1}
sky: {nside: 32, lmax: 300, lmax_data: 80, seed: 5, n_sims: 2, epsilon: 1e-5}
instrument: {fwhm: 30 arcmin, noise_t: 20}
mask: {galactic_cut: 15, apodisation: 10}
reconstruction: {lmin_t: 8, lmin_p: 8, lmax_t: 72, lmax_p: 72, L_max: 60, n_bins: 5, mean_field_sims: 4,
                 estimators: [MV]}
bandpowers: {lmin: 12, lmax: 71, width: 12}
split: {cosmology: fixed, L_min: 2, L_max: 61}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages."""
    folder = tmp_path_factory.mktemp("split")
    (folder / "small.yaml").write_text(RECIPE)
    (folder / "whole.yaml").write_text("recipe: small.yaml\nstages: [simulate, reconstruct, bandpowers, split]\n")
    answer = lensrec("run", folder / "whole.yaml", "--out", folder / "run")
    assert (answer.status, answer.err) == (0, "")
    return folder / "run"


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run has made them all, and they take half of a command's time."""
    for stage in ("bandpowers_run", "split_products"):
        monkeypatch.setattr(f"lensrec.stages.{stage}.save_figure", lambda *_, **__: None)


def test_a_run_leaves_both_amplitudes(run: Path) -> None:
    found = json.loads((run / "split.json").read_text())
    for key in ("A_L_TTTEEE", "A_L_phiphi", "delta"):
        assert set(found[key]) == {"mean", "sigma"}
    assert found["delta"]["mean"] == pytest.approx(found["A_L_TTTEEE"]["mean"] - found["A_L_phiphi"]["mean"])
    assert found["delta_n_sigma"] == pytest.approx(found["delta"]["mean"] / found["delta"]["sigma"])
    assert abs(found["A_L_phiphi"]["mean"] - 1) < 4 * found["A_L_phiphi"]["sigma"]
    assert 1e-4 < found["chi2_pte"] < 1 - 1e-4
    assert {"TT", "TE", "EE"} < set(found["parts"])
    assert all(
        part["sigma"] > found["A_L_TTTEEE"]["sigma"] for key, part in found["parts"].items() if key in ("TT", "EE")
    )
    pictures = {p.stem for p in (run / "pictures").glob("*.png")}
    assert pictures >= {"bandpowers", "bandpowers_phi", "correlation", "amplitudes", "corner", "smoothing", "lensing"}


def test_the_sacc_file_is_what_others_read(run: Path) -> None:
    content = sacc.Sacc.load_fits(str(run / "bandpowers.sacc.fits"))
    counts = {name: len(content.indices(name)) for name in content.get_data_types()}
    assert counts["cl_ee"] == counts["cl_0e"] == 5
    data = read_sacc(run / "bandpowers.sacc.fits")
    skies = [read_table(run / "spectra" / f"{sim:04d}.ecsv")["power"] for sim in range(2)]
    np.testing.assert_allclose(data.mean, np.mean(skies, axis=0), rtol=1e-12)
    assert data.block.tolist() == ["TT"] * 5 + ["TE"] * 5 + ["EE"] * 5 + ["PP"] * 5


def test_corrections_vanish_at_the_fiducial(run: Path) -> None:
    data, theory = read_sacc(run / "bandpowers.sacc.fits"), theory_of(open_run(run).recipe)
    spectra = {**theory.lensed, "PP": theory.potential["PP"]}
    plain = replace(data, corrections={}, offset=np.zeros(len(data)))
    np.testing.assert_allclose(data.expected(spectra), plain.expected(spectra), rtol=1e-11)
    assert set(data.corrections) == {"TT", "TE", "EE", "PP"}
    # a hotter sky has a stronger response: φφ comes out higher by twice that
    hotter = {**spectra, **{key: 1.01 * spectra[key] for key in ("TT", "TE", "EE")}}
    phi = data.block == "PP"
    ratio = data.expected(hotter)[phi] / data.expected(spectra)[phi]
    assert np.all((ratio > 1.018) & (ratio < 1.022))


def test_python_gives_what_the_command_gives(run: Path) -> None:
    recipe = open_run(run).recipe
    sky = lr.simulate(recipe, 0)
    # N1 takes seconds, and the run has it already
    rec = lr.reconstruct(sky.data, recipe, prepared=prepare_run(open_run(run), sky.mask))
    found = lr.bandpowers(rec, sky.data)
    expected = read_table(run / "spectra" / "0000.ecsv")["power"]
    cmb = found.data.block != "PP"
    np.testing.assert_allclose(found.data.mean[cmb], expected[cmb], rtol=1e-6)
    assert "band powers: small" in found._repr_html_()
    amplitudes = lr.split(found).summary()
    assert abs(amplitudes["A_L_phiphi"]["mean"] - 1) < 5 * amplitudes["A_L_phiphi"]["sigma"]


@pytest.mark.usefixtures("no_pictures")
def test_commands_go_on_and_say_what_is_missing(run: Path, tmp_path: Path) -> None:
    before = (run / "spectra" / "0000.ecsv").stat().st_mtime_ns
    assert lensrec("bandpowers", run).status == 0
    assert (run / "spectra" / "0000.ecsv").stat().st_mtime_ns == before
    (tmp_path / "small.yaml").write_text(RECIPE)
    quick = ("--set", "sky.lensed=false", "--set", "sky.n_sims=1")
    assert lensrec("simulate", tmp_path / "small.yaml", *quick, "--out", tmp_path / "new").status == 0
    for command, needed in (("bandpowers", "lensrec reconstruct"), ("split", "lensrec bandpowers")):
        answer = lensrec(command, tmp_path / "new")
        assert (answer.status, answer.err.count("\n")) == (1, 1)
        assert f"run {needed} first" in answer.err
    assert lensrec("split", run, "--set", "bandpowers.width=10").status == 2
    answer = lensrec("bandpowers", run, "--set", "bandpowers.width=10")
    assert answer.status == 1
    assert "bandpowers.width: 12 -> 10" in answer.err
    assert "remove spectra/" in answer.err
    answer = lensrec("bandpowers", run, "--set", "bandpowers.covariance=simulations")
    assert (answer.status, answer.err.count("\n")) == (1, 1)
    assert "2 skies; at least 8, or analytic" in answer.err
    for beam in ("0.01", "0.0"):
        answer = lensrec("split", run, "--set", f"split.beam={beam}")
        assert answer.status == 0
        assert "A_L^TTTEEE" in answer.out
        assert json.loads((run / "provenance.json").read_text())["resumed"][-1]["command"][1:3] == ["split", str(run)]
    answer = lensrec("split", "--data", "planck_pr4_lensing", "--out", run)
    assert (answer.status, answer.err.count("\n")) == (1, 1)
    assert "has a split of its own" in answer.err
    for words in (("split",), ("split", run, "--data", "x"), ("split", "--data", "x"), ("split", run, "--tau", "0.05")):
        assert lensrec(*words).status == 2
    answer = lensrec("split", "--data", "planck2019", "--out", tmp_path / "published")
    assert (answer.status, answer.err.count("\n")) == (1, 1)
    assert "planck2018_plik_lite" in answer.err


@pytest.mark.usefixtures("no_pictures")
def test_band_powers_follow_what_they_are_made_of(run: Path) -> None:
    """A sky that is reconstructed anew has its band powers measured anew."""
    table, made = run / "recon" / "0001" / "bandpowers.ecsv", run / "spectra" / "0001.ecsv"
    before, kept = table.read_text(), read_table(made)
    columns = read_table(table)
    write_table(table, {**columns, "auto_MV": 2 * columns["auto_MV"]}, {}, "stronger")
    assert lensrec("bandpowers", run).status == 0
    phi = kept["block"] == "PP"
    assert np.all(read_table(made)["power"][phi] != kept["power"][phi])
    table.write_text(before)
    assert lensrec("bandpowers", run).status == 0
    np.testing.assert_array_equal(read_table(made)["power"], kept["power"])


@pytest.fixture
def of_known_phi(small: Make, theory: TheorySpectra) -> Callable[..., Reconstruction]:
    """A reconstruction that is φ itself, divided by the mean of constant responses, N0 a little off."""
    recipe = small(reconstruction={"estimators": "TT", "mc_response": "apply"})
    setting = setting_of(recipe, theory, 64)
    phi = scale_alm(unit_alm(100, seed=2, sim=0, component="phi"), np.sqrt(setting.cl_phi))
    cl = alm_to_cl(phi)

    def make(responses: list[float], *, error: float = 0.0, off: float = 0.0) -> Reconstruction:
        n0 = setting.n0["TT"]
        biases = Biases({"TT": (1.0 + off) * n0}, {"TT": error * n0}, "")
        each = np.array(responses)[:, None]
        response = SimulatedResponse({"TT": each * cl}, np.tile(cl, (len(each), 1)))
        estimates = {"TT": np.stack([phi, phi])}
        return Reconstruction(recipe, setting, estimates, {}, None, biases, simulated_response=response)

    return make


def test_an_error_of_n0_is_shared_as_far_as_it_moves_band_powers(
    of_known_phi: Callable[..., Reconstruction], theory: TheorySpectra
) -> None:
    """N0 higher by its error moves every band power of φ̂φ̂ by a number, whose square is its share of the covariance.

    A band power is linear in N0: what is left is rounding. The response of simulations is 0.9, without an error.
    """
    rec, moved = of_known_phi([0.9, 0.9], error=0.05), of_known_phi([0.9, 0.9], off=0.05)
    table = phi_bandpowers(rec)
    shared = four_point_block(rec, theory, table, "TT").shared
    change = phi_bandpowers(moved)["auto_TT"] - table["auto_TT"]
    np.testing.assert_allclose(shared, np.diag(change**2), rtol=1e-6, atol=0)


def test_an_error_of_the_response_moves_all_band_powers_together(
    of_known_phi: Callable[..., Reconstruction], theory: TheorySpectra
) -> None:
    """φ̂φ̂ goes as R⁻², so that cov = 4 C_a C_b (σ_R/R)² with the fiducial power; σ_R of constant responses is std/√n."""
    each = [0.93, 1.02, 0.97, 1.05, 0.99]
    rec = of_known_phi(each)
    table = phi_bandpowers(rec)
    relative = np.std(each, ddof=1) / np.sqrt(5) / np.mean(each)
    expected = 4.0 * np.outer(table["fiducial"], table["fiducial"]) * relative**2
    np.testing.assert_allclose(four_point_block(rec, theory, table, "TT").shared, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"instrument": {"hits": "ecliptic"}},
        {"reconstruction": {"rdn0": "none", "estimators": ["TT"], "lmax_t": 90}, "bandpowers": {"estimator": "TT"}},
        {"reconstruction": {"rdn0": "none", "estimators": ["GMV"], "n1": "fiducial"}},
        {"reconstruction": {"estimators": ["EB", "MV"]}, "bandpowers": {"estimator": "EB"}},
        {"sky": {"polarisation": False}},
        {
            "mask": {"galactic_cut": 15, "apodisation": 8},
            "reconstruction": {"mc_response": "apply", "response_sims": 2},
        },
    ],
)
def test_recipes_of_other_kinds(small: Make, changes: dict) -> None:
    """Each has band powers that scatter as they should, corrections that vanish, and a fit; chance 1e-4 each."""
    recipe = small(**{**changes, "bandpowers": {"lmin": 20, "width": 20, **changes.get("bandpowers", {})}})
    recipe = recipe.model_copy(update={"split": recipe.split.model_copy(update={"cosmology": "fixed", "L_min": 2})})
    sky = lr.simulate(recipe, 3)
    found = lr.bandpowers(lr.reconstruct(sky.data, recipe), sky.data)
    data = found.data
    expected = data.expected(found.fiducial)
    plain = replace(data, corrections={}, offset=np.zeros(len(data)))
    np.testing.assert_allclose(expected, plain.expected(found.fiducial), rtol=1e-9)
    cmb = data.block != "PP"
    away = (data.mean - expected)[cmb]
    value = away @ np.linalg.solve(data.covariance[np.ix_(cmb, cmb)], away)
    assert 1e-4 < chi2.sf(value, cmb.sum()) < 1 - 1e-4
    assert lr.split(found).summary()["A_L_phiphi"]["sigma"] > 0


@pytest.mark.usefixtures("no_pictures")
def test_a_map_from_outside_has_band_powers_too(run: Path, tmp_path: Path) -> None:
    recipe, mask = open_run(run).recipe, run / "mask.fits"
    write_map(tmp_path / "iqu.fits", lr.simulate(recipe.model_copy(update={"mask": Mask()}), 0).data)
    out = tmp_path / "map"
    words = ("--fwhm", "30arcmin", "--noise", "20", "--lmin", "8", "--lmax", "72", "--apodise", "0", "--out", out)
    keys = ("split.cosmology=fixed", "reconstruction.n_bins=5", "split.L_min=2", "reconstruction.n1=none")
    keys += ("sky.lmax=300", "reconstruction.L_max=60", "cosmology.lens_potential_accuracy=1")
    more = [word for key in keys for word in ("--set", key)]
    answer = lensrec("reconstruct", "--map", tmp_path / "iqu.fits", "--mask", mask, *words, *more)
    assert answer.status == 0, answer.err
    assert lensrec("bandpowers", out).status == 0
    assert lensrec("split", out).status == 0
    data = read_sacc(out / "bandpowers.sacc.fits")
    theory = theory_of(open_run(out).recipe)
    expected = data.expected({**theory.lensed, "PP": theory.potential["PP"]})
    pull = ((data.mean - expected) / np.sqrt(np.diag(data.covariance)))[data.block != "PP"]
    assert np.abs(pull).max() < 4.5  # 15 band powers or so: false alarm 1e-4
    (tmp_path / "iqu.fits").unlink()
    for spectrum in (out / "spectra").iterdir():
        spectrum.unlink()
    answer = lensrec("bandpowers", out)
    warning, line = answer.err.splitlines()
    assert answer.status == 1
    assert "N1 of MV is left in" in warning
    assert "iqu.fits" in line


def test_an_uncertain_beam_widens_errors_along_its_template(run: Path) -> None:
    recipe, data = open_run(run).recipe, read_sacc(run / "bandpowers.sacc.fits")
    theory = theory_of(recipe)
    spectra = {**theory.lensed, "PP": theory.potential["PP"]}
    assert with_beam(recipe, data, spectra) is data
    unsure = recipe.model_copy(update={"split": recipe.split.model_copy(update={"beam": 0.01})})
    added = with_beam(unsure, data, spectra).covariance - data.covariance
    # what a beam that is 1e-4 too wide does to all of it, on both sides
    change = np.zeros(len(data))
    for sign in (1, -1):
        beams = [gaussian_beam(recipe.instrument.fwhm_rad * width, theory.lmax) for width in (1.0, 1 + sign * 1e-4)]
        other = {key: cl * (beams[0] / beams[1]) ** 2 for key, cl in theory.lensed.items()}
        change += sign * data.expected({**spectra, **other}) / 2e-4
    np.testing.assert_allclose(added, 1e-4 * np.outer(change, change), rtol=1e-5, atol=1e-12 * np.abs(added).max())


def test_uneven_red_noise_cannot_be_purified(small: Make) -> None:
    recipe = small(
        instrument={"hits": "ecliptic", "lknee_p": 50, "slope_p": -1},
        mask={"galactic_cut": 15, "apodisation": 8},
        bandpowers={"pure_b": True, "estimator": "TT"},
        reconstruction={"estimators": ["TT"], "rdn0": "none"},
    )
    sky = lr.simulate(recipe, 0)
    with pytest.raises(ValueError, match="both uneven and red"):
        lr.bandpowers(lr.reconstruct(sky.data, recipe), sky.data)


def _cheap(theta: np.ndarray, *, lmax: int, mnu: float, lens_potential_accuracy: float) -> UnlensedCosmology:
    ell = np.arange(lmax + 1501.0)
    cls = {key: np.exp(theta[3]) / (ell + 1 + theta[k]) for k, key in enumerate(("TT", "EE", "TE"))}
    return UnlensedCosmology(cls, 1e-9 / (ell + 1.0) ** 4, 67.0, 0.3)


def test_a_surface_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(theta: np.ndarray, **options: float) -> UnlensedCosmology:
        calls.append(tuple(theta))
        if len(calls) == 20:
            raise KeyboardInterrupt
        return _cheap(theta, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(surface_module, "unlensed_cosmology", counted)
    monkeypatch.setattr("lensrec.stages.surface.cache_folder", lambda: tmp_path)
    with pytest.raises(KeyboardInterrupt):
        surface_of(30, nthreads=1)
    first = surface_of(30, nthreads=1)
    assert len(calls) == 44  # 43 cosmologies, and the one that was broken off
    again = surface_of(101, nthreads=1)
    assert len(calls) == 44
    np.testing.assert_array_equal(first.cmb, again.cmb)
    assert first.lmax == 200


def test_a_surface_of_one_cosmology_has_the_smoothing_of_the_whole_one(small: Make) -> None:
    from lensrec.theory.lensing import lensed_spectra

    theory = theory_of(small(sky={"nside": 512, "lmax": 1500}))
    surface = surface_at(theory, 300, nthreads=1)
    for amplitude in (0.8, 1.18):
        expected = lensed_spectra(theory.unlensed, theory.potential["PP"], lmax=300, amplitude=amplitude)
        got = surface.spectra(np.zeros(len(PARAMETERS)), a_smooth=amplitude, a_phi=1.3)
        for key in ("TT", "EE", "BB"):
            np.testing.assert_allclose(got[key][2:], expected[key][2:301], rtol=1e-4)
        np.testing.assert_allclose(got["PP"], 1.3 * theory.potential["PP"])


def test_published_lensing_at_a_held_cosmology(
    theory: TheorySpectra, published_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planck PR4 finds 1.004 ± 0.024 (arXiv:2206.07773) about its own best fit; Planck 2018's is 0.3 % from it."""
    published_folder("planck_pr4_lensing")
    monkeypatch.setattr("lensrec.stages.split.surface_of", lambda lmax, **_: surface_at(theory, lmax))
    held = dict.fromkeys(PARAMETERS, 0.0)
    found = split_published(["planck_pr4_lensing"], tmp_path / "out", fixed=held, command=["a", "test"])
    amplitude = found.summary()["A_L_phiphi"]
    assert abs(amplitude["mean"] - 1.004) < 0.4 * 0.024
    assert abs(amplitude["sigma"] / 0.024 - 1) < 0.2
    written = json.loads((tmp_path / "out" / "split.json").read_text())
    assert written["A_L_phiphi"] == amplitude
    assert written["A_L_TTTEEE"] is None
    assert (tmp_path / "out" / "pictures" / "lensing.png").is_file()
    monkeypatch.setattr("lensrec.stages.split_products.save_figure", lambda *_, **__: None)
    again = split_published(["planck_pr4_lensing:cmb_fixed"], tmp_path / "out", fixed=held, command=["a", "test"])
    assert abs(again.summary()["A_L_phiphi"]["mean"] - amplitude["mean"]) < 0.01
