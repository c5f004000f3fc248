"""Run directories in which coefficients, matrices, skies or band powers are damaged."""

import json
from pathlib import Path

import numpy as np
from astropy.io import fits
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.bad_input.run_cases import Damage, damage


def arrays() -> SearchStrategy[Damage]:
    """Harmonic coefficients, matrices and skies that hold nothing, too little, or are no such thing."""

    def alm(kind: str) -> Damage:
        def do(path: Path) -> None:
            with fits.open(path) as hdus:
                data = np.array(hdus[1].data)
                header = hdus[1].header
            index, real, imag = (data[name] for name in ("index", "real", "imag"))
            if kind == "NaN":
                real = real * np.nan
            elif kind == "infinite":
                imag = np.where(np.arange(len(imag)) == 3, np.inf, imag)
            elif kind == "index from zero":
                index = index - 1
            elif kind == "index of negative orders":
                index = np.arange(1, len(index) + 1)
            elif kind == "one twice":
                index = np.where(np.arange(len(index)) == 5, index[4], index)
            elif kind == "an index far away":
                index = np.where(np.arange(len(index)) == 5, 2_000_000_000, index)
            elif kind == "a band limit too low":
                keep = index <= 25
                index, real, imag = index[keep], real[keep], imag[keep]
            elif kind == "no rows":
                index, real, imag = index[:0], real[:0], imag[:0]
            elif kind == "index of floats":
                index = index + 0.5
            elif kind == "two columns":
                imag = None
            elif kind == "words":
                real = np.array(["word"] * len(index))
            columns = [fits.Column("index", "D" if index.dtype.kind == "f" else "J", array=index)]
            columns.append(fits.Column("real", "4A" if real.dtype.kind == "U" else "D", array=real))
            if imag is not None:
                columns.append(fits.Column("imag", "D", array=imag))
            table = fits.BinTableHDU.from_columns(columns)
            table.header["MAX-LPOL"] = header["MAX-LPOL"]
            fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)

        return damage("sims/0000/phi_alm.fits", kind, do)

    def matrix(kind: str, part: str) -> Damage:
        def do(path: Path) -> None:
            with fits.open(path) as hdus:
                images = {hdu.name: np.array(hdu.data) for hdu in hdus[1:]}
            if kind == "missing":
                del images[part]
            elif kind == "NaN":
                images[part] = images[part] * np.nan
            elif kind == "infinite":
                images[part] = images[part].astype(float)
                images[part].flat[0] = np.inf
            elif kind == "a row less":
                images[part] = images[part][:-1]
            elif kind == "one number":
                images[part] = images[part].reshape(-1)[:1]
            elif kind == "another name":
                images["NONE"] = images.pop(part)
            made = [fits.ImageHDU(values, name=name) for name, values in images.items()]
            fits.HDUList([fits.PrimaryHDU(), *made]).writeto(path, overwrite=True)

        return damage("recon/n1_matrices.fits", f"{part} {kind}", do)

    def sky(kind: str) -> Damage:
        def do(path: Path) -> None:
            with fits.open(path, mode="update") as hdus:
                table = hdus[1]
                if kind == "NaN":
                    for name in table.columns.names:
                        table.data[name] = np.nan
                elif kind in ("ORDERING", "NSIDE", "TUNIT1", "TTYPE1"):
                    table.header[kind] = {"ORDERING": "SPIRAL", "NSIDE": 12, "TUNIT1": "parsec", "TTYPE1": "NONE"}[kind]
                else:
                    table.header["POLCCONV"] = "LEFT"

        return damage("sims/0000/data.fits", kind, do)

    def raw(file: str, kind: str, at: float) -> Damage:
        def do(path: Path) -> None:
            content = path.read_bytes()
            if kind == "text":
                path.write_bytes(b"not FITS\n" * 500)
            elif kind == "gzip of nothing":
                path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(500))
            elif kind == "cut":
                path.write_bytes(content[: int(at * (len(content) - 2880))])
            else:
                path.write_bytes(content[:2880] + b"\x00" * 2880 + content[5760:])

        return damage(file, f"{kind} {at:.2f}" if kind == "cut" else kind, do)

    kinds = [
        "NaN",
        "infinite",
        "index from zero",
        "index of negative orders",
        "one twice",
        "an index far away",
        "a band limit too low",
        "no rows",
        "index of floats",
        "two columns",
        "words",
    ]
    return st.one_of(
        st.sampled_from(kinds).map(alm),
        st.builds(
            matrix,
            st.sampled_from(["missing", "NaN", "infinite", "a row less", "one number", "another name"]),
            st.sampled_from(["MULTIPOLES", "PHI_TT", "CURL_TT", "PHI_MV", "CURL_EE"]),
        ),
        st.sampled_from(["NaN", "ORDERING", "NSIDE", "TUNIT1", "TTYPE1", "POLCCONV"]).map(sky),
        st.builds(
            raw,
            st.sampled_from(["sims/0000/data.fits", "sims/0000/phi_alm.fits", "bandpowers.sacc.fits"]),
            st.sampled_from(["text", "gzip of nothing", "cut", "a block of zeros"]),
            st.floats(0.0, 0.999),
        ),
    )


# ---------------------------------------------------------------- SACC


def sacc_files() -> SearchStrategy[Damage]:
    """Band powers whose values, covariance or tables cannot be."""

    def with_sacc(kind: str, value: float) -> Damage:
        def do(path: Path) -> None:
            change(path, kind, value)

        return damage("bandpowers.sacc.fits", f"{kind} {value}", do)

    def with_table(kind: str, which: int) -> Damage:
        def do(path: Path) -> None:
            with fits.open(path) as hdus:
                parts_ = [hdu.copy() for hdu in hdus]
            chosen = 1 + which % (len(parts_) - 1)
            if kind == "without":
                del parts_[chosen]
            elif kind == "without all after":
                del parts_[chosen:]
            elif kind == "twice":
                parts_.append(parts_[chosen].copy())
            elif kind == "without rows" and isinstance(parts_[chosen], fits.BinTableHDU):
                parts_[chosen] = fits.BinTableHDU(parts_[chosen].data[:0], header=parts_[chosen].header)
            else:
                parts_[chosen].header["SACCTYPE"] = "nothing"
                parts_[chosen].header["EXTNAME"] = "nothing"
            fits.HDUList(parts_).writeto(path, overwrite=True)

        return damage("bandpowers.sacc.fits", f"table {which} {kind}", do)

    values = st.sampled_from([np.nan, np.inf, -np.inf])
    return st.one_of(
        st.builds(with_sacc, st.sampled_from(["mean", "covariance", "variance", "window", "offset", "factor"]), values),
        st.builds(with_sacc, st.sampled_from(["all variances"]), st.sampled_from([0.0, -1.0, np.nan])),
        st.builds(with_sacc, st.sampled_from(["correlation"]), st.floats(1.5, 1e6)),
        st.builds(
            with_sacc,
            st.sampled_from(
                [
                    "no covariance",
                    "a covariance of another size",
                    "not symmetric",
                    "no metadata",
                    "no windows",
                    "a note that is no JSON",
                    "a note of another format",
                    "a note without windows",
                    "a note of huge windows",
                    "a strange type",
                    "a start that is none",
                    "a factor of zero",
                ]
            ),
            st.just(0.0),
        ),
    )


def change(path: Path, kind: str, value: float) -> None:
    """Load band powers as sacc does, put one thing wrong, and save them."""
    import warnings

    import sacc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = sacc.Sacc.load_fits(str(path))
        n = len(content.data)
        matrix = np.array(content.covariance.dense)
        note = json.loads(content.metadata["lensrec"])
        if kind == "mean":
            content.data[1].value = value
        elif kind == "covariance":
            matrix[0, 1] = matrix[1, 0] = value
        elif kind == "variance":
            matrix[2, 2] = value
        elif kind == "all variances":
            matrix = matrix * value if value == value and value else np.full_like(matrix, value)
        elif kind == "correlation":
            matrix[0, 1] = matrix[1, 0] = value * np.sqrt(matrix[0, 0] * matrix[1, 1])
        elif kind == "not symmetric":
            matrix[0, 1] = 0.9 * np.sqrt(matrix[0, 0] * matrix[1, 1])
            matrix[1, 0] = -matrix[0, 1]
        elif kind == "a covariance of another size":
            matrix = matrix[:-1, :-1]
        elif kind == "window":
            content.data[0].tags["window"].weight[3, 0] = value
        elif kind in ("offset", "factor"):
            content.data[0].tags[kind] = value
        elif kind == "a factor of zero":
            content.data[0].tags["factor"] = 0.0
        elif kind == "a strange type":
            content.data[0].data_type = "galaxy_shear_xi_plus"
        elif kind == "no windows":
            for point in content.data:
                point.tags.pop("window")
        elif kind == "no metadata":
            content.metadata = {}
        elif kind == "a note that is no JSON":
            content.metadata["lensrec"] = "{"
        elif kind.startswith("a note") or kind == "a start that is none":
            note |= {
                "a note of another format": {"format": 999},
                "a note without windows": {"windows": None},
                "a note of huge windows": {"windows": {"TT": 10**12}},
                "a start that is none": {"starts": {"windows_TT": -5, "corrections_PP": "x"}},
            }[kind]
            content.metadata["lensrec"] = json.dumps(note)
        if kind == "no covariance":
            content.covariance = None
        elif matrix.shape == (n, n):
            content.covariance = None
            content.add_covariance(matrix)
        content.save_fits(str(path), overwrite=True)
        if matrix.shape != (n, n):
            with fits.open(path, mode="update") as hdus:
                hdus["covariance:full:cov"].data = fits.BinTableHDU.from_columns(
                    [fits.Column(hdus["covariance:full:cov"].columns.names[0], f"{n - 1}D", array=matrix)]
                ).data
