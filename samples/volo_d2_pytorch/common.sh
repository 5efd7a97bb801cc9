# What the sample's scripts share; each sources it and works from any folder, alone.
# With ILSVRC2012 in DATASETS_PATH (a flat folder of pictures and ILSVRC2012_val.txt) the sample runs VOLO-D2 on it;
# without, it goes the small way: a small trained VOLO on the handwritten digits of `make run`, in minutes.
set -euo pipefail

fail() { # one line, and the exit code of wrong usage
    echo "error: $1" >&2
    exit 2
}

if [ -z "${PROJ_ROOT_PATH:-}" ]; then
    # shellcheck source=env.sh
    source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
fi
command -v alula > /dev/null || fail "alula: expected it on PATH (pip install -r requirement.txt), got none"

PRECISIONS="force_float32 force_float16 qint8_mixed_float16" # of the benchmarks

LABEL_FILE=$DATASETS_PATH/ILSVRC2012_val.txt
[ -f "$LABEL_FILE" ] || LABEL_FILE=$UTILS_PATH/ILSVRC2012_val.txt
if [ -z "${VOLO_MODEL:-}" ]; then
    if [ -f "$LABEL_FILE" ]; then
        VOLO_MODEL=volo_d2
    elif [ "$DATASETS_PATH" != "$PROJ_ROOT_PATH/data/ILSVRC2012" ]; then
        fail "DATASETS_PATH $DATASETS_PATH: expected pictures and ILSVRC2012_val.txt, got no such file"
    else
        echo "note: no ILSVRC2012 in $DATASETS_PATH, so the small way: volo_digits on handwritten digits"
        VOLO_MODEL=volo_digits
    fi
    export VOLO_MODEL # the scripts that this one calls go the same way
fi
case $VOLO_MODEL in
    volo_d2)
        INPUT_SIZE=224
        IMAGE_DIR=$DATASETS_PATH
        NAME_FILE=$DATASETS_PATH/synset_words.txt                  # optional
        CALIBRATION_PATH=${CALIBRATION_PATH:-$DATASETS_PATH/train} # optional: training pictures, for int8
        ;;
    volo_digits)
        INPUT_SIZE=32
        IMAGE_DIR=$PROJ_ROOT_PATH/data/digits/val
        LABEL_FILE=$PROJ_ROOT_PATH/data/digits/digits_val.txt
        NAME_FILE=$PROJ_ROOT_PATH/data/digits/names.txt
        CALIBRATION_PATH=$PROJ_ROOT_PATH/data/digits/train
        ;;
    *) fail "VOLO_MODEL: expected volo_d2 or volo_digits, got '$VOLO_MODEL'" ;;
esac

check_model_arguments() { # <precision> <shape_mutable> <batch_size>
    local known=" force_float32 force_float16 force_bfloat16 qint8_mixed_float32 qint8_mixed_float16 qint8_mixed_bfloat16 "
    [[ -n ${1:-} && $known == *" $1 "* ]] || fail "precision: expected one of${known% }, got '${1:-}'"
    [[ ${2:-} == true || ${2:-} == false ]] || fail "shape_mutable: expected true or false, got '${2:-}'"
    [[ ${3:-} =~ ^[1-9][0-9]*$ ]] || fail "batch_size: expected a whole number of at least 1, got '${3:-}'"
    [[ ${4:-0} =~ ^[0-9]+$ ]] || fail "image_num: expected a whole number (0: all), got '$4'"
}

model_name() { # <precision> <shape_mutable> <batch_size>
    if [ "$2" = true ]; then echo "${VOLO_MODEL}_model_$1_$2"; else echo "${VOLO_MODEL}_model_$1_$2_$3"; fi
}

require_model() { # <precision> <shape_mutable> <batch_size>: prints where it is
    local model
    model=$MODEL_PATH/$(model_name "$@")
    [ -f "$model" ] || fail "model $model: expected it to be there (gen_model/run.sh $*), got none"
    echo "$model"
}

infer_arguments() { # <model file> <output folder> <batch_size> <image_num>: sets the array `arguments`
    [ -f "$LABEL_FILE" ] || fail "label file $LABEL_FILE: expected the lines \`name label\` of the pictures, got no such file"
    mkdir -p "$2"
    arguments=(
        --device_id 0
        --magicmind_model "$1"
        --image_dir "$IMAGE_DIR"
        --image_num "${4:-0}"
        --label_file "$LABEL_FILE"
        --result_file "$2/infer_result.txt"
        --result_label_file "$2/eval_labels.txt"
        --result_top1_file "$2/eval_result_1.txt"
        --result_top5_file "$2/eval_result_5.txt"
        --batch_size "$3"
    )
    if [ -f "$NAME_FILE" ]; then arguments+=(--name_file "$NAME_FILE"); fi
}
