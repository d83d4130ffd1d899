#!/usr/bin/env bash
# Runs the topology of deploy/compose.yaml as plain processes on loopback: PostgreSQL, Redis, two API servers, two workers, a scheduler, a
# dashboard, and a proxy where Caddy or nginx is installed. Says where to go; Ctrl-C stops everything, the data stay in the folder.
#
#   scripts/stack.sh [FOLDER]     default ./data-stack. STACK_PORT (8000): the proxy, and the nine ports after it for the rest.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${BINARY:-${CARGO_TARGET_DIR:-$HOME/.cache/simple-analytics/target}/release/simple-analytics}
folder=${1:-data-stack}
port=${STACK_PORT:-8000}
postgres_port=$((port + 8))
redis_port=$((port + 9))
names=()
pids=()

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$1"
    exit 1
}

# start NAME COMMAND…: in a session of its own, so that Ctrl-C reaches this script alone; ends with the script, however that ends.
start() {
    local name=$1
    shift
    setsid setpriv --pdeathsig TERM -- "$@" >>"$folder/log/$name.out" 2>>"$folder/log/$name.log" </dev/null &
    names+=("$name")
    pids+=($!)
}

# The other way round than they were started: servers store what waits before what they store it in goes.
# shellcheck disable=SC2329 # by the trap
stop() {
    trap '' INT TERM
    say "stopping"
    local index signal
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        # PostgreSQL's own word for "now, and cleanly": TERM waits until everybody has gone.
        [ "${names[index]}" = postgres ] && signal=INT || signal=TERM
        kill -"$signal" "${pids[index]}" 2>/dev/null || true
        # Servers stop side by side; the stores after all of them.
        case ${names[index]} in postgres | redis | api-1) wait "${pids[@]:index}" 2>/dev/null || true ;; esac
    done
}

# wait_for NAME COMMAND…: until the command succeeds, as long as the process lives.
wait_for() {
    local name=$1 index=$((${#pids[@]} - 1))
    shift
    for ((; index >= 0; index--)); do [ "${names[index]}" != "$name" ] || break; done
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return 0
        kill -0 "${pids[index]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$folder/log/$name.log" >&2
    fail "$name does not answer; its log is $folder/log/$name.log"
}

# shellcheck disable=SC2329 # by wait_for
is_ready() {
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf 'GET /health/ready HTTP/1.0\r\n\r\n' >&3
    local status
    read -r _ status _ <&3
    exec 3>&-
    [ "$status" = 200 ]
}

# The password of both stores, in a file that nobody else reads.
password() {
    [ -s "$folder/password" ] || (umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/password")
    cat "$folder/password"
}

start_postgres() {
    local bin name='' user=() data=$folder/postgres
    bin=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
    bin=$(dirname "${bin:-$(command -v initdb || true)}")
    [ -x "$bin/postgres" ] || fail "PostgreSQL is missing: apt-get install postgresql (or make setup)"
    # It refuses root. The signal once more: a change of user forgets it.
    if [ "$(id -u)" -eq 0 ]; then
        name=postgres
        id postgres >/dev/null 2>&1 || name=nobody
        user=(setpriv "--reuid=$name" "--regid=$(id -gn "$name")" --clear-groups --pdeathsig INT --)
        mkdir -p "$data"
        chown "$name" "$data"
        chmod 700 "$data"
        "${user[@]}" test -x "$folder" || fail "the user $name, who runs PostgreSQL for root, may not enter $folder: name a folder elsewhere, such as /var/tmp/stack"
    fi
    if [ ! -e "$data/PG_VERSION" ]; then
        say "making a PostgreSQL in $data"
        # In a file of the one who reads it, gone in a moment.
        local secret=$folder/postgres.password
        install -m 600 ${name:+-o "$name"} "$folder/password" "$secret"
        (cd / && "${user[@]}" "$bin/initdb" --username=analytics --auth=scram-sha-256 "--pwfile=$secret" --encoding=UTF8 \
            --locale=C.UTF-8 -D "$data") >"$folder/log/initdb.log"
        rm "$secret"
    fi
    start postgres "${user[@]}" "$bin/postgres" -D "$data" -p "$postgres_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories=
    wait_for postgres "$bin/pg_isready" --host 127.0.0.1 --port "$postgres_port"
    # Fails when it is there already; whatever else is wrong, the servers say.
    PGPASSWORD=$(password) "$bin/createdb" --host 127.0.0.1 --port "$postgres_port" --username analytics analytics 2>/dev/null || true
}

start_redis() {
    local program
    program=$(command -v redis-server || command -v redis-check-rdb) || fail "Redis is missing: apt-get install redis-tools (or make setup)"
    mkdir -p "$folder/redis"
    # In a file: arguments can be read by everybody.
    (umask 077 && printf '%s\n' "requirepass $(password)" 'bind 127.0.0.1' "port $redis_port" "dir $folder/redis" 'save ""' \
        'appendonly yes' 'appendfsync always' 'maxmemory-policy noeviction' >"$folder/redis.conf")
    # Debian's one program does what it is called.
    start redis bash -c 'exec -a redis-server "$@"' bash "$program" "$folder/redis.conf"
    wait_for redis bash -c "exec 3<>/dev/tcp/127.0.0.1/$redis_port"
}

# server NAME ROLE PORT
server() {
    # In a file, as above.
    (umask 077 && printf '%s\n' "DATABASE_URL=postgres://analytics:$(password)@127.0.0.1:$postgres_port/analytics" \
        "REDIS_URL=redis://:$(password)@127.0.0.1:$redis_port/0" >"$folder/$1.env")
    start "$1" bash -c 'set -a && . "$1" && shift && exec env "$@"' bash "$folder/$1.env" "ROLES=$2" "LISTEN=127.0.0.1:$3" \
        "DATA_DIR=$folder/$1" TRUSTED_PROXIES=127.0.0.1 LOG_FORMAT=text "$binary" serve
}

start_proxy() {
    if command -v caddy >/dev/null; then
        start proxy env "PORT=$port" BIND=127.0.0.1 "API_SERVERS=127.0.0.1:$((port + 1)) 127.0.0.1:$((port + 2))" \
            "DASHBOARD_SERVERS=127.0.0.1:$((port + 6))" "XDG_DATA_HOME=$folder/caddy" "XDG_CONFIG_HOME=$folder/caddy" \
            caddy run --adapter caddyfile --config deploy/Caddyfile
    elif command -v nginx >/dev/null; then
        mkdir -p "$folder/nginx"
        cat >"$folder/nginx.conf" <<NGINX
daemon off;
pid $folder/nginx/pid;
error_log stderr;
events {}
http {
    access_log off;
    client_max_body_size 32m;
    client_body_temp_path $folder/nginx/body;
    proxy_temp_path $folder/nginx/proxy;
    fastcgi_temp_path $folder/nginx/fastcgi;
    uwsgi_temp_path $folder/nginx/uwsgi;
    scgi_temp_path $folder/nginx/scgi;
    proxy_http_version 1.1;
    proxy_set_header Host \$http_host;
    proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto \$scheme;
    upstream api { least_conn; server 127.0.0.1:$((port + 1)); server 127.0.0.1:$((port + 2)); }
    server {
        listen 127.0.0.1:$port;
        location = /metrics { return 404; }
        location /api/ { proxy_pass http://api; }
        location / { proxy_pass http://127.0.0.1:$((port + 6)); }
    }
}
NGINX
        start proxy nginx -p "$folder/nginx" -e stderr -c "$folder/nginx.conf"
    else
        return 1
    fi
    wait_for proxy bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
}

[ -x "$binary" ] || fail "$binary is missing: make build, or BINARY=…"
command -v setpriv >/dev/null || fail "setpriv is missing: apt-get install util-linux"
for number in $(seq "$port" "$redis_port"); do
    ! (exec 3<>"/dev/tcp/127.0.0.1/$number") 2>/dev/null || fail "port $number is taken: choose others with STACK_PORT"
done
mkdir -p "$folder/log"
folder=$(cd "$folder" && pwd)
trap stop EXIT
trap 'exit 0' INT TERM
rm -f "$folder"/log/*.out
password >/dev/null
start_postgres
start_redis
# At once: one of them makes the tables, one the first project.
server api-1 api $((port + 1))
server api-2 api $((port + 2))
server worker-1 worker $((port + 3))
server worker-2 worker $((port + 4))
server scheduler scheduler $((port + 5))
server dashboard dashboard $((port + 6))
for number in 1 2 3 4 5 6; do
    wait_for "${names[number + 1]}" is_ready $((port + number))
done
entry=http://127.0.0.1:$port
(umask 077 && printf '%s\n' "export DATABASE_URL=postgres://analytics:$(password)@127.0.0.1:$postgres_port/analytics" \
    "export REDIS_URL=redis://:$(password)@127.0.0.1:$redis_port/0" "export DATA_DIR=$folder/api-1" >"$folder/env")
start_proxy || entry="http://127.0.0.1:$((port + 1)) and http://127.0.0.1:$((port + 2)) (no proxy: neither caddy nor nginx is installed)"

# What the first start tells once, whoever made it.
awk '/This is the first start/ { told = 1 } /^(Send an event|Events go)/ { told = 0 } told' "$folder"/log/*.out >&2
say "The stack runs.

  API           $entry
  API servers   http://127.0.0.1:$((port + 1)) http://127.0.0.1:$((port + 2))
  Workers       http://127.0.0.1:$((port + 3)) http://127.0.0.1:$((port + 4)) (health and metrics)
  Scheduler     http://127.0.0.1:$((port + 5)) (health and metrics)
  Dashboard     http://127.0.0.1:$((port + 6)) (reading, /api/docs; the web pages come later)
  Data, logs    $folder
  Commands      . $folder/env && $binary event_status

Ctrl-C stops everything; so does the end of any one of them."
# Whichever ends first takes the others along.
ended=0
wait -n || ended=$?
say "a process ended by itself with $ended; see $folder/log"
exit 1
