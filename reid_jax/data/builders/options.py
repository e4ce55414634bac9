"""Options behind a data set's name, as in 'msmt17:version=1,val=train', read into a frozen dataclass of defaults."""

import dataclasses
from typing import TypeVar

from reid_jax.errors import InputError, shown

_MOST_DIGITS = 18  # what 64 bits hold

Options = TypeVar("Options")


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """For a data set that takes none."""


def parse_options(cls: type[Options], name: str) -> Options:
    """Reads 'NAME' or 'NAME:field=value,…' into `cls`, whose fields are bool, int or str with defaults.

    A bool may stand alone ('market1501:distractors'). A str field may list its values as
    `dataclasses.field(default=..., metadata={'choices': (...)})`.

    Raises:
      InputError: an unknown or repeated field, or a value that does not fit.
    """
    key, colon, text = name.partition(":")
    where = f"data set {shown(name)!r}"
    fields = {field.name: field for field in dataclasses.fields(cls)}
    known = ", ".join(fields)
    if colon and not fields:
        raise InputError(f"{where} takes nothing after its name; write {key!r}")
    values = {}
    for item in text.split(",") if colon else []:
        key, equals, value = item.partition("=")
        if key not in fields:
            raise InputError(f"{where}: {shown(item)!r} is not field=value; the fields are: {known}")
        if key in values:
            raise InputError(f"{where}: {key} is given twice; give it once")
        values[key] = _value(where, fields[key], value if equals else None)
    return cls(**values)


def _value(where: str, field: dataclasses.Field, text: str | None) -> bool | int | str:
    kind = type(field.default)
    if kind is bool:
        if text not in (None, "true", "false"):
            raise InputError(f"{where}: {field.name}={shown(text)!r} is no flag; write {field.name}=true or =false")
        return text != "false"
    if not text:
        raise InputError(f"{where}: {field.name} has no value; write {field.name}={field.default}")
    choices = field.metadata.get("choices")
    if kind is int:
        if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
            raise InputError(
                f"{where}: {field.name}={shown(text)!r} is not a whole number of at most {_MOST_DIGITS} digits"
            )
        value = int(text)
    else:
        value = text
    if choices and value not in choices:
        known = ", ".join(str(choice) for choice in choices)
        raise InputError(f"{where}: {field.name}={shown(text)!r}; choose one of {known}")
    return value


def full_name(key: str, options: object) -> str:
    """The name with every option spelled out: results say by it what they were measured on."""

    def spell(value):
        return str(value).lower() if isinstance(value, bool) else str(value)

    values = [f"{field.name}={spell(getattr(options, field.name))}" for field in dataclasses.fields(options)]
    return f"{key}:{','.join(values)}" if values else key
