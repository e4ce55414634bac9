"""Options behind a data set's name."""

import dataclasses

import pytest

from reid_jax.data.builders.options import NoOptions, full_name, parse_options
from reid_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Options:
    flag: bool = False
    number: int = 1
    word: str = dataclasses.field(default="new", metadata={"choices": ("new", "classic")})


def test_values_are_read_as_their_kind_and_the_rest_stays_default():
    assert parse_options(Options, "set") == Options()
    assert parse_options(Options, "set:flag") == Options(flag=True)
    assert parse_options(Options, "set:flag=false,word=classic,number=12") == Options(False, 12, "classic")
    assert parse_options(Options, f"set:number={'9' * 18}").number == 10**18 - 1
    assert parse_options(NoOptions, "set") == NoOptions()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("set:", "is not field=value; the fields are: flag, number, word"),
        ("set:flog", "'flog' is not field=value"),
        ("set:flag,flag", "given twice"),
        ("set:flag=yes", "is no flag"),
        ("set:number", "has no value"),
        ("set:number=-1", "not a whole number"),
        ("set:number=\u0662", "not a whole number"),
        (f"set:number={'9' * 5000}", "number='9+…9+' is not a whole number of at most 18 digits"),
        (f"set:number={'9' * 19}", "is not a whole number of at most 18 digits"),
        (f"set:{'x' * 5000}", "data set 'set:x+…x+': 'x+…x+' is not field=value"),
        (f"set:word={'x' * 5000}", "word='x+…x+'; choose one of"),
        ("set:a\nb", r"'a\\\\nb' is not field=value"),
        ("set:word=old", "choose one of new, classic"),
    ],
)
def test_what_does_not_fit_is_named(name, said):
    with pytest.raises(InputError, match=said) as caught:
        parse_options(Options, name)
    assert len(str(caught.value)) < 700
    assert "\n" not in str(caught.value)


def test_a_set_without_options_takes_none():
    with pytest.raises(InputError, match="takes nothing after its name; write 'set'"):
        parse_options(NoOptions, "set:x=1")


def test_the_full_name_reads_back_as_the_same_options():
    options = Options(True, 7, "classic")
    name = full_name("set", options)
    assert name == "set:flag=true,number=7,word=classic"
    assert parse_options(Options, name) == options
    assert full_name("set", NoOptions()) == "set"
