"""The page of claims as Markdown, from plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

VERDICTS = {
    "agrees": ("agrees", "agree"),
    "agrees with a condition": ("agrees with a condition", "agree with a condition"),
    "does not agree": ("does not agree", "do not agree"),
    "not run": ("is not judged", "are not judged"),
}
"""Of one claim, and of several."""

DIFFERENCES = (
    "plik_lite (foregrounds marginalised by its authors) for TT, TE, EE at ℓ ≥ 30; published fits take the full "
    "likelihood, or PR4's CamSpec or HiLLiPoP.",
    "Low-ℓ TT as two Gaussian bins rather than Commander's pixels, 2 ≤ ℓ < 30.",
    "A Gaussian prior on τ in place of low-ℓ E modes: their likelihood also knows of A_s.",
    "Lensing band powers marginalised over the CMB, with published windows and linear corrections.",
    "For distances alone, DESI's compressed CMB (θ_*, ω_b, ω_b + ω_c).",
    "Three equal neutrino masses, N_eff = 3.044; negative ones by the definition in the table, at fixed θ_*, ω_b, ω_c.",
    "A flat prior on Σmν of either sign; limits for Σmν ≥ 0 are those of the same posterior, cut.",
    "No supernovae.",
)


def page(
    *,
    name: str,
    description: str,
    fits: Sequence[Mapping[str, Any]],
    claims: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, str],
    failed: Mapping[str, str],
    assumed: Sequence[str],
    versions: Mapping[str, str],
    made: str,
) -> str:
    """The page.

    Parameters
    ----------
    name, description : str
        Of the pipeline.
    fits : sequence of mapping
        name, description, data, model, definition, tau ([mean, σ] or None), and "summary" or "failed".
    claims : sequence of mapping
        As `stages.claims.Claim.plain`, and "shown": each number as text.
    pictures : mapping
        File name in the folder pictures, to its caption.
    failed : mapping
        What was not run, and why.
    assumed : sequence of str
        By the forecasts.
    versions : mapping
    made : str
        When.
    """
    lines = [f"# {description or name}", "", opening(fits, claims), ""]
    lines += ["## Fits", "", *fit_table(fits), ""]
    lines += [
        "Σmν in eV: mean and standard deviation of the signed posterior. The limit is at 95 % for Σmν ≥ 0. The "
        "tension is (0.0588 − mean)/σ, and in brackets what the posterior's own tail above 0.0588 eV amounts to. χ² "
        "is that of data and priors at the best fit.",
        "",
    ]
    lines += ["## Claims", "", *claim_table(claims), ""]
    for claim in claims:
        lines += [*claim_lines(claim, pictures), ""]
    lines += ["## Pictures", ""]
    for file, caption in pictures.items():
        lines += [f"![{caption}](pictures/{file})", "", caption, ""]
    lines += ["## What differs from published analyses", "", *(f"- {text}" for text in DIFFERENCES), ""]
    if assumed:
        lines += ["## What the forecasts assume", "", *(f"- {text}" for text in assumed), ""]
    if failed:
        lines += ["## Not run", "", *(f"- {key}: {why}" for key, why in failed.items()), ""]
    lines += ["## Versions", "", ", ".join(f"{key} {value}" for key, value in versions.items()) + f"; {made}.", ""]
    return "\n".join(lines)


def opening(fits: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]]) -> str:
    """The answer in a paragraph, from what there is."""
    found = {row["name"]: row["summary"] for row in fits if "summary" in row}
    parts = []
    if "lcdm" in found:
        said = found["lcdm"]["about"]["mnu"]
        limit = said["limit95_physical"]
        parts.append(
            f"With its sign left free, Σmν is **{_value(found['lcdm'], 'mnu')} eV** from Planck, its lensing and DESI "
            f"DR2, {said['tension_normal']['gaussian']:.1f}σ below the 0.0588 eV that oscillations ask for"
            + ("" if limit is None else f" (with Σmν ≥ 0: below {limit:.3f} eV)")
            + "."
        )
    if "fixed_mass" in found:
        parts.append(
            f"The split is A_L^TTTEEE = {_value(found['fixed_mass'], 'A_L_TTTEEE')} against A_L^φφ = "
            f"{_value(found['fixed_mass'], 'A_L_phiphi')}."
        )
    moved = [
        (words, found[name])
        for name, words in (
            ("free_smoothing", "A_L^TTTEEE free"),
            ("free_both", "both A_L free"),
            ("geometry_mirrored", "distances alone, without lensing"),
            ("w0wa", "w0wa"),
            ("lscdm", "ΛsCDM"),
            ("tau_free", "τ free"),
        )
        if name in found and "mnu" in found[name]
    ]
    if moved:
        parts.append("It becomes " + "; ".join(f"{_value(one, 'mnu')} eV with {words}" for words, one in moved) + ".")
    counts = {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in VERDICTS}
    told = [f"{count} {VERDICTS[verdict][count > 1]}" for verdict, count in counts.items() if count]
    parts.append(f"Of {len(claims)} claims: {', '.join(told)}.")
    return " ".join(parts)


def fit_table(fits: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each fit."""
    lines = [
        "| fit | data | model | Σmν | τ | mean ± σ | < 95 % | below 0.0588 | A_L^TTTEEE | A_L^φφ | χ²/ndof |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in fits:
        tau = "–" if row["tau"] is None else f"{row['tau'][0]:g} ± {row['tau'][1]:g}"
        cells = [
            f"`{row['name']}`",
            ", ".join(_short(one) for one in row["data"]),
            row["model"],
            row["definition"],
            tau,
        ]
        if "summary" not in row:
            lines.append("| " + " | ".join([*cells, "not run", "", "", "", "", ""]) + " |")
            continue
        summary = row["summary"]
        about = summary["about"]
        said = about.get("mnu")
        if said is None:
            cells += [f"{about['held'].get('mnu', 0.0):g}", "", ""]
        else:
            limit, tension = said["limit95_physical"], said["tension_normal"]
            tail = "" if tension["n_sigma"] is None else f" ({tension['n_sigma']:.1f}σ)"
            cells += [
                _value(summary, "mnu"),
                "–" if limit is None else f"{limit:.3f}",
                f"{tension['gaussian']:.2f}σ{tail}".replace("-", "−"),
            ]
        for key in ("A_L_TTTEEE", "A_L_phiphi"):
            held = about["held"].get(key)
            seen = any(not one.startswith(("desi", "compressed")) for one in row["data"])
            cells.append(_value(summary, key) if key in summary else f"{held:g}" if held is not None and seen else "")
        cells.append(f"{about['chi2']:.1f}/{about['ndof']}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def claim_table(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each claim: its first number, what was published, and the verdict."""
    lines = ["| | claim | lensrec | published | verdict |", "|---|---|---|---|---|"]
    for claim in claims:
        first = claim["numbers"][0] if claim["numbers"] else None
        shown = f"{first['name']}: {claim['shown'][0]}" if first else ""
        published = first["published"] if first else ""
        lines.append(
            f"| [{claim['id']}](#{claim['id'].lower()}) | {claim['claim']} | {shown} | {published} | "
            f"**{claim['verdict']}** |"
        )
    return lines


def claim_lines(claim: Mapping[str, Any], pictures: Mapping[str, str]) -> list[str]:
    """A claim with all of its numbers, the rule of its verdict, and why."""
    lines = [f"### {claim['id']}", "", f"*{claim['claim']}* **{claim['verdict'].capitalize()}.** {claim['why']}", ""]
    if claim["numbers"]:
        lines += ["| number | lensrec | published | data |", "|---|---|---|---|"]
        lines += [
            f"| {number['name']} | {shown} | {number['published']} | {number['data']} |"
            for number, shown in zip(claim["numbers"], claim["shown"], strict=True)
        ]
        lines.append("")
    picture = f" Picture: [{claim['picture']}](pictures/{claim['picture']})." if claim["picture"] in pictures else ""
    sources = f" Sources: {', '.join(claim['sources'])}." if claim["sources"] else ""
    lines.append(f"Rule: {claim['rule']}. Made from: {claim['data']}.{picture}{sources}")
    return lines


def _value(summary: Mapping[str, Any], name: str) -> str:
    mean, sigma = summary[name]["mean"], summary[name]["sigma"]
    return f"{mean:+.3f} ± {sigma:.3f}".replace("-", "−") if name == "mnu" else f"{mean:.3f} ± {sigma:.3f}"


def _short(name: str) -> str:
    known = {
        "planck2018_plik_lite": "plik_lite",
        "planck_pr4_lensing": "PR4 lensing",
        "act_planck_spt_lensing:act_planck": "ACT+PR4 lensing",
        "desi_dr2_bao": "DESI DR2",
        "compressed_cmb": "compressed CMB",
    }
    return known.get(name, name)
