"""A section of a recipe: its keys are checked, and what is left out or null is filled in."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    ValidationError,
    model_validator,
)

from lensrec.notation import parse_angle, parse_noise, shown
from lensrec.recipe_checks import explain
from lensrec.recipe_files import RecipeError


def _parse_degrees(value: Any) -> float:
    return parse_angle(value, "deg")


def _parse_names(value: Any) -> Any:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _one_line(value: str) -> str:
    if not value.isprintable() or len(value) > 200:
        raise ValueError(f"{shown(value)} will not do; one line of at most 200 letters")
    if "$" in value:
        raise ValueError(f"{shown(value)} will not do; pictures would take what is between $ for mathematics")
    return value


Arcmin = Annotated[NonNegativeFloat, BeforeValidator(parse_angle), Field(le=180 * 60)]
Degrees = Annotated[NonNegativeFloat, BeforeValidator(_parse_degrees), Field(le=180)]
Noise = Annotated[NonNegativeFloat, BeforeValidator(parse_noise), Field(le=1e8)]
# the recipe as a whole says which multipoles go with its pixels; this is far beyond any, and no memory is taken for it
Multipole = Annotated[int, Field(ge=2, le=1_000_000)]
PositiveMultipole = Annotated[int, Field(gt=0, le=1_000_000)]
Title = Annotated[str, AfterValidator(_one_line)]
Names = Annotated[tuple[str, ...], BeforeValidator(_parse_names), Field(min_length=1)]
Precision = Literal["double", "single"]
# A key declared `DERIVED` is never None once a recipe stands: it is filled in from the keys beside it.
DERIVED: Any = Field(default=None)


def _numbers_alone(annotation: Any) -> bool:
    kinds = {annotation, *get_args(annotation)}
    return bool(kinds & {int, float}) and bool not in kinds


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = cls.model_fields
        for key, value in data.items():
            if isinstance(value, bool) and key in fields and _numbers_alone(fields[key].annotation):
                raise ValueError(f"{key}: {str(value).lower()} will not do; a number")
        return {k: v for k, v in data.items() if v is not None or k not in fields or fields[k].default is not None}

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Check a dictionary; raises RecipeError with a line for each wrong key."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as err:
            raise RecipeError("\n".join(explain(err, cls))) from None

    def _fill(self, **values: Any) -> None:
        for key, value in values.items():
            if getattr(self, key) is None:
                self.__dict__[key] = value
