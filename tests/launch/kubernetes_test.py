"""The manifests for Kubernetes and the container file: that they agree with one another and with the command."""

import re
import tomllib

import pytest
import yaml
from places import ROOT

from reid_jax import config as run_config
from reid_jax.processes import joining

MANIFESTS = ("jobset.yaml", "jobset_tpu.yaml")


def load(name):
    (manifest,) = yaml.safe_load_all((ROOT / "launch" / name).read_text())
    return manifest


def parts(manifest):
    """The Job, its pod and the pod's container."""
    (workers,) = manifest["spec"]["replicatedJobs"]
    job = workers["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    return job, job["template"]["spec"], container


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_arguments_are_a_runs_and_all_that_it_keeps_lies_on_the_volume(name):
    _, pod, container = parts(load(name))
    given = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    config = run_config.load(str(ROOT / given["config"]), [x for x in container["args"] if x.startswith("--config.")])
    (volume,) = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
    (mount,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == volume["name"]]
    cache = {each["name"]: each.get("value") for each in container["env"]}["XDG_CACHE_HOME"]
    for path in (given["workdir"], config.data_dir, cache):
        assert path.startswith(f"{mount}/")
    assert container["startupProbe"]["exec"]["command"] == ["test", "-f", f"{given['workdir']}/config.json"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_fails_is_made_again_but_for_wrong_arguments_and_has_time_to_save(name):
    manifest = load(name)
    job, pod, container = parts(manifest)
    assert pod["terminationGracePeriodSeconds"] >= 120
    assert (job["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2]}
    policy = manifest["spec"]["failurePolicy"]
    assert policy["maxRestarts"] >= 100
    (given_up,) = policy["rules"]
    assert (given_up["action"], given_up["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])


def test_the_pods_name_the_processes_as_the_command_reads_them(monkeypatch):
    manifest = load("jobset.yaml")
    job, _, container = parts(manifest)
    coordinator = manifest["spec"]["coordinator"]
    assert coordinator == {"replicatedJob": "workers", "jobIndex": 0, "podIndex": 0}
    annotations = {
        "jobset.sigs.k8s.io/coordinator": "reid-workers-0-0.reid",
        "batch.kubernetes.io/job-completion-index": "1",
    }
    values = {}
    for variable in container["env"]:
        value = variable.get("value")
        if value is None:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            value = annotations[re.fullmatch(r"metadata\.annotations\['(.+)'\]", path)[1]]
        # As Kubernetes does: of variables that come before.
        values[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], value)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    assert joining._bare_processes() == ("reid-workers-0-0.reid:8476", job["completions"], 1)


def test_the_two_manifests_are_the_same_but_for_the_kind_of_machine():
    gpu, tpu = map(load, MANIFESTS)
    for manifest in (gpu, tpu):
        job, pod, container = parts(manifest)
        manifest["metadata"].pop("annotations", None)
        manifest["spec"].pop("coordinator", None)
        pod.pop("nodeSelector", None)
        assert container.pop("image") in ("reid-jax:cuda", "reid-jax:tpu")
        container["env"] = [each for each in container["env"] if each["name"] == "XDG_CACHE_HOME"]
        container["volumeMounts"] = [each for each in container["volumeMounts"] if each["name"] == "reid"]
        pod["volumes"] = [each for each in pod["volumes"] if each["name"] == "reid"]
        limits = container["resources"]["limits"]
        assert limits.pop("nvidia.com/gpu", None) or limits.pop("google.com/tpu", None)
    assert gpu == tpu


def test_the_container_file_builds_the_images_that_they_name():
    text = (ROOT / "launch" / "Dockerfile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    images = {parts(load(name))[2]["image"] for name in MANIFESTS}
    built = re.findall(r"--build-arg EXTRA=(\w+) -t (\S+) \.", text)
    assert {image for _, image in built} == images
    assert {extra for extra, _ in built} <= set(extras)
    assert set(re.search(r'"\.\[\$EXTRA,(.*)\]"', text)[1].split(",")) <= set(extras)
    (entry,) = re.findall(r'^ENTRYPOINT \["(.+)"\]', text, re.MULTILINE)
    assert (ROOT / entry).is_file()
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {".git", "data", "runs"} <= set(left_out)
