"""The keys of recipes, from the models that check them: values, default, and the comment beside it."""

import ast
import inspect
import io
import re
import tokenize
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def page() -> str:
    """The Markdown."""
    from lensrec.recipe import PipelineRecipe, Recipe
    from lensrec.recipe_anomaly import AnomalyRecipe
    from lensrec.recipe_fit import FitRecipe
    from lensrec.recipe_forecast import ForecastPlan

    kinds = {
        "A recipe of skies": (Recipe, "", "`simulate`, `reconstruct`, `bandpowers`, `split`"),
        "A pipeline": (PipelineRecipe, "pipeline-", "`run`"),
        "A fit": (FitRecipe, "fit-", "`fit`"),
        "A forecast": (ForecastPlan, "forecast-", "`forecast`"),
        "A pipeline of fits": (AnomalyRecipe, "fits-", "`run`"),
    }
    lines = [
        "# Recipe keys",
        "",
        "A recipe is one YAML file. Any key is set from the command line, too: `--set section.key=value`. What is",
        "left out takes the default; where that is *filled in*, it follows from other keys, and",
        "`lensrec inspect RECIPE` shows what came of it. A key that does not exist, or a value that will not do, is",
        "answered with one line that names it.",
        "",
        "This page is made from the code that checks recipes.",
        "",
    ]
    for title, (model, prefix, takers) in kinds.items():
        lines += [f"## {title}", "", f"For {takers}. {_first_paragraph(model)}", ""]
        lines += _section(model, "", prefix, 3)
    return "\n".join(lines)


def keys_of(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every key of a model by its dotted name, with its field."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        inner = _model_in(field.annotation)
        found[key] = field
        if inner is not None:
            found |= keys_of(inner, key + ".")
    return found


def _section(model: type[BaseModel], key: str, prefix: str, level: int) -> list[str]:
    said = comments(model)
    rows, below = [], []
    for name, field in model.model_fields.items():
        shown = field.alias or name
        inner = _model_in(field.annotation)
        if inner is not None:
            below.append((inner, f"{key}{shown}"))
            if get_origin(field.annotation) is not dict and not _optional(field.annotation):
                continue
        dotted = (key + shown).replace(".", ".<wbr>")
        cells = (f"<code>{dotted}</code>", _values(field, model, name), _default(field), said.get(name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines = ["| key | values | default | what it is |", "|---|---|---|---|", *rows, ""] if rows else []
    for inner, dotted in below:
        if inner.__module__ != model.__module__ and inner.__name__ in ("FitRecipe", "ForecastPlan"):
            continue
        lines += [f"{'#' * level} {dotted} {{ #{prefix}{dotted} }}", "", _prose(inspect.getdoc(inner) or ""), ""]
        lines += _section(inner, dotted + ".", prefix, level)
    return lines


def comments(model: type[BaseModel]) -> dict[str, str]:
    """The comment behind each field, on the line on which its definition ends."""
    file = Path(inspect.getsourcefile(model) or "")
    source = file.read_text(encoding="utf-8")
    behind = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = next(n.body for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == model.__name__)
    return {
        node.target.id: _prose(behind[node.end_lineno])
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno in behind
    }


def _values(field: Any, model: type[BaseModel], name: str) -> str:
    schema = model.model_json_schema()["properties"].get(field.alias or name, {})
    definitions = model.model_json_schema().get("$defs", {})
    words = _schema_words(schema, definitions)
    reads = {getattr(part, "func", None) and part.func.__name__ for part in _validators(field)}
    angle = {"parse_angle": "arcmin, or `1.4arcmin`", "_parse_degrees": "degrees, or `30arcmin`"}
    noise = "µK·arcmin, or `6uK-arcmin`"
    for function, text in {**angle, "parse_noise": noise}.items():
        if function in reads:
            return text
    return words


def _validators(field: Any) -> list[Any]:
    parts = list(field.metadata)
    for inner in get_args(field.annotation):
        parts += list(getattr(inner, "__metadata__", ()))
    return parts


def _schema_words(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _schema_words(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "allOf" in schema:
        return _schema_words(schema["allOf"][0], definitions)
    if "anyOf" in schema:
        return ", or ".join(_schema_words(part, definitions) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type")
    if kind == "array":
        items = _schema_words(schema.get("items", {}), definitions)
        return f"list of {items}"
    names = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "null": "`null`"}
    words = names.get(str(kind), "text" if kind == "string" else "keys and values")
    if schema.get("format") == "path":
        words = "path"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema]
    return " ".join([words, ", ".join(bounds)]).strip()


def _default(field: Any) -> str:
    if field.is_required():
        return "**needed**"
    if field.default is None and field.default_factory is None:
        return "`null`" if _optional(field.annotation) else "*filled in*"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple | list):
        return ", ".join(f"`{item}`" for item in value) or "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, BaseModel) or value == {}:
        return "none" if value == {} else ""
    return f"`{value}`" if value != "" else "empty"


def _optional(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Literal:
        return None
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _first_paragraph(model: type[BaseModel]) -> str:
    return _prose((inspect.getdoc(model) or "").partition("\n\n")[0])


def _prose(text: str) -> str:
    """Words of the code as Markdown, in one paragraph or more."""
    plain = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    return re.sub(r"([*_\[\]])", r"\\\1", plain) if "`" not in plain else plain
