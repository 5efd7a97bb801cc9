#!/usr/bin/env bash
# build.sh <folder of alula.h> <program>: the program from src/, by the system's C++ compiler, with OpenCV to read pictures.
# build.sh --check: only whether there is all that it takes.
set -euo pipefail
sources=$(cd "$(dirname "${BASH_SOURCE[0]}")/src" && pwd)
headers=${1:?folder of alula.h}
compiler=${CXX:-g++}

command -v "$compiler" > /dev/null || { echo "error: $compiler: expected a C++17 compiler (Debian: g++), got none" >&2; exit 2; }
if ! flags=$(pkg-config --cflags opencv4 2> /dev/null); then
    echo "error: OpenCV: expected version 4 with pkg-config (Debian: libopencv-dev pkg-config), got none" >&2
    exit 2
fi
[ "$headers" != --check ] || exit 0
program=${2:?program to write}
# No contraction: the resampling has Pillow's bits, with a multiplication and an addition where Pillow has them.
# shellcheck disable=SC2086  # flags are words
"$compiler" -std=c++17 -O2 -ffp-contract=off -Wall -Wextra -pedantic -I"$headers" $flags "$sources"/*.cpp -o "$program" \
    -lopencv_imgcodecs -lopencv_core -ldl -pthread
