#!/bin/sh
# Makes target/emptiest-js.wasm. Needs Node.js 20 or newer and npm.
set -eu
cd "$(dirname "$0")"
npm install --no-audit --no-fund --silent
mkdir -p target
# --sync: the host has no async component model. --stub-wasi: QuickJS imports WASI whether it uses it or not.
npx componentize-qjs --wit ../../wit --world select-only --js policy.js --sync --stub-wasi --opt-size -o target/emptiest-js.wasm
