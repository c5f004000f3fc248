"""Facts as lines of text: names and values, sections indented, tables aligned."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lensrec.view.text_picture import bar_line


def fact_lines(facts: Mapping[str, Any], *, bars: bool = False, indent: str = "") -> Iterator[str]:
    """Lines of `name: value`.

    Parameters
    ----------
    facts : mapping
        Words, numbers, lists, mappings of these, and tables: a mapping whose values are lists of one length.
    bars : bool
        Whether to draw the columns of a spectrum, in blocks of Unicode, below it.
    indent : str
    """
    for key, value in facts.items():
        if isinstance(value, Mapping) and _is_table(value):
            yield f"{indent}{key}:"
            yield from _table(value, indent + "  ")
            if bars and key == "spectrum":
                columns = [(name, column) for name, column in value.items() if not name.endswith(("_low", "_high"))]
                yield ""
                yield from (f"{indent}  {name:>12}  {bar_line(column)}" for name, column in columns)
        elif key == "percentiles":
            yield f"{indent}{key}: " + ", ".join(f"{rank} %: {_said(number)}" for rank, number in value.items())
        elif isinstance(value, Mapping):
            if value:
                yield f"{indent}{key}:"
                yield from fact_lines(value, bars=bars, indent=indent + "  ")
        elif isinstance(value, list | tuple):
            yield f"{indent}{key}: {', '.join(_said(v) for v in value) or 'none'}"
        else:
            yield f"{indent}{key}: {_said(value)}".rstrip()


def _is_table(value: Mapping[str, Any]) -> bool:
    columns = list(value.values())
    return len(columns) > 1 and all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns)


def _table(table: Mapping[str, Sequence[Any]], indent: str) -> Iterator[str]:
    cells = [[name, *(_cell(value) for value in column)] for name, column in table.items()]
    widths = [max(map(len, column)) for column in cells]
    words = [any(isinstance(value, str) for value in column) for column in table.values()]
    for row in zip(*cells, strict=True):
        parts = [f"{c:<{w}}" if left else f"{c:>{w}}" for c, w, left in zip(row, widths, words, strict=True)]
        yield (indent + "  ".join(parts)).rstrip()


def _said(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
