# Shared by the tests of registries: a home of the test's own, images to serve, and servers on loopback.
#   $BATS_FILE_TMPDIR/layout   test/lib/layout.py's images
#   start_bad [OPTION...]      test/lib/registry.py: sets BAD (HOST:PORT), CDN, LOG
#   start_docker [YAML]        Debian's docker-registry: sets DOCKER
# Servers end with the test: they hold a descriptor of it, or teardown stops them.

bats_require_minimum_version 1.5.0

VIV_BUILD=$(realpath "${VIV_BUILD:-$BATS_TEST_DIRNAME/../../build}")
LIB=$(realpath "$BATS_TEST_DIRNAME/../lib")
VIV=$VIV_BUILD/viv

needs_tool() { command -v "$1" >/dev/null || skip "needs $1"; }
needs_root() { [[ $EUID -eq 0 ]] || skip "needs root"; }
fail() {
	echo "$*" >&2
	return 1
}
ok() { [[ $status -eq 0 ]] || fail "status $status, stdout: $output, stderr: ${stderr:-}"; }
status_is() { [[ $status -eq $1 ]] || fail "status $status, not $1; stdout: $output, stderr: ${stderr:-}"; }
out_is() { [[ $output == "$1" ]] || fail "stdout '$output', not '$1'; stderr: ${stderr:-}"; }
out_has() { [[ $output == *"$1"* ]] || fail "stdout without '$1': $output; stderr: ${stderr:-}"; }
err_has() { [[ ${stderr:-} == *"$1"* ]] || fail "stderr without '$1': ${stderr:-}"; }

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@"; do
		((${EPOCHREALTIME/./} < end)) || { echo "never: $*" >&2 && return 1; }
		sleep 0.02
	done
}

registry_setup_file() {
	python3 "$LIB/layout.py" "$BATS_FILE_TMPDIR/layout"
}

# A home, data and settings of the test's own; nothing of the host's counts but /etc.
registry_setup() {
	HOME=$BATS_TEST_TMPDIR/home
	XDG_DATA_HOME=$HOME/data XDG_RUNTIME_DIR=$HOME/run XDG_CONFIG_HOME=$HOME/config DOCKER_CONFIG=$HOME/docker
	export HOME XDG_DATA_HOME XDG_RUNTIME_DIR XDG_CONFIG_HOME DOCKER_CONFIG
	export VIV_DATA_DIR=$HOME/viv VIV_RUN_DIR=$HOME/run/viv
	unset REGISTRY_AUTH_FILE http_proxy https_proxy no_proxy all_proxy HTTPS_PROXY NO_PROXY ALL_PROXY
	export VIV_ROOT=$HOME/data
	mkdir -p "$HOME/config/viv" "$HOME/docker"
	mkdir -pm 700 "$HOME/run"
	SERVERS=()
}

registry_teardown() {
	local pid
	for pid in "${SERVERS[@]}"; do kill "$pid" 2>/dev/null; done
	for pid in "${SERVERS[@]}"; do wait "$pid" 2>/dev/null || true; done
}

# viv runs as a person's shell would run it; run_viv as bats' run.
run_viv() { run --separate-stderr "$VIV" "$@" </dev/null; }

# registries JSON: the object of registries.json
registries() { printf '{"registries": %s}\n' "$1" >"$HOME/config/viv/registries.json"; }

# make_certificate: one for 127.0.0.1 and localhost: $HOME/tls.crt, its own authority, and tls.key
make_certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -quiet \
		-addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$HOME/tls.key" -out "$HOME/tls.crt" 2>/dev/null ||
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
			-addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$HOME/tls.key" -out "$HOME/tls.crt" 2>/dev/null
}

start_bad() {
	local place port cdn
	place=$(mktemp -d "$BATS_TEST_TMPDIR/bad.XXXXXX")
	LOG=$place/log
	: >"$LOG"
	mkfifo "$place/alive"
	python3 "$LIB/registry.py" "$BATS_FILE_TMPDIR/layout" "$LOG" "$@" <"$place/alive" >"$place/ports" 3>&- &
	SERVERS+=($!)
	exec {alive}>"$place/alive"
	wait_for 30 test -s "$place/ports"
	read -r port cdn <"$place/ports"
	BAD=127.0.0.1:$port CDN=127.0.0.1:$cdn
}

# log FILTER: jq over the requests that were made
log() { jq -r "$1" "$LOG"; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_docker [YAML below http:]: Debian's docker-registry
start_docker() {
	local port
	needs_tool docker-registry
	port=$(free_port)
	DOCKER=127.0.0.1:$port
	cat >"$BATS_TEST_TMPDIR/registry.yml" <<-EOF
		version: 0.1
		log: {level: error, accesslog: {disabled: true}}
		storage: {filesystem: {rootdirectory: $BATS_TEST_TMPDIR/registry}, delete: {enabled: true}}
		${2:-}
		http:
		  addr: $DOCKER
		  ${1:-}
	EOF
	docker-registry serve "$BATS_TEST_TMPDIR/registry.yml" >"$BATS_TEST_TMPDIR/registry.log" 2>&1 3>&- &
	SERVERS+=($!)
	wait_for 30 eval "(: </dev/tcp/127.0.0.1/$port) 2>/dev/null"
}
