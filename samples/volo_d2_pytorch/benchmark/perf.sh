#!/usr/bin/env bash
# The speed of three precisions at three batch sizes, for models of any batch and of that batch alone, by mm_run.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

command -v mm_run > /dev/null || fail "mm_run: expected it on PATH (it comes with alula), got none"
output=$PROJ_ROOT_PATH/data/output
mkdir -p "$output"
bash "$PROJ_ROOT_PATH/export_model/run.sh"
for precision in $PRECISIONS; do
    for shape_mutable in true false; do
        for batch in 1 8 32; do
            bash "$PROJ_ROOT_PATH/gen_model/run.sh" "$precision" "$shape_mutable" "$batch"
            mm_run --magicmind_model "$MODEL_PATH/$(model_name "$precision" "$shape_mutable" "$batch")" \
                --batch_size "$batch" \
                --iterations 10 \
                --devices 0 2>&1 | tee "$output/${precision}_${shape_mutable}_${batch}_log_perf"
        done
    done
done
python3 "$PROJ_ROOT_PATH/benchmark/perf_table.py" --model "$VOLO_MODEL" --output_dir "$output"
