#!/usr/bin/env bash
# One run on spot TPUs, which may be taken away at any time: makes a slice, trains, and begins again until it is done.
#
#   TPU=my-tpu ZONE=us-west4-a TYPE=v5litepod-8 SETUP='sudo mount ... /mnt' \
#       launch/spot_tpu.sh --config=configs/robust_reid.py:size=2x --workdir=/mnt/runs/2x
#
# The Cloud TPU API that this speaks (gcloud compute tpus tpu-vm) is legacy: it serves v2 to v6e. TPU7x and later are
# Compute Engine instances and instance groups, or nodes of Google Kubernetes Engine.
# The runtime version follows from TYPE; VERSION overrides it.
# A worker that is about to be taken away gets SIGTERM: the run saves and exits with 0. The next slice resumes it from
# its workdir, which has to outlive the slice: SETUP is run on every worker of a new one, to mount a disk or bucket.
# RETRY is the number of seconds between attempts (60). The slice is deleted when the run is done; a run that fails
# three times in a row on a slice that was not taken away is given up, and the slice left for a look.
set -euo pipefail
: "${TPU:?set TPU to a name for the slice}" "${ZONE:?set ZONE}" "${TYPE:?set TYPE, such as v5litepod-8}"
case $TYPE in
  v2-* | v3-* | v4-*) version=tpu-ubuntu2204-base ;;
  v5litepod-* | v5e-*) version=v2-alpha-tpuv5-lite ;;
  v5p-*) version=v2-alpha-tpuv5 ;;
  v6e-*) version=v2-alpha-tpuv6e ;;
  *) version= ;;
esac
version=${VERSION:-$version}
[[ -n $version ]] || {
  echo "$0: no runtime version is known for TYPE=$TYPE; give VERSION, or for TPU7x and later use Compute Engine or GKE" >&2
  exit 2
}
here=$(dirname "$0")
gcloud=(gcloud compute tpus tpu-vm)
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})

# Both --workdir=DIR and --workdir DIR; of several the last holds, as for reid-jax.
workdir=
before=
for argument in "$@"; do
  [[ $argument == --workdir=* ]] && workdir=${argument#--workdir=}
  [[ $before == --workdir ]] && workdir=$argument
  before=$argument
done
[[ -n $workdir ]] || { echo "$0: give --workdir=FOLDER" >&2; exit 2; }

on() { "${gcloud[@]}" ssh "$TPU" "${where[@]}" --worker="$1" --command="$2"; }
delete() { "${gcloud[@]}" delete "$TPU" "${where[@]}" --quiet || true; }
state() { "${gcloud[@]}" describe "$TPU" "${where[@]}" --format='value(state)' 2>/dev/null || echo NONE; }

failures=0
while true; do
  if [[ $(state) != READY ]]; then
    delete >/dev/null 2>&1 # a preempted slice keeps its name
    if ! "${gcloud[@]}" create "$TPU" "${where[@]}" --accelerator-type="$TYPE" --version="$version" --spot; then
      echo "$0: no slice to be had; trying again in ${RETRY:-60} s" >&2
      sleep "${RETRY:-60}"
      continue
    fi
    if ! { on all "${SETUP:-true}" && "$here/tpu_vm.sh" setup; }; then
      echo "$0: the slice could not be set up; trying again in ${RETRY:-60} s" >&2
      sleep "${RETRY:-60}"
      continue
    fi
  fi
  code=0
  "$here/tpu_vm.sh" "$@" || code=$?
  if on 0 "test -f $(printf %q "$workdir")/results.json"; then
    delete
    exit 0
  fi
  echo "$0: interrupted (exit code $code); going on in ${RETRY:-60} s" >&2
  sleep "${RETRY:-60}"
  if [[ $code -ne 0 && $(state) == READY ]]; then
    failures=$((failures + 1))
    [[ $failures -lt 3 ]] || { echo "$0: the run fails, and not for want of its slice" >&2; exit 1; }
  else
    failures=0
  fi
done
