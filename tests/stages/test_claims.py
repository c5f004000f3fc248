"""Claims are judged by numbers: what is put in comes out, verdicts turn where their rules say, gaps are told."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lensrec.stages import claims_amplitudes, claims_dark_energy, claims_depth, claims_masses, claims_suppression
from lensrec.stages.anomaly_evidence import Chain, Evidence, NotRunError
from lensrec.stages.anomaly_pictures import PICTURES
from lensrec.stages.claims import (
    AGREES,
    CONDITION,
    DOES_NOT,
    NOT_RUN,
    Claim,
    all_asked,
    judged,
    matches,
    plus_minus,
)
from tests.stages.fits_made_up import FITS, made_up


@pytest.fixture(scope="module")
def chains() -> dict[str, Chain]:
    return {name: made_up(values, name=name) for name, values in FITS.items()}


def _judge(which: str, chains: Mapping[str, Chain], **more: Any) -> Claim:
    asked = {one.id: one for one in all_asked()}
    return judged(asked[which], Evidence(chains, **more))


def _number(claim: Claim, name: str) -> float:
    return next(number.value for number in claim.numbers if number.name == name)


def test_all_claims_are_there_once_with_a_rule_and_a_picture_that_is_drawn() -> None:
    asked = all_asked()
    assert [one.id for one in asked] == [f"C{k}" for k in range(1, 19)]
    assert all(one.rule and one.claim.endswith(".") for one in asked)
    assert {one.picture for one in asked} - {""} <= set(PICTURES)


def test_what_has_not_been_run_is_said_and_not_guessed() -> None:
    for which in ("C1", "C2", "C3", "C4", "C5", "C6", "C14", "C15", "C16", "C17", "C18"):
        claim = _judge(which, {})
        assert (claim.verdict, claim.numbers) == (NOT_RUN, ())
    assert "lensing_only" in _judge("C2", {"lcdm": made_up(FITS["lcdm"])}).why
    assert "no DESI files" in _judge("C1", {}, failed={"lcdm": "no DESI files"}).why


def test_limit_is_that_of_the_posterior_cut_at_zero(chains: dict[str, Chain]) -> None:
    """Of a Gaussian: 95 % of what lies above zero, by the normal distribution; the samples' own scatter is 2 %."""
    from scipy.stats import norm

    mean, sigma = FITS["lcdm"]["mnu"]
    above = norm.sf(-mean / sigma)
    exact = mean + sigma * norm.isf(0.05 * above)
    claim = _judge("C1", chains)
    assert claim.numbers[0].value == pytest.approx(exact, rel=0.05)
    # 0.075 eV is within a quarter of 0.064 eV, and there is no fit of BAO alone
    assert claim.verdict == CONDITION
    wide = {**chains, "lcdm": made_up({"mnu": (0.0, 0.1)})}
    assert _judge("C1", wide).verdict == DOES_NOT
    hopeless = {**chains, "lcdm": made_up({"mnu": (-0.5, 0.05)})}
    assert _judge("C1", hopeless).verdict == NOT_RUN


def test_the_claimed_value_is_that_of_another_definition(chains: dict[str, Chain]) -> None:
    claim = _judge("C2", chains)
    assert claim.verdict == CONDITION
    assert "which agrees with that" in claim.why
    assert "which agrees with the claim" in claim.why
    assert _judge("C2", {**chains, "lcdm": made_up({"mnu": (-0.16, 0.09)})}).verdict == AGREES
    assert _judge("C2", {**chains, "lensing_only": made_up({"mnu": (0.1, 0.09)})}).verdict == DOES_NOT


def test_deviation_is_arithmetic_and_the_tail_of_the_posterior(chains: dict[str, Chain]) -> None:
    claim = _judge("C3", chains)
    # (0.0588 + 0.160)/0.090
    assert claim.numbers[0].value == pytest.approx(2.431, abs=1e-3)
    # (0.0588 + 0.090)/0.055; the tail of 40000 samples, 137 of them above, scatters by 0.03
    assert _number(claim, "(0.0588 − mean)/σ, lcdm") == pytest.approx(2.705, abs=1e-3)
    assert _number(claim, "from the tail above 0.0588 eV, lcdm") == pytest.approx(2.705, abs=0.1)
    assert claim.verdict == CONDITION
    far = {"lcdm": made_up({"mnu": (0.05, 0.05)})}
    assert _judge("C3", far).verdict == DOES_NOT


def test_amplitudes_are_compared_with_their_correlation() -> None:
    """Var(a − b) = σ_a² + σ_b² − 2ρσ_aσ_b."""
    values = {"A_L_TTTEEE": (1.18, 0.06), "A_L_phiphi": (1.00, 0.03)}
    for rho in (0.0, 0.6):
        claim = _judge("C6", {"fixed_mass": made_up(values, correlation={("A_L_TTTEEE", "A_L_phiphi"): rho})})
        sigma = np.sqrt(0.06**2 + 0.03**2 - 2 * rho * 0.06 * 0.03)
        assert claim.numbers[0].error == pytest.approx(sigma, rel=1e-6)
        assert claim.numbers[1].value == pytest.approx(0.18 / sigma, rel=1e-6)
        assert claim.numbers[2].value == pytest.approx(rho, abs=1e-6)
        # 2.7σ without correlation, 3.7σ with it
        assert claim.verdict == (AGREES if rho else CONDITION)
    same = {"A_L_TTTEEE": (1.05, 0.06), "A_L_phiphi": (1.00, 0.03)}
    assert _judge("C6", {"fixed_mass": made_up(same)}).verdict == DOES_NOT


def test_the_smoothing_belongs_to_its_release(chains: dict[str, Chain]) -> None:
    assert _judge("C4", chains).verdict == CONDITION
    assert _judge("C4", {"fixed_mass": made_up({"A_L_TTTEEE": (1.0, 0.05)})}).verdict == DOES_NOT
    assert _judge("C5", chains).verdict == AGREES
    assert _judge("C5", {"fixed_mass": made_up({"A_L_phiphi": (1.1, 0.03)})}).verdict == DOES_NOT


def test_amplitudes_drive_the_mass_as_far_as_freeing_them_moves_it(chains: dict[str, Chain]) -> None:
    claim = _judge("C15", chains)
    # (−0.030 + 0.090)/(0.0588 + 0.090) = 40 %; distances alone are 2.2σ away
    assert "40 % of the way" in claim.why
    assert "2.2σ" in claim.why
    assert claim.verdict == CONDITION
    free = {"mnu": (0.05, 0.06), "A_L_TTTEEE": (1.1, 0.06)}
    alone = {"mnu": (0.03, 0.09)}
    all_lensing = {**chains, "free_smoothing": made_up(free), "geometry_mirrored": made_up(alone)}
    assert _judge("C15", all_lensing).verdict == AGREES
    assert _judge("C15", {**chains, "free_smoothing": made_up({"mnu": (-0.085, 0.06)})}).verdict == DOES_NOT


def test_splittings_and_katrin(chains: dict[str, Chain]) -> None:
    assert _judge("C13", {}).verdict == AGREES
    claim = _judge("C14", chains)
    assert claim.verdict == DOES_NOT
    assert claim.numbers[0].value == pytest.approx(1.35)


def test_directions_are_regressions_of_the_samples(chains: dict[str, Chain], monkeypatch: pytest.MonkeyPatch) -> None:
    """dΣmν/dτ = ρ σ_m/σ_τ."""
    rho = 0.7
    free = made_up(FITS["tau_free"], correlation={("tau", "mnu"): rho})
    claim = _judge("C12", {**chains, "tau_free": free})
    assert _number(claim, "ΔΣmν for Δτ = 0.01, along the posterior") == pytest.approx(
        0.01 * rho * 0.085 / 0.021, rel=1e-6
    )
    assert _number(claim, "correlation of τ and Σmν") == pytest.approx(rho, abs=1e-6)
    # (0.090 − 0.050)/0.055 and (0.090 − 0.030)/0.055, but Ω_m stays where it was
    assert claim.verdict == CONDITION
    moved = made_up({**FITS["free_smoothing"], "omega_m": (0.303, 0.004)})
    assert _judge("C12", {**chains, "free_smoothing": moved}).verdict == AGREES
    unmoved = made_up({**FITS["lcdm"], "A_L_TTTEEE": (1.0, 0.06)})
    assert _judge("C12", {**chains, "tau_free": chains["lcdm"], "free_smoothing": unmoved}).verdict == DOES_NOT
    ee = np.zeros(2001)
    ee[2:30] = 10.0
    response = claims_depth.DepthResponse(ee, ee, ee, ee)
    monkeypatch.setattr(claims_depth, "depth_response", lambda: response)
    assert _judge("C11", chains).verdict == CONDITION
    # information per multipole (ℓ + ½) dln C²: the same slope at every ℓ leaves 1 − (30² − 2²)/2001² below
    response = claims_depth.DepthResponse(ee, np.append([0.0, 0.0], np.ones(1999)), ee, ee)
    assert response.beyond_bump() == pytest.approx(1 - (30**2 - 2**2) / (2001**2 - 2**2), rel=1e-9)
    assert _judge("C11", chains).verdict == AGREES


def test_the_printed_integral_diverges_linearly() -> None:
    """j_ℓ² → sin²/k²: k² j_ℓ² tends to a mean of 1/2, so that twice the end makes twice the integral."""
    with_tilt, without = claims_depth.growth_of_integral()
    assert with_tilt == pytest.approx(1.0, abs=1e-3)
    assert without == pytest.approx(2.0, abs=1e-2)


def test_scaling_holds_where_the_response_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    flat, low = np.zeros(2001), np.zeros(2001)
    low[2:30] = 2.0
    potential = np.full(2001, 2.0)
    monkeypatch.setattr(claims_depth, "depth_response", lambda: claims_depth.DepthResponse(low, low, flat, potential))
    claim = _judge("C10", {})
    assert claim.verdict == CONDITION
    assert _number(claim, "the same, ℓ < 30") == pytest.approx(0.04)
    monkeypatch.setattr(claims_depth, "depth_response", lambda: claims_depth.DepthResponse(potential, low, flat, flat))
    assert _judge("C10", {}).verdict == DOES_NOT


def test_suppression_is_measured_against_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """ΔP/P = −c f_ν/(1 + (k₀/k)²) has its plateau at c, a tenth of it at k₀/3 and half at k₀."""
    from lensrec.theory.neutrinos import f_nu

    k0, omega = 0.02, 0.143
    shape = 1 / (1 + (k0 / claims_suppression.K) ** 2)
    rows = np.array([-8.0 * f_nu(mnu, omega) * shape for mnu in claims_suppression.MASSES])
    made = claims_suppression.Suppression(omega, 0.315, rows, rows[0], np.full(1001, -8.0 * f_nu(0.06, omega)))
    monkeypatch.setattr(claims_suppression, "suppression", lambda: made)
    eight = _judge("C7", {})
    assert eight.numbers[0].value == pytest.approx(8.0, rel=2e-3)
    assert eight.verdict == AGREES
    weaker = claims_suppression.Suppression(omega, 0.315, rows, rows[0], np.full(1001, -4.0 * f_nu(0.06, omega)))
    monkeypatch.setattr(claims_suppression, "suppression", lambda: weaker)
    assert _judge("C7", {}).verdict == CONDITION
    scale = _judge("C9", {})
    # linear interpolation between points 6 % apart in k
    assert _number(scale, "k where half of it is") == pytest.approx(k0, rel=0.01)
    assert _number(scale, "k where a tenth of the suppression is reached") == pytest.approx(k0 / 3, rel=0.01)
    assert scale.verdict == CONDITION
    fraction = _judge("C8", {})
    assert fraction.verdict == AGREES
    assert all(0 < abs(number.value) < 2e-3 for number in fraction.numbers[:3])


def test_geometry_or_lensing(chains: dict[str, Chain], monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances alone move by 0.125 of 0.100 eV here: more than half, so that it is no lensing."""

    def potential(chain: Chain, **changed: float) -> np.ndarray:
        # dark energy gives 5 %; the mass takes 3 %
        return np.full(2001, 1.0 + (0.05 if "w" in changed else 0.0) - (0.03 if "mnu" in changed else 0.0))

    monkeypatch.setattr(claims_dark_energy, "best_potential", potential)
    claim = _judge("C16", chains)
    assert "125 % of that" in claim.why
    assert claim.verdict == CONDITION
    still = {**chains, "w0wa_geometry": made_up({"mnu": (-0.13, 0.1)})}
    assert _judge("C16", still).verdict == AGREES
    negative = {**chains, "w0wa": made_up({**FITS["w0wa"], "mnu": (-0.05, 0.1)})}
    assert _judge("C16", negative).verdict == DOES_NOT


def test_a_switch_of_sign_must_give_the_excess_and_fit_distances(
    chains: dict[str, Chain], monkeypatch: pytest.MonkeyPatch
) -> None:
    def case(gain: float, worse: float) -> str:
        at = claims_dark_energy.Z_DAGGER
        profile = claims_dark_energy.SwitchProfile(dict.fromkeys(at, 20 + worse), dict.fromkeys(at, 10.0), 20.0, 10.0)
        monkeypatch.setattr(claims_dark_energy, "switch_ratios", lambda z: np.full(2001, 1 + gain))
        monkeypatch.setattr(claims_dark_energy, "switch_profile", lambda: profile)
        return _judge("C17", chains).verdict

    # wanted: 0.19 ± 0.06
    assert case(0.15, 1.0) == AGREES
    assert case(0.04, 1.0) == CONDITION
    assert case(0.04, 9.0) == DOES_NOT


def test_distances_alone_turn_a_low_switch_down() -> None:
    """H(z) of Lyα and quasars is measured above z† = 1.7, where matter alone is left: χ² is worse by tens; a switch
    beyond all of the galaxies is not told from Λ by more than a few.
    """
    found = claims_dark_energy.switch_profile()
    chi2 = np.array([found.chi2[z] for z in claims_dark_energy.Z_DAGGER]) - found.lcdm
    assert chi2[0] > 20
    assert chi2[0] > chi2[1] > chi2[2]
    assert abs(chi2[-1]) < 5
    assert 0 < found.lcdm_bao <= found.lcdm


@pytest.mark.parametrize(
    ("tied", "free", "verdict"), [(0.018, 0.019, AGREES), (0.025, 0.06, CONDITION), (0.05, 0.06, DOES_NOT)]
)
def test_what_is_to_come(tied: float, free: float, verdict: str) -> None:
    cases = []
    for experiment in ("so_baseline", "so_goal"):
        for model, sigma in (("mnu", tied), ("mnu_A_L", free)):
            for prior in ("planck_2018", "cosmic_variance"):
                names = ["tau", "mnu", "A_L_TTTEEE", "A_L_phiphi"][: 2 if model == "mnu" else 4]
                covariance = np.diag([0.007**2, sigma**2, 0.01**2, 0.01**2])[: len(names), : len(names)]
                covariance[0, 1] = covariance[1, 0] = 0.8 * 0.007 * sigma
                case = {"experiment": experiment, "model": model, "tau_prior": prior, "parameters": names}
                cases.append(case | {"covariance": covariance.tolist(), "bao": "full"})
    claim = _judge("C18", {}, cases=tuple(cases))
    assert claim.verdict == verdict
    assert _number(claim, "correlation of τ and Σmν, σ(τ) = 0.0073") == pytest.approx(0.8)
    assert _number(claim, "1.18 − 1 over σ(A_L^TTTEEE), so_baseline") == pytest.approx(18.0)


def test_numbers_are_written_with_the_digits_of_their_errors() -> None:
    assert plus_minus(-0.0862, 0.0539) == "−0.086 ± 0.054"
    assert plus_minus(1.1876, 0.0595) == "1.188 ± 0.059" or plus_minus(1.1876, 0.0595) == "1.188 ± 0.060"
    assert plus_minus(67.81, 0.42) == "67.81 ± 0.42"
    assert plus_minus(604.4, 12.0) == "604 ± 12"


def test_two_values_are_the_same_measurement() -> None:
    assert matches((-0.1, 0.05), (-0.101, 0.052))
    assert not matches((-0.1, 0.05), (-0.16, 0.09))
    assert not matches((-0.16, 0.05), (-0.16, 0.09))


def test_a_potential_needs_the_parameters_of_spectra() -> None:
    chain = made_up(FITS["geometry"], name="geometry")
    with pytest.raises(NotRunError, match="geometry knows no ombh2"):
        claims_dark_energy.best_potential(chain)


def test_a_potential_is_asked_for_at_the_best_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from lensrec.fit.emulator_points import PARAMETERS

    asked: list[np.ndarray] = []

    def spectra(x: np.ndarray, mirrored: str) -> dict[str, np.ndarray]:
        asked.append(x)
        return {"PP": np.ones(3)}

    monkeypatch.setattr("lensrec.fit.emulator_file.shipped_emulator", lambda: SimpleNamespace(spectra=spectra))
    values = {name: (0.1 * k, 0.01) for k, name in enumerate(PARAMETERS[:7], start=1)}
    claims_dark_energy.best_potential(made_up(values), mnu=0.06)
    np.testing.assert_allclose(asked[0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.06, -1.0, 0.0])


def test_published_values_stand_with_their_sources() -> None:
    assert claims_masses.LENSING_ONLY == (-0.160, 0.090)
    assert all("(" in name for name in claims_amplitudes.SMOOTHING)
