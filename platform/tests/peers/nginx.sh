#!/usr/bin/env bash
# nginx before a server on the loopback interface, as balancers stand before one: bodies are passed on as they come, connections to
# the server are kept. `nginx.sh start FOLDER PORT SERVER_PORT`, `nginx.sh stop FOLDER`. Debian's package is brought once, and
# installed nowhere.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/process.sh"
home="$HOME/.cache/foretap-nginx"

install() {
    mkdir -p "$home"
    exec 9> "$home/lock"
    flock 9
    if ! "$home/usr/sbin/nginx" -v 2> /dev/null; then
        (cd "$home" && { apt-get download nginx || { apt-get update && apt-get download nginx; }; }) > "$home/log" 2>&1 ||
            { cat "$home/log" >&2 && return 1; }
        dpkg -x "$home"/nginx_*.deb "$home"
    fi
    exec 9>&-
}

answers() {
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

start() {
    local folder="$1" port="$2" server="$3"
    mkdir -p "$folder"
    cat > "$folder/nginx.conf" << CONF
daemon off;
pid $folder/nginx.pid;
error_log $folder/log;
events {}
http {
    access_log off;
    client_max_body_size 0;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    upstream server { server 127.0.0.1:$server; keepalive 16; }
    server {
        listen 127.0.0.1:$port;
        location / {
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
        }
    }
}
CONF
    (exec "$home/usr/sbin/nginx" -e "$folder/log" -c "$folder/nginx.conf") >> "$folder/log" 2>&1 &
    echo $! > "$folder/pid"
    await nginx "$folder" "$port"
    echo "http://127.0.0.1:$port"
}

case "${1:-} ${2:-}" in
    "start "?*) install && start "$(realpath -m "$2")" "${3:?a port}" "${4:?the port of the server}" ;;
    "stop "?*) stop "$2" ;;
    *) echo "nginx.sh start FOLDER PORT SERVER_PORT | stop FOLDER" >&2 && exit 2 ;;
esac
