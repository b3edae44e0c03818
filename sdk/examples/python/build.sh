#!/bin/sh
# Makes target/emptiest-python.wasm. Needs Python 3.10 or newer with venv and pip.
set -eu
cd "$(dirname "$0")"
mkdir -p target
test -x target/venv/bin/componentize-py || { python3 -m venv target/venv && target/venv/bin/pip install --quiet componentize-py==0.25.1; }
# --stub-wasi: CPython imports WASI whether it uses it or not.
target/venv/bin/componentize-py --quiet -d ../../wit -w select-only componentize --stub-wasi policy -o target/emptiest-python.wasm
