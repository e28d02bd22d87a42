#!/usr/bin/env bash
# A Python of its own with the packages of requirements-NAME.txt, made where it is missing: `venv.sh NAME` writes its path.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
name="${1:?venv.sh NAME}"
requirements="$here/requirements-$name.txt"
home="$HOME/.cache/foretap-$name-venv"
mkdir -p "$HOME/.cache"
# One at a time, whoever else starts a test.
exec 9> "$home.lock"
flock 9
if ! cmp -s "$requirements" "$home/installed.txt"; then
    python3 -m venv --clear "$home" >&2
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements" >&2
    cp "$requirements" "$home/installed.txt"
fi
echo "$home/bin/python"
