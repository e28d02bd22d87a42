#!/usr/bin/env bash
# The device tests on a graphics card, or on lavapipe, Mesa's Vulkan in software, where there is none:
#
#     tests/wgpu.sh            # on the machine's card
#     tests/wgpu.sh software   # on lavapipe
#
# Needs `libvulkan1`, and for lavapipe `mesa-vulkan-drivers` (Debian's names). No part of `.ci/run`, because Burn's
# first build with `wgpu` takes long: see below.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = software ]; then
    driver=$(find /usr/share/vulkan/icd.d -name 'lvp_icd*.json' -print -quit 2>/dev/null || true)
    if [ -z "$driver" ]; then
        echo "no lavapipe here: apt-get install mesa-vulkan-drivers libvulkan1" >&2
        exit 1
    fi
    # The loader knows no other driver, so a card is not taken instead.
    export VK_DRIVER_FILES="$driver" VK_ICD_FILENAMES="$driver"
fi
export FORETAP_NEEDS_GPU=1
# Not `--release`: that build takes three times as long, and these networks are tiny.
cargo test --features wgpu --test devices
