#!/usr/bin/env bash
# Amazon's services as two Python programs have them, on the loopback interface: `aws.sh start moto|ministack FOLDER PORT`,
# `aws.sh stop FOLDER`. FOLDER keeps the log and the process id; what is stored is in memory, and gone after a stop. Any
# credentials do. Needs Python 3.11, and pip, which brings both once (requirements-aws.txt).
# `aws.sh start kinesalite FOLDER PORT` starts one that has Kinesis alone: neither of the others keeps a shard that was split or
# merged as it was. Needs Node 20, and npm, which brings it once (kinesalite/).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
source "$here/process.sh"
home="$HOME/.cache/foretap-aws-venv"
kinesalite="$HOME/.cache/foretap-kinesalite"

install() {
    cmp -s "$here/requirements-aws.txt" "$home/installed.txt" && return
    mkdir -p "$HOME/.cache"
    # One at a time, whoever else starts a test.
    exec 9> "$home.lock"
    flock 9
    if ! cmp -s "$here/requirements-aws.txt" "$home/installed.txt"; then
        python3 -m venv --clear "$home"
        "$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements-aws.txt" >&2
        cp "$here/requirements-aws.txt" "$home/installed.txt"
    fi
    exec 9>&-
}

install_kinesalite() {
    mkdir -p "$kinesalite"
    exec 9> "$kinesalite/lock"
    flock 9
    if ! cmp -s "$here/kinesalite/package-lock.json" "$kinesalite/installed.json"; then
        cp "$here/kinesalite/package.json" "$here/kinesalite/package-lock.json" "$kinesalite"
        # Without LevelDB, which is C: everything is in memory.
        npm ci --omit=optional --silent --no-audit --no-fund --prefix "$kinesalite" >&2
        cp "$here/kinesalite/package-lock.json" "$kinesalite/installed.json"
    fi
    # Beside the packages that it imports.
    cp "$here/kinesalite/server.js" "$kinesalite"
    exec 9>&-
}

# Whether the server answers a request, not only whether its port is open.
answers() {
    local line=""
    { exec 3<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null || return 1
    printf 'GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3 || true
    read -r -t 5 line <&3 || true
    exec 3>&-
    [[ "$line" == HTTP/* ]]
}

# moto with one request at a time. By itself it takes several at once, and one transaction that fails puts the whole table back
# to what it was before, with what others have written meanwhile.
moto='
import sys, threading
from moto import server
from moto.moto_server import werkzeug_app
application = werkzeug_app.DomainDispatcherApplication
call, one = application.__call__, threading.Lock()
def call_alone(self, environ, start_response):
    with one:
        return call(self, environ, start_response)
application.__call__ = call_alone
server.main(sys.argv[1:])
'

# Runs the server in the place of this shell.
serve() {
    local peer="$1" folder="$2" port="$3"
    # What the servers keep beside their memory, and no credentials or settings of whoever runs this.
    export TMPDIR="$folder" HOME="$folder" AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true
    case "$peer" in
        moto) exec "$home/bin/python" -c "$moto" -H 127.0.0.1 -p "$port" ;;
        ministack) BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" LOG_LEVEL=WARNING exec "$home/bin/ministack" ;;
        kinesalite) exec node "$kinesalite/server.js" "$port" ;;
    esac
}

start() {
    local peer="$1" folder="$2" port="$3"
    mkdir -p "$folder"
    (serve "$peer" "$folder" "$port") > "$folder/log" 2>&1 &
    echo $! > "$folder/pid"
    await "$peer" "$folder" "$port"
    echo "http://127.0.0.1:$port"
}

case "${1:-} ${2:-}" in
    "start moto" | "start ministack") install && start "$2" "$(realpath -m "${3:?a folder}")" "${4:?a port}" ;;
    "start kinesalite") install_kinesalite && start "$2" "$(realpath -m "${3:?a folder}")" "${4:?a port}" ;;
    "stop "?*) stop "$2" ;;
    *) echo "aws.sh start moto|ministack|kinesalite FOLDER PORT | stop FOLDER" >&2 && exit 2 ;;
esac
