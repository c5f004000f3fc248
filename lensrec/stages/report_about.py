"""What the report says before its pictures: the answer, which stages have been run, recipe and provenance."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lensrec.recipe_files import RecipeError
from lensrec.recipe_fit import FitRecipe
from lensrec.recipe_forecast import ForecastPlan
from lensrec.recipe_section import Section
from lensrec.rundir import package_versions
from lensrec.stages.report_run import Products, flat
from lensrec.view.anomaly import VERDICTS
from lensrec.view.report_html import Markup, details, label, listed, measured, number, pairs, table, text

HASHED = 32 * 2**20
"""Bytes; files that are larger are listed without a fingerprint."""

Answer = tuple[str, str, str]
"""What it is, its value, and what is to be known of it; markup."""


def header(found: Products, made: str) -> str:
    """Name, kind, description, and the answers of the run in large letters."""
    name, description = _named(found)
    told = list(_answers(found))
    items = "".join(
        f'<li><span class="what">{what}</span><span class="value">{value}</span><span class="more">{more}</span></li>'
        for what, value, more in told
    )
    began = found.provenance.get("time")
    when = f"begun {text(began)[:16].replace('T', ' ')} UTC; " if began else ""
    about = f'<p class="about">{text(description)}</p>' if description else ""
    answers = f'<ul class="answers">{items}</ul>' if told else '<p class="said">No stage has left a result yet.</p>'
    verdict = "".join(f'<p class="said">{line}</p>' for line in _verdicts(found))
    kind = f"{_kind(found)}, {when}reported {text(made)[:16].replace('T', ' ')} UTC"
    return f'<p class="kind">{kind}</p><h1>{text(name)}</h1>{about}{answers}{verdict}'


def stages(found: Products) -> str:
    """Which stages have left something, and how those that have not are run."""
    rows = [
        f'<li class="{"yes" if done else "no"}"><b>{"✓" if done else "–"} {name}</b><span>{said}</span></li>'
        for name, done, said in _stages(found)
    ]
    return f'<ul class="stages">{"".join(rows)}</ul>'


def recipe_section(found: Products) -> list[str]:
    """Every key of the recipe; those that are not what lensrec would fill in come first."""
    kind: type[Section]
    if found.recipe is not None:
        kind, data = type(found.recipe), found.recipe.model_dump(mode="json")
    elif found.plan is not None:
        return _plan(found)
    elif found.fits:
        fit = FitRecipe.load(found.fits[""] / "recipe.yaml") if "" in found.fits else None
        if fit is None:
            return ['<p class="absent">There is no recipe here.</p>']
        kind, data = FitRecipe, fit.model_dump(mode="json")
    elif found.forecast is not None:
        kind, data = ForecastPlan, dict(found.forecast["plan"])
    else:
        given = found.provenance.get("inputs", {}).get("data", [])
        said = text(", ".join(given)) or "unknown"
        return [f"<p>Published band powers have no recipe of a sky. These were split: {said}.</p>"]
    return _keys(kind, data)


def provenance_section(found: Products) -> list[str]:
    """Versions, machine, commands, seeds, inputs, and all files with their fingerprints."""
    record = found.provenance
    out: list[str] = []
    if not record:
        out.append('<p class="absent">There is no provenance.json, so nothing is known of versions and commands.</p>')
    rows: list[tuple[str, Any]] = []
    if found.recipe is not None:
        said = record.get("recipe_sha256")
        fingerprint = found.recipe.sha256()
        rows.append(("recipe, SHA-256", Markup(f"<code>{fingerprint}</code>")))
        if said and said != fingerprint:
            out.append(
                '<p class="absent">recipe.yaml has another fingerprint than provenance.json says: it was changed by '
                "hand, or this lensrec knows other keys than the one that wrote it.</p>"
            )
        rows.append(("seeds", f"sky {found.recipe.sky.seed}, φ {found.recipe.sky.phi_seed}"))
    rows += [(f"{text(stage)} computed with", one) for stage, one in record.get("backends", {}).items()]
    rows += [(text(key), record[key]) for key in ("python", "platform") if key in record]
    was, here = record.get("packages", {}), package_versions()
    if was:
        rows.append(("packages", ", ".join(f"{key} {value}" for key, value in was.items())))
    if other := [f"{key} {here[key]}" for key, value in was.items() if here.get(key, value) != value]:
        rows.append(("the report was made with", ", ".join(other)))
    rows += [(f"input: {text(k)}", v) for k, v in record.get("inputs", {}).items() if v is not None]
    for key, value in flat(record.get("bandpowers", {})).items():
        rows.append((f"band powers: {text(key)}", value if value != {} else "none"))
    out.append(pairs(rows))
    commands = [{"time": record.get("time", ""), "command": record.get("command", [])}, *record.get("resumed", [])]
    lines = [
        f"<time>{text(one['time'])[:19]}</time><br>{text(' '.join(one['command']))}"
        for one in commands
        if one["command"]
    ]
    if lines:
        out.append(
            "<h3>Commands</h3>" + '<ol class="commands">' + "".join(f"<li>{line}</li>" for line in lines) + "</ol>"
        )
    out.append(details("All files, with sizes and fingerprints", table(_files(found.folder), kind="long"), "screen"))
    return out


def _named(found: Products) -> tuple[str, str]:
    if found.recipe is not None:
        return found.recipe.name, found.recipe.description
    if found.plan is not None:
        return found.plan.name, found.plan.description
    if found.fits:
        about = found.json(f"{found.fits[next(iter(found.fits))].relative_to(found.folder)}/summary.json")["about"]
        return about["name"], ""
    data = found.provenance.get("inputs", {}).get("data", [])
    return (", ".join(data) if data and found.has("split.json") else found.folder.resolve().name), ""


def _kind(found: Products) -> str:
    if found.plan is not None:
        return "Fits and claims"
    if found.outside:
        return "Reconstruction of a map from outside"
    if found.recipe is not None:
        n = len(found.simulated)
        return "Simulated sky" if n == 1 else f"{n} simulated skies"
    return "Split of published data" if found.has("split.json") else "Fit" if found.fits else "Forecast"


def _answers(found: Products) -> Iterator[Answer]:
    if found.has("split.json"):
        summary = found.json("split.json")
        for key, said in (("A_L_TTTEEE", "from the smoothing of the peaks"), ("A_L_phiphi", "from the reconstruction")):
            if summary.get(key):
                yield label(key), measured(**_pair(summary[key])), said
        if summary.get("delta"):
            away = abs(summary["delta_n_sigma"])
            chance = f", probability {number(summary['delta_pte'], 2)}" if "delta_pte" in summary else ""
            yield "difference", f"{away:.2f} σ", measured(**_pair(summary["delta"])) + chance
    elif (amplitudes := found.amplitudes) is not None:
        about = amplitudes["about"]
        where = f"{about['L_low']} ≤ <i>L</i> ≤ {about['L_high']}"
        many = f", mean of {amplitudes['skies']} skies" if amplitudes["skies"] > 1 else ""
        for key in found.keys[:3]:
            yield f"{label('A_L_phiphi')} by {text(key)}", measured(**_pair(amplitudes[key])), where + many
    for name, folder in list(found.fits.items())[: 0 if found.plan else 1]:
        summary = found.json(f"{folder.relative_to(found.folder)}/summary.json")
        for key in ("mnu", "A_L_TTTEEE", "A_L_phiphi", "w", "wa"):
            if key in summary:
                unit = " eV" if key == "mnu" else ""
                yield label(key), measured(**_pair(summary[key])) + unit, text(name)
    if found.has("claims.json"):
        claims = found.json("claims.json")["claims"]
        for verdict, (_, several) in VERDICTS.items():
            if n := sum(claim["verdict"] == verdict for claim in claims):
                yield f"claims that {several}", f"{n} of {len(claims)}", ""
    if found.forecast is not None and found.plan is None:
        for case in found.forecast["cases"][:4]:
            if "mnu" in case["sigma"]:
                said = f"{case['experiment']}, {case['model']}, τ: {case['tau_prior']}, DESI: {case['bao']}"
                yield f"σ({label('mnu')})", f"{1000 * case['sigma']['mnu']:.0f} meV", text(said)


def _verdicts(found: Products) -> Iterator[str]:
    amplitudes = found.amplitudes
    if amplitudes is not None:
        about = amplitudes["about"]
        taken, left = about["taken_off"], about["not_taken_off"]
        said = f"Taken off the spectrum of φ̂: {text('; '.join(taken)) or 'nothing'}."
        yield said + (f" Not taken off: {text('; '.join(left))}." if left else "")
    if found.has("split.json") and (lines := found.json("split.json").get("warnings")):
        yield '<span class="flag">Warning:</span> ' + text("; ".join(lines))


def _pair(value: Mapping[str, float]) -> dict[str, float]:
    return {"mean": value["mean"], "sigma": value["sigma"]}


def _stages(found: Products) -> Iterator[tuple[str, bool, str]]:
    here = text(str(found.folder))
    if found.recipe is not None:
        wanted = found.recipe.sky.n_sims
        done, n = found.outside, len(found.simulated)
        if not done:
            said = f"{n} of {wanted} skies" if n else f"not run: <code>lensrec simulate RECIPE --out {here}</code>"
            yield "simulate", n > 0, said
        n = len(found.reconstructed)
        said = "the map from outside" if done else f"{n} of {wanted} skies: {text(', '.join(found.keys))}" if n else ""
        yield "reconstruct", n > 0, said or f"not run: <code>lensrec reconstruct {here}</code>"
        done = found.has("bandpowers.sacc.fits")
        yield "bandpowers", done, "bandpowers.sacc.fits" if done else f"not run: <code>lensrec bandpowers {here}</code>"
        done = found.has("split.json")
        yield "split", done, "split.json" if done else f"not run: <code>lensrec split {here}</code>"
        return
    if found.plan is not None:
        n = len([name for name in found.plan.fits if name in found.fits])
        yield "fits", n > 0, f"{n} of {len(found.plan.fits)}"
        done = found.forecast is not None
        yield "forecast", done, "forecast.json" if done else "not run" if found.plan.forecast else "none asked for"
        yield "claims", found.has("claims.json"), "claims.json" if found.has("claims.json") else "not judged"
        return
    for name, done, file in (
        ("split of published data", found.has("split.json"), "split.json"),
        ("fit", bool(found.fits), "fit/summary.json"),
        ("forecast", found.forecast is not None, "forecast.json"),
    ):
        yield name, done, file if done else "not run here"


def _keys(kind: type[Section], data: Mapping[str, Any]) -> list[str]:
    values = flat(data)
    changed = [key for key in _needed(kind, data) if key not in ("name", "description")]
    first = pairs([(text(key), Markup(_value(values[key]))) for key in changed], "keys")
    everything = "".join(
        f"<dt{' class=changed' if key in changed else ''}>{text(key)}</dt><dd>{_value(value)}</dd>"
        for key, value in values.items()
    )
    words = "Find a key or a value"
    search = f'<input class="find" type="search" placeholder="{words}" aria-label="{words}" data-of="keys">'
    whole = details(f"All {len(values)} keys", f'{search}<dl class="pairs keys" id="keys">{everything}</dl>', "printed")
    said = f"These {len(changed)} of {len(values)} keys make it; all others are what lensrec fills in:"
    words = said if changed else "All keys are what lensrec fills in."
    return [f"<p>{words}</p>", f'<div class="screen">{first}</div>' if changed else "", whole]


def _needed(kind: type[Section], data: Mapping[str, Any]) -> list[str]:
    """Keys that a recipe cannot leave out: all others lensrec fills in with the values they have."""
    left = _copied(data)
    keys = []
    # from the last to the first: what a section derives stands behind what it is derived from
    for key in reversed(flat(data)):
        *sections, last = key.split(".")
        inner = left
        for section in sections:
            inner = inner[section]
        value = inner.pop(last)
        try:
            same = kind.model_validate(_copied(left)).model_dump(mode="json") == data
        except RecipeError:
            same = False
        if not same:
            inner[last] = value
            keys.append(key)
    return keys[::-1]


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in data.items()}


def _plan(found: Products) -> list[str]:
    assert found.plan is not None
    whole = details("The whole recipe", f"<pre><code>{text(found.plan.dump())}</code></pre>", "screen")
    columns: dict[str, list[Any]] = {"fit": [], "data": [], "model": [], "sign of Σ<i>m</i><sub>ν</sub>": [], "": []}
    for name, fit in found.plan.fits.items():
        for column, value in zip(
            columns.values(),
            (name, ", ".join(fit.data), fit.model, fit.neutrinos.definition, fit.description),
            strict=True,
        ):
            column.append(value)
    return [table(columns), whole]


def _value(value: Any) -> str:
    return "–" if value is None else text(value if not isinstance(value, list) else ", ".join(map(str, value)))


def _files(folder: Path) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {"file": [], "bytes": [], "SHA-256": []}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.name.startswith(".") or path.parent.parent.name == "gaussian" or path.name == "report.html":
            continue
        size = path.stat().st_size
        mark = "–"
        if size <= HASHED:
            with path.open("rb") as stream:
                mark = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
        for column, value in zip(rows.values(), (str(path.relative_to(folder)), size, mark), strict=True):
            column.append(value)
    return rows


def absent(said: str, command: str = "") -> str:
    """What has not been run, and how it is."""
    return f'<p class="absent">{said}' + (f" Run <code>{text(command)}</code>." if command else "") + "</p>"


def warnings(lines: list[str]) -> str:
    """Warnings of a stage."""
    return f'<div class="warning">{listed([text(line) for line in lines])}</div>' if lines else ""
