#!/usr/bin/env bash
# The accuracy of the three precisions, on all pictures: a table beside the figures published for the original.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

batch=32
language=infer_cpp
if ! reason=$(bash "$PROJ_ROOT_PATH/infer_cpp/build.sh" --check 2>&1); then
    echo "note: infer_python in place of infer_cpp (${reason#error: })" >&2
    language=infer_python
fi
bash "$PROJ_ROOT_PATH/export_model/run.sh"
for precision in $PRECISIONS; do
    bash "$PROJ_ROOT_PATH/gen_model/run.sh" "$precision" true "$batch"
    bash "$PROJ_ROOT_PATH/$language/run.sh" "$precision" true "$batch" 0
    output=$PROJ_ROOT_PATH/data/output/${language}_output_${precision}_true_$batch
    python3 "$UTILS_PATH/compute_top1_and_top5.py" \
        --result_label_file "$output/eval_labels.txt" \
        --result_1_file "$output/eval_result_1.txt" \
        --result_5_file "$output/eval_result_5.txt" \
        --top1andtop5_file "$output/eval_result.txt"
done
python3 "$PROJ_ROOT_PATH/benchmark/eval_table.py" --model "$VOLO_MODEL" --batch_size "$batch" --language "$language" \
    --output_dir "$PROJ_ROOT_PATH/data/output"
