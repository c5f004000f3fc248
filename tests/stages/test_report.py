"""The report says what products hold, says plainly what is missing, and needs nothing but to read them."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensrec.recipe import Recipe
from lensrec.recipe_fit import FitRecipe
from lensrec.run_lock import locked
from lensrec.rundir import make_folder, read_table, record_split, write_json
from lensrec.spectra.sacc_file import read_sacc
from lensrec.stages.reconstruct_run import reconstruct_map
from lensrec.stages.report import report_run
from lensrec.stages.report_maps import close_up, survey_patch
from tests.stages.command import contents, lensrec
from tests.stages.fits_made_up import FITS, leave, made_up
from tests.stages.tiny_run import MEANS, NASTY, leave_split, shared_tiny_run, tiny_recipe


class Page(HTMLParser):
    """Elements with their attributes, text outside of scripts, and what is in scripts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.sections: list[str] = []
        self._within = ""
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")
        if tag == "section":
            self.sections.append(str(dict(attrs)["id"]))

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        elif not self._within:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads(self.scripts[1])["figures"]

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(report_run(shared_tiny_run(), tmp_path_factory.mktemp("out") / "page.html"))


def test_all_sections_are_there_in_order(whole: Page) -> None:
    wanted = ["stages", "recipe", "provenance", "maps", "phi", "spectra", "nulls", "split", "fit"]
    assert whole.sections == wanted
    assert [a["href"] for a in whole.of("a")] == [f"#{name}" for name in wanted]
    assert {"map-T", "map-Q", "map-U", "phi-input", "phi-found", "kappa", "cmb-TT", "cmb-EE"} <= set(whole.figures)
    assert {"phi-bandpowers", "transfer", "curl", "differences", "amplitudes", "parts"} <= set(whole.figures)
    assert {a["data-figure"] for a in whole.of("div") if "data-figure" in a} == set(whole.figures)


def test_what_a_recipe_says_stays_text(whole: Page) -> None:
    assert len(whole.scripts) == 3  # Plotly, data, and lensrec's own
    assert whole.of("img") == []
    assert all("onerror" not in attributes for _, attributes in whole.elements)
    assert " ".join(NASTY.split()) in whole.text
    assert "tiny <b>run</b>" in whole.text
    assert "<i>far</i>" in whole.text  # a warning of split.json


def test_the_answer_is_that_of_split_json(whole: Page) -> None:
    summary = json.loads((shared_tiny_run() / "split.json").read_text())
    for name, (mean, sigma) in MEANS.items():
        assert f"{mean:.3f} ± {sigma:.3f}" in whole.text, name
    assert f"{summary['delta_n_sigma']:.2f} σ" in whole.text
    about = json.loads((shared_tiny_run() / "recon" / "0000" / "amplitude.json").read_text())["about"]
    assert "; ".join(about["taken_off"]) in whole.text
    assert "; ".join(about["not_taken_off"]) in whole.text


def test_figures_hold_the_numbers_of_products(whole: Page) -> None:
    table = read_table(shared_tiny_run() / "recon" / "bandpowers.ecsv")
    traces = {trace["name"]: trace for trace in whole.figures["phi-bandpowers"]["data"] if "yaxis" not in trace}
    for key in ("MV", "TT", "EE"):
        np.testing.assert_allclose(traces[f"φ̂ {key}"]["y"], 1e7 * table[f"auto_{key}"], rtol=1e-6)
        np.testing.assert_allclose(traces[f"φ̂ {key}"]["error_y"]["array"], 1e7 * table[f"sigma_{key}"], rtol=1e-6)
        np.testing.assert_allclose(traces[f"φ̂ {key} × φ<sub>in</sub>"]["y"], 1e7 * table[f"cross_{key}"], rtol=1e-6)
    curl = {trace["name"]: trace for trace in whole.figures["curl"]["data"]}
    np.testing.assert_allclose(curl["EE"]["y"], table["curl_EE"] / table["curl_sigma_EE"], rtol=1e-6)
    chi2 = float(np.sum((table["curl_MV"] / table["curl_sigma_MV"]) ** 2))
    assert f"curl Ω̂MV{chi2:.3g}" in whole.text.replace(" ", "").replace("curlΩ̂", "curl Ω̂")
    data = read_sacc(shared_tiny_run() / "bandpowers.sacc.fits")
    drawn = next(t for t in whole.figures["cmb-EE"]["data"] if t["name"] == "band powers")
    np.testing.assert_allclose(drawn["y"], data.mean[data.block == "EE"], rtol=1e-6)
    both = [whole.figures[name]["skies"][0] for name in ("phi-input", "phi-found", "phi-near-input", "phi-near-found")]
    assert both[0]["high"] == both[1]["high"] == -both[1]["low"]
    assert both[2]["high"] == both[3]["high"]


def test_what_is_drawn_at_first_is_what_buttons_say(whole: Page) -> None:
    groups: dict[tuple[str, str], set[str]] = {}
    figure = facet = ""
    for tag, attributes in whole.elements:
        if tag == "div" and "data-facet" in attributes:
            figure, facet = str(attributes["data-for"]), str(attributes["data-facet"])
            groups[figure, facet] = set()
        if tag == "input" and "checked" in attributes and attributes.get("type") != "search":
            groups[figure, facet].add(str(attributes["value"]))
    assert len(groups) > 5
    for name, one in whole.figures.items():
        for trace in one["data"]:
            facets = trace.get("meta", {}).get("facets", [])
            shown = all(
                not value or value in groups[name, str(k)] for k, value in enumerate(facets) if (name, str(k)) in groups
            )
            assert trace.get("visible", True) is shown, (name, trace["name"])


def test_keys_shown_first_make_the_whole_recipe(whole: Page) -> None:
    marked = [key for key, changed in _keys(whole) if changed]
    recipe = tiny_recipe()
    values = recipe.flat()
    short: dict[str, Any] = {"name": recipe.name, "description": recipe.description}
    for key in marked:
        section, _, last = key.partition(".")
        short.setdefault(section, {})[last] = values[key]
    assert Recipe.model_validate(short) == recipe
    assert {"sky.nside", "reconstruction.n_bins", "reconstruction.estimators", "instrument.noise_t"} <= set(marked)
    assert not {"sky.phi_seed", "reconstruction.bin_edges", "instrument.noise_p", "cosmology.H0"} & set(marked)
    assert [key for key, _ in _keys(whole)] == list(values)


def _keys(page: Page) -> list[tuple[str, bool]]:
    """All keys, and whether they are marked."""
    found = re.search(r'<dl class="pairs keys" id="keys">(.*?)</dl>', page.source, flags=re.DOTALL)
    assert found
    return [(key, bool(mark)) for mark, key in re.findall(r"<dt( class=changed)?>([^<]*)</dt>", found[1])]


def test_a_report_changes_nothing_and_minds_no_lock(tmp_path: Path) -> None:
    run = shared_tiny_run()
    before = contents(run, ".")
    names = sorted(p for p in run.rglob("*"))
    with locked(run):
        answer = lensrec("report", run, "--out", tmp_path / "deep" / "page.html")
    assert answer.status == 0
    assert "needs no network" in answer.out
    assert contents(run, ".") == before
    assert sorted(p for p in run.rglob("*")) == sorted({*names, run / ".lock"})
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "page.html"]


def test_a_run_that_was_only_simulated_says_so(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(shared_tiny_run(), run)
    for name in ("recon", "spectra"):
        shutil.rmtree(run / name)
    for name in ("split.json", "samples.ecsv", "bandpowers.sacc.fits"):
        (run / name).unlink()
    page = Page(report_run(run))
    assert set(page.figures) == {"map-T", "map-Q", "map-U"}
    for stage in ("reconstruct", "bandpowers", "split"):
        assert f"lensrec {stage} {run}" in page.text
    assert "No stage has left a result yet." in page.text
    shutil.rmtree(run / "sims")
    page = Page(report_run(run))
    assert "There are no skies yet." in page.text
    assert len(page.scripts) == 1


def test_a_map_from_outside(tmp_path: Path) -> None:
    source = tmp_path / "map.fits"
    shutil.copy(shared_tiny_run() / "sims" / "0000" / "data.fits", source)
    settings = {
        "name": "outside",
        "cosmology": {"lens_potential_accuracy": 1},
        "instrument": {"fwhm": 30, "noise_t": 20},
        "mask": {"galactic_cut": 20, "apodisation": 5},
        "reconstruction": {"lmax_t": 60, "lmax_p": 60, "lmin_t": 4, "lmin_p": 4, "L_max": 50, "n_bins": 4, "n1": "none"}
        | {"estimators": ["TT"], "mean_field_sims": 4},
    }
    reconstruct_map(source, settings, out=tmp_path / "run")
    page = Page(report_run(tmp_path / "run"))
    assert {"map-T", "mask", "phi-found", "kappa", "phi-bandpowers", "mean-field"} <= set(page.figures)
    assert "phi-input" not in page.figures
    assert "transfer" not in page.figures
    assert "There is no transfer" in page.text
    source.unlink()
    page = Page(report_run(tmp_path / "run"))
    assert "map-T" not in page.figures
    assert f"{source} cannot be shown" in page.text
    assert "phi-found" in page.figures


def test_published_data_fits_claims_and_forecasts(tmp_path: Path) -> None:
    split = tmp_path / "split"
    leave_split_alone(split)
    page = Page(report_run(split))
    assert "one_data, other_data" in page.text
    assert {"amplitudes", "parts"} <= set(page.figures)
    make_folder(split)  # the next split there minds no report

    fit = tmp_path / "fit"
    recipe = FitRecipe.model_validate({"name": "lcdm", "data": ["desi_dr2_bao"]})
    leave(made_up(FITS["free_both"], name="lcdm"), recipe, fit)
    page = Page(report_run(fit))
    assert {"fit-densities", "fit-joint"} <= set(page.figures)
    assert "1.160 ± 0.070" in page.text

    several = tmp_path / "several"
    for name in ("free_both", "free_smoothing", "lscdm"):
        leave(made_up(FITS[name], name=name), recipe, several / "fits" / name)
    number = {"name": "n", "value": 1.0, "error": 0.5, "unit": "eV", "published": "", "data": "d"}
    claim = {"id": "C1", "claim": "It <b>is</b>.", "verdict": "agrees", "why": "so", "rule": "r", "numbers": [number]}
    write_json(several / "claims.json", {"claims": [{**claim, "data": "d", "sources": []}], "failed": {"w": "no"}})
    page = Page(report_run(several))
    assert {"fits-mnu", "fits-A-L-TTTEEE"} <= set(page.figures)
    assert len(page.figures["fits-mnu"]["data"]) == 3
    assert "It <b>is</b>." in page.text
    assert "1.00 ± 0.50 eV" in page.text
    assert "not run: w: no" in page.text

    forecast = tmp_path / "forecast"
    case = {"experiment": "so", "spectra": "lensed", "bao": "full", "tau_prior": "planck", "model": "mnu"}
    case |= {"parameters": ["tau", "mnu"], "sigma": {"tau": 0.006, "mnu": 0.03}, "derived": {}}
    case |= {"covariance": [[3.6e-5, 1e-5], [1e-5, 9e-4]]}
    about = {"plan": {"experiments": ["so_goal"]}, "fiducial": {"tau": 0.05, "mnu": 0.06}, "assumed": ["much"]}
    forecast.mkdir()
    write_json(forecast / "forecast.json", {**about, "cases": [case]})
    page = Page(report_run(forecast))
    assert set(page.figures) == {"forecast"}
    assert "30 meV" in page.text
    assert "much" in page.text


def leave_split_alone(folder: Path) -> None:
    folder.mkdir()
    leave_split(folder)
    record_split(folder, ["lensrec", "split"], {"data": ["one_data", "other_data"]})


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("nowhere", "there is no such folder"),
        ("file", "is a file, not a run"),
        ("empty", "is no run: it has neither recipe.yaml nor split.json"),
        ("damaged", "split.json is damaged"),
        ("table", "samples.ecsv is damaged"),
        ("name", "should end in .html"),
        ("folder", "is a folder; name a file in it"),
    ],
)
def test_bad_input_is_answered_by_one_line(tmp_path: Path, what: str, line: str) -> None:
    run, out = tmp_path / "run", []
    if what == "file":
        run.write_text("x")
    elif what != "nowhere":
        run.mkdir()
    if what not in ("nowhere", "file", "empty"):
        leave_split(run)
    if what == "damaged":
        (run / "split.json").write_text('{"A_L')
    if what == "table":
        (run / "samples.ecsv").write_text("# %ECSV 1.0\nnonsense")
    if what == "name":
        out = ["--out", run / "page.txt"]
    if what == "folder":
        (tmp_path / "x.html").mkdir()
        out = ["--out", tmp_path / "x.html"]
    before = sorted(tmp_path.rglob("*"))
    answer = lensrec("report", run, *out)
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert line in answer.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_small_survey_is_shown_in_a_patch_that_holds_it() -> None:
    import healpy

    middle = np.array([[np.cos(0.5)], [0.0], [np.sin(0.5)]])
    away = np.degrees(np.arccos(np.clip(middle[:, 0] @ np.array(healpy.pix2vec(64, np.arange(12 * 64**2))), -1, 1)))
    patch = survey_patch(np.where(away < 12, 1.0, 0.0))
    assert patch is not None
    assert patch.lon == pytest.approx(0, abs=0.5)
    assert patch.lat == pytest.approx(np.degrees(0.5), abs=0.5)
    assert 24 < patch.size < 32
    near = close_up(np.where(away < 12, 1.0, 0.0), patch)
    assert near.size < patch.size
    assert np.hypot(near.lon * np.cos(0.5), near.lat - patch.lat) < 4
    assert survey_patch(np.where(away < 60, 1.0, 0.0)) is None
    assert survey_patch(None) is None
