"""What the report concludes: the split, fits of cosmology, forecasts, and claims."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.neutrino_bounds import BOUNDS
from lensrec.stages.report_about import absent, warnings
from lensrec.stages.report_run import Products
from lensrec.view.contours import LENSING, SMOOTHING
from lensrec.view.report_chart import Chart
from lensrec.view.report_html import Markup, details, label, measured, number, pairs, table, text, with_unit
from lensrec.view.report_posterior import density_chart, ellipse_chart, joint_chart, overlaid_chart, parts_chart

PAIRS = ((SMOOTHING, LENSING), ("tau", "mnu"), ("mnu", SMOOTHING), ("w", "wa"), ("omch2", "mnu"))

OVERLAID = ("mnu", SMOOTHING, LENSING, "w", "wa", "z_dagger")
"""Parameters of which the densities of several fits are drawn over each other."""

FIRST = 4
"""Fits that are drawn before anything is chosen."""


def split_section(found: Products) -> list[str | Chart]:
    """A_L^TTTEEE and A_L^φφ."""
    if not found.has("split.json"):
        if found.recipe is None:
            return [absent("Nothing was split here.")]
        return [absent("The amplitudes have not been split.", f"lensrec split {found.folder}")]
    summary = found.json("split.json")
    out: list[str | Chart] = [_split_words(summary), warnings(list(summary.get("warnings", ())))]
    samples, weights = _samples(found, "samples.ecsv")
    if {SMOOTHING, LENSING} <= set(samples):
        out.append(
            joint_chart(
                "amplitudes",
                "Both amplitudes",
                {"posterior": (samples, weights)},
                caption="68 and 95 % of the posterior. On the dashed line both amplitudes are equal; the star is where "
                "both are 1, as lensing by the theory's <i>C<sub>L</sub></i><sup>φφ</sup> has it.",
            )
        )
    rows = _part_rows(summary)
    if len(rows) > 1:
        out.append(
            parts_chart(
                "parts",
                "By parts of the data",
                rows,
                quantity="amplitude",
                caption="Each amplitude from all data, and from one spectrum or range alone, with its standard "
                "deviation. The dotted line is 1. What is farther off than shown is in the numbers.",
            )
        )
    first = [key for key in (SMOOTHING, LENSING) if key in summary["parameters"]]
    shown = [*first, *(key for key in summary["parameters"] if key not in first)]
    shown += [*(key for key in summary.get("derived", {}) if key in samples)]
    shown = [key for key in shown if key in samples]
    if shown:
        out.append(
            density_chart(
                "split-densities",
                "Marginal densities",
                samples,
                weights,
                shown,
                caption="Of each free parameter, from the weighted samples; smoothed by GetDist.",
            )
        )
    out += [_parameter_table(summary), _chi2_table(summary), *_part_warnings(summary)]
    named = {"smoothing": "TT, TE and EE minus the best fit with A_L = 1, and what more smoothing would add."}
    if not found.has("bandpowers.sacc.fits"):
        named["lensing"] = "Band powers of the lensing potential on the best fit."
    out += [
        _picture(found, f"pictures/{name}.png", said)
        for name, said in named.items()
        if found.has(f"pictures/{name}.png")
    ]
    return out


def fit_section(found: Products) -> list[str | Chart]:
    """Fits of cosmology."""
    if not found.fits:
        return [absent("No cosmology has been fitted here.", f"lensrec fit RECIPE --out {found.folder}")]
    summaries = {key: found.json(_inside(found, key, "summary.json")) for key in found.fits}
    chains = {key: _samples(found, _inside(found, key, "samples.ecsv")) for key in found.fits}
    if len(found.fits) == 1:
        key = next(iter(found.fits))
        return _single_fit(summaries[key], *chains[key])
    out: list[str | Chart] = [_fits_table(summaries)]
    for name in OVERLAID:
        having = {key: chain for key, chain in chains.items() if name in chain[0]}
        if len(having) < 2:
            continue
        lines = [(0.0, "")] + [(b.value, b.label) for b in BOUNDS if b.value < 0.2] if name == "mnu" else []
        out.append(
            overlaid_chart(
                f"fits-{name.replace('_', '-')}",
                f"{label(name)} in {len(having)} fits",
                having,
                name,
                shown=list(having)[:FIRST],
                wide=name == "mnu",
                lines=lines,
                caption="Densities over their maxima, smoothed by GetDist"
                + ("; lines are what oscillations allow at least, which is no prior of any fit." if lines else "."),
            )
        )
    for key, summary in summaries.items():
        out.append(details(f"Fit {text(key)}: all parameters", _fit_table(summary) + _fit_facts(summary), "fit"))
    return out


def forecast_section(found: Products) -> list[str | Chart]:
    """Errors that surveys to come will have."""
    plan = found.forecast
    if plan is None:
        return [absent("Nothing was forecast here.")]
    cases = {_case(case): (case["parameters"], np.array(case["covariance"])) for case in plan["cases"]}
    shown = [pair for pair in PAIRS if any(set(pair) <= set(names) for names, _ in cases.values())]
    names = [key for key in plan["fiducial"] if any(key in p for p, _ in cases.values())]
    columns: dict[str, list[Any]] = {"case": list(cases)}
    for key in names:
        columns[f"σ({with_unit(key)})"] = [case["sigma"].get(key) for case in plan["cases"]]
    derived = dict.fromkeys(key for case in plan["cases"] for key in case.get("derived", {}))
    for key in derived:
        columns[text(key)] = [case.get("derived", {}).get(key) for case in plan["cases"]]
    out: list[str | Chart] = [table(columns, digits=3, kind="results")]
    if shown:
        out.append(
            ellipse_chart(
                "forecast",
                "Ellipses of errors",
                cases,
                plan["fiducial"],
                shown,
                caption="68 and 95 % of each case about the fiducial model.",
            )
        )
    lines = "".join(f"<li>{text(line)}</li>" for line in plan.get("assumed", ()))
    out.append(details("What is assumed", f"<ul>{lines}</ul>", "printed"))
    return out


def claim_section(found: Products) -> list[str]:
    """What of the usual claims stands."""
    data = found.json("claims.json")
    columns: dict[str, list[Any]] = {"": [], "claim": [], "verdict": []}
    told = []
    for claim in data["claims"]:
        columns[""].append(claim["id"])
        columns["claim"].append(claim["claim"])
        columns["verdict"].append(Markup(f'<span class="verdict">{text(claim["verdict"])}</span>'))
        rows: dict[str, list[Any]] = {"number": [], "value": [], "published": [], "data": []}
        for one in claim["numbers"]:
            value = number(one["value"]) if one.get("error") is None else measured(one["value"], one["error"])
            rows["number"].append(one["name"])
            rows["value"].append(Markup(f"{value} {text(one['unit'])}"))
            rows["published"].append(one["published"])
            rows["data"].append(one["data"])
        body = f"<p>{text(claim['why'])}</p><p>{text(claim['rule'])}</p>" + (table(rows) if claim["numbers"] else "")
        sources = ", ".join(map(text, claim.get("sources", ())))
        body += f"<p>Sources: {sources}. Data: {text(claim['data'])}.</p>"
        told.append(details(f"{text(claim['id'])}: {text(claim['verdict'])}", body, "claim"))
    failed = [f"{name}: {why}" for name, why in data.get("failed", {}).items()]
    return [table(columns, kind="long"), warnings([f"not run: {line}" for line in failed]), *told]


def _samples(found: Products, name: str) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    if not found.has(name):
        return {}, np.zeros(0)
    columns = {key: np.asarray(values, dtype=np.float64) for key, values in found.table(name).items()}
    return columns, columns.pop("weight")


def _inside(found: Products, key: str, name: str) -> str:
    return str((found.fits[key] / name).relative_to(found.folder))


def _split_words(summary: Mapping[str, Any]) -> str:
    fixed = summary.get("fixed", {})
    rows: list[tuple[str, Any]] = []
    for key, said in (
        (SMOOTHING, "how much the peaks are smoothed"),
        (LENSING, "how strong the reconstructed lensing is"),
    ):
        if summary.get(key):
            rows.append((f"{label(key)}, {said}", Markup(measured(summary[key]["mean"], summary[key]["sigma"]))))
    if summary.get("delta"):
        rows.append(("correlation of both", Markup(f"{summary['correlation']:+.2f}".replace("-", "\u2212"))))
        delta = measured(summary["delta"]["mean"], summary["delta"]["sigma"])
        rows.append(("difference", Markup(f"{delta}: {abs(summary['delta_n_sigma']):.2f} σ")))
        if "delta_pte" in summary:
            rows.append(("as far apart by chance", float(summary["delta_pte"])))
    for key, held in summary.get("A_L_phiphi_held", {}).items():
        rows.append((f"{label(LENSING)} of {text(key)}, ΛCDM held", Markup(measured(held["mean"], held["sigma"]))))
    if fixed:
        rows.append(("held", Markup(", ".join(f"{label(k)} = {number(v, 5)}" for k, v in fixed.items()))))
    for key, prior in summary.get("priors", {}).items():
        rows.append((f"prior of {label(key)}", Markup(f"{number(prior['mean'])} ± {number(prior['sigma'], 2)}")))
    rows.append(("effective samples", float(round(summary["effective_samples"]))))
    return pairs(rows)


def _part_rows(summary: Mapping[str, Any]) -> list[tuple[str, float, float, str]]:
    groups = {SMOOTHING: "smoothing of the peaks", LENSING: "reconstruction"}
    rows = []
    for key, group in groups.items():
        if summary.get(key):
            rows.append(("all" if key == SMOOTHING else "all φφ", summary[key]["mean"], summary[key]["sigma"], group))
        for name, part in summary.get("parts", {}).items():
            if name.startswith("L") == (key == LENSING):
                rows.append((f"{name} alone", part["mean"], part["sigma"], group))
        if key == LENSING:
            held = summary.get("A_L_phiphi_held", {})
            rows += [(f"{name}, ΛCDM held", one["mean"], one["sigma"], group) for name, one in held.items()]
    return rows


def _part_warnings(summary: Mapping[str, Any]) -> list[str]:
    parts = summary.get("parts", {})
    return [warnings([f"{k} alone: {line}" for k, part in parts.items() for line in part.get("warnings", ())])]


def _parameter_table(summary: Mapping[str, Any]) -> str:
    rows: dict[str, list[Any]] = {"parameter": [], "mean": [], "σ": [], "best fit": []}
    for key, value in {**summary["parameters"], **summary.get("derived", {})}.items():
        rows["parameter"].append(Markup(with_unit(key)))
        for name, entry in (("mean", "mean"), ("σ", "sigma"), ("best fit", "best_fit")):
            rows[name].append(value.get(entry))
    return "<h3>Parameters</h3>" + table(rows, digits=5)


def _chi2_table(summary: Mapping[str, Any]) -> str:
    from scipy.stats import chi2

    rows: dict[str, list[Any]] = {"data": [], "χ²": [], "n": [], "probability": []}
    blocks = [(name, one["chi2"], one["n"]) for name, one in summary.get("chi2_blocks", {}).items()]
    for name, value, n in [*blocks, ("all, less free parameters", summary["chi2"], summary["ndof"])]:
        rows["data"].append(name.replace("PP", "φφ"))
        rows["χ²"].append(float(value))
        rows["n"].append(int(n))
        rows["probability"].append(float(chi2.sf(value, n)) if n > 0 else None)
    return "<h3>χ² of the best fit</h3>" + table(rows)


def _picture(found: Products, name: str, said: str) -> str:
    source = base64.b64encode((found.folder / name).read_bytes()).decode("ascii")
    return (
        f'<figure class="fig wide"><img class="picture" alt="{text(said)}" src="data:image/png;base64,{source}">'
        f"<figcaption>{text(said)} As the stage drew it.</figcaption></figure>"
    )


def _single_fit(summary: Mapping[str, Any], samples: Mapping[str, NDArray], weights: NDArray) -> list[str | Chart]:
    out: list[str | Chart] = [_fit_facts(summary), "<h3>Parameters</h3>", _fit_table(summary)]
    if not samples:
        return [*out, absent("samples.ecsv is not there, so there are no densities.")]
    shown = [key for key in summary if key != "about" and key in samples]
    shown = [key for key in OVERLAID if key in shown] + [key for key in shown if key not in OVERLAID]
    words = "From the weighted samples; smoothed by GetDist."
    out.append(density_chart("fit-densities", "Marginal densities", samples, weights, shown, caption=words))
    pair = next((pair for pair in PAIRS if set(pair) <= set(samples)), None)
    if pair is not None:
        name = f"{label(pair[0])} and {label(pair[1])}"
        out.append(
            joint_chart(
                "fit-joint",
                name,
                {summary["about"]["name"]: (samples, weights)},
                pair=pair,
                caption=f"68 and 95 %. {words}",
            )
        )
    return out


def _fit_table(summary: Mapping[str, Any]) -> str:
    rows: dict[str, list[Any]] = {k: [] for k in ("parameter", "mean", "σ", "68 %", "95 %", "best fit")}
    for key, value in summary.items():
        if key == "about":
            continue
        limits = [Markup(" … ".join(number(v, 5) for v in value[name])) for name in ("limit68", "limit95")]
        shown = (Markup(with_unit(key)), value["mean"], value["sigma"], *limits, value.get("best_fit"))
        for column, entry in zip(rows.values(), shown, strict=True):
            column.append(entry)
    return table(rows, digits=5)


def _fit_facts(summary: Mapping[str, Any]) -> str:
    about = summary["about"]
    rows: list[tuple[str, Any]] = [("data", list(about["data"])), ("model", about["model"])]
    rows += [("sign of Σ<i>m</i><sub>ν</sub>", about["neutrinos"])]
    rows += [("χ² of the best fit", f"{about['chi2']:.1f} for {about['ndof']}")]
    for name, part in about.get("chi2_parts", {}).items():
        rows.append((f"χ² of {text(name)}", f"{part['chi2']:.1f} of {part['n']} numbers"))
    rows.append(("effective samples", float(round(about["effective_samples"]))))
    rows += [(text(k), v) for k, v in about.items() if k in ("theory", "seconds")]
    for name, prior in about.get("priors", {}).items():
        rows.append((f"prior of {label(name)}", Markup(f"{number(prior[0])} ± {number(prior[1], 2)}")))
    held = ", ".join(f"{label(k)} = {number(v)}" for k, v in about.get("held", {}).items())
    if held:
        rows.append(("held", Markup(held)))
    rows += _mass_rows(about.get("mnu", {}))
    return pairs(rows)


def _mass_rows(said: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Limits on Σmν, cut at zero and at the least that oscillations allow, and how far these are off."""
    mass = label("mnu")
    least = {"physical": "0", "normal": "the least of the normal order", "inverted": "that of the inverted"}
    rows: list[tuple[str, Any]] = []
    for name, words in least.items():
        if f"limit95_{name}" in said:
            limit = said[f"limit95_{name}"]
            shown = "too few samples" if limit is None else f"{number(limit, 3)} eV"
            rows.append((f"{mass} at 95 %, if at least {words}", Markup(shown)))
    for name, words in list(least.items())[1:]:
        if found := said.get(f"tension_{name}"):
            tail = f"of the posterior {number(100 * found['tail'], 3)} % lies above"
            rows.append((f"mean below {words}", Markup(f"by {number(found['gaussian'], 3)} σ; {tail}")))
    return rows


def _fits_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    free = [key for key in OVERLAID if any(key in one for one in summaries.values())]
    columns: dict[str, list[Any]] = {"fit": list(summaries)}
    for key in (*free, "tau", "H0", "omega_m"):
        columns[with_unit(key)] = [
            Markup(measured(one[key]["mean"], one[key]["sigma"])) if key in one else None for one in summaries.values()
        ]
    columns["χ²"] = [f"{one['about']['chi2']:.1f} / {one['about']['ndof']}" for one in summaries.values()]
    return table(columns, kind="results")


def _case(case: Mapping[str, Any]) -> str:
    return f"{case['experiment']}, {case['spectra']}, DESI {case['bao']}, τ {case['tau_prior']}, {case['model']}"
