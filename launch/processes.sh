#!/usr/bin/env bash
# Several processes on this machine, joined as those of several machines are (on CPUs by gloo), each with its devices:
#
#   launch/processes.sh 2 --config=configs/quickstart.py --workdir=runs/two
#   launch/processes.sh 2 embed --weights=runs/two --images=crops --parts=crops.parts
#
# SIGTERM and Ctrl-C reach every process: the run saves and exits with 0. Exit code: the first that is not 0.
set -euo pipefail

if [[ $# -lt 2 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 PROCESSES [VERB] --config=FILE.py --workdir=FOLDER ..." >&2
  exit 2
fi
processes=$1
shift
verb=train
if [[ $1 != -* ]]; then
  verb=$1
  shift
fi

export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu}
# glibc asks for huge pages, which a CPU's training step of several GiB has mapped sooner; elsewhere without effect.
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
export JAX_NUM_PROCESSES=$processes
export JAX_COORDINATOR_ADDRESS=${JAX_COORDINATOR_ADDRESS:-127.0.0.1:$((20000 + RANDOM % 12000))}

pids=()
tell() { kill -TERM "${pids[@]}" 2>/dev/null || true; }
trap tell TERM INT

# A shell's background processes do not hear Ctrl-C themselves, which would end them before they have saved.
for ((process = 0; process < processes; process++)); do
  JAX_PROCESS_ID=$process reid-jax "$verb" "$@" &
  pids+=($!)
done

code=0
for pid in "${pids[@]}"; do
  # A signal ends the waiting, not the process.
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
  status=0
  wait "$pid" || status=$?
  if [[ $status -ne 0 && $code -eq 0 ]]; then
    code=$status
    tell # the others would wait for it
  fi
done
exit "$code"
