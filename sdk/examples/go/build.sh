#!/bin/sh
# Makes target/emptiest-go.wasm. Needs Go 1.24 or newer, and cargo for the last step.
set -eu
cd "$(dirname "$0")"
mkdir -p target
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o target/emptiest.core.wasm .
# The contract's types and an inert WASI go into the component.
cargo xtask component target/emptiest.core.wasm --world select-only --out target/emptiest-go.wasm
