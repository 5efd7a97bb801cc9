# The sample's paths.  Set DATASETS_PATH to the folder of ILSVRC2012's validation pictures, then: source env.sh

PROJ_ROOT_PATH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
UTILS_PATH=$(cd "$PROJ_ROOT_PATH/../utils" && pwd)
DATASETS_PATH=${DATASETS_PATH:-$PROJ_ROOT_PATH/data/ILSVRC2012}
MODEL_PATH=${MODEL_PATH:-$PROJ_ROOT_PATH/data/models}
export PROJ_ROOT_PATH UTILS_PATH DATASETS_PATH MODEL_PATH

# The environment of `make run`, where no other is active.
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$PROJ_ROOT_PATH/../../.venv/bin/alula" ]; then
    PATH=$(cd "$PROJ_ROOT_PATH/../../.venv/bin" && pwd):$PATH
    export PATH
fi

echo "PROJ_ROOT_PATH is $PROJ_ROOT_PATH"
echo "UTILS_PATH is $UTILS_PATH"
echo "DATASETS_PATH is $DATASETS_PATH"
echo "MODEL_PATH is $MODEL_PATH"
