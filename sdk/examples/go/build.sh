#!/bin/sh
# Makes target/emptiest-go.wasm. Needs Go 1.24 or newer, and `tenure` for the last step.
set -eu
cd "$(dirname "$0")"
mkdir -p target
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o target/emptiest.core.wasm .
# The contract's types and a WASI that leads nowhere go into the component.
${TENURE:-tenure} policy build --module target/emptiest.core.wasm --world select-only --wasi stub --out target/emptiest-go.wasm
