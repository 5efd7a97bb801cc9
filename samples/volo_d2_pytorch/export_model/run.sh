#!/usr/bin/env bash
# run.sh [random]: the exported program that gen_model takes.  Fetches the published checkpoint if it is not there;
# with `random` VOLO-D2 gets random weights instead, which is enough for benchmark/perf.sh.
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

mkdir -p "$MODEL_PATH"
program=$MODEL_PATH/$VOLO_MODEL.pt2
if [ "$VOLO_MODEL" = volo_digits ] && [ ! -f "$LABEL_FILE" ]; then
    python3 "$PROJ_ROOT_PATH/export_model/digits.py" "$PROJ_ROOT_PATH/data/digits"
fi
if [ -f "$program" ]; then
    echo "exported program: $program already exist."
    exit 0
fi
options=()
if [ "$VOLO_MODEL" = volo_d2 ] && [ "${1:-}" != random ]; then
    checkpoint=$MODEL_PATH/d2_224_85.2.pth.tar
    if [ ! -f "$checkpoint" ] && ! alula fetch volo_d2 -o "$MODEL_PATH"; then
        echo "Without a network: fetch https://github.com/sail-sg/volo/releases/download/volo_1/d2_224_85.2.pth.tar" >&2
        echo "on another machine, put it at $checkpoint and run this again." >&2
        exit 1
    fi
    options=(--checkpoint "$checkpoint")
fi
alula export "$VOLO_MODEL" ${options[@]+"${options[@]}"} -o "$program"
