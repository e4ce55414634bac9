"""How messages name things: in one line, bounded, the first few, the nearest."""

from reid_jax.errors import did_you_mean, first_few, nearest, one_line, shown


def test_a_name_is_one_line_of_bounded_length():
    assert shown("a\nb\x1b[31m\u202e") == r"a\nb\x1b[31m\u202e"
    assert shown("žluťoučký kůň") == "žluťoučký kůň"
    assert one_line("a\r\nb\0" + "c" * 5000) == r"a\r\nb\x00" + "c" * 5000
    long = shown("a" * 5000 + "z.jpg")
    assert len(long) == 201
    assert long.startswith("aaa")
    assert long.endswith("z.jpg")


def test_the_first_five_are_named_and_the_rest_counted():
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(range(5)) == "0, 1, 2, 3, 4"
    assert first_few([str(number) for number in range(1240)], "; ") == "0; 1; 2; 3; 4 and 1,235 more"


def test_the_nearest_word_is_found_whatever_its_letter_case():
    known = ("identity", "camera", "Split")
    assert nearest("CAMERA_", known) == "camera"
    assert nearest("split", known) == "Split"
    assert nearest("xyz", known) is None
    assert did_you_mean("camra", known) == "; did you mean camera?"
    assert did_you_mean("xyz", known) == ""
