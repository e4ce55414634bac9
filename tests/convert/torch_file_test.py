"""The files are assembled here opcode by opcode, so that neither PyTorch nor a pickled class is needed."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from reid_jax.convert.torch_file import read_state_dict
from reid_jax.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def old_text(value):
    """A Python 2 string."""
    return b"U" + bytes([len(value)]) + value.encode()


def integer(value):
    return b"J" + struct.pack("<i", value)


def group(*items):
    return b"(" + b"".join(items) + b"t"


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(function, *arguments):
    return function + group(*arguments) + b"R"


def mapping(entries, start=b"}", key=text):
    return start + b"(" + b"".join(key(k) + v for k, v in entries.items()) + b"u"


def ordered(entries, **options):
    return mapping(entries, call(name("collections", "OrderedDict")), **options)


def storage(kind, key, count, *view):
    return group(text("storage"), name("torch", kind), text(key), text("cpu"), integer(count), *view) + b"Q"


def tensor(kind, key, count, size, stride, offset=0, rebuild="_rebuild_tensor_v2"):
    places = [integer(offset), group(*map(integer, size)), group(*map(integer, stride))]
    hooks = [b"\x89", call(name("collections", "OrderedDict"))] if rebuild == "_rebuild_tensor_v2" else []
    return call(name("torch._utils", rebuild), storage(kind, key, count), *places, *hooks)


def program(body):
    return b"\x80\x02" + body + b"."


def write_zip(path, body, storages, byteorder=None):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", program(body))
        if byteorder:
            archive.writestr("model/byteorder", byteorder)
        for key, array in storages.items():
            archive.writestr(f"model/data/{key}", array.tobytes())
    return path


def write_legacy(path, body, storages, **_):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    stream = io.BytesIO()
    for value in (MAGIC, 1001, system):
        pickle.dump(value, stream, protocol=2)
    stream.write(program(body))
    pickle.dump(sorted(storages), stream, protocol=2)
    for _key, array in sorted(storages.items()):
        stream.write(struct.pack("<q", array.size) + array.tobytes())
    path.write_bytes(stream.getvalue())
    return path


both_formats = pytest.mark.parametrize("write", [write_zip, write_legacy], ids=["zip", "legacy"])


def same(array, expected):
    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    assert array.tobytes() == expected.tobytes()


@both_formats
def test_strided_views_of_one_storage(write, tmp_path):
    base = np.random.default_rng(0).normal(size=24).astype(np.float32)
    body = ordered(
        {
            "whole": tensor("FloatStorage", "7", 24, (4, 6), (6, 1)),
            "transposed": tensor("FloatStorage", "7", 24, (6, 4), (1, 6)),
            "part": tensor("FloatStorage", "7", 24, (2, 3), (12, 2), offset=7),
            "expanded": tensor("FloatStorage", "7", 24, (3, 2), (0, 1), offset=22),
            "scalar": tensor("FloatStorage", "7", 24, (), (), offset=23),
            "empty": tensor("FloatStorage", "7", 24, (0, 3), (3, 1)),
        }
    )
    tensors = read_state_dict(write(tmp_path / "m.pth", body, {"7": base}))
    square = base.reshape(4, 6)
    same(tensors["whole"], square)
    same(tensors["transposed"], np.ascontiguousarray(square.T))
    same(tensors["part"], np.array([[base[7], base[9], base[11]], [base[19], base[21], base[23]]]))
    same(tensors["expanded"], np.stack([base[22:]] * 3))
    same(tensors["scalar"], np.array(base[23]))
    same(tensors["empty"], np.zeros((0, 3), np.float32))
    tensors["whole"][:] = 0  # its own memory, and writable
    assert tensors["transposed"].any()


@both_formats
def test_every_dtype(write, tmp_path):
    kinds = {
        "DoubleStorage": np.float64,
        "FloatStorage": np.float32,
        "HalfStorage": np.float16,
        "BFloat16Storage": ml_dtypes.bfloat16,
        "LongStorage": np.int64,
        "IntStorage": np.int32,
        "ShortStorage": np.int16,
        "CharStorage": np.int8,
        "ByteStorage": np.uint8,
        "BoolStorage": np.bool_,
    }
    arrays = {kind: np.array([0, 1, 3]).astype(dtype) for kind, dtype in kinds.items()}
    body = ordered({kind: tensor(kind, kind, 3, (3,), (1,)) for kind in kinds})
    tensors = read_state_dict(write(tmp_path / "m.pth", body, arrays))
    for kind, array in arrays.items():
        same(tensors[kind], array)


@both_formats
def test_untyped_storage_with_the_dtype_at_the_tensor(write, tmp_path):
    body = ordered(
        {
            "a": call(
                name("torch._utils", "_rebuild_tensor_v3"),
                group(text("storage"), name("torch.storage", "UntypedStorage"), text("0"), text("cpu"), integer(8))
                + b"Q",
                integer(1),
                group(integer(3)),
                group(integer(1)),
                b"\x89",
                call(name("collections", "OrderedDict")),
                name("torch", "uint16"),
            )
        }
    )
    array = np.array([1, 2, 3, 60_000], np.uint16)
    same(read_state_dict(write(tmp_path / "m.pth", body, {"0": array.view(np.uint8)}))["a"], array[1:])


def test_big_endian_archive(tmp_path):
    body = ordered(
        {"a": tensor("FloatStorage", "0", 3, (3,), (1,)), "b": tensor("BFloat16Storage", "1", 1, (1,), (1,))}
    )
    values = np.array([1.5, -2.0, 3e8], np.float32)
    half = np.array([3.0], ml_dtypes.bfloat16)
    swapped = {"0": values.byteswap(), "1": half.view(np.uint16).byteswap()}
    tensors = read_state_dict(write_zip(tmp_path / "m.pth", body, swapped, byteorder="big"))
    same(tensors["a"], values)
    same(tensors["b"], half)


@pytest.mark.parametrize("rebuild", ["_rebuild_tensor", "_rebuild_tensor_v2"])
def test_file_of_python_2(rebuild, tmp_path):
    """Byte strings for names, an OrderedDict from pairs, storages as views of others."""
    view = group(text("view"), integer(2), integer(3))
    viewed = call(
        name("torch._utils", rebuild),
        group(old_text("storage"), name("torch", "FloatStorage"), old_text("9"), old_text("cuda:0"), integer(6), view)
        + b"Q",
        integer(1),
        group(integer(2)),
        group(integer(1)),
    )
    pairs = b"](" + b"](" + old_text("conv.weight") + tensor("FloatStorage", "9", 6, (6,), (1,), rebuild=rebuild) + b"e"
    pairs += b"](" + old_text("viewed") + viewed + b"ee"
    body = mapping({"state_dict": call(name("collections", "OrderedDict"), pairs)}, key=old_text)
    array = np.arange(6, dtype=np.float32)
    tensors = read_state_dict(write_legacy(tmp_path / "m.pth.tar", body, {"9": array}))
    same(tensors["conv.weight"], array)
    same(tensors["viewed"], array[3:5])


@both_formats
@pytest.mark.parametrize("key", ["state_dict", "model", "net", "weights", "backbone", "model_state_dict", "mine", None])
def test_checkpoint_with_foreign_objects(write, key, tmp_path):
    """What torchreid saves: NumPy's scalar, an optimiser, a scheduler, parameters, and metadata of the state dict."""
    parameter = call(
        name("torch._utils", "_rebuild_parameter"), tensor("FloatStorage", "0", 2, (2,), (1,)), b"\x88", b"N"
    )
    state = ordered({"module.fc.weight": parameter, "module.fc.bias": tensor("FloatStorage", "0", 2, (1,), (1,))})
    state += mapping({"_metadata": ordered({"": mapping({"version": integer(1)})})}) + b"b"
    scalar = call(
        name("numpy.core.multiarray", "scalar"),
        call(name("numpy", "dtype"), text("f8"), integer(0), integer(1)) + group(integer(3), text("<")) + b"b",
        b"C\x08" + struct.pack("<d", 0.9),
    )
    scheduler = name("torch.optim.lr_scheduler", "MultiStepLR") + b")\x81" + mapping({"last_epoch": integer(60)}) + b"b"
    if key is None:
        body = state
    else:
        body = mapping({"rank1": scalar, "epoch": integer(60), "scheduler": scheduler, key: state})
    tensors = read_state_dict(write(tmp_path / "m.pth.tar", body, {"0": np.array([1, 2], np.float32)}))
    assert set(tensors) == {"fc.weight", "fc.bias"}
    same(tensors["fc.weight"], np.array([1, 2], np.float32))


def test_prefix_stays_where_not_all_names_have_it(tmp_path):
    entry = tensor("FloatStorage", "0", 1, (1,), (1,))
    path = write_zip(tmp_path / "m.pth", ordered({"module.a": entry, "b": entry}), {"0": np.ones(1, np.float32)})
    assert set(read_state_dict(path)) == {"module.a", "b"}


class MakesFolder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@both_formats
@pytest.mark.parametrize("way", ["reduce", "inst", "obj", "newobj", "newobj_ex", "build", "by name"])
def test_malicious_pickle_does_not_run(write, way, tmp_path):
    target = str(tmp_path / "made")
    argument = text(target)
    body = pickle.dumps(MakesFolder(target), protocol=2)
    pickle.loads(body)
    os.rmdir(target)  # so a reader which runs pickles would have made it

    mkdir = name("os", "mkdir")
    attack = {
        "reduce": body[2:-1],
        "inst": b"(" + argument + b"ios\nmkdir\n",
        "obj": b"(" + mkdir + argument + b"o",
        "newobj": mkdir + group(argument) + b"\x81",
        "newobj_ex": mkdir + group(argument) + b"}\x92",
        "build": name("os", "environ") + mapping({"MADE": argument}) + b"b",
        "by name": call(call(name("builtins", "getattr"), name("os", "path"), text("os.mkdir")), argument),
    }[way]
    state = ordered({"a": tensor("FloatStorage", "0", 2, (2,), (1,)), "evil": attack})
    path = write(tmp_path / "m.pth", mapping({"evil": attack, "state_dict": state}), {"0": np.ones(2, np.float32)})
    tensors = read_state_dict(path)
    assert set(tensors) == {"a"}
    same(tensors["a"], np.ones(2, np.float32))
    assert not os.path.exists(target)
    assert "MADE" not in os.environ


@both_formats
@pytest.mark.parametrize(("size", "stride", "offset"), [((4, 4), (4, 1), 0), ((3,), (1,), 6), ((2,), (2**30,), 0)])
def test_shape_beyond_its_storage(write, size, stride, offset, tmp_path):
    body = ordered({"a": tensor("FloatStorage", "0", 8, size, stride, offset)})
    path = write(tmp_path / "m.pth", body, {"0": np.ones(8, np.float32)})
    with pytest.raises(InputError, match="of shape .* reaches byte"):
        read_state_dict(path)


def refused(path, match):
    """Reads a file that must be refused, and returns the memory that it took, in bytes a byte of it."""
    tracemalloc.start()
    with pytest.raises(InputError, match=match) as caught:
        read_state_dict(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return peak / path.stat().st_size


def get(index):
    return b"j" + struct.pack("<I", index)


def put(index):
    return b"r" + struct.pack("<I", index)


def long(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


@both_formats
@pytest.mark.parametrize("size", [(2**30, 2**30), (2**28,)])
def test_expanded_tensors_cannot_ask_for_all_memory(write, size, tmp_path):
    one = tensor("DoubleStorage", "0", 1, size, (0,) * len(size))
    path = write(tmp_path / "m.pth", ordered({str(n): one for n in range(4)}), {"0": np.ones(1)})
    assert refused(path, "its tensors have .* bytes, more than 8 times the .* of the file") < 1000


@both_formats
def test_tied_weights_are_read_though_they_are_stored_once(write, tmp_path):
    whole = tensor("FloatStorage", "0", 6 * 2**20, (6 * 2**20,), (1,))
    body = ordered({name_: whole for name_ in "abc"})
    tensors = read_state_dict(write(tmp_path / "m.pth", body, {"0": np.ones(6 * 2**20, np.float32)}))
    assert all(tensors[name_].sum() == 6 * 2**20 for name_ in "abc")


def test_members_that_inflate_beyond_the_files_size(tmp_path):
    body = ordered({"a": tensor("FloatStorage", "0", 2**23, (2**23,), (1,))})
    for member in ("data/0", "data.pkl", "byteorder"):
        path = tmp_path / "m.pth"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name_, data in {"data.pkl": program(body), "byteorder": b"little", "data/0": b"1234"}.items():
                archive.writestr(f"m/{name_}", bytes(2**25) if name_ == member else data)
        assert refused(path, "has members of 33,55.,... bytes together, more than 8 times its own") < 100


def test_a_byte_order_that_is_none(tmp_path):
    path = write_zip(tmp_path / "m.pth", ordered({"a": tensor("FloatStorage", "0", 1, (1,), (1,))}), {}, "middle")
    refused(path, "a byte order called 'middle'")


def called_with_a_long_list(function, item):
    """A list of 1,000 items that one call after another gets from the memo."""
    again = call(function, get(7)) + b"0"
    return b"](" + item * 1000 + b"e" + put(7) + b"0" + again * 60 + b"}"


PAIR = b"](K\x01K\x02e"
BODIES = {
    "a tensor of 20,000 axes": (
        call(
            name("torch._utils", "_rebuild_tensor_v2"),
            storage("FloatStorage", "0", 1),
            integer(0),
            group(integer(2**31 - 1) * 20_000),
            group(integer(0) * 20_000),
        ),
        "impossible shape",
    ),
    "an axis of a million bits": (
        call(
            name("torch._utils", "_rebuild_tensor_v2"),
            storage("FloatStorage", "0", 1),
            integer(0),
            group(long(1 << 10**6)),
            group(integer(0)),
        ),
        "no whole number of 63 bits",
    ),
    "a storage's key of a million bits": (
        group(text("storage"), name("torch", "FloatStorage"), long(1 << 10**6), text("cpu"), integer(1)) + b"Q",
        "no whole number of 63 bits",
    ),
    "keys of one hash": (b"}(" + b"".join(long(k * (2**61 - 1)) + b"N" for k in range(2, 50)) + b"u", "too large"),
    "a name of 2,000 letters": (text("a" * 2000) + text("b") + b"\x93", "name has more than 1000 letters"),
    "a name of 2,000 letters, written out": (name("a", "b" * 2000), "name has more than 1000 letters"),
    "a reference of 1,000 parts": (group(text("storage") * 1000) + b"Q", "a reference of too many parts"),
    "triples for a dictionary": (call(name("collections", "OrderedDict"), b"](](K\x01K\x02K\x03ee"), "no pair"),
    "one dictionary after another": (
        called_with_a_long_list(name("collections", "OrderedDict"), PAIR),
        "more than 50,000 steps",
    ),
    "one size after another": (called_with_a_long_list(name("torch", "Size"), b"K\x01"), "more than 50,000 steps"),
    "one unknown call after another": (called_with_a_long_list(name("a", "b"), b"N"), "more than 50,000 steps"),
}


@pytest.mark.parametrize("case", BODIES)
def test_what_takes_time_or_memory_for_nothing(case, tmp_path, monkeypatch):
    monkeypatch.setattr("reid_jax.convert.pickle_machine._MOST_STEPS", 50_000)
    body, match = BODIES[case]
    assert refused(write_zip(tmp_path / "m.pth", body, {}), match) < 1000


def test_a_pickle_of_too_many_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("reid_jax.convert.pickle_machine._MOST_STEPS", 1000)
    for body in (b"N" * 1001, b"(" * 1001, b"}" * 1001, b"N" + put(1) * 1001):
        refused(write_zip(tmp_path / "m.pth", body, {}), "more than 1,000 steps")


def test_deep_nesting_and_a_huge_memo_index_take_nothing(tmp_path):
    state = ordered({"a": tensor("FloatStorage", "0", 1, (1,), (1,))})
    nested = b"]" * 20_000 + b"a" * 19_999
    tuples = b")" + b"\x85" * 20_000
    body = nested + b"0" + tuples + b"0" + state + put(2**28) + b"0" + get(2**28)
    path = write_zip(tmp_path / "m.pth", body, {"0": np.ones(1, np.float32)})
    tracemalloc.start()
    assert read_state_dict(path)["a"] == 1
    assert tracemalloc.get_traced_memory()[1] < 200 * path.stat().st_size
    tracemalloc.stop()


@pytest.mark.parametrize(
    "arguments",
    [
        (integer(0), integer(0), group(), group()),  # no storage
        (storage("FloatStorage", "0", 1), integer(-1), group(), group()),
        (storage("FloatStorage", "0", 1), integer(0), group(integer(1)), group()),
        (storage("FloatStorage", "0", 1), integer(0), group(text("1")), group(integer(1))),
        (storage("FloatStorage", "0", 1), integer(0)),
    ],
    ids=["storage", "offset", "dimensions", "text", "too few"],
)
def test_senseless_tensor(arguments, tmp_path):
    body = ordered({"a": call(name("torch._utils", "_rebuild_tensor_v2"), *arguments)})
    with pytest.raises(InputError, match="damaged PyTorch file"):
        read_state_dict(write_zip(tmp_path / "m.pth", body, {"0": np.ones(1, np.float32)}))


def test_missing_and_short_storages_of_an_archive(tmp_path):
    body = ordered({"a": tensor("FloatStorage", "5", 8, (8,), (1,))})
    with pytest.raises(InputError, match="storage '5' is missing"):
        read_state_dict(write_zip(tmp_path / "m.pth", body, {}))
    with pytest.raises(InputError, match="storage '5' has 16 bytes where 32 are needed"):
        read_state_dict(write_zip(tmp_path / "m.pth", body, {"5": np.ones(4, np.float32)}))


def test_missing_storage_of_a_legacy_file(tmp_path):
    body = ordered({"a": tensor("FloatStorage", "5", 8, (8,), (1,))})
    with pytest.raises(InputError, match="storage '5' is missing"):
        read_state_dict(write_legacy(tmp_path / "m.pth", body, {}))


@both_formats
def test_truncation_anywhere_is_an_input_error(write, tmp_path):
    path = tmp_path / "m.pth"
    body = ordered({"a": tensor("FloatStorage", "0", 8, (8,), (1,))})
    whole = write(path, body, {"0": np.ones(8, np.float32)}).read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            read_state_dict(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello\nworld\n", pickle.dumps({"a": 1}, protocol=2), b"\x89PNG\r\n\x1a\n" + bytes(64)]
)
def test_not_a_pytorch_file(content, tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a PyTorch file"):
        read_state_dict(path)


def test_other_zip_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as archive:
        archive.writestr("readme.txt", "no weights here")
    with pytest.raises(InputError, match=r"without data\.pkl"):
        read_state_dict(tmp_path / "m.pth")


@both_formats
@pytest.mark.parametrize(
    ("body", "match"),
    [
        (mapping({"epoch": integer(3)}), "holds no tensors"),
        (b"]", "holds a list"),
        (name("torchreid.models.hacnn", "HACNN") + b")\x81}b", r"whole object \(torchreid\.models\.hacnn\.HACNN\)"),
    ],
)
def test_nothing_to_read(write, body, match, tmp_path):
    with pytest.raises(InputError, match=match):
        read_state_dict(write(tmp_path / "m.pth", body, {}))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="is no file"):
        read_state_dict(tmp_path / "absent.pth")


@both_formats
def test_unknown_type_of_tensor(write, tmp_path):
    body = ordered({"a": tensor("ComplexFloatStorage", "0", 1, (1,), (1,))})
    with pytest.raises(InputError, match=r"of type torch\.ComplexFloatStorage"):
        read_state_dict(write(tmp_path / "m.pth", body, {"0": np.ones(1, np.complex64)}))


def test_safetensors(tmp_path):
    arrays = {"module.a": np.arange(6, dtype=np.float32).reshape(2, 3), "module.b": np.array(3)}
    safetensors.numpy.save_file(arrays, tmp_path / "m.safetensors")
    tensors = read_state_dict(tmp_path / "m.safetensors")
    same(tensors["a"], arrays["module.a"])
    same(tensors["b"], arrays["module.b"])

    header = b'{"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    half = np.array([1.5, -2], ml_dtypes.bfloat16)
    (tmp_path / "h.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + half.tobytes())
    same(read_state_dict(tmp_path / "h.safetensors")["x"], half)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (b'{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}' % b",".join([b"1"] * 300_000), "300,000 axes"),
        (b'{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}', "of type F8_E4M3"),
        (b'{"dtype":"F32","shape":[0,9223372036854775807],"data_offsets":[0,0]}', "safetensors file"),
        (b'{"dtype":"F32","shape":[2],"data_offsets":[0,4]}', "no readable .safetensors file"),
        (b'{"dtype":"F32","shape":' + b"[" * 100_000, "no readable .safetensors file"),
    ],
    ids=["axes", "type", "overflow", "size", "nesting"],
)
def test_safetensors_that_claim_what_they_do_not_hold(entry, match, tmp_path):
    header = b'{"x":' + entry + b"}"
    (tmp_path / "h.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    refused(tmp_path / "h.safetensors", match)


def test_safetensors_of_a_shape_that_no_array_has(tmp_path):
    header = b'{"x":{"dtype":"F32","shape":[4611686018427387904,0,4],"data_offsets":[0,0]}}'
    (tmp_path / "h.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    refused(tmp_path / "h.safetensors", "'x' has the shape .*, which no array has")


def test_damaged_safetensors(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"not at all a tensor file")
    with pytest.raises(InputError, match=r"no readable \.safetensors"):
        read_state_dict(tmp_path / "m.safetensors")


def test_a_state_dict_within_others_is_found_and_a_running_average_comes_last(tmp_path):
    def state(number):
        return ordered({"a": tensor("FloatStorage", str(number), 1, (1,), (1,))})

    arrays = {str(number): np.full(1, number, np.float32) for number in range(3)}
    optimizer = mapping({"state": mapping({"a": tensor("FloatStorage", "2", 1, (1,), (1,))})})
    body = mapping({"optimizer": optimizer, "ema": state(0), "model": mapping({"state_dict": state(1)})})
    assert read_state_dict(write_zip(tmp_path / "m.pth", body, arrays))["a"] == 1
    body = mapping({"optimizer": optimizer, "ema": mapping({"model": state(0)})})
    assert read_state_dict(write_zip(tmp_path / "m.pth", body, arrays))["a"] == 0
    body = mapping({"generator": state(0), "critic": state(1)})
    with pytest.raises(InputError, match=r"holds no tensors, but generator \(dict\), critic \(dict\): save"):
        read_state_dict(write_zip(tmp_path / "m.pth", body, arrays))
