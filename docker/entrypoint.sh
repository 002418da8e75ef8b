#!/bin/sh
# What a container runs: `head`, `worker` or `mlflow`, each with further options of `ray start` or
# `mlflow server`; anything else is a command of its own. The process replaces this shell, so that
# it gets the signals. What is missing is said in one line, with exit code 2.
set -eu

fail() {
  echo "flexkd: $*" >&2
  exit 2
}

# A file that keeps a secret: there, not empty, and closed to other users.
check_secret_file() { # variable file
  [ -f "$2" ] || fail "$1 names $2, which is not there; mount the secret, or correct the path"
  [ -r "$2" ] || fail "$1 names $2, which user $(id -u) may not read; make it that user's own"
  [ -s "$2" ] || fail "$1 names $2, which is empty; write the secret into it"
  case $(stat -L -c %a "$2") in
    *00) ;;
    *) fail "others can read $2, which $1 names; chmod 0400 $2" ;;
  esac
}

# Every node of a cluster shows the same token. An open cluster has to be asked for by name: whoever
# reaches its ports can run code there.
check_token() {
  export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"
  case $RAY_AUTH_MODE in
    token) ;;
    disabled)
      echo "flexkd: RAY_AUTH_MODE=disabled: whoever reaches this cluster can run code on it" >&2
      return
      ;;
    *) fail "RAY_AUTH_MODE is $RAY_AUTH_MODE; it may be token or disabled" ;;
  esac
  [ -z "${RAY_AUTH_TOKEN:-}" ] || return 0
  if [ -z "${RAY_AUTH_TOKEN_PATH:-}" ] && [ ! -e "${HOME:-/}/.ray/auth_token" ]; then
    fail "no token: set RAY_AUTH_TOKEN_PATH to a file that holds it, or RAY_AUTH_TOKEN to itself"
  fi
  check_secret_file RAY_AUTH_TOKEN_PATH "${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
}

start_head() {
  check_token
  # No work on the head unless asked: a trial there would take the memory of GCS and drivers.
  exec ray start --head --block --disable-usage-stats \
    --port "${RAY_PORT:-6379}" \
    --dashboard-host 0.0.0.0 --dashboard-port "${RAY_DASHBOARD_PORT:-8265}" \
    --dashboard-agent-listen-port "${RAY_AGENT_PORT:-52365}" \
    --metrics-export-port "${RAY_METRICS_PORT:-8080}" \
    --num-cpus "${RAY_HEAD_CPUS:-0}" "$@"
}

start_worker() {
  [ -n "${RAY_HEAD_ADDRESS:-}" ] || fail "no head: set RAY_HEAD_ADDRESS, as head:6379"
  case $RAY_HEAD_ADDRESS in
    *://*) fail "RAY_HEAD_ADDRESS is $RAY_HEAD_ADDRESS; give host:port without a scheme" ;;
    *:*) ;;
    *) fail "RAY_HEAD_ADDRESS is $RAY_HEAD_ADDRESS; give the port too, as $RAY_HEAD_ADDRESS:6379" ;;
  esac
  check_token
  exec ray start --block --disable-usage-stats \
    --address "$RAY_HEAD_ADDRESS" \
    --dashboard-agent-listen-port "${RAY_AGENT_PORT:-52365}" \
    --metrics-export-port "${RAY_METRICS_PORT:-8080}" "$@"
}

# URIs and passwords come by the environment: a process list shows options.
start_mlflow() {
  [ -n "${MLFLOW_BACKEND_STORE_URI:-}" ] ||
    fail "no database: set MLFLOW_BACKEND_STORE_URI, as postgresql://mlflow@postgres/mlflow"
  [ -n "${MLFLOW_ARTIFACTS_DESTINATION:-}" ] ||
    fail "no place for artifacts: set MLFLOW_ARTIFACTS_DESTINATION, as s3://mlflow"
  if [ -n "${PGPASSWORD_FILE:-}" ]; then
    check_secret_file PGPASSWORD_FILE "$PGPASSWORD_FILE"
    PGPASSWORD=$(cat "$PGPASSWORD_FILE")
    export PGPASSWORD
  fi
  export MLFLOW_DISABLE_TELEMETRY=true
  # Runners for evaluations of prompts, which flexkd has none of: five processes that outlive SIGTERM.
  export MLFLOW_SERVER_ENABLE_JOB_EXECUTION="${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false}"
  # Importing MLflow takes seconds, and more from a cold disk; by default a worker that does not
  # answer within five is killed while it starts.
  export MLFLOW_UVICORN_OPTS="${MLFLOW_UVICORN_OPTS:---timeout-worker-healthcheck 60}"
  exec mlflow server --host 0.0.0.0 --port "${MLFLOW_PORT:-5000}" --serve-artifacts \
    --workers "${MLFLOW_WORKERS:-2}" "$@"
}

[ $# -gt 0 ] || fail "say what to run: head, worker, mlflow, or a command"
what=$1
case $what in
  head | worker | mlflow)
    shift
    "start_$what" "$@"
    ;;
  *) exec "$@" ;;
esac
