#!/usr/bin/env bash
# The predictor alone on 64-bit Arm, in an emulator: every kernel, and the crate's own bundle, whose golden questions must
# get the answers that another machine gave.
#
#     tests/neon.sh
#
# Needs `rustup target add aarch64-unknown-linux-musl`, and `gcc-aarch64-linux-gnu` and `qemu-user-static` (Debian's names).
# No part of `.ci/run`, because not every machine may install these.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-musl
for needed in aarch64-linux-gnu-gcc qemu-aarch64-static; do
    command -v "$needed" > /dev/null || { echo "no $needed here: apt-get install gcc-aarch64-linux-gnu qemu-user-static" >&2; exit 1; }
done
export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER=qemu-aarch64-static
cargo test --release --no-default-features --lib --target "$target"
cargo run --release --no-default-features --example minimal --target "$target" -- checkpoints/phone.foretap
