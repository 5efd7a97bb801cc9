#!/usr/bin/env bash
# run.sh <precision> <shape_mutable> <batch_size>: the model file, unless it is there already.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

check_model_arguments "$@"
model=$MODEL_PATH/$(model_name "$1" "$2" "$3")
if [ -f "$model" ]; then
    echo "mm_model: $model already exist."
    exit 0
fi
program=$MODEL_PATH/$VOLO_MODEL.pt2
[ -f "$program" ] || fail "exported program $program: expected it to be there (bash export_model/run.sh), got none"
python3 "$PROJ_ROOT_PATH/gen_model/gen_model.py" \
    --pt_model "$program" \
    --output_model "$model" \
    --image_dir "$CALIBRATION_PATH" \
    --label_file "$LABEL_FILE" \
    --precision "$1" \
    --shape_mutable "$2" \
    --batch_size "$3" \
    --input_width "$INPUT_SIZE" \
    --input_height "$INPUT_SIZE" \
    --device_id 0
