#!/usr/bin/env bash
# A run whose exit code tells a scheduler whether it is done, for those that start again what has failed:
#
#   launch/until_done.sh --config=configs/robust_reid.py:size=2x --workdir=/data/runs/2x
#
# 0 where the run has its results, 75 where it was told to stop and has saved; else the code of `reid-jax train`: 2 for
# what starting again does not mend. SIGTERM and Ctrl-C reach the run.
set -uo pipefail

# Both --workdir=DIR and --workdir DIR; of several the last holds, as for reid-jax.
workdir=
before=
for argument in "$@"; do
  [[ $argument == --workdir=* ]] && workdir=${argument#--workdir=}
  [[ $before == --workdir ]] && workdir=$argument
  before=$argument
done
[[ -n $workdir ]] || { echo "$0: give --workdir=FOLDER" >&2; exit 2; }
# As reid-jax does it: what tells that the run is done is looked for where it is written.
[[ $workdir != "~" && $workdir != "~/"* ]] || workdir=$HOME${workdir#"~"}
[[ $workdir != "~"* ]] || { echo "$0: --workdir is $workdir; write that home in full" >&2; exit 2; }

reid-jax train "$@" &
run=$!
trap 'kill -TERM "$run" 2>/dev/null' TERM INT
# A signal ends the waiting, not the run.
while kill -0 "$run" 2>/dev/null; do wait "$run"; done
wait "$run"
code=$?
[[ $code -ne 0 || -f $workdir/results.json ]] || code=75
exit "$code"
