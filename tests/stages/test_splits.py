"""Splits of the data: drawn from simulated maps, brought from outside, and band powers of their cross-spectra."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, f

import lensrec as lr
from lensrec.recipe import Recipe
from lensrec.recipe_files import RecipeError
from lensrec.rundir import open_run, read_table
from lensrec.sky.instrument import noise_alm
from lensrec.sky.io import read_map, read_mask, write_map
from lensrec.spectra.sacc_file import read_sacc
from lensrec.sphere.alm import alm_to_cl, resize_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis_tp
from lensrec.stages.bandpowers import shared_bands
from lensrec.stages.estimate import map_to_alm
from lensrec.stages.masking import mask_of, noise_pattern
from lensrec.stages.setting import noise_of, theory_of
from lensrec.stages.simulate import draw_sky, observe
from lensrec.stages.splits import split_maps
from tests.stages.command import lensrec

Make = Callable[..., Recipe]
LMAX = 72


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """They take most of a command's time here, and are the same for splits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lensrec.stages.bandpowers_run.bandpower_figures", lambda *_, **__: {})
        yield


@pytest.fixture(scope="module")
def cut(small: Make) -> Make:
    """Recipes of a masked, noisy sky at nside 32; noise uneven, red in T, and in polarisation as strong as E or B."""

    def make(**bandpowers: Any) -> Recipe:
        return small(
            sky={"nside": 32, "lmax": 100, "lmax_data": LMAX, "lensed": False},
            instrument={
                "fwhm": 60,
                "hits": "ecliptic",
                "noise_t": 2000,
                "lknee_t": 30,
                "slope_t": -2,
                "noise_p": 60 if bandpowers.get("pure_b") else 150,
            },
            mask={"galactic_cut": 20, "apodisation": 16, "kind": "C1"},
            reconstruction={"lmax_t": 64, "lmax_p": 64, "L_max": 40, "estimators": ["TT"], "rdn0": "none"},
            bandpowers={"lmin": 20, "lmax": 63, "width": 14, "spectra": ["TT", "TE", "EE", "BB"], **bandpowers},
        )

    return make


@pytest.mark.parametrize("count", [2, 3])
def test_noise_of_splits_is_independent_and_its_mean_is_that_of_the_map(small: Make, count: int) -> None:
    """m times the map's power in each, nothing in common between them: 5 σ on up to 18 numbers, chance 1e-5."""
    recipe = small(sky={"nside": 32, "lmax": 100, "lmax_data": 60, "seed": 8})
    noise = noise_of(recipe.instrument, 60)
    data = synthesis_tp(noise_alm(noise["TT"], noise["EE"], 60, seed=8, sim=3), healpix_grid(32))
    maps = np.array(list(split_maps(recipe, data, 3, splits=count)))
    np.testing.assert_allclose(maps.mean(0), data, rtol=0, atol=1e-13 * np.abs(data).max())
    alm = [map_to_alm(one, 32, 60) for one in maps]
    ell = np.arange(2, 61)
    modes = np.sum(2 * ell + 1)
    for field in "TEB":
        for i in range(count):
            for j in range(i + 1):
                ratio = alm_to_cl(alm[i][field], alm[j][field])[2:] / (count * noise[field * 2][2:])
                found, sigma = np.sum((2 * ell + 1) * ratio) / modes, np.sqrt((2 if i == j else 1) / modes)
                assert abs(found - (i == j)) < 5 * sigma, (field, i, j)


def test_splits_are_a_function_of_the_seed_and_of_nothing_else(cut: Make) -> None:
    recipe = cut(splits=3)
    mask = mask_of(recipe.mask, 32)
    pattern = noise_pattern(recipe.instrument, 32, mask)
    assert mask is not None
    data = np.random.default_rng(1).normal(size=(3, 12 * 32**2)) * mask

    def made(recipe: Recipe, sim: int, **others: Any) -> np.ndarray:
        return np.array(list(split_maps(recipe, data, sim, mask=mask, pattern=pattern, **others)))

    one = made(recipe, 0, nthreads=1)
    np.testing.assert_array_equal(made(recipe, 0, nthreads=2), one)
    np.testing.assert_allclose(one.mean(0), data, rtol=0, atol=1e-13 * np.abs(one).max())
    assert not one[:, :, mask == 0].any()
    other_seed = recipe.model_copy(update={"sky": recipe.sky.model_copy(update={"seed": 5})})
    for other in (made(recipe, 1), made(other_seed, 0)):
        assert np.all(np.std(other - one, axis=2) > 0.1 * np.std(one, axis=2))
    # temperature alone has the same noise in temperature
    np.testing.assert_array_equal(list(split_maps(recipe, data[:1], 0, mask=mask, pattern=pattern)), one[:, :1])


@pytest.mark.parametrize(("count", "pure_b", "skies"), [(3, False, 100), (2, True, 50)])
def test_cross_spectra_have_no_bias_whatever_is_believed_of_the_noise(
    cut: Make, count: int, pure_b: bool, skies: int
) -> None:
    """Behind a mask, with uneven noise, of 30 % more power than the recipe says; chance 1e-4 each."""
    recipe = cut(pure_b=pure_b)
    theory = theory_of(recipe)
    rec = lr.reconstruct(lr.simulate(recipe, 0).data, recipe)
    pattern, table = noise_pattern(recipe.instrument, 32, rec.mask), rec.bandpowers()
    louder = {name: getattr(recipe.instrument, name) * 1.3**0.5 for name in ("noise_t", "noise_p")}
    true = recipe.model_copy(update={"instrument": recipe.instrument.model_copy(update=louder)})
    split = true.model_copy(update={"bandpowers": true.bandpowers.model_copy(update={"splits": count})})
    believed, right, crossed = (
        shared_bands(replace(rec, recipe=one), table, theory, 32, pattern) for one in (recipe, true, split)
    )
    assert rec.mask is not None
    powers: dict[str, Any] = {"wrong": [], "auto": [], "cross": []}
    for sim in range(skies):
        alm = resize_alm(draw_sky(true, theory, sim)[0], LMAX)
        data = observe(true, alm, sim, pattern=pattern) * rec.mask
        auto = believed.cmb(data)
        powers["wrong"].append(auto)
        powers["auto"].append(right.cmb(data) if sim == 0 else auto + powers["auto"][0] - powers["wrong"][0])
        maps = split_maps(split, data, sim, mask=rec.mask, pattern=pattern)
        powers["cross"].append(believed.cmb_of_splits(maps))
    n = len(auto)
    expected = right.template.expected({**theory.lensed, "PP": theory.potential["PP"]})[:n]
    for name, shared in (("wrong", believed), ("auto", right), ("cross", crossed)):
        found = np.array(powers[name])
        away = found.mean(0) - expected
        # Hotelling's T² knows nothing of a model of the covariance
        square = skies * away @ np.linalg.solve(np.cov(found.T), away)
        chance = f.sf(square * (skies - n) / (n * (skies - 1)), n, skies - n)
        if name == "wrong":
            assert chance < 1e-10
            continue
        assert chance > 1e-4
        # the analytic covariance: each variance to 4.6 σ of its sampling, and all of it by the sum of all skies' χ²
        covariance = shared.template.covariance[:n, :n]
        ratio = found.var(axis=0, ddof=1) / np.diag(covariance)
        low, high = (chi2.ppf(p, skies - 1) / (skies - 1) for p in (1e-6, 1 - 1e-6))
        assert np.all((ratio > low) & (ratio < high * 1.03)), ratio  # 3 % for the narrow kernels' variances
        residuals = found - found.mean(0)
        total = np.einsum("si,ij,sj->", residuals, np.linalg.inv(covariance), residuals)
        assert abs(total / ((skies - 1) * n) - 1) < 4 * np.sqrt(2 / ((skies - 1) * n)) + 0.03
    # what fewer splits cost shows: it is no auto-spectrum's covariance that they were held against
    scatter = np.diag(crossed.template.covariance)[:n] / np.diag(right.template.covariance)[:n]
    assert scatter.max() > 1.15


RECIPE = """
name: halves
cosmology: {lens_potential_accuracy: 1}
sky: {nside: 32, lmax: 100, lmax_data: 72, seed: 4, epsilon: 1e-5, lensed: false, n_sims: 2}
instrument: {fwhm: 60, noise_t: 1000}
mask: {galactic_cut: 20, apodisation: 16}
reconstruction: {lmax_t: 64, lmax_p: 64, L_max: 40, n_bins: 3, estimators: [TT], n1: none, rdn0: none}
bandpowers: {lmin: 20, lmax: 63, width: 14, splits: 3}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two skies in three splits each."""
    folder = tmp_path_factory.mktemp("splits")
    (folder / "halves.yaml").write_text(RECIPE)
    (folder / "whole.yaml").write_text("recipe: halves.yaml\nstages: [simulate, reconstruct, bandpowers]\n")
    answer = lensrec("run", folder / "whole.yaml", "--out", folder / "run")
    assert answer.status == 0, answer.err
    return folder / "run"


def told(answer: Any) -> str:
    """The one line of a command that could not do what it was asked."""
    assert (answer.status, answer.err.count("\n")) == (1, 1), answer
    return answer.err


def provenance(run: Path) -> dict[str, Any]:
    return json.loads((run / "provenance.json").read_text())


def test_a_run_takes_cross_spectra_where_its_recipe_says_so(run: Path) -> None:
    recipe, table = open_run(run).recipe, read_table(run / "spectra" / "0001.ecsv")
    sky = lr.simulate(recipe, 1)
    rec = lr.reconstruct(sky.data, recipe)
    splits = list(split_maps(recipe, sky.data, 1, mask=sky.mask))
    found = lr.bandpowers(rec, sky.data, splits=splits)
    cmb = found.data.block != "PP"
    scale = np.sqrt(np.diag(found.data.covariance))
    # the command's sky went through a file, in single precision or double
    np.testing.assert_allclose((found.data.mean / scale)[cmb], (table["power"] / scale)[cmb], rtol=0, atol=1e-5)
    data = read_sacc(run / "bandpowers.sacc.fits")
    for one in (data, found.data):
        assert one.metadata["splits"] == 3
        assert one.metadata["noise"] == "mean of the cross-spectra of 3 splits, without a noise bias"
    np.testing.assert_allclose(found.data.covariance / 2, data.covariance, rtol=1e-6, atol=1e-6 * data.covariance.max())
    assert provenance(run)["bandpowers"] == {"splits": 3, "noise": data.metadata["noise"], "files": {}}
    without = recipe.model_copy(update={"bandpowers": recipe.bandpowers.model_copy(update={"splits": 1})})
    for given in ({}, {"splits": splits}):
        one = lr.bandpowers(replace(rec, recipe=without), sky.data, **given)
        assert one.data.metadata["splits"] == one.recipe.bandpowers.splits == (3 if given else 1)
    np.testing.assert_array_equal(one.data.mean, found.data.mean)


def test_python_says_which_maps_are_no_splits(run: Path) -> None:
    recipe = open_run(run).recipe
    sky, other = lr.simulate(recipe, 0), lr.simulate(recipe, 1)
    rec = lr.reconstruct(sky.data, recipe)
    one, two, three = split_maps(recipe, sky.data, 0, mask=sky.mask)
    broken = np.where(np.arange(two.shape[1]) == 7, np.nan, two)
    for splits, line in (
        (None, "no maps of these are given"),
        ([one], "at least two splits of the data, got 1"),
        ([one, two], "bandpowers.splits: 3, but 2 maps are given"),
        ([one, two, one], "split 3 is split 1 again"),
        ([one, two, sky.data], "split 3 is the map itself"),
        ([one, broken, three], "split 2 has pixels that are not finite"),
        ([one, 0 * two, three], "split 2 is zero everywhere"),
        ([one, two, three[:, :1000]], "split 3 has shape"),
        ([1e6 * m for m in (one, two, three)], "another sky, or in another unit"),
        (list(split_maps(recipe, other.data, 1, mask=sky.mask)), "another sky"),
    ):
        with pytest.raises(ValueError, match=line):
            lr.bandpowers(rec, sky.data, splits=splits)


def test_commands_are_recorded_and_go_on(run: Path) -> None:
    made = run / "spectra" / "0000.ecsv"
    before = made.stat().st_mtime_ns
    assert lensrec("bandpowers", run).status == 0
    assert made.stat().st_mtime_ns == before
    assert [one["command"][1] for one in provenance(run)["resumed"]] == ["bandpowers"]
    assert "--set bandpowers.splits=2" in told(lensrec("bandpowers", run, "--splits", "a.fits,b.fits"))
    assert "bandpowers.splits: 3 -> 1" in told(lensrec("bandpowers", run, "--set", "bandpowers.splits=1"))
    assert lensrec("bandpowers", run, "--splits", "a,b", "--set", "bandpowers.splits=2").status == 2
    assert "bandpowers.splits: 0 will not do" in told(lensrec("bandpowers", run, "--set", "bandpowers.splits=0"))


def test_too_few_skies_for_a_covariance_are_refused_before_anything_is_done(run: Path) -> None:
    line = "2 skies; at least 8, or analytic"
    before = (run / "recipe.yaml").read_text()
    assert line in told(lensrec("bandpowers", run, "--set", "bandpowers.covariance=simulations"))
    assert (run / "recipe.yaml").read_text() == before
    data = open_run(run).recipe.model_dump(mode="json")
    data["bandpowers"]["covariance"] = "simulations"
    with pytest.raises(RecipeError, match=line):
        Recipe.model_validate(data)
    assert Recipe.model_validate({**data, "sky": {**data["sky"], "n_sims": 8}}).bandpowers.covariance == "simulations"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map from outside with its two halves, reconstructed; its files are in K and its halves NESTED, too."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "halves.yaml").write_text(RECIPE)
    masked = Recipe.load(folder / "halves.yaml")
    whole = Recipe.load(folder / "halves.yaml", ["mask.galactic_cut=0", "mask.apodisation=0"])
    write_map(folder / "mask.fits", mask_of(masked.mask, 32), unit="", column_names=["MASK"])
    for sim, name in ((0, ""), (1, "other_")):
        data = lr.simulate(whole, sim).data
        write_map(folder / f"{name}iqu.fits", data, dtype=np.float64)
        for letter, one in zip("ab", split_maps(whole, data, sim, splits=2), strict=True):
            write_map(folder / f"{name}{letter}.fits", one, dtype=np.float64)
    words = ("--map", folder / "iqu.fits", "--mask", folder / "mask.fits", "--apodise", 0, "--fwhm", "60arcmin")
    words += ("--noise", 1000, "--lmax", 64, "--estimators", "TT", "--out", folder / "run")
    keys = ("cosmology.lens_potential_accuracy=1", "reconstruction.n1=none", "reconstruction.rdn0=none")
    keys += ("reconstruction.L_max=40", "reconstruction.n_bins=3", "bandpowers.width=14", "bandpowers.lmin=20")
    answer = lensrec("reconstruct", *words, *(word for key in keys for word in ("--set", key)))
    assert answer.status == 0, answer.err
    return folder


def test_splits_from_outside(foreign: Path) -> None:
    run, (a, b) = foreign / "run", (foreign / "a.fits", foreign / "b.fits")
    assert "give the maps of its splits with --splits" in told(
        lensrec("bandpowers", run, "--set", "bandpowers.splits=2")
    )
    answer = lensrec("bandpowers", run, "--splits", f"{a},{b}")
    assert answer.status == 0, answer.err
    recipe = open_run(run).recipe
    assert recipe.bandpowers.splits == 2
    record = provenance(run)
    assert list(record["bandpowers"]["files"]) == [str(a), str(b)]
    assert record["resumed"][-1]["command"] == ["lensrec", "bandpowers", str(run), "--splits", f"{a},{b}"]
    data = read_sacc(run / "bandpowers.sacc.fits")
    assert data.metadata["splits"] == 2
    maps = [read_map(foreign / name).maps for name in ("iqu.fits", "a.fits", "b.fits")]
    rec = lr.reconstruct(maps[0], recipe, mask=read_mask(run / "mask.fits", nside=32), masked=False)
    found = lr.bandpowers(rec, maps[0], splits=maps[1:], masked=False)
    np.testing.assert_allclose(found.data.mean, data.mean, rtol=1e-9, atol=1e-9 * np.abs(data.mean[:3]).min())
    # again without a word of them, and without the files, as long as nothing has to be measured
    spectrum, before = run / "spectra" / "data.ecsv", (run / "spectra" / "data.ecsv").stat().st_mtime_ns
    kept = b.read_bytes()
    b.unlink()
    assert lensrec("bandpowers", run).status == 0
    assert spectrum.stat().st_mtime_ns == before
    assert "c.fits: there is no such file" in told(
        lensrec("bandpowers", run, "--splits", f"{a},{foreign / 'c.fits'},{b}")
    )
    # another file under that name is measured anew
    write_map(b, 0.98 * maps[2], dtype=np.float64)
    assert lensrec("bandpowers", run).status == 0
    assert not np.allclose(read_sacc(run / "bandpowers.sacc.fits").mean[:3], data.mean[:3], rtol=1e-3)
    b.write_bytes(kept)
    assert "bandpowers.splits: 2 -> 1" in told(lensrec("bandpowers", run, "--set", "bandpowers.splits=1"))
    spectrum.unlink()
    assert lensrec("bandpowers", run, "--set", "bandpowers.splits=1").status == 0
    auto = read_sacc(run / "bandpowers.sacc.fits")
    assert auto.metadata["splits"] == 1
    assert np.all(np.diag(auto.covariance)[auto.block == "EE"] < np.diag(data.covariance)[auto.block == "EE"])
    assert "bandpowers.splits: 1 -> 2" in told(lensrec("bandpowers", run, "--splits", f"{a},{b}"))


def test_files_that_are_no_splits_are_refused_in_one_line(foreign: Path) -> None:
    run, a, b = foreign / "run", foreign / "a.fits", foreign / "b.fits"
    spectrum = run / "spectra" / "data.ecsv"
    spectrum.unlink(missing_ok=True)
    before = open_run(run).recipe
    one, two = read_map(a).maps, read_map(b).maps
    write_map(foreign / "temperature.fits", two[:1])
    write_map(foreign / "coarse.fits", two[:, : 12 * 16**2])
    hole = np.where(np.arange(two.shape[1]) < 50, -1.6375e30, two)  # UNSEEN
    write_map(foreign / "hole.fits", hole)
    write_map(foreign / "copy.fits", one, dtype=np.float64)
    for names, line in (
        ("a.fits", "--splits: 1 map, but cross-spectra take at least two"),
        ("a.fits,none.fits", "none.fits: there is no such file"),
        ("a.fits,a.fits", "names a file twice"),
        ("a.fits,copy.fits", "copy.fits is the same map as a.fits"),
        ("a.fits,iqu.fits", "iqu.fits is the map itself"),
        ("a.fits,temperature.fits", "temperature.fits has temperature alone"),
        ("a.fits,coarse.fits", "has nside 16, not 32"),
        ("a.fits,hole.fits", "hole.fits has not observed 50 pixels that the run's mask keeps"),
        ("other_a.fits,other_b.fits", "they are of another sky"),
        ("a.fits,halves.yaml", "halves.yaml"),
    ):
        given = ",".join(str(foreign / name) for name in names.split(","))
        assert line in told(lensrec("bandpowers", run, "--splits", given))
        assert not spectrum.exists()
        assert open_run(run).recipe == before
