#!/usr/bin/env bash
# An OpenID provider, `oidc-provider`, on the loopback interface: `oidc.sh start FOLDER PORT`, `oidc.sh stop FOLDER`. FOLDER keeps
# its keys (keys.json), its log and its process id: a second start goes on with the same keys, unless they were deleted. Needs
# Node 20 and npm, which brings it once. oidc/provider.mjs says who its clients are.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/process.sh"
home="$HOME/.cache/foretap-oidc"

install() {
    mkdir -p "$home"
    # One at a time, whoever else starts a test.
    exec 9> "$home/lock"
    flock 9
    if ! cmp -s "$here/oidc/package-lock.json" "$home/installed.json"; then
        cp "$here/oidc/package.json" "$here/oidc/package-lock.json" "$home"
        npm ci --silent --no-audit --no-fund --prefix "$home" >&2
        cp "$here/oidc/package-lock.json" "$home/installed.json"
    fi
    # Beside the packages that it imports.
    cp "$here/oidc/provider.mjs" "$home"
    exec 9>&-
}

answers() {
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

start() {
    local folder="$1" port="$2"
    mkdir -p "$folder"
    (exec node "$home/provider.mjs" "$port" "$folder/keys.json") > "$folder/log" 2>&1 &
    echo $! > "$folder/pid"
    await "the OpenID provider" "$folder" "$port"
    echo "http://127.0.0.1:$port"
}

case "${1:-} ${2:-}" in
    "start "?*) install && start "$(realpath -m "$2")" "${3:?a port}" ;;
    "stop "?*) stop "$2" ;;
    *) echo "oidc.sh start FOLDER PORT | stop FOLDER" >&2 && exit 2 ;;
esac
