"""The PyTorch network that a bench compares with does the same work: descriptors, loss, gradients, steps of SGD."""

import jax
import numpy as np
import optax
import pytest

from reid_jax import config as run_config
from reid_jax.bench import against
from reid_jax.bench.agreement import check
from reid_jax.bench.made import make_images, make_variables
from reid_jax.data.augment import normalise
from reid_jax.models.registry import create_network
from reid_jax.training.assemble import objective_of, optimizer_of

torch = pytest.importorskip("torch", reason="PyTorch is no dependency, only what a bench compares with")

from reid_jax.bench.peers.torch_network import TorchNetwork, load_variables, objective, optimizer  # noqa: E402
from reid_jax.bench.peers.torch_peer import describe  # noqa: E402

SIZE = (64, 32)
IDENTITIES, IMAGES = 3, 2
RATE = 0.05


@pytest.fixture(scope="module")
def config():
    config = run_config.default()
    config.optimizer.regions_rate = 0.3
    config.optimizer.weight_decay = 0.01  # large enough to be seen after a step
    return config


@pytest.fixture(scope="module")
def network(config):
    fields = dict(stem=8, widths=(16, 32, 32), repeats=(2, 1, 1), global_width=12, local_width=20)
    network = create_network("nano", IDENTITIES, logit_scale=16.0, logit_scale_learned=True, **fields)
    against.check_network(["torch"], network, config, trains=True)
    return network


@pytest.fixture(scope="module")
def variables(network):
    return make_variables(network, SIZE)


@pytest.fixture(scope="module")
def image():
    return np.array(normalise(make_images(IDENTITIES * IMAGES, SIZE)))


@pytest.fixture(scope="module")
def label():
    return np.repeat(np.arange(IDENTITIES), IMAGES)


@pytest.fixture(scope="module")
def taken(config, network, variables, image, label):
    """Our loss and its gradients."""

    @jax.jit
    def loss_and_gradients(params):
        def loss_of(params):
            everything = {"params": params, "batch_stats": variables["batch_stats"]}
            output, _ = network.apply(everything, image, train=True, mutable=["batch_stats"])
            return objective_of(config)(output, label)[0]

        return jax.value_and_grad(loss_of)(params)

    return jax.device_get(loss_and_gradients(variables["params"]))


def in_torch(network, params, variables):
    """A PyTorch network that holds `params`, which may be gradients, with its names and layouts."""
    theirs = TorchNetwork(network)
    load_variables(theirs, {"params": params, "batch_stats": variables["batch_stats"]})
    return theirs


def nchw(image):
    return torch.from_numpy(image).permute(0, 3, 1, 2)


def backward(network, variables, image, label, config):
    theirs = in_torch(network, variables["params"], variables).train()
    loss = objective(*theirs(nchw(image)), torch.from_numpy(label), config)
    loss.backward()
    return theirs, float(loss.detach())


def test_descriptors_are_the_same_for_the_same_weights(network, variables, image):
    ours = np.asarray(jax.jit(lambda v, x: network.apply(v, x, train=False).embedding)(variables, image))
    theirs = describe(in_torch(network, variables["params"], variables).eval(), image)
    assert np.abs(ours - theirs).max() < 1e-5
    assert (ours.std(0) > 1e-3).mean() > 0.5  # the images are told apart: the agreement says something
    assert check("torch", theirs, ours[:2]) < 1e-5


def test_made_weights_place_the_regions_by_the_image(network, variables, image):
    theirs = in_torch(network, variables["params"], variables).eval()
    placed = []
    theirs.attention1.hard.register_forward_hook(lambda module, inputs, centres: placed.append(centres))
    describe(theirs, image)
    assert placed[0].std(0).min() > 1e-3


def test_loss_and_gradients_are_the_same_in_training(config, network, variables, image, label, taken):
    ours, gradients = taken
    theirs, loss = backward(network, variables, image, label, config)
    assert loss == pytest.approx(float(ours), rel=1e-4)
    expected = dict(in_torch(network, gradients, variables).named_parameters())
    assert len(expected) == len(jax.tree.leaves(gradients))
    off = {}
    for name, parameter in theirs.named_parameters():
        wanted = expected[name].detach()
        # Those of a bias before a BatchNorm are rounding alone, around 0.
        off[name] = float((parameter.grad - wanted).norm() / wanted.norm().clamp(min=0.01))
    # A ReLU whose input is rounded to the other side of 0 moves a few.
    assert np.quantile(list(off.values()), 0.8) < 1e-4
    assert max(off.values()) < 0.02, max(off, key=off.get)


def test_steps_of_sgd_move_every_group_alike(config, network, variables, taken):
    params, gradients = variables["params"], taken[1]
    descent = optimizer_of(config, optax.constant_schedule(RATE), params)
    state, ours = descent.init(params), params
    theirs = in_torch(network, params, variables)
    for name, gradient in in_torch(network, gradients, variables).named_parameters():
        theirs.get_parameter(name).grad = gradient.detach()
    steps = optimizer(theirs, config, RATE)
    for _ in range(2):  # the second has the momentum of the first
        updates, state = descent.update(gradients, state, ours)
        ours = optax.apply_updates(ours, updates)
        steps.step()
    expected = dict(in_torch(network, jax.device_get(ours), variables).named_parameters())
    before = dict(in_torch(network, params, variables).named_parameters())
    for name, parameter in theirs.named_parameters():
        moved, wanted = parameter - before[name], expected[name] - before[name]
        assert moved.abs().max() > 0, name
        torch.testing.assert_close(moved, wanted, rtol=1e-4, atol=1e-6, msg=name)


def test_without_a_triplet_term_the_loss_is_cross_entropy(config, network, variables, image, label, taken):
    plain = config.copy_and_resolve_references()
    plain.loss.triplet_weight = 0.0
    plain.loss.label_smoothing = 0.0
    _, loss = backward(network, variables, image, label, plain)
    _, logits = in_torch(network, variables["params"], variables).train()(nchw(image))
    expected = sum(-stream.log_softmax(1)[range(len(label)), label].mean() for stream in logits)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)


def test_other_descriptors_are_no_peer():
    ours = np.zeros((2, 3), np.float32)
    with pytest.raises(RuntimeError, match=r"torch NCHW and reid_jax differ by 1.0e-03"):
        check("torch NCHW", ours + np.float32(1e-3), ours)
    assert check("openvino bfloat16", ours + np.float32(1e-3), ours, exact=False) == pytest.approx(1e-3)
    with pytest.raises(RuntimeError, match="nan"):
        check("torch", ours + np.nan, ours)


def test_an_array_that_one_side_lacks_is_told(network, variables):
    params = {key: value for key, value in variables["params"].items() if key != "fc_local"}
    with pytest.raises(RuntimeError, match="PyTorch alone has .*fc_local.linear.weight"):
        in_torch(network, params, variables)
