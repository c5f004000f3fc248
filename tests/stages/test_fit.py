"""Fits of distances: known answers of DESI DR2, resuming, and what a fit leaves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensrec.fit.neutrino_bounds import upper_limit
from lensrec.fit.sampling import importance_chain
from lensrec.recipe_fit import FitRecipe
from lensrec.rundir import RunError
from lensrec.spectra.linear_data import LinearData
from lensrec.stages.cobaya_fit import RecipeLikelihood
from lensrec.stages.fit import _band_power_part, fit_setting
from lensrec.stages.fit_run import fit_run

BOTH = ["desi_dr2_bao", "compressed_cmb"]


def recipe_of(**changes: Any) -> FitRecipe:
    return FitRecipe.model_validate({"name": "test", "data": BOTH, **changes})


def sampled(recipe: FitRecipe, draws: int) -> dict[str, tuple[float, float]]:
    """Mean and σ of each parameter, H0 and Ω_m by importance sampling."""
    setting = fit_setting(recipe)
    samples = importance_chain(setting.joint, setting.joint.best_fit(), draws=draws, rng=np.random.default_rng(4))
    kept = samples.weights > 1e-7
    derived = [list(setting.derived(setting.joint.full(x)).values()) for x in samples.points[kept]]
    table = np.hstack([samples.points[kept], np.array(derived)])
    weights = samples.weights[kept] / samples.weights[kept].sum()
    mean = weights @ table
    sigma = np.sqrt(weights @ (table - mean) ** 2)
    names = (*setting.joint.names, "H0", "omega_m")
    return {name: (float(m), float(s)) for name, m, s in zip(names, mean, sigma, strict=True)}


# published or, for signed masses, lensrec's own long chains; 0.2 σ is the bound of the issue, and 0.05 σ what some
# hundreds of effective samples leave
@pytest.mark.parametrize(
    ("changes", "draws", "expected"),
    [
        ({"neutrinos": {"definition": "fixed"}}, 500, {"omega_m": (0.3005, 0.0038), "H0": (68.36, 0.30)}),
        ({}, 700, {"mnu": (-0.136, 0.091)}),
        ({"neutrinos": {"definition": "background"}}, 700, {"mnu": (-0.139, 0.092)}),
        ({"model": "w0wa", "neutrinos": {"definition": "fixed"}}, 1000, {"w": (-0.43, 0.215), "wa": (-1.70, 0.63)}),
    ],
)
def test_known_answers(changes: dict, draws: int, expected: dict[str, tuple[float, float]]) -> None:
    found = sampled(recipe_of(**changes), draws)
    for name, (mean, sigma) in expected.items():
        assert found[name][0] == pytest.approx(mean, abs=0.2 * sigma)
        assert found[name][1] == pytest.approx(sigma, rel=0.15)


def test_bao_with_the_baryons_of_nucleosynthesis() -> None:
    """DESI DR2 with BBN in ΛCDM: H0 = 68.51 ± 0.58, and Ω_m = 0.2977 ± 0.0086 of BAO alone (2503.14738)."""
    recipe = recipe_of(data=["desi_dr2_bao"], neutrinos={"definition": "fixed"})
    joint = fit_setting(recipe).joint
    assert joint.priors == {"ombh2": (0.02218, 0.00055)}
    found = sampled(recipe, 700)
    assert found["H0"][0] == pytest.approx(68.51, abs=0.2 * 0.58)
    assert found["omega_m"][0] == pytest.approx(0.2977, abs=0.2 * 0.0086)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit")
    fit_run(recipe_of(sampler={"max_samples": 500, "r_minus_1": 0.3}), out, command=("lensrec", "fit"))
    return out


def test_what_a_fit_leaves(done: Path) -> None:
    summary = json.loads((done / "fit" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary) == {"ombh2", "omch2", "thetastar", "mnu", "H0", "omega_m", "about"}
    for name in ("mnu", "H0"):
        assert {"mean", "sigma", "limit95", "best_fit"} <= set(summary[name])
        assert summary[name]["limit95"][0] < summary[name]["mean"] < summary[name]["limit95"][1]
    about = summary["about"]
    assert about["data"] == BOTH
    assert about["neutrinos"] == "mirrored"
    assert sum(part["chi2"] for part in about["chi2_parts"].values()) == pytest.approx(about["chi2"])
    assert about["ndof"] == 13 + 3 - 4
    assert about["mnu"]["limit95_normal"] is None or about["mnu"]["limit95_normal"] > 0.0588
    left = {path.name for path in (done / "fit").iterdir()}
    assert {"recipe.yaml", "summary.json", "samples.ecsv", "corner.png", "mnu.png", "chain.1.txt"} <= left
    assert not [name for name in left if "pickle" in name or name.startswith(".part")]


def test_a_fit_that_is_there_is_not_made_again(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensrec.stages.fit_run.fit_setting", lambda *a, **k: pytest.fail("begun again"))
    recipe = recipe_of(sampler={"max_samples": 500, "r_minus_1": 0.3})
    assert fit_run(recipe, done)["about"]["name"] == "test"


def test_another_fit_in_the_folder_is_named(done: Path) -> None:
    with pytest.raises(RunError, match=r"holds another fit: model: 'lcdm' -> 'w0wa'; sampler.*; give a new --out"):
        fit_run(recipe_of(model="w0wa"), done)


def test_nothing_is_left_where_data_are_missing(tmp_path: Path) -> None:
    with pytest.raises((FileNotFoundError, ValueError, OSError), match="nowhere"):
        fit_run(recipe_of(data=["desi_dr2_bao", str(tmp_path / "nowhere.sacc.fits")]), tmp_path / "run")
    assert not (tmp_path / "run" / "fit").exists()


def test_importance_sampling_by_the_recipe(tmp_path: Path) -> None:
    recipe = recipe_of(neutrinos={"definition": "fixed"}, sampler={"kind": "importance", "draws": 600})
    summary = fit_run(recipe, tmp_path)
    assert summary["omega_m"]["mean"] == pytest.approx(0.3005, abs=0.2 * 0.0038)
    assert summary["about"]["effective_samples"] > 300


def test_a_cobaya_likelihood_is_the_same_function() -> None:
    recipe = recipe_of()
    setting = fit_setting(recipe)
    likelihood = RecipeLikelihood({"recipe": recipe.model_dump(mode="json")})
    x = {"ombh2": 0.0223, "omch2": 0.119, "thetastar": 0.01041, "mnu": -0.1}
    derived: dict[str, float] = {}
    assert likelihood.logp(_derived=derived, **x) == pytest.approx(-setting.joint.chi2(list(x.values())) / 2)
    assert derived == pytest.approx(setting.derived(x))
    # outside the box: no likelihood, and no error
    assert likelihood.logp(_derived={}, **{**x, "mnu": 0.9}) == -np.inf


def test_physical_masses_have_a_limit_and_an_ordering_its_floor() -> None:
    physical = fit_setting(recipe_of(neutrinos={"definition": "physical"})).joint
    best = physical.best_fit()
    assert best.x[physical.names.index("mnu")] == pytest.approx(0, abs=2e-3)
    samples = importance_chain(physical, best, draws=1500, rng=np.random.default_rng(2))
    # DESI DR2 and compressed CMB: 0.113 eV with lensrec's own long chain
    assert upper_limit(samples.points[:, 3], samples.weights) == pytest.approx(0.113, abs=0.02)
    normal = fit_setting(recipe_of(neutrinos={"definition": "physical", "hierarchy": "normal"})).joint
    assert normal.bounds["mnu"][0] == 0.0588
    assert normal.best_fit().x[3] == pytest.approx(0.0588, abs=2e-3)


def test_free_amplitudes_want_data() -> None:
    with pytest.raises(ValueError, match="A_L_phiphi is free, but none of the data depends on it"):
        fit_setting(recipe_of(A_L_phiphi="free"))


def test_where_there_is_no_model_derived_parameters_are_no_numbers() -> None:
    """A chain that tries w + w_a > 0 goes on: Cobaya looks for derived parameters there, too."""
    from lensrec.stages.cobaya_fit import RecipeLikelihood

    recipe = {"data": ["desi_dr2_bao", "compressed_cmb"], "model": "w0wa", "neutrinos": {"definition": "fixed"}}
    likelihood = RecipeLikelihood({"recipe": recipe})
    derived: dict[str, float] = {}
    at = {"ombh2": 0.0224, "omch2": 0.119, "thetastar": 0.010411}
    assert likelihood.logp(derived, **at, w=-0.5, wa=-1.5) > -20
    assert 60 < derived["H0"] < 70
    assert likelihood.logp(derived, **at, w=0.5, wa=1.5) == -np.inf
    assert np.isnan(derived["H0"])
    assert np.isnan(derived["omega_m"])


def test_chi2_of_band_powers_is_by_their_covariance() -> None:
    """rᵀ C⁻¹ r of two that are correlated, by hand: (9·1 − 2·3·1·2 + 4·4)/(4·9 − 3²)."""

    class Model:
        def band_powers(self, parameters: Any) -> np.ndarray:
            return np.array([6.0, 9.0])

    ends = np.array([2, 3])
    data = LinearData(
        "two",
        np.array(["TT", "TT"]),
        ends,
        ends,
        ends * 1.0,
        np.array([5.0, 7.0]),
        np.array([[4.0, 3.0], [3.0, 9.0]]),
        {},
    )
    part = _band_power_part(data, Model())
    assert np.sum(part.residual({}) ** 2) == pytest.approx(13 / 27, rel=1e-12)
