#!/usr/bin/env bash
# One run on spot TPUs, which may be taken away at any time: makes one, trains, and begins again until it is done.
#
#   TPU=my-tpu ZONE=us-east5-a TYPE=ct6e-standard-8t IMAGE=PROJECT/FAMILY SETUP='sudo mount ... /mnt' \
#       launch/spot_tpu.sh --config=configs/robust_reid.py:size=2x --workdir=/mnt/runs/2x
#
# --dry-run, as the first argument, prints the commands of a first round that ends well, and runs none.
# TYPE is a machine type of Compute Engine (ct5p-..., ct6e-..., tpu7x-...), as Google recommends: one instance, which
# has up to 8 chips; IMAGE is the project and family of the image for it, from Google's list of "TPU OS images". Slices
# of several hosts: launch/jobset_tpu.yaml. A TYPE like v5litepod-8 is a slice of the Cloud TPU API (gcloud compute
# tpus tpu-vm), which is legacy and serves v2 to v6e; its runtime version follows from TYPE, and VERSION overrides it.
# A host that is about to be taken away gets SIGTERM: the run saves and exits with 0. The next one resumes it from its
# workdir, which has to outlive the host and begins with /: SETUP is run on every new one, to mount a disk or bucket,
# and once more where the set-up failed after it.
# RETRY is the number of seconds between attempts (60). The TPU is deleted when the run is done; a set-up or run that
# fails three times in a row on one that was not taken away is given up, and the TPU left for a look.
set -euo pipefail
dry=
[[ ${1:-} != --dry-run ]] || { dry=--dry-run; shift; }
: "${TPU:?set TPU to a name for it}" "${ZONE:?set ZONE}" "${TYPE:?set TYPE, such as ct6e-standard-8t}"
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
case $TYPE in
  v2-* | v3-* | v4-*) version=tpu-ubuntu2204-base ;;
  v5litepod-* | v5e-*) version=v2-alpha-tpuv5-lite ;;
  v5p-*) version=v2-alpha-tpuv5 ;;
  v6e-*) version=v2-alpha-tpuv6e ;;
  *) version= ;;
esac
version=${VERSION:-$version}
if [[ $TYPE == ct* || $TYPE == tpu*-standard-* ]]; then
  : "${IMAGE:?set IMAGE to PROJECT/FAMILY of the image for $TYPE, from the list of TPU OS images}"
  vm=(gcloud compute instances) remote=(gcloud compute) ready=RUNNING field=status
  make=(--machine-type="$TYPE" --image-project="${IMAGE%%/*}" --image-family="${IMAGE#*/}"
    --maintenance-policy=TERMINATE --provisioning-model=SPOT --instance-termination-action=STOP)
else
  [[ -n $version ]] || {
    echo "$0: no runtime version is known for TYPE=$TYPE; give VERSION, or for TPU7x and later use Compute Engine" \
      "(TYPE=tpu7x-standard-4t) or GKE" >&2
    exit 2
  }
  vm=(gcloud compute tpus tpu-vm) remote=(gcloud compute tpus tpu-vm) ready=READY field=state
  make=(--accelerator-type="$TYPE" --version="$version" --spot)
fi
here=$(dirname "$0")
# Both --workdir=DIR and --workdir DIR; of several the last holds, as for reid-jax.
workdir=
before=
for argument in "$@"; do
  [[ $argument == --workdir=* ]] && workdir=${argument#--workdir=}
  [[ $before == --workdir ]] && workdir=$argument
  before=$argument
done
[[ -n $workdir ]] || { echo "$0: give --workdir=FOLDER" >&2; exit 2; }
[[ $workdir == /* ]] || {
  echo "$0: --workdir is $workdir; give one that begins with /, on a disk that outlives the TPU: /mnt/runs/2x" >&2
  exit 2
}

run() {
  if [[ $dry ]]; then printf '%q ' "$@" && echo; else "$@"; fi
}
on() { # all or the first of its hosts
  local worker=()
  [[ ${vm[*]} != *tpu-vm ]] || worker=(--worker="$1")
  run "${remote[@]}" ssh "$TPU" "${where[@]}" "${worker[@]}" --command="$2"
}
delete() { run "${vm[@]}" delete "$TPU" "${where[@]}" --quiet || true; }
state() {
  [[ ! $dry ]] || { echo NONE && return; }
  "${vm[@]}" describe "$TPU" "${where[@]}" --format="value($field)" 2>/dev/null || echo NONE
}

give_up_after_three() { # what fails
  failures=$((failures + 1))
  [[ $failures -lt 3 ]] || { echo "$0: $1 fails, and not for want of its TPU; $TPU is left for a look" >&2; exit 1; }
}

failures=0
set_up=
# One that was there before: the set-up's last step has made the command.
[[ $(state) != "$ready" ]] || ! on all "test -x ~/venv/bin/reid-jax" || set_up=yes
while true; do
  if [[ $(state) != "$ready" ]]; then
    delete 2>/dev/null # one that was taken away keeps its name
    if ! run "${vm[@]}" create "$TPU" "${where[@]}" "${make[@]}"; then
      echo "$0: no TPU to be had; trying again in ${RETRY:-60} s" >&2
      sleep "${RETRY:-60}"
      continue
    fi
    set_up=
  fi
  if [[ ! $set_up ]]; then
    if ! { on all "${SETUP:-true}" && "$here/tpu_vm.sh" $dry setup; }; then
      echo "$0: the TPU could not be set up; trying again in ${RETRY:-60} s" >&2
      sleep "${RETRY:-60}"
      if [[ $(state) == "$ready" ]]; then give_up_after_three "the set-up"; else failures=0; fi
      continue
    fi
    set_up=yes failures=0
  fi
  code=0
  "$here/tpu_vm.sh" $dry "$@" || code=$?
  if on 0 "test -f $(printf %q "$workdir")/results.json"; then
    delete
    exit 0
  fi
  echo "$0: interrupted (exit code $code); going on in ${RETRY:-60} s" >&2
  sleep "${RETRY:-60}"
  if [[ $code -ne 0 && $(state) == "$ready" ]]; then
    give_up_after_three "the run"
  else
    failures=0
  fi
done
