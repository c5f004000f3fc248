"""A pipeline of fits: its recipe, what a run leaves, resumes and survives, and the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lensrec.cli import app
from lensrec.fit.forecast import Forecast
from lensrec.recipe_anomaly import AnomalyRecipe, is_anomaly, merged
from lensrec.recipe_files import RecipeError
from lensrec.recipe_fit import FitRecipe
from lensrec.rundir import RunError, read_table
from lensrec.stages import anomaly, anomaly_pictures, claims_dark_energy, claims_depth, claims_suppression
from lensrec.stages.claims import NOT_RUN
from lensrec.stages.forecast import Case, ForecastResult, ForecastSettings
from lensrec.theory.neutrinos import f_nu
from tests.stages.fits_made_up import FITS, leave, made_up

PLAN: dict[str, Any] = {
    "name": "small",
    "description": "A page of few fits",
    "base": {"data": ["compressed_cmb", "desi_dr2_bao"], "sampler": {"kind": "importance", "draws": 100}},
    "fits": {"lcdm": {}, "geometry_mirrored": None, "broken": {"model": "lscdm"}},
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fits by their made-up chains, one of which fails; theory in closed form. Gives the fits asked for."""
    ran: list[str] = []

    def fit_run(recipe: FitRecipe, out: Path, **_: Any) -> dict[str, Any]:
        if recipe.name == "broken":
            raise ValueError("no best fit\nin 50 steps")
        if not (out / "fit" / "summary.json").is_file():
            ran.append(recipe.name)
            leave(made_up(FITS[recipe.name], name=recipe.name), recipe, out)
        return {}

    k = claims_suppression.K
    rows = np.array([-8 * f_nu(m, 0.143) / (1 + (0.02 / k) ** 2) for m in claims_suppression.MASSES])
    made = claims_suppression.Suppression(0.143, 0.315, rows, rows[0], np.full(1001, -0.02))
    slope = np.zeros(2001)
    slope[2:30] = 2.0
    monkeypatch.setattr(anomaly, "fit_run", fit_run)
    monkeypatch.setattr(claims_suppression, "suppression", lambda: made)
    monkeypatch.setattr(claims_depth, "depth_response", lambda: claims_depth.DepthResponse(slope, slope, slope, slope))
    monkeypatch.setattr(claims_dark_energy, "switch_ratios", lambda z: np.full(2001, 1.05))
    # two pictures will do: one that can be drawn, and one that can't
    few = {name: anomaly_pictures.PICTURES[name] for name in ("masses.png", "w0wa.png")}
    monkeypatch.setattr(anomaly_pictures, "PICTURES", few)
    return ran


def test_base_is_under_every_fit_and_overrides_reach_either() -> None:
    plan = AnomalyRecipe.of_data(PLAN)
    assert plan.fits["broken"].model == "lscdm"
    assert plan.fits["lcdm"].data == ("compressed_cmb", "desi_dr2_bao")
    assert plan.fits["lcdm"].name == "lcdm"
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_the_pipeline_that_comes_with_lensrec() -> None:
    plan = AnomalyRecipe.load(
        "anomaly", ["fits.lcdm.tau=0.06", "base.sampler.r_minus_1=0.1", "fits.w0wa.neutrinos.low=-1"]
    )
    assert plan.fits["lcdm"].tau == 0.06
    assert plan.fits["no_bao"].tau == 0.0544
    assert {fit.sampler.r_minus_1 for fit in plan.fits.values()} == {0.1}
    assert plan.fits["w0wa"].neutrinos.low == -1
    assert plan.fits["tau_free"].tau_sigma is None
    assert plan.fits["geometry"].neutrinos.definition == "background"
    asked = set(FITS) | {
        "no_bao",
        "no_lensing",
        "lscdm_free_smoothing",
        "tau_sroll2",
        "tau_lowe",
        "tau_high",
    }
    assert asked <= set(plan.fits)
    assert is_anomaly("anomaly")
    assert not is_anomaly("quickstart")


def test_a_recipe_written_is_read_as_it_was(tmp_path: Path) -> None:
    plan = AnomalyRecipe.load("anomaly")
    (tmp_path / "whole.yaml").write_text(plan.dump(), encoding="utf-8")
    again = AnomalyRecipe.load(tmp_path / "whole.yaml")
    assert again == plan
    assert again.sha256() == plan.sha256()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fits": {"lcdm": {"tauu": 0.05}}}, "fits.lcdm.tauu: unknown key; did you mean tau?"),
        ({"fits": {"../x": {}}}, "names a folder"),
        ({"fits": {}}, "fits"),
        ({"fits": [1]}, "made of keys and values"),
        ({"fits": {"lcdm": 3}}, "fits.lcdm.a fit is made of keys"),
        ({"nonsense": 1}, "nonsense: unknown key"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said.replace("?", r"\?").replace(".", r"\.")):
        AnomalyRecipe.of_data({**PLAN, **change})


def test_a_run_leaves_a_page_and_goes_on_where_it_was(tmp_path: Path, quick: list[str]) -> None:
    plan, told = AnomalyRecipe.of_data(PLAN), []
    claims = anomaly.anomaly_run(plan, tmp_path / "run", progress=lambda text, done, total: told.append(text))
    assert quick == ["lcdm", "geometry_mirrored"]
    assert {"fits", "claims", "pictures"} <= set(told)
    by_id = {claim.id: claim for claim in claims}
    assert len(claims) == 18
    assert by_id["C2"].verdict == NOT_RUN
    assert by_id["C3"].verdict != NOT_RUN
    kept = json.loads((tmp_path / "run" / "claims.json").read_text(encoding="utf-8"))
    assert [claim["id"] for claim in kept["claims"]] == [f"C{k}" for k in range(1, 19)]
    assert kept["failed"]["broken"] == "no best fit in 50 steps"
    assert (tmp_path / "run" / "pictures" / "masses.png").is_file()
    assert set(kept["pictures"]) == {"masses.png"} == {path.name for path in (tmp_path / "run" / "pictures").iterdir()}
    page = (tmp_path / "run" / "anomaly.md").read_text(encoding="utf-8")
    assert page.startswith("# A page of few fits\n\nWith its sign left free, Σmν is **−0.090 ± 0.05")
    assert "| `broken` | compressed CMB, DESI DR2 | lscdm | mirrored | – | not run |" in page
    assert "- broken: no best fit in 50 steps" in page
    assert "- forecast: none asked for" in page
    assert "**Not run.** Not judged: the fit lensing_only has not been run" in page
    assert page.count("### C") == 18
    # every picture that the page points at is there
    for line in page.splitlines():
        if line.startswith("!["):
            assert (tmp_path / "run" / line.partition("(")[2].rstrip(")")).is_file()
    quick.clear()
    anomaly.anomaly_run(plan, tmp_path / "run")
    assert quick == []
    more = AnomalyRecipe.of_data({**PLAN, "fits": {**PLAN["fits"], "geometry": {}}})
    anomaly.anomaly_run(more, tmp_path / "run")
    assert quick == ["geometry"]


def test_a_run_without_any_fit_says_why(tmp_path: Path, quick: list[str]) -> None:
    plan = AnomalyRecipe.of_data({**PLAN, "fits": {"broken": {"model": "lscdm"}}})
    with pytest.raises(RunError, match=r"none of 1 fits was made.*broken: no best fit in 50 steps"):
        anomaly.anomaly_run(plan, tmp_path / "run")
    assert not (tmp_path / "run" / "anomaly.md").exists()


def test_an_unknown_survey_is_refused_before_anything_is_run(tmp_path: Path, quick: list[str]) -> None:
    plan = AnomalyRecipe.of_data({**PLAN, "forecast": {"experiments": "so_baseline, so_gaol"}})
    with pytest.raises(ValueError, match=r"forecast.experiments must be of .*, got so_gaol"):
        anomaly.anomaly_run(plan, tmp_path / "run")
    assert quick == []


@pytest.fixture
def foreseen(monkeypatch: pytest.MonkeyPatch) -> list[ForecastSettings]:
    """Forecasts made up: σ of τ, Σmν and both amplitudes are 0.007, 0.018 eV, 0.02 and 0.01, whatever is asked for."""
    asked: list[ForecastSettings] = []

    def forecasts(settings: ForecastSettings, **_: Any) -> ForecastResult:
        asked.append(settings)
        names, sigma = ("tau", "mnu", "A_L_TTTEEE", "A_L_phiphi"), (0.007, 0.018, 0.02, 0.01)
        cases = [
            Case(experiment, "lensed", settings.bao[0], prior, model)
            for experiment in settings.experiments
            for prior in settings.tau_priors
            for model in settings.models
        ]
        covariance = np.diag(sigma) ** 2
        found = {case: Forecast(names, covariance, np.linalg.inv(covariance), {}, {}) for case in cases}
        fiducial = {"tau": 0.0544, "mnu": 0.06, "A_L_TTTEEE": 1.0, "A_L_phiphi": 1.0}
        return ForecastResult(found, fiducial, {case: {"mnu_pull": -0.2} for case in cases}, ("Gaussian",), settings)

    monkeypatch.setattr("lensrec.stages.forecast_run.forecasts", forecasts)
    return asked


def test_forecasts_are_kept_and_judged_by(tmp_path: Path, quick: list[str], foreseen: list[ForecastSettings]) -> None:
    plan = AnomalyRecipe.of_data({**PLAN, "fits": {"lcdm": {}}, "forecast": {}})
    for _ in range(2):
        claims = anomaly.anomaly_run(plan, tmp_path / "run")
    assert len(foreseen) == 1
    assert foreseen[0].bao == ("full",)
    last = claims[-1]
    # 0.0588/0.018 is 3.3σ
    assert (last.id, last.verdict) == ("C18", "agrees")
    page = (tmp_path / "run" / "anomaly.md").read_text(encoding="utf-8")
    assert "## What the forecasts assume\n\n- Gaussian" in page
    assert "were A_L^TTTEEE = 1.18 fitted as 1" in page


def test_the_command_forecasts(tmp_path: Path, foreseen: list[ForecastSettings]) -> None:
    out = tmp_path / "run"
    command = ["forecast", "forecast", "--out", str(out), "--set", "models=mnu_A_L", "--set", "delensed=true"]
    for _ in range(2):
        found = CliRunner().invoke(app, command)
        assert found.exit_code == 0, found.output
        assert "σ(mnu) = 0.018" in found.output
    assert [one.delensed for one in foreseen] == [(True,)]
    table = read_table(out / "forecast.ecsv")
    # two surveys, two priors, four parameters
    assert len(table["sigma"]) == 16
    assert (out / "pictures" / "forecast_mnu_A_L.png").is_file()
    wrong = CliRunner().invoke(app, [*command, "--set", "modls=mnu"])
    assert wrong.exit_code == 1
    assert "modls" in str(wrong.exception)
    assert "did you mean models" in str(wrong.exception)


def test_another_fit_needs_another_folder(tmp_path: Path, quick: list[str]) -> None:
    anomaly.begin_anomaly(AnomalyRecipe.of_data(PLAN), tmp_path / "run")
    other = AnomalyRecipe.of_data({**PLAN, "fits": {"lcdm": {"neutrinos": {"high": 0.5}}}})
    with pytest.raises(RunError, match="holds another fit lcdm"):
        anomaly.begin_anomaly(other, tmp_path / "run")
    (tmp_path / "map.fits").write_text("")
    with pytest.raises(RunError, match="is no run"):
        anomaly.begin_anomaly(other, tmp_path)


def test_the_command_runs_a_pipeline_of_fits(tmp_path: Path, quick: list[str]) -> None:
    from lensrec.notation import write_yaml

    file = tmp_path / "mine.yaml"
    file.write_text(write_yaml(PLAN), encoding="utf-8")
    out = tmp_path / "run"
    found = CliRunner().invoke(app, ["run", str(file), "--out", str(out), "--set", "fits.lcdm.neutrinos.high=0.7"])
    assert found.exit_code == 0, found.output
    assert "C13  agrees" in found.output
    assert f"{out / 'anomaly.md'}: the page" in found.output
    assert AnomalyRecipe.load(out / "recipe.yaml").fits["lcdm"].neutrinos.high == 0.7
    assert json.loads((out / "provenance.json").read_text())["command"][0] == "lensrec"
