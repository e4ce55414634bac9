#!/usr/bin/env bash
# One run on a TPU: on one Compute Engine instance, or on every worker of a slice of the older Cloud TPU API:
#
#   TPU=my-tpu ZONE=us-east5-a TYPE=ct6e-standard-8t \
#       launch/tpu_vm.sh --config=configs/robust_reid.py:size=2x --workdir=/mnt/runs/2x
#
# Before it, once an instance or slice (and after every change here): the same with `setup` in the place of the options.
# It puts what is committed here into ~/reid_jax there; what else lies in that folder, such as runs/ and data/, stays.
# --dry-run, as the first argument, prints the commands and runs none. PROJECT is gcloud's default.
#
# TYPE is a machine type of Compute Engine (ct5p-..., ct6e-..., tpu7x-...), as Google recommends; one instance, which
# has up to 8 chips. Slices of several hosts are launch/jobset_tpu.yaml's, on Google Kubernetes Engine. Without TYPE, or
# with one like v5litepod-8, the script speaks the Cloud TPU API, which is legacy and serves v2 to v6e: the workers
# of a slice find one another, and the workdir lies on a disk that all of them mount.
set -euo pipefail
dry=
[[ ${1:-} != --dry-run ]] || { dry=yes; shift; }
: "${TPU:?set TPU to the name of the instance or slice}" "${ZONE:?set ZONE to its zone}"
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
case ${TYPE:-} in
  ct* | tpu*) gcloud=(gcloud compute) ;;
  *) gcloud=(gcloud compute tpus tpu-vm) where+=(--worker=all) ;;
esac

run() {
  if [[ $dry ]]; then printf '%q ' "$@" && echo; else "$@"; fi
}
on_all() { run "${gcloud[@]}" ssh "$TPU" "${where[@]}" --command="$1"; }

if [[ ${1:-} == setup ]]; then
  archive=reid_jax.tar.gz
  if [[ ! $dry ]]; then
    archive=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$archive"' EXIT
  fi
  run git -C "$(dirname "$0")/.." archive --format=tar.gz --output="$archive" HEAD
  run "${gcloud[@]}" scp "$archive" "$TPU:reid_jax.tar.gz" "${where[@]}"
  on_all 'rm -rf reid_jax.new && mkdir -p reid_jax reid_jax.new && tar -xzf reid_jax.tar.gz -C reid_jax.new &&
    for each in $(ls -A reid_jax.new); do rm -rf "reid_jax/$each" && mv "reid_jax.new/$each" reid_jax/ || exit; done &&
    rmdir reid_jax.new && cd reid_jax &&
    python3 -m venv ~/venv && ~/venv/bin/pip install --quiet -e ".[tpu,plot]"'
else
  printf -v arguments ' %q' "$@"
  on_all "cd reid_jax && exec ~/venv/bin/reid-jax train$arguments"
fi
