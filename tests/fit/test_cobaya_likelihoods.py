"""Cobaya's likelihoods against the same χ² by direct sums, over CAMB and over a theory that only repeats numbers."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from lensrec.fit.desi_dr2 import LYA_EDGES, REDSHIFTS
from lensrec.fit.published import published
from lensrec.spectra.linear_data import LinearData
from lensrec.spectra.sacc_file import write_sacc

pytest.importorskip("cobaya", reason="Cobaya is not installed: it comes with lensrec[fit]")

from cobaya.log import LoggedError
from cobaya.model import Model, get_model
from cobaya.theory import Theory

from lensrec.fit import cobaya_likelihoods

HOME = "lensrec.fit.cobaya_likelihoods."
BOX = {"prior": {"min": 0, "max": 3}}
ANY = {"any": 1.0}
"""Cobaya has no place for a theory without parameters."""

LIGHT = 299792.458


def chi2(data: LinearData, model: NDArray) -> float:
    residual = data.mean - model
    return float(residual @ np.linalg.solve(data.covariance, residual))


def logged(model: Model, point: dict[str, float]) -> dict[str, float]:
    """χ² of each likelihood by the last part of its name."""
    values = model.loglikes(point, as_dict=True, return_derived=False)
    return {name.removeprefix(HOME): -2 * float(value) for name, value in values.items()}


def model_of(likelihoods: dict[str, Any], theory: dict[str, Any], params: dict[str, Any]) -> Model:
    named = {HOME + name: options for name, options in likelihoods.items()}
    # Cobaya sets the level of the root logger
    level = logging.getLogger().level
    try:
        return get_model({"likelihood": named, "theory": theory, "params": params, "debug": 50})
    finally:
        logging.getLogger().setLevel(level)


class Preset(Theory):
    """A theory without physics: the same spectra and distances whatever the parameters."""

    spectra: dict[str, Any] = {}  # noqa: RUF012
    unlensed: dict[str, Any] = {}  # noqa: RUF012
    numbers: dict[str, Any] = {}  # noqa: RUF012

    def get_can_support_params(self) -> list[str]:
        return ["any"]

    def get_can_provide_params(self) -> list[str]:
        return list(self.numbers)

    def calculate(self, state: dict, want_derived: bool = True, **_: float) -> None:
        state["derived"] = dict(self.numbers)

    def get_Cl(self, ell_factor: bool = False, units: str = "") -> dict[str, NDArray]:
        assert not ell_factor
        assert units == "FIRASmuK2"
        return {key.lower(): cl for key, cl in self.spectra.items()}

    def get_unlensed_Cl(self, ell_factor: bool = False, units: str = "") -> dict[str, NDArray]:
        return {key.lower(): cl for key, cl in self.unlensed.items()}

    def get_Hubble(self, z: NDArray, units: str = "") -> NDArray:
        assert units == "km/s/Mpc"
        return 70 * np.sqrt(0.3 * (1 + np.asarray(z)) ** 3 + 0.7)

    def get_angular_diameter_distance(self, z: NDArray) -> NDArray:
        return self.get_comoving_radial_distance(z) / (1 + np.asarray(z))

    def get_comoving_radial_distance(self, z: NDArray) -> NDArray:
        fine = np.linspace(0, 4, 40001)
        integrand = LIGHT / self.get_Hubble(fine, units="km/s/Mpc")
        steps = np.concatenate([[0], np.cumsum((integrand[1:] + integrand[:-1]) / 2 * np.diff(fine))])
        return np.interp(z, fine, steps)


def preset(**options: Any) -> dict[str, Any]:
    return {"preset": {"external": type("Preset", (Preset,), options)}}


def test_all_of_them_over_camb(published_folder: Callable[[str], Path]) -> None:
    """Both amplitudes free, at (1.18, 1.1): CAMB relenses the spectra with 1.18 C^φφ by its own code, and gives the
    distances; every χ² is then a direct sum. Lensing by lensrec, from spectra carried on beyond CAMB's end, was found
    to move χ² of plik_lite by 0.03 from CAMB's."""
    camb = pytest.importorskip("camb")
    for name in ("planck2018_plik_lite", "planck_pr4_lensing"):
        published_folder(name)
    names = ("PlanckPlikLite", "LensingBandPowers", "DesiDR2BAO", "CompressedCMB", "TauPrior", "AsExpPrior")
    params = {
        "H0": 67.36,
        "ombh2": BOX,
        "omch2": 0.12,
        "mnu": 0.06,
        "ns": 0.9649,
        "tau": BOX,
        "As": 2.1e-9,
    }
    theory = {"camb": {"extra_args": {"lens_potential_accuracy": 1}}}
    likelihoods: dict[str, Any] = dict.fromkeys(names)
    likelihoods["PlanckPlikLite"] = {"spectra": ["TE", "EE"], "free": ["A_L_TTTEEE"]}  # TT would cost twice the time
    likelihoods["LensingBandPowers"] = {"free": ["A_L_phiphi"]}
    model = model_of(likelihoods, theory, params)
    model.add_requirements({"CAMBdata": None})
    point = {"ombh2": 0.0224, "tau": 0.06, "A_L_TTTEEE": 1.18, "A_L_phiphi": 1.1, "A_planck": 1.001}
    found = logged(model, point)
    assert set(found) == set(names)
    assert set(model.prior.params) == set(point)
    assert model.parameterization.labels()["A_L_TTTEEE"] == "A_L^{TTTEEE}"

    results = model.provider.get_CAMBdata()
    potential = results.get_lens_potential_cls(2500, raw_cl=True)[:, 0]
    scaled = results.get_lens_potential_cls(results.Params.max_l)[:, 0]
    lensed = results.get_lensed_cls_with_spectrum(1.18 * scaled, 2000, CMB_unit="muK", raw_cl=True).T
    spectra = {"TT": lensed[0], "EE": lensed[1], "TE": lensed[3], "PP": potential}
    assert results.Params.Alens == 1
    plik, pr4 = published("planck2018_plik_lite"), published("planck_pr4_lensing")
    plik = plik.selected(plik.block != "TT")
    spectra["TT"] = np.pad(spectra["TT"], (0, 508))  # read with weight nought
    assert found["PlanckPlikLite"] == pytest.approx(chi2(plik, plik.expected(spectra) / 1.001**2), abs=0.1)
    template = pr4.expected(spectra) - pr4.offset
    assert found["LensingBandPowers"] == pytest.approx(chi2(pr4, 1.1 * template + pr4.offset), abs=1e-6)
    # the smoothing costs TE and EE 7.8 here, so that 0.1 says that it is there
    plain = results.get_lensed_scalar_cls(2000, CMB_unit="muK", raw_cl=True).T
    without = chi2(plik, plik.expected({"TT": spectra["TT"], "EE": plain[1], "TE": plain[3]}) / 1.001**2)
    assert found["PlanckPlikLite"] - without == pytest.approx(7.8, abs=0.3)

    folder = published_folder("desi_dr2")
    rows = [line.split() for line in (folder / "desi_gaussian_bao_ALL_GCcomb_mean.txt").open() if line[0] != "#"]
    derived = results.get_derived_params()
    ratios = []
    for z, _, kind in rows:
        d_m, d_h = results.comoving_radial_distance(float(z)), LIGHT / results.hubble_parameter(float(z))
        of = {"DV_over_rs": np.cbrt(float(z) * d_m**2 * d_h), "DM_over_rs": d_m, "DH_over_rs": d_h}
        ratios.append(of[kind] / derived["rdrag"])
    residual = np.array(ratios) - [float(value) for _, value, _ in rows]
    covariance = np.loadtxt(folder / "desi_gaussian_bao_ALL_GCcomb_cov.txt")
    assert found["DesiDR2BAO"] == pytest.approx(residual @ np.linalg.solve(covariance, residual), abs=1e-6)

    table = np.loadtxt(folder.parent / "desi_cmb_compression.txt")
    residual = np.array([derived["thetastar"] / 100, 0.0224, 0.1424]) - table[0]
    assert found["CompressedCMB"] == pytest.approx(residual @ np.linalg.solve(table[1:], residual), abs=1e-6)
    assert found["TauPrior"] == pytest.approx(((0.06 - 0.0544) / 0.0073) ** 2)
    assert found["AsExpPrior"] == pytest.approx(((2.1 * np.exp(-0.12) - 1.884) / 0.012) ** 2)
    assert camb.__version__


def test_spectra_that_the_theory_lensed(
    published_folder: Callable[[str], Path], planck_theory: dict[str, NDArray]
) -> None:
    """Without A_L_TTTEEE nothing is lensed here; plik_lite is all of it by default."""
    for name in ("planck2018_plik_lite", "act_planck_spt_lensing"):
        published_folder(name)
    likelihoods = {
        "PlanckPlikLite": None,
        "LensingBandPowers": {"data": "act_planck_spt_lensing", "variant": "act_planck"},
    }
    model = model_of(likelihoods, preset(spectra=planck_theory), {"A_L_phiphi": BOX, **ANY})
    found = logged(model, {"A_planck": 0.999, "A_L_phiphi": 1.02})
    data = published("planck2018_plik_lite")
    assert found["PlanckPlikLite"] == pytest.approx(chi2(data, data.expected(planck_theory) / 0.999**2), abs=1e-6)
    data = published("act_planck_spt_lensing", variant="act_planck")
    assert found["LensingBandPowers"] == pytest.approx(chi2(data, 1.02 * data.expected(planck_theory)), abs=1e-6)


def test_the_yaml_of_the_docstring(published_folder: Callable[[str], Path], planck_theory: dict[str, NDArray]) -> None:
    """As it stands there it makes a model, in which A_L^TTTEEE = 0 takes lensing from plik_lite and not from φφ."""
    for name in ("planck2018_plik_lite", "planck_pr4_lensing"):
        published_folder(name)
    text = (cobaya_likelihoods.__doc__ or "").split("\n\n")[1]
    likelihoods = yaml.safe_load(text)["likelihood"]
    assert len(likelihoods) == 3
    # what it is to lens by nought is lensed already
    spectra = {"unlensed": planck_theory, "spectra": planck_theory, "numbers": {"rdrag": 147.0}}
    model = model_of({name.removeprefix(HOME): value for name, value in likelihoods.items()}, preset(**spectra), ANY)
    assert set(model.prior.params) == {"A_planck", "A_L_TTTEEE"}
    found = logged(model, {"A_planck": 1.0, "A_L_TTTEEE": 0.0})
    plik, pr4 = published("planck2018_plik_lite"), published("planck_pr4_lensing")
    assert found["PlanckPlikLite"] == pytest.approx(chi2(plik, plik.expected(planck_theory)), abs=1e-6)
    assert found["LensingBandPowers"] == pytest.approx(chi2(pr4, pr4.expected(planck_theory)), abs=1e-6)


def own_band_powers(corrected: bool) -> LinearData:
    """One band power each of TT, TE, EE, φφ with windows on ℓ = 2 to 9, and a correction of φφ by TT if asked."""
    rng = np.random.default_rng(5)
    blocks = np.array(["TT", "TE", "EE", "PP"])
    windows = {}
    for row, key in enumerate(blocks.tolist()):
        windows[key] = np.zeros((4, 10))
        windows[key][row, 2:] = rng.uniform(0.5, 1.5, 8)
    corrections = {"TT": np.zeros((4, 10)), "PP": np.zeros((4, 10))} if corrected else {}
    for matrix in corrections.values():
        matrix[3, 2:] = rng.normal(0, 0.1, 8)
    root = rng.normal(0, 1, (4, 4))
    return LinearData(
        name="own",
        block=blocks,
        low=np.full(4, 2),
        high=np.full(4, 9),
        centre=np.full(4, 5.5),
        mean=rng.normal(0, 3, 4),
        covariance=root @ root.T + 4 * np.eye(4),
        windows=windows,
        corrections=corrections,
        offset=np.array([0, 0, 0, 0.3]) if corrected else np.zeros(4),
    )


def test_own_band_powers_with_calibrations(tmp_path: Path) -> None:
    """By hand, with c and p of the maps: g = c², c² p, c² p², and A_L^φφ on φφ and its own correction alone."""
    data = own_band_powers(corrected=True)
    write_sacc(tmp_path / "bandpowers.sacc.fits", data)
    rng = np.random.default_rng(6)
    spectra = {key: rng.uniform(0, 1, 12) for key in ("TT", "TE", "EE", "PP")}
    names = ("calibration", "polarisation_efficiency", "A_L_phiphi")
    file = str(tmp_path / "bandpowers.sacc.fits")
    model = model_of({"LensrecBandPowers": {"file": file}}, preset(spectra=spectra), dict.fromkeys(names, BOX) | ANY)
    found = logged(model, dict(zip(names, (1.02, 0.97, 1.1), strict=True)))["LensrecBandPowers"]

    def read(matrices: dict[str, NDArray], key: str, row: int) -> float:
        return float(sum(matrices[key][row, l] * spectra[key][l] for l in range(10)))

    expected = np.array(
        [
            1.02**2 * read(data.windows, "TT", 0),
            1.02**2 * 0.97 * read(data.windows, "TE", 1),
            (1.02 * 0.97) ** 2 * read(data.windows, "EE", 2),
            1.1 * (read(data.windows, "PP", 3) + read(data.corrections, "PP", 3))
            + 1.02**2 * read(data.corrections, "TT", 3)
            + 0.3,
        ]
    )
    # the file holds windows on D_ℓ and C^κκ: 1e-13 of each number, of χ² of some tens
    assert found == pytest.approx(chi2(data, expected), rel=1e-9)
    # none of them named: all 1
    plain = model_of({"LensrecBandPowers": {"file": file}}, preset(spectra=spectra), ANY)
    assert logged(plain, {})["LensrecBandPowers"] == pytest.approx(chi2(data, data.expected(spectra)), rel=1e-9)


def test_what_is_refused(tmp_path: Path, published_folder: Callable[[str], Path]) -> None:
    for name in ("planck2018_plik_lite", "planck_pr4_lensing"):
        published_folder(name)
    theory = preset()
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"PlanckPlikLite": {"spectra": ["BB"]}}, {}, "has no BB; it has TT, TE, EE"),
        ({"PlanckPlikLite": {"lens": False}}, {"A_L_TTTEEE": BOX}, "A_L_TTTEEE needs `lens: true`"),
        ({"LensingBandPowers": {"data": "spt"}}, {}, "no published band powers 'spt'"),
        ({"LensingBandPowers": {"variant": "no"}}, {}, "has no variant 'no'"),
        ({"PlanckPlikLite": {"free": ["A_lens"]}}, {}, "free: no amplitude A_lens; there are A_L_TTTEEE, A_L_phiphi"),
        ({"LensrecBandPowers": {}}, {}, "needs the option `file`"),
        ({"LensrecBandPowers": {"file": str(tmp_path / "no.fits")}}, {}, r"no\.fits"),
    ]
    for likelihoods, params, message in cases:
        with pytest.raises(LoggedError, match=message):
            model_of(likelihoods, theory, {**params, **ANY})


def test_alens_is_refused_where_it_would_scale_the_potential(published_folder: Callable[[str], Path]) -> None:
    """By parameter or as an option of the theory, unless it is 1; and not where lensed spectra alone are read."""
    for name in ("planck2018_plik_lite", "planck_pr4_lensing"):
        published_folder(name)

    def model(theory: dict[str, Any], params: dict[str, Any], *likelihoods: str) -> Model:
        return model_of(dict.fromkeys(likelihoods), theory, {**params, **ANY})

    class Scales(Preset):
        def get_can_support_params(self) -> list[str]:
            return ["any", "Alens"]

    scales = {"preset": {"external": Scales}}
    with pytest.raises(
        LoggedError, match=r"Alens scales the C_L.phiphi that .* take A_L_phiphi and A_L_TTTEEE instead"
    ):
        model(scales, {"Alens": BOX}, "LensingBandPowers")
    with pytest.raises(LoggedError, match="Alens scales"):
        model(scales, {"Alens": 1.2}, "LensingBandPowers")
    with pytest.raises(LoggedError, match="Alens scales"):
        model(scales, {"Alens": BOX, "A_L_TTTEEE": BOX}, "PlanckPlikLite")
    with pytest.raises(LoggedError, match="Alens scales"):
        model(preset(extra_args={"Alens": 1.2}), {}, "LensingBandPowers")
    model(scales, {"Alens": 1.0}, "LensingBandPowers")
    model(scales, {"Alens": BOX}, "PlanckPlikLite")


def test_names_of_other_theories_and_both_units_of_theta() -> None:
    """θ_* or a hundred times it, under whatever names the theory has; the other names stay those of CAMB."""
    from lensrec.fit.compressed_cmb import MEAN, compressed_cmb_chi2

    expected = compressed_cmb_chi2(MEAN[0] + 1e-6, 0.0222, 0.12)
    for unit in (1, 100):
        numbers = {"theta_star_100": unit * (MEAN[0] + 1e-6), "omega_b": 0.0222, "omega_cdm": 0.12, "tau_reio": 0.06}
        options = {
            "CompressedCMB": {"parameters": {"thetastar": "theta_star_100", "ombh2": "omega_b", "omch2": "omega_cdm"}},
            "TauPrior": {"mean": 0.05, "sigma": 0.01, "parameters": {"tau": "tau_reio"}},
        }
        found = logged(model_of(options, preset(numbers=numbers), ANY), {})
        assert found == pytest.approx({"CompressedCMB": float(expected), "TauPrior": 1.0}, rel=1e-9)


def test_the_forest_averaged(published_folder: Callable[[str], Path]) -> None:
    """Of the forest's D_H alone: the option changes nothing else, and of this smooth model by 2e-4 of itself."""
    from lensrec.fit.desi_dr2 import bao_chi2, lya_hubble_distance

    fake = Preset()
    for average in (False, True):
        theory = preset(numbers={"rdrag": 147.0})
        found = logged(model_of({"DesiDR2BAO": {"average_lya": average}}, theory, ANY), {})["DesiDR2BAO"]
        hubble = LIGHT / fake.get_Hubble(REDSHIFTS, units="km/s/Mpc")
        if average:
            smooth = hubble[-1]
            hubble[-1] = lya_hubble_distance(fake.get_comoving_radial_distance(LYA_EDGES))
            assert hubble[-1] == pytest.approx(smooth, rel=3e-4)
            assert hubble[-1] != smooth
        expected = bao_chi2(fake.get_comoving_radial_distance(REDSHIFTS), hubble, 147.0)
        assert found == pytest.approx(float(expected), rel=1e-9)
