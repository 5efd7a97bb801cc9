#!/usr/bin/env bash
# Everything: export, generation, inference, the accuracy table, the performance summary.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

bash "$PROJ_ROOT_PATH/benchmark/eval.sh"
bash "$PROJ_ROOT_PATH/benchmark/perf.sh"
echo
cat "$PROJ_ROOT_PATH/data/output/eval.md" "$PROJ_ROOT_PATH/data/output/perf.md"
