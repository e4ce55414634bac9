#!/usr/bin/env bash
# What a machine's accelerators do with this package, in one sitting: training, where a step's time goes, CUDA graphs or
# none, PyTorch beside it, embedding and ranking.
#
#   launch/measure.sh measured
#
# --short, as the first argument, takes `nano` and a few steps, to try the script itself; --dry-run prints the commands
# and runs none. Each measurement leaves measured/NAME.json and NAME.txt, one that fails NAME.txt alone, and the others
# follow all the same. The same command makes those that are missing. Exit code: 1 where one failed.
set -uo pipefail
size=1x rounds=7 steps=20 images=4096 entries=msmt17 dry=
while [[ ${1:-} == --* ]]; do
  case $1 in
    --short) size=nano rounds=1 steps=2 images=64 entries=market1501 ;;
    --dry-run) dry=yes ;;
    *) echo "$0: there is no $1" >&2 && exit 2 ;;
  esac
  shift
done
[[ $# -eq 1 ]] || { echo "usage: $0 [--short] [--dry-run] FOLDER" >&2; exit 2; }
folder=$1 code=0
[[ $dry ]] || mkdir -p "$folder" || exit

# measure NAME XLA_FLAGS WORK ARGUMENT...
measure() {
  local name=$1 flags=$2
  local line=(env XLA_FLAGS="${XLA_FLAGS:-}${flags:+ $flags}" reid-jax bench "${@:3}" --rounds="$rounds" --json="$folder/$name.json")
  if [[ $dry ]]; then
    printf '%q ' "${line[@]}" && echo
  elif [[ ! -e $folder/$name.json ]]; then
    echo "== $name"
    "${line[@]}" 2>&1 | tee "$folder/$name.txt" || code=1
  fi
}

network=(--config=configs/robust_reid.py:size=$size --config.model.dtype=bfloat16)
train=(train "${network[@]}" --steps=$steps)
measure train "" "${train[@]}" --kernels
measure train_without_graphs --xla_gpu_enable_command_buffer= "${train[@]}"
measure train_as_one_graph "--xla_gpu_enable_command_buffer=+WHILE --xla_gpu_graph_min_graph_size=1" "${train[@]}"
measure train_graphs_profiled --xla_enable_command_buffers_during_profiling=true "${train[@]}" --kernels
measure train_beside_torch "" "${train[@]}" --against torch torch_compiled
measure embed "" embed "${network[@]}" --images=$images --kernels
measure embed_float32 "" embed "${network[0]}" --images=$images
measure rank "" rank --size=$entries
exit "$code"
