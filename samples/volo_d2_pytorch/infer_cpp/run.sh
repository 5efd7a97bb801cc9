#!/usr/bin/env bash
# run.sh <precision> <shape_mutable> <batch_size> <image_num>: predictions by the C++ program; image_num 0 takes all.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

check_model_arguments "$@"
model=$(require_model "$1" "$2" "$3")
name=$(basename "$model")
if [ ! "$model.library/lib$name.so" -nt "$model" ]; then
    alula compile "$model" -o "$model.library"
fi
infer=$PROJ_ROOT_PATH/data/infer
if [ ! -x "$infer" ]; then
    mkdir -p "$PROJ_ROOT_PATH/data"
    bash "$PROJ_ROOT_PATH/infer_cpp/build.sh" "$model.library" "$infer"
fi
infer_arguments "$model.library/$name.alula" "$PROJ_ROOT_PATH/data/output/infer_cpp_output_$1_$2_$3" "$3" "${4:-0}"
"$infer" "${arguments[@]}"
