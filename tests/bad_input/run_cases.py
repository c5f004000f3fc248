"""Run directories in which one product is damaged, and the commands that read it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

BEGUN, COMPLETE = "begun", "complete"


class Damage(NamedTuple):
    """What is done to one file of a run, and the command after it.

    `run` says of which run: one that was begun, or one that is complete; `command` gets the run's folder.
    """

    about: str
    run: str
    file: str
    do: Callable[[Path], None]
    command: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<{self.file}: {self.about}, {' '.join(self.command)}>"


READERS = {
    "theory.ecsv": (BEGUN, ("reconstruct",)),
    "recon/0000/bandpowers.ecsv": (COMPLETE, ("bandpowers",)),
    "recon/n1_matrices.fits": (COMPLETE, ("bandpowers",)),
    "spectra/0000.ecsv": (COMPLETE, ("bandpowers",)),
    "provenance.json": (COMPLETE, ("bandpowers",)),
    "bandpowers.sacc.fits": (COMPLETE, ("split",)),
    "sims/0000/data.fits": (BEGUN, ("reconstruct",)),
    "sims/0000/phi_alm.fits": (BEGUN, ("reconstruct",)),
    "recipe.yaml": (BEGUN, ("reconstruct",)),
}


def damage(file: str, about: str, do: Callable[[Path], None]) -> Damage:
    """One of a file that some command reads."""
    return Damage(about, READERS[file][0], file, do, READERS[file][1])


# ---------------------------------------------------------------- tables


def tables() -> SearchStrategy[Damage]:
    """ECSV tables with a value, a row, a column or a header that cannot be; their length is as it should be."""
    file = st.sampled_from(["theory.ecsv", "recon/0000/bandpowers.ecsv", "spectra/0000.ecsv"])
    value = st.sampled_from(["nan", "inf", "-inf", '""', "many", "1e999", "1,5", "0x10", "None", "1e", "[1]", "NaN"])
    place = st.tuples(st.floats(0, 0.999), st.floats(0, 0.999))

    def cell(file: str, value: str, at: tuple[float, float]) -> Damage:
        def do(path: Path) -> None:
            head, names, rows = parts(path)
            row = int(at[0] * len(rows))
            words = rows[row].split(" ")
            # words of the table of band powers are no numbers, and transfer need not be one
            usable = [
                i
                for i, name in enumerate(names.split(" "))
                if name not in ("block", "source") and "transfer" not in name
            ]
            words[usable[int(at[1] * len(usable))]] = value
            rows[row] = " ".join(words)
            put(path, head, names, rows)

        return damage(file, f"{value} at {at[0]:.2f}, {at[1]:.2f}", do)

    def line(file: str, kind: str, at: float) -> Damage:
        def do(path: Path) -> None:
            head, names, rows = parts(path)
            k = int(at * len(rows))
            column = int(at * len(names.split(" ")))
            if kind == "one value more":
                rows[k] += " 1"
            elif kind == "one value less":
                rows[k] = rows[k].rpartition(" ")[0]
            elif kind == "binary":
                rows[k] = "\x00\x01 " + rows[k].partition(" ")[2]
            elif kind == "a column under another name":
                used = {
                    "theory.ecsv": ("ell", "TT_lensed", "PP"),
                    "bandpowers.ecsv": ("auto_MV", "n1_MV"),
                    "0000.ecsv": ("power", "source"),
                }
                old = used[path.name]
                new = old[int(at * len(old))]
                names = " ".join("x" if name == new else name for name in names.split(" "))
                head = [text.replace(f"{{name: {new},", "{name: x,") for text in head]
            elif kind == "a name less":
                names = " ".join(name for i, name in enumerate(names.split(" ")) if i != column)
            elif kind == "a name twice":
                words = names.split(" ")
                words[column] = words[column - 1]
                names = " ".join(words)
            elif kind == "no header":
                head = ["# "] * len(head)
            put(path, head, names, rows)

        return damage(file, f"{kind} at {at:.2f}", do)

    def header(file: str, change: str) -> Damage:
        before, after = {
            "objects": ("datatype: float64}", "datatype: object}"),
            "a subtype": ("datatype: float64}", "datatype: string, subtype: 'float64[2]'}"),
            "json": ("datatype: float64}", "datatype: string, subtype: json}"),
            "a kind of its own": ("datatype: float64}", "datatype: float999}"),
            "a call": ("datatype: float64}", "datatype: !!python/object/apply:os.system [true]}"),
            "a class of astropy's": ("datatype: float64}", "datatype: !astropy.units.Unit {unit: K}}"),
            "an array": (
                "datatype: float64}",
                "datatype: !numpy.ndarray {buffer: '', dtype: float64, shape: [9], order: C}}",
            ),
            "complex numbers": ("datatype: float64}", "datatype: complex128}"),
            "text": ("datatype: float64}", "datatype: string}"),
            "not YAML": ("# datatype:", "# datatype: ["),
            "no datatype": ("# datatype:", "# kinds:"),
            "aliases": (
                "# datatype:",
                "# a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n# b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                "# c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n# d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
                "# e: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n# datatype:",
            ),
            "depth": ("# datatype:", "# a: " + "[" * 3000 + "\n# datatype:"),
            "another version": ("%ECSV 1.0", "%CSV 1.0"),
            "another delimiter": ("# datatype:", "# delimiter: ','\n# datatype:"),
        }[change]

        def do(path: Path) -> None:
            text = path.read_text()
            assert before in text
            path.write_text(text.replace(before, after, 1))

        return damage(file, f"header: {change}", do)

    kinds = [
        "one value more",
        "one value less",
        "binary",
        "a column under another name",
        "a name less",
        "a name twice",
        "no header",
    ]
    changes = [
        "objects",
        "a subtype",
        "json",
        "a kind of its own",
        "a call",
        "a class of astropy's",
        "an array",
        "complex numbers",
        "not YAML",
        "no datatype",
        "aliases",
        "depth",
        "another version",
        "another delimiter",
    ]
    return st.one_of(
        st.builds(cell, file, value, place),
        st.builds(line, file, st.sampled_from(kinds), st.floats(0, 0.999)).filter(
            lambda d: "spectra" not in d.file or "binary" not in d.about
        ),
        st.builds(header, file, st.sampled_from(changes)),
        st.just(header("theory.ecsv", "text")),
    )


def parts(path: Path) -> tuple[list[str], str, list[str]]:
    """Header, names of columns, and rows."""
    lines = path.read_text().rstrip("\n").split("\n")
    start = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return lines[:start], lines[start], lines[start + 1 :]


def put(path: Path, head: list[str], names: str, rows: list[str]) -> None:
    """A table of these."""
    path.write_text("\n".join([*head, names, *rows]) + "\n")


# ---------------------------------------------------------------- JSON and YAML


def texts() -> SearchStrategy[Damage]:
    """provenance.json and recipe.yaml that say something else, or nothing."""

    def bytes_in(file: str, content: bytes) -> Damage:
        return damage(file, repr(content[:60]), lambda path: _write(path, content))

    def value(key: str, text: str) -> Damage:
        def do(path: Path) -> None:
            data = json.loads(path.read_text())
            data[key] = json.loads(text)
            path.write_text(json.dumps(data))

        return damage("provenance.json", f"{key}: {text}", do)

    def recipe(key: str, text: str) -> Damage:
        def do(path: Path) -> None:
            content = path.read_text()
            at = content.index(f"{key}:")
            end = content.index("\n", at)
            path.write_text(f"{content[:at]}{key}: {text}{content[end:]}")

        return damage("recipe.yaml", f"{key}: {text}", do)

    contents = [
        b"null",
        b"[]",
        b"3",
        b'"x"',
        b"{",
        b"[1",
        b"\xff\xfe{}",
        b"\x00",
        b"{]",
        b"{'a': 1}",
        b"{} {}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"packages": [1]}',
        b'{"inputs": null}',
        "{}".encode("utf-16"),
        b"x" * 5000,
    ]
    return st.one_of(
        st.builds(bytes_in, st.just("provenance.json"), st.sampled_from(contents)),
        st.builds(
            value,
            st.sampled_from(["inputs", "packages", "resumed", "bandpowers", "backends"]),
            st.sampled_from(["3", "null", '"x"', "true", "1.5", '["a"]', '{"a": 1}']),
        ).filter(
            lambda d: (
                not (d.about.startswith("resumed") and "[" in d.about)
                and not ("{" in d.about and "resumed" not in d.about)
            )
        ),
        st.builds(
            recipe,
            st.sampled_from(["nside", "lmax", "seed", "fwhm", "noise_t", "estimators", "H0", "L_max"]),
            st.sampled_from(
                ["many", ".nan", "-1", "[]", "!!python/name:os.system", "*a", "1e999", "99999999999999", "'"]
            ),
        ),
    )


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
