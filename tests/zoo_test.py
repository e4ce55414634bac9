"""Weights by name: where they are found, what is said where they are not, and what is put on the shelf."""

import numpy as np
import pytest
import tiny_config
from made_variables import made_variables

from reid_jax import Extractor, zoo
from reid_jax.describe import Encoder
from reid_jax.descriptors import digest_of
from reid_jax.errors import InputError
from reid_jax.main import main
from reid_jax.parallel import one_device
from reid_jax.weights import Weights, load_weights, network_of, save_weights


@pytest.fixture(autouse=True)
def shelf(monkeypatch, tmp_path):
    """The user's own folder, which is not there yet."""
    monkeypatch.setenv("REID_JAX_ZOO", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A file of weights with classifiers of five people."""
    config = tiny_config.get_config()
    config.model.repeats, config.image_size = (0, 0, 0), (32, 32)
    weights = Weights(config, 5, made_variables(network_of(config, 5), (32, 32)), people="0" * 64)
    path = tmp_path_factory.mktemp("weights") / "a.safetensors"
    save_weights(path, weights)
    return path


def test_what_is_added_describes_as_before_without_classifiers(trained, shelf, capsys):
    assert main(["zoo", "add", "doorway", f"--weights={trained}"]) == 0
    added = load_weights("zoo:doorway")
    assert f"digest {digest_of(added.variables)}" in capsys.readouterr().out
    assert [path.name for path in shelf.iterdir()] == ["doorway.safetensors"]
    assert (added.identities, added.people) == (0, "")
    assert not [name for name in added.variables["params"] if name.startswith("classifier")]
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    before = Encoder.of(load_weights(trained), one_device()).describe(image)
    np.testing.assert_allclose(Extractor("zoo:doorway")(image, colour="rgb"), before, atol=1e-6)


def test_a_name_is_not_taken_twice_unless_asked_for(trained, shelf, capsys):
    add = ["zoo", "add", "doorway", f"--weights={trained}"]
    assert main(add) == 0
    before = (shelf / "doorway.safetensors").stat().st_ino
    assert main(add) == 2
    assert "is there already; take another name, or --replace it" in capsys.readouterr().err
    assert (shelf / "doorway.safetensors").stat().st_ino == before
    assert main([*add, "--replace"]) == 0


@pytest.mark.parametrize("name", ["../a", "a/b", "A", "", ".a", "a" * 65, "a b", "ä"])
def test_what_is_no_name_is_refused(trained, shelf, capsys, name):
    assert main(["zoo", "add", f"--weights={trained}", "--", name]) == 2
    assert "is no name for weights" in capsys.readouterr().err
    assert not shelf.exists()
    with pytest.raises(InputError, match="is not in the zoo"):
        load_weights(f"zoo:{name}")


def test_what_is_not_here_is_told_with_what_makes_it():
    with pytest.raises(InputError, match=r"zoo:market-1x is not here and is not downloaded; make it: reid-jax train "):
        load_weights("zoo:market-1x")
    with pytest.raises(InputError, match=r"zoo:market-1y is not in the zoo, .*; did you mean market-1x\?"):
        load_weights("zoo:market-1y")


def test_list_and_show_tell_what_is_here(trained, capsys):
    main(["zoo", "add", "doorway", f"--weights={trained}"])
    main(["zoo", "add", "market-1x", f"--weights={trained}"])
    capsys.readouterr()
    assert main(["zoo", "list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:]}
    assert list(rows) == [f"zoo:{name}" for name in (*zoo.ENTRIES, "doorway")]
    assert "here" in rows["zoo:market-1x"]
    assert "research only" in rows["zoo:market-1x"]
    assert "to be made" in rows["zoo:market-2x"]
    assert "added by you" in rows["zoo:doorway"]
    assert main(["zoo", "show", "zoo:market-1x"]) == 0
    out = capsys.readouterr().out
    assert "reid-jax train --config=configs/robust_reid.py:size=1x" in out
    assert f"digest: {digest_of(load_weights('zoo:market-1x').variables)}" in out
    assert main(["zoo", "show", "market-2x"]) == 0
    assert "file:" not in capsys.readouterr().out
    assert main(["zoo", "show", "nothing"]) == 2


def test_those_of_the_package_are_what_their_entry_and_card_say(capsys):
    for name, entry in zoo.ENTRIES.items():
        assert bool(entry.digest) == bool(zoo.card_of(name)) == zoo.is_here(name)
        if entry.digest:
            weights = load_weights(f"zoo:{name}")
            assert digest_of(weights.variables) == entry.digest
            assert weights.identities == 0
    extractor = Extractor()
    assert "Extractor: zoo:street, nano at 160x64, trained on drawn people alone" in capsys.readouterr().err
    assert extractor.digest == zoo.ENTRIES[zoo.DEFAULT].digest
    assert main(["zoo", "show", "street"]) == 0
    assert "What it must not be used for" in capsys.readouterr().out


def test_own_weights_of_a_packaged_name_are_shown_as_own(trained, shelf, capsys):
    own = ("added by you, in place of the package's", "file: ", "digest: ")
    assert main(["zoo", "add", "street", f"--weights={trained}"]) == 0
    capsys.readouterr()
    assert main(["zoo", "show", "street"]) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in own)
    for words in ("Apache-2.0", "made by", "What it must not be used for"):
        assert words not in said
    assert main(["zoo", "list"]) == 0
    assert "zoo:street  here  added by you" in " ".join(capsys.readouterr().out.split()).replace(" here ", "  here  ")
    Extractor()
    assert "Extractor: zoo:street, your own weights in " in capsys.readouterr().err
    (shelf / "street.safetensors").write_bytes(b"damaged")
    assert main(["zoo", "list"]) == 0
    assert "Apache-2.0" not in capsys.readouterr().out
    (shelf / "street.safetensors").unlink()
    packaged = zoo.file_of("zoo:street").read_bytes()
    (shelf / "street.safetensors").write_bytes(packaged)  # the same weights elsewhere
    assert main(["zoo", "show", "street"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


def test_every_entry_says_what_makes_it():
    for name, entry in zoo.ENTRIES.items():
        assert entry.about
        assert entry.licence
        assert entry.commands[-1].startswith(f"reid-jax zoo add {name} --weights=")
