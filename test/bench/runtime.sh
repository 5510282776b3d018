#!/bin/bash
# The container runtime beside crun and runc, in one run, the three taking turns.
# usage: runtime.sh [-n RUNS]     (root; the programs of $VIV_BUILD, default build/)
#
# Every figure is a median. A figure "with gaps" has 100 ms of rest before each run: back to back, a run hides in the
# RCU grace periods that the one before has started. The goals are those of the machine that the project was planned on;
# a figure that misses its goal is printed like any other.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
build=$(realpath "${VIV_BUILD:-$here/../../build}")
runs=30

while getopts n: option; do
	[[ $option == n && $OPTARG =~ ^[1-9][0-9]*$ ]] || { echo "usage: runtime.sh [-n RUNS]" >&2 && exit 2; }
	runs=$OPTARG
done
if [[ $EUID -ne 0 ]]; then
	echo "runtime.sh: needs root: skipped" >&2
	exit 0
fi

# Debian's crun refuses a host with both v1 and v2 hierarchies: the v2 mount is hidden from all three alike.
if [[ ${BENCH_INSIDE:-} != 1 ]]; then
	BENCH_INSIDE=1 exec unshare --mount --propagation private "$(realpath "$0")" -n "$runs"
fi
if mountpoint -q /sys/fs/cgroup/unified; then
	umount --lazy /sys/fs/cgroup/unified
fi

tmp=$(mktemp -d)
declare -A command=([viv]="$build/viv runtime --root $tmp/viv")
names=(viv)
for peer in crun runc; do
	if command -v "$peer" >/dev/null; then
		names+=("$peer")
		command[$peer]="$peer --root $tmp/$peer"
	fi
done

cleanup() {
	local name id
	for name in "${names[@]}"; do
		for id in $(${command[$name]} list -q 2>/dev/null); do
			${command[$name]} delete --force "$id" || true
		done
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- bundles: what `runc spec` writes, without a terminal, running /bin/true; of the version that old peers accept ---

bundle() { # NAME JQ-FILTER [JQ-ARGS]
	mkdir -p "$tmp/$1"
	ln -s ../rootfs "$tmp/$1/rootfs"
	(cd "$tmp" && "$build/viv" runtime spec -b "$tmp" && jq "${@:3}" \
		'.ociVersion = "1.0.2" | .root.path = "'"$tmp"'/rootfs" | .process.terminal = false | '"$2" config.json >"$1/config.json" && rm config.json)
}
mkdir -p "$tmp"/rootfs/{bin,dev,etc,proc,sys}
cp "$(command -v busybox)" "$tmp/rootfs/bin/busybox"
for applet in true sleep; do
	ln -s busybox "$tmp/rootfs/bin/$applet"
done
bundle true '.process.args = ["/bin/true"]'
bundle sleep '.process.args = ["/bin/sleep", "1000"]'
bundle seccomp '.process.args = ["/bin/true"] | .linux.seccomp = $seccomp' --argjson seccomp \
	"$(jq --argjson caps '["CAP_AUDIT_WRITE","CAP_KILL","CAP_NET_BIND_SERVICE"]' \
		-f "$here/../lib/seccomp_profile.jq" "$here/../../data/seccomp.json")"

# --- measuring: results are files $tmp/FIGURE.NAME with one value per line, wall milliseconds unless said ---

# fail WHAT COMMAND...: shows why, and ends.
fail() {
	echo "runtime.sh: '$1' failed:" >&2
	"${@:2}" >&2 || true
	exit 1
}

# turns FIGURE GAP_MS ARGS...: `NAME ARGS` of every runtime, in five turns; CPU goes to FIGURE-cpu.
turns() {
	local figure=$1 gap=$2 turn name each=$(((runs + 4) / 5)) prepare=()
	shift 2
	((gap == 0)) || prepare=(--prepare "sleep $(printf '0.%03d' "$gap")")
	for turn in 1 2 3 4 5; do
		for name in "${names[@]}"; do
			hyperfine -N --style none --warmup 2 --runs "$each" "${prepare[@]}" --export-json "$tmp/json" \
				"${command[$name]} $*" >/dev/null 2>&1 ||
				fail "$name $*" ${command[$name]} "$@"
			jq '.results[0].times[] * 1000' "$tmp/json" >>"$tmp/$figure.$name"
			jq '.results[0] | (.user + .system) * 1000' "$tmp/json" >>"$tmp/$figure-cpu.$name"
		done
	done
}

measure_rss() { # MB
	local name
	for name in "${names[@]}"; do
		command time -f '%M' -o "$tmp/rss" ${command[$name]} run -b "$tmp/true" bench </dev/null
		awk '{ print $1 / 1024 }' "$tmp/rss" >"$tmp/rss.$name"
	done
}

measure_parallel() { # xargs: a small process, so that what is measured is no shell's fork
	local turn name start
	for turn in 1 2 3 4 5; do
		for name in "${names[@]}"; do
			start=$EPOCHREALTIME
			seq 100 | xargs -P 100 -I{} ${command[$name]} run -b "$tmp/true" "bench{}"
			awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print (b - a) * 1000 }' >>"$tmp/parallel.$name"
		done
	done
}

measure_exec() {
	local name
	for name in "${names[@]}"; do
		${command[$name]} run -d -b "$tmp/sleep" bench </dev/null >/dev/null 2>&1
	done
	turns exec 0 exec bench /bin/true
	turns exec-gaps 100 exec bench /bin/true
	for name in "${names[@]}"; do
		${command[$name]} delete --force bench
	done
}

measure_version() {
	local turn name
	local -A program=([viv]="$build/viv" [crun]=crun [runc]=runc)
	for turn in 1 2 3 4 5; do
		for name in "${names[@]}"; do
			hyperfine -N --style none --warmup 2 --runs "$runs" --export-json "$tmp/json" \
				"${program[$name]} --version" >/dev/null 2>&1
			jq '.results[0].times[] * 1000' "$tmp/json" >>"$tmp/version.$name"
		done
	done
}

measure_floor() {
	"$build/test/bench/floor" -n "$runs" "$tmp/rootfs" >"$tmp/floor.viv"
	"$build/test/bench/floor" -n "$runs" -g 100 "$tmp/rootfs" >"$tmp/floor-gaps.viv"
}

# --- the table ---

median() { # FILE; nothing where there is none
	[[ ! -e $1 ]] || sort -g "$1" | awk '{ v[NR] = $1 } END { printf "%.2f\n", v[int((NR + 1) / 2)] }'
}

row() { # FIGURE LABEL GOAL
	local viv crun runc ratio=
	viv=$(median "$tmp/$1.viv") crun=$(median "$tmp/$1.crun") runc=$(median "$tmp/$1.runc")
	[[ -z $crun ]] || ratio=$(awk -v a="$viv" -v b="$crun" 'BEGIN { printf "%.2f", a / b }')
	printf '%-36s %9s %9s %9s %9s  %s\n' "$2" "$viv" "${crun:--}" "${runc:--}" "${ratio:--}" "$3"
}

turns run 0 run -b "$tmp/true" bench
turns run-gaps 100 run -b "$tmp/true" bench
turns seccomp 0 run -b "$tmp/seccomp" bench
turns seccomp-gaps 100 run -b "$tmp/seccomp" bench
measure_exec
measure_rss
measure_parallel
measure_version
measure_floor

echo "Containers: medians of $runs runs, $("$build/viv" --version | head -1), $(crun --version 2>/dev/null | head -1), $(
	runc --version 2>/dev/null | head -1), Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
printf '%-36s %9s %9s %9s %9s  %s\n' figure viv crun runc viv/crun goal
row run 'run /bin/true, back to back, ms' '<= 4.0, <= 0.55 x crun'
row run-gaps 'run /bin/true, 100 ms gaps, ms' '<= 6.5, <= 0.3 x crun'
row seccomp "run, Docker's seccomp, b2b, ms" '<= 5.5'
row seccomp-gaps "run, Docker's seccomp, gaps, ms" '<= 8'
row run-cpu 'CPU of a run, back to back, ms' '<= 4.5'
row run-gaps-cpu 'CPU of a run, 100 ms gaps, ms' '<= 4.5'
row rss 'peak RSS, MB' '<= 2'
row parallel '100 runs in parallel, ms' '<= 0.6 x crun'
row exec 'exec /bin/true, back to back, ms' '<= 0.4 x crun'
row exec-gaps 'exec /bin/true, 100 ms gaps, ms' ''
row version '--version, ms' '<= 2'
row floor "kernel's floor, back to back, ms" ''
row floor-gaps "kernel's floor, 100 ms gaps, ms" ''
