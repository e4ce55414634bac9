"""`reid-jax export`: files that hold what the weights hold, read back in place of them, and none where they differ."""

import importlib.util
import json

import jax
import numpy as np
import pytest
from made_sets import png
from places import ROOT

onnx = pytest.importorskip("onnx", reason="of the extra 'export'")
pytest.importorskip("onnxruntime", reason="of the extra 'export'")

from reid_jax import Extractor, parallel  # noqa: E402
from reid_jax import config as run_config  # noqa: E402
from reid_jax.data.augment import MEAN, STD  # noqa: E402
from reid_jax.describe import Encoder  # noqa: E402
from reid_jax.descriptors import digest_of, read_descriptors  # noqa: E402
from reid_jax.errors import InputError  # noqa: E402
from reid_jax.export import parity  # noqa: E402
from reid_jax.export.onnx import export_onnx, onnx_model  # noqa: E402
from reid_jax.export.reading import Export  # noqa: E402
from reid_jax.main import main  # noqa: E402
from reid_jax.tracking.calibration import Calibration, Threshold, Thresholds, write_calibration  # noqa: E402
from reid_jax.weights import Weights, save_weights  # noqa: E402

OWN = ROOT / "tests" / "own_network" / "config.py"


def weights_of(network="", size=(64, 32), **fields) -> Weights:
    """Weights of random numbers: nothing is compiled. Without a network's name the one of a user's own."""
    config = run_config.default(network) if network else run_config.load(str(OWN))
    if network:
        config.image_size = size
    config.model.update(fields)
    empty = Weights(config, 0, {})
    image = jax.ShapeDtypeStruct((2, *config.image_size, 3), np.float32)
    shapes = jax.eval_shape(lambda i: empty.network.init(jax.random.key(0), i, train=True), image)
    random = np.random.default_rng(0)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            return (random.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))).astype(np.float32)
        low, high = {"p": (2.5, 3.5), "mean": (-0.2, 0.2), "bias": (-0.2, 0.2)}.get(name, (0.5, 1.5))
        return random.uniform(low, high, leaf.shape).astype(np.float32)

    drawn = jax.tree_util.tree_map_with_path(draw, {key: shapes[key] for key in ("params", "batch_stats")})
    return Weights(config, 0, drawn)


@pytest.fixture(scope="module")
def weights():
    return weights_of()


@pytest.fixture(scope="module")
def saved(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    save_weights(path, weights)
    return path


@pytest.fixture(scope="module")
def exported(saved, tmp_path_factory):
    """What the verb writes of them: as ONNX, for pixels, and as StableHLO."""
    folder = tmp_path_factory.mktemp("exported")
    for name, *options in (("own.onnx",), ("pixels.onnx", "--uint8"), ("own.stablehlo",)):
        assert main(["export", f"--weights={saved}", f"--out={folder / name}", *options]) == 0
    return folder


def told(capsys, *arguments) -> str:
    """The one line on stderr of a command that is refused."""
    assert main([str(argument) for argument in arguments]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


SMALL = dict(stem=8, widths=(16, 16, 32), repeats=(1, 0, 0), global_width=16, local_width=16)


@pytest.mark.parametrize(
    ("network", "size", "fields"),
    [
        ("nano", (64, 32), {**SMALL, "repeats": (1, 2, 0), "instance_norms": 3}),
        ("nano", (64, 32), {**SMALL, "pooling": "average_max", "crop_align_corners": False, "normalisation": "bnneck"}),
        ("nano", (32, 32), {**SMALL, "regions": False, "gem_per_channel": True, "dtype": "bfloat16"}),
        ("hacnn", (64, 32), SMALL),
        ("osnet_x0_25", (50, 22), {"repeats": (1, 1, 1), "scales": 2, "widths": (16, 16, 32)}),
    ],
)
def test_networks_give_the_descriptors_of_their_weights(network, size, fields, tmp_path):
    written = export_onnx(weights_of(network, size, **fields), tmp_path / "out.onnx")
    assert written.difference < 2e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.onnx", "out.onnx.metadata.json"]


def test_nano_has_at_most_three_hundred_nodes_and_no_convolution_between_transposes():
    graph = onnx_model(weights_of("nano", (160, 64))).graph
    assert len(graph.node) <= 300
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 70
    assert "Transpose" not in {made_by.get(node.input[0]) for node in convolutions}


def test_the_file_says_of_which_weights_it_is_and_what_it_takes(exported, weights):
    facts = {each.key: each.value for each in onnx.load(exported / "own.onnx").metadata_props}
    assert json.loads(facts["mean"]) == list(MEAN)
    assert json.loads(facts["std"]) == list(STD)
    assert (facts["colour"], facts["training_set"]) == ("RGB", weights.config.dataset)
    assert facts["digest"] == digest_of(weights.variables)
    assert json.loads(facts["streams"]) == [8]
    assert facts["input"] == "float32 [batch, 3, height, width], normalised"
    sidecar = json.loads((exported / "own.onnx.metadata.json").read_text())
    assert sidecar == {
        "schema_version": 1,
        "model_name": "own",
        "img_size": [32, 16],
        "preprocess": "resize",
        "dynamic_batch": True,
    }
    ends = {}
    for name in ("own", "pixels"):
        graph = onnx.load(exported / f"{name}.onnx").graph
        (images,), (embeddings,) = graph.input, graph.output
        ends[name] = [
            [d.dim_param or d.dim_value for d in end.type.tensor_type.shape.dim] for end in (images, embeddings)
        ]
        assert (images.name, embeddings.name) == ("images", "embeddings")
    assert ends == {"own": [["batch", 3, 32, 16], ["batch", 8]], "pixels": [["batch", 32, 16, 3], ["batch", 8]]}


def test_thresholds_of_a_calibration_are_told_in_the_file(saved, weights, tmp_path, capsys):
    calibrated = tmp_path / "calibrated.json"
    of_visits, of_images = (Thresholds(9, 99, (Threshold(0.01, at, None),)) for at in (0.5, 0.7))
    write_calibration(calibrated, Calibration(of_visits, of_images, digest=digest_of(weights.variables)))
    out = tmp_path / "own.onnx"
    assert main(["export", f"--weights={saved}", f"--out={out}", f"--calibration={calibrated}"]) == 0
    facts = {each.key: each.value for each in onnx.load(out).metadata_props}
    assert json.loads(facts["thresholds"]) == {"0.01": 0.7}
    capsys.readouterr()
    for damaged, words in (
        (calibrated.read_text().replace("0.7", '"x"'), "is no calibration"),
        (calibrated.read_text().replace('"digest": "', '"digest": "other'), "is not of the weights"),
    ):
        calibrated.write_text(damaged)
        assert words in told(capsys, "export", f"--weights={saved}", f"--out={out}", f"--calibration={calibrated}")


@pytest.mark.parametrize("name", ["own.onnx", "pixels.onnx", "own.stablehlo"])
def test_what_is_read_back_describes_as_the_weights_do(exported, weights, name):
    image = np.random.default_rng(1).integers(0, 256, (35, 32, 16, 3), np.uint8)
    encoder, export = Encoder.of(weights, parallel.create_mesh()), Export(exported / name)
    for flip in (False, True):
        np.testing.assert_allclose(export.describe(image, flip), encoder.describe(image, flip), atol=1e-5)
    assert (export.streams, export.digest, export.dimensions) == (encoder.streams, encoder.digest, 8)
    assert export.describe(image[:0]).shape == (0, 8)
    with pytest.raises(InputError, match="images have 31x16 pixels"):
        export.describe(image[:, 1:])


def test_embed_and_evaluate_take_an_export_in_place_of_weights(exported, saved, tmp_path, capsys):
    (tmp_path / "crops").mkdir()
    for number, size in enumerate([(8, 16), (20, 50), (7, 9)]):
        (tmp_path / "crops" / f"{number}.png").write_bytes(png(number, size))
    found = {}
    for name, path in (("weights", saved), ("export", exported / "pixels.onnx")):
        out = tmp_path / f"{name}.npz"
        assert main(["embed", f"--weights={path}", f"--images={tmp_path / 'crops'}", f"--out={out}", "--flip"]) == 0
        found[name] = read_descriptors(out)
    np.testing.assert_allclose(found["export"].embedding, found["weights"].embedding, atol=1e-5)
    assert found["export"].weights == found["weights"].weights
    np.testing.assert_array_equal(Extractor(exported / "own.onnx").image_size, (32, 16))
    for path in (saved, exported / "own.onnx"):
        report = tmp_path / "report.json"
        arguments = ["evaluate", f"--weights={path}", f"--data_dir={tmp_path / 'data'}", f"--json={report}"]
        assert main(arguments) == 0
        found[path] = json.loads(report.read_text())["metrics"]
    assert found[saved] == pytest.approx(found[exported / "own.onnx"])
    capsys.readouterr()
    line = told(capsys, "evaluate", f"--weights={exported / 'own.onnx'}", f"--data_dir={tmp_path}", "--swag_samples=2")
    assert "no average with SWAG's moments" in line


def test_float16_is_smaller_and_close(tmp_path):
    weights = weights_of("osnet_x0_25", (32, 16), repeats=(1, 1, 1), scales=2)
    half = export_onnx(weights, tmp_path / "half.onnx", float16=True)
    whole = export_onnx(weights, tmp_path / "whole.onnx")
    assert whole.difference < half.difference <= parity.CLOSE_IN_FLOAT16
    assert half.size < whole.size


@pytest.mark.parametrize("ending", ["onnx", "stablehlo"])
def test_where_the_descriptors_differ_no_file_is_left(weights, saved, tmp_path, capsys, monkeypatch, ending):
    own = parity.own_descriptors
    monkeypatch.setattr(parity, "own_descriptors", lambda *arguments: [each + 1e-3 for each in own(*arguments)])
    line = told(capsys, "export", f"--weights={saved}", f"--out={tmp_path / 'out'}.{ending}")
    assert "is not written: with 1 images at a time its descriptors differ from ours by 1.0e-03" in line
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_has_no_form_in_onnx_is_told_and_no_file_is_left(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("reid_jax.export.primitives.EMITTERS", {})
    monkeypatch.setattr("reid_jax.export.lowering.EMITTERS", {})
    line = told(capsys, "export", f"--weights={saved}", f"--out={tmp_path / 'out.onnx'}")
    assert "'conv_general_dilated', which is not written as ONNX here; export it with --out=NAME.stablehlo" in line
    assert list(tmp_path.iterdir()) == []


def test_options_that_cannot_be_are_told_in_one_line(saved, tmp_path, capsys, monkeypatch):
    weights = f"--weights={saved}"
    assert "must end in .onnx or .stablehlo" in told(capsys, "export", weights, f"--out={tmp_path / 'out.pt'}")
    line = told(capsys, "export", weights, f"--out={tmp_path / 'out.stablehlo'}", "--float16")
    assert "--float16 is for ONNX" in line
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    line = told(capsys, "export", weights, f"--out={tmp_path / 'out.onnx'}")
    assert "ONNX files need onnx, which is missing; pip install 'reid_jax[export]'" in line
    assert list(tmp_path.iterdir()) == []


def rewritten(source, target, change):
    model = onnx.load(source)
    change(model)
    onnx.save(model, target)


def test_files_of_others_and_damaged_ones_are_told_in_one_line(exported, tmp_path):
    path = tmp_path / "own.onnx"

    def without_facts(model):
        del model.metadata_props[:]

    def with_digest(model):
        next(each for each in model.metadata_props if each.key == "digest").value = "12"

    def with_size(model):
        next(each for each in model.metadata_props if each.key == "image_size").value = "[32, 8]"

    for change, words in (
        (without_facts, "it is no export of reid_jax"),
        (with_digest, "its digest is '12', which is none"),
        (with_size, r"its input and output are .* and it says "),
    ):
        rewritten(exported / "own.onnx", path, change)
        with pytest.raises(InputError, match=f"own.onnx: .*{words}"):
            Export(path)
    path.write_bytes((exported / "own.onnx").read_bytes()[:-200])
    with pytest.raises(InputError, match="own.onnx: ONNX Runtime does not load it"):
        Export(path)
    with pytest.raises(InputError, match="none.onnx does not exist; name a file that reid-jax export has written"):
        Export(tmp_path / "none.onnx")
    program = tmp_path / "own.stablehlo"
    program.write_bytes((exported / "own.stablehlo").read_bytes())
    with pytest.raises(InputError, match=r"own.stablehlo: .*own.stablehlo.metadata.json, which tells .* is missing"):
        Export(program)
    (tmp_path / "own.stablehlo.metadata.json").write_bytes((exported / "own.stablehlo.metadata.json").read_bytes())
    program.write_bytes(b"no program")
    with pytest.raises(InputError, match="own.stablehlo: .*tells of another program than the one in this file"):
        Export(program)
    beside = tmp_path / "own.stablehlo.metadata.json"
    before = {name: text for name, text in json.loads(beside.read_text()).items() if name != "program"}
    beside.write_text(json.dumps(before))  # as it was written before it named the program
    with pytest.raises(InputError, match="own.stablehlo: it is no program that jax.export reads"):
        Export(program)
    program.write_bytes((exported / "own.stablehlo").read_bytes())
    assert Export(program).describe(np.zeros((1, 32, 16, 3), np.uint8)).shape == (1, 8)
    beside.write_text(json.dumps(before | {"streams": "[4]"}))
    with pytest.raises(InputError, match="own.stablehlo: its input and output are .*, and what lies beside it says "):
        Export(program)


def test_a_failure_of_onnx_runtime_is_one_line(exported, monkeypatch):
    class Fails:
        def run(self, *_):
            raise RuntimeError("no\nroom")

    opened = Export(exported / "own.onnx")
    monkeypatch.setattr(opened._run, "_session", Fails())
    with pytest.raises(InputError, match=r"ONNX Runtime does not run it \(no\\nroom\)"):
        opened.describe(np.zeros((1, 32, 16, 3), np.uint8))


def test_a_data_set_whose_name_is_no_text_is_told(weights):
    config = weights.config.copy_and_resolve_references()
    config.dataset = "csv:\udcff.csv"
    model = onnx_model(Weights(config, 0, weights.variables))
    facts = {each.key: each.value for each in model.metadata_props}
    assert facts["training_set"] == r"csv:\udcff.csv"
