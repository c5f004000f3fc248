"""Looks, viewers and displays of what stages make: from files, runs, and arrays in IPython."""

from pathlib import Path

import healpy
import numpy as np
import pytest

import lensrec as lr
from lensrec.rundir import RunError, create_run
from lensrec.showing import DRAWN_BY
from lensrec.sky.io import read_map, write_alm, write_map
from lensrec.stages.layers import layers_of
from lensrec.stages.reconstruct_run import reconstruct_run
from lensrec.stages.simulate import simulate_run
from lensrec.view.wiener import ARCMIN

NSIDE, LMAX, L_MAX = 32, 60, 50
NPIX = 12 * NSIDE**2
SETTINGS = {
    "name": "look",
    "cosmology": {"lens_potential_accuracy": 1},
    "sky": {"nside": NSIDE, "lmax": 90, "lmax_data": LMAX, "seed": 4, "epsilon": 1e-5},
    "instrument": {"fwhm": 60, "noise_t": 20},
    "mask": {"galactic_cut": 15, "apodisation": 5},
    "reconstruction": {"estimators": "TT", "lmin_t": 10, "L_max": L_MAX, "n_bins": 4, "n1": "none"},
}


@pytest.fixture(scope="module")
def recipe() -> lr.Recipe:
    return lr.Recipe.model_validate(SETTINGS)


@pytest.fixture(scope="module")
def sky(recipe: lr.Recipe):
    return lr.simulate(recipe, sim=0)


@pytest.fixture(scope="module")
def rec(recipe: lr.Recipe, sky):
    return lr.reconstruct(sky.data, recipe, mask=sky.mask)


@pytest.fixture(scope="module")
def run(recipe: lr.Recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    made = create_run(folder, recipe)
    simulate_run(made)
    reconstruct_run(made)
    return folder


def test_a_look_at_arrays_and_files(sky, rec, tmp_path: Path) -> None:
    assert lr.look(sky.data, unit="µK").tables[0][""] == ["T", "Q", "U"]
    assert lr.look(sky.data[0], mask=sky.mask).facts["masked"] != "0 %"
    assert "rms deflection [arcmin]" in lr.look(rec.phi["TT"], kind="phi").facts
    assert lr.look(np.arange(NPIX)).facts["nside"] == NSIDE
    with pytest.raises(ValueError, match="neither a map nor an alm"):
        lr.look(np.array(["a", "b"]))
    write_map(tmp_path / "map.fits", sky.data)
    found = lr.look(tmp_path / "map.fits")
    assert found.caption == "map.fits"
    assert found.facts["nside"] == NSIDE
    html = found._repr_html_()
    assert "<img" in html
    assert "rms" in html
    write_alm(tmp_path / "phi_alm.fits", rec.phi["TT"])
    assert lr.look(str(tmp_path / "phi_alm.fits")).facts["lmax"] == L_MAX


def test_a_map_that_was_read_shows_itself(sky, tmp_path: Path) -> None:
    maps = sky.data.copy()
    maps[:, :100] = healpy.UNSEEN
    write_map(tmp_path / "map.fits", maps)
    read = read_map(tmp_path / "map.fits")
    html = read._repr_html_()
    assert "<img" in html
    assert "µK" in html
    assert "RING" in html
    assert f"{100 * 100 / NPIX:.3g} %" in html
    found = lr.look(read)
    assert found.facts["unit"] == "µK"
    assert found.tables[0]["rms"][0] == pytest.approx(float(maps[0, 100:].std()), rel=1e-6)


def test_all_that_is_said_to_be_drawn_is(sky) -> None:
    from importlib import import_module

    for module, function in DRAWN_BY.values():
        assert callable(getattr(import_module(module), function))


def test_arrays_show_themselves_after_load_ext(sky, rec) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        plain, _ = shell.display_formatter.format(sky.data)
        assert "text/html" not in plain
        shell.extension_manager.load_extension("lensrec")
        for array in (sky.data, rec.phi["TT"], sky.lensed[0]):
            shown, _ = shell.display_formatter.format(array)
            assert "<img" in shown["text/html"]
        numbers, _ = shell.display_formatter.format(np.arange(5.0))
        assert "text/html" not in numbers
        shell.extension_manager.unload_extension("lensrec")
        again, _ = shell.display_formatter.format(sky.data)
        assert "text/html" not in again
    finally:
        InteractiveShell.clear_instance()


def test_layers_of_a_sky_and_its_reconstruction(sky, rec) -> None:
    found = layers_of(sky)
    found.merge(layers_of(rec))
    expected = ["T", "Q", "U", "T data", "Q data", "U data", "T unlensed", "φ", "κ", "mask", "φ̂", "κ̂"]
    assert list(found.maps) == expected
    assert found.mask is not None
    np.testing.assert_array_equal(found.maps["T data"], sky.data[0])
    # √(L(L+1)) φ and L(L+1)/2 φ by healpy
    ell = healpy.Alm.getlm(90)[0]
    for name, factor in (("φ", np.sqrt(ell * (ell + 1)) / ARCMIN), ("κ", ell * (ell + 1) / 2)):
        made = healpy.alm2map(factor * sky.phi_alm, NSIDE)
        np.testing.assert_allclose(found.maps[name], made, atol=1e-10 * made.std())
    # the whole sky's spectra lie about the curves: a χ² of 2ℓ+1 degrees each, some 50 of them
    for name, lmax in (("T", 60), ("T unlensed", 60), ("φ", 60), ("κ", 60)):
        cl = healpy.anafast(found.maps[name], lmax=lmax)[10:]
        theory = found.theory[name][10 : lmax + 1]
        modes = 2 * np.arange(10, lmax + 1) + 1
        assert np.average(cl / theory, weights=modes) == pytest.approx(1, abs=5 * np.sqrt(2 / modes.sum()))


def test_the_curve_of_the_data_has_beam_pixels_and_noise() -> None:
    whole = lr.Recipe.model_validate({**SETTINGS, "mask": {}})
    found = layers_of(lr.simulate(whole, 0))
    for name in ("T data", "Q data"):
        cl = healpy.anafast(found.maps[name], lmax=LMAX)[10:]
        modes = 2 * np.arange(10, LMAX + 1) + 1
        ratio = np.average(cl / found.theory[name][10 : LMAX + 1], weights=modes)
        if name == "T data":
            assert ratio == pytest.approx(1, abs=5 * np.sqrt(2 / modes.sum()))
        else:  # a scalar's transform of Q is about the mean of E and B, to what spin-2 harmonics differ at low ℓ
            assert ratio == pytest.approx(1, abs=0.15)


def test_a_run_gives_the_same_layers(run: Path, sky, rec) -> None:
    found = layers_of(run)
    direct = layers_of(sky)
    direct.merge(layers_of(rec))
    assert set(found.maps) == set(direct.maps)
    assert found.units == direct.units
    for name, made in direct.maps.items():
        # files hold single precision
        np.testing.assert_allclose(found.maps[name], made, atol=2e-6 * np.abs(made).max(), err_msg=name)
    for name, made in direct.theory.items():
        np.testing.assert_allclose(found.theory[name], made, rtol=1e-6, err_msg=name)
    with pytest.raises(RunError, match=r"no recipe\.yaml"):
        layers_of(run / "sims")


def test_a_viewer_takes_all_of_these(run: Path, sky, rec) -> None:
    view = lr.viewer(sky, rec, {"mine": np.zeros(12 * 16**2)}, layer="φ̂", size_deg=30)
    assert view.layers.names[-1] == "mine"
    assert "φ̂ [arcmin]" in view._widgets.bar.value
    assert np.isnan(view.look(lon=0, lat=0, size=5, layer="T") or view.shown).all()
    assert lr.viewer(run, layer="κ").shown.shape == (512, 512)
    with pytest.raises(TypeError, match="a sky, a reconstruction, a run's folder, or a dictionary of maps"):
        lr.viewer(3)
    with pytest.raises(ValueError, match="no layer 'Q2'; there are T, Q"):
        lr.viewer(sky, layer="Q2")
    with pytest.raises(ValueError, match="a viewer needs one map at least"):
        lr.viewer()


def test_a_run_without_maps_says_so(recipe: lr.Recipe, tmp_path: Path) -> None:
    create_run(tmp_path / "run", recipe)
    with pytest.raises(FileNotFoundError, match="the run has no maps yet; lensrec simulate"):
        layers_of(tmp_path / "run")
