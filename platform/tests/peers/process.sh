# What the scripts that start peers share; they source it. FOLDER keeps a peer's process id, `pid`, and what it says, `log`.

# Waits until `answers PORT` is so, which the script defines: `await NAME FOLDER PORT`. A peer that ended or stays silent is stopped.
await() {
    local name="$1" folder="$2" port="$3"
    for _ in $(seq 300); do
        if answers "$port"; then
            return
        fi
        if ! kill -0 "$(cat "$folder/pid")" 2> /dev/null; then
            break
        fi
        sleep 0.2
    done
    echo "$name does not answer on port $port:" >&2
    tail -n 20 "$folder/log" >&2
    stop "$folder"
    return 1
}

# Asks it to end, and waits; one that does not within half a minute is killed.
stop() {
    local folder="$1" pid
    [ -f "$folder/pid" ] || return 0
    pid="$(cat "$folder/pid")"
    kill -TERM "$pid" 2> /dev/null || true
    for _ in $(seq 300); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2> /dev/null || true
    rm -f "$folder/pid"
}
