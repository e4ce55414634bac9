#!/usr/bin/env bash
# One run on every worker of a Cloud TPU slice; JAX finds the workers by itself:
#
#   TPU=my-tpu ZONE=us-central2-b launch/tpu_vm.sh --config=configs/robust_reid.py:size=2x --workdir=/mnt/runs/2x
#
# Before it, once a slice (and after every change here):  TPU=my-tpu ZONE=us-central2-b launch/tpu_vm.sh setup
# With more than one worker the workdir lies on a disk that all of them mount. PROJECT is gcloud's default.
#
# The Cloud TPU API that this speaks (gcloud compute tpus tpu-vm) is legacy: it serves v2 to v6e. TPU7x and later are
# Compute Engine instances and instance groups, or nodes of Google Kubernetes Engine: there every worker runs
# `reid-jax train` with the same arguments.
set -euo pipefail
: "${TPU:?set TPU to the name of the slice}" "${ZONE:?set ZONE to its zone}"

on_all() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" ${PROJECT:+--project="$PROJECT"} --worker=all --command="$1"
}

if [[ ${1:-} == setup ]]; then
  archive=$(mktemp --suffix=.tar.gz)
  trap 'rm -f "$archive"' EXIT
  git -C "$(dirname "$0")/.." archive --format=tar.gz --output="$archive" HEAD
  gcloud compute tpus tpu-vm scp "$archive" "$TPU:reid_jax.tar.gz" --zone="$ZONE" ${PROJECT:+--project="$PROJECT"} \
    --worker=all
  on_all 'rm -rf reid_jax && mkdir reid_jax && tar -xzf reid_jax.tar.gz -C reid_jax && cd reid_jax &&
    python3 -m venv ~/venv && ~/venv/bin/pip install --quiet -e ".[tpu,plot]"'
else
  printf -v arguments ' %q' "$@"
  on_all "cd reid_jax && exec ~/venv/bin/reid-jax train$arguments"
fi
