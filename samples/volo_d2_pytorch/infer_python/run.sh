#!/usr/bin/env bash
# run.sh <precision> <shape_mutable> <batch_size> <image_num>: predictions by the Python session; image_num 0 takes all.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

check_model_arguments "$@"
model=$(require_model "$1" "$2" "$3")
infer_arguments "$model" "$PROJ_ROOT_PATH/data/output/infer_python_output_$1_$2_$3" "$3" "${4:-0}"
python3 "$PROJ_ROOT_PATH/infer_python/infer.py" "${arguments[@]}"
