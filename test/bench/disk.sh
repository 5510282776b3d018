#!/bin/bash
# Disk images beside qemu-img and cp, in one run: wall and CPU seconds, and the size of what came out. IMAGE_MB (default 512)
# is the data in the source, of files of this machine; half as much of it is a hole. BENCH_DIR: where (default: a folder in
# the build folder).
set -eu

build=$(realpath "${VIV_BUILD:-$(dirname "$0")/../../build}")
megabytes=${IMAGE_MB:-512}
dir=$(mktemp -d "${BENCH_DIR:-$build}/bench-disk.XXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"
command -v qemu-img >/dev/null || { echo "disk: needs qemu-utils" >&2; exit 0; }

{ find /usr/lib -type f -size +64k -exec cat {} + 2>/dev/null || :; } | head -c "${megabytes}M" >src.raw
truncate -s $((megabytes * 3 / 2))M src.raw
head -c $((megabytes / 4))M src.raw >small.raw

# row NAME TARGET COMMAND…: three runs, the median of CPU seconds with its wall seconds
row() {
	local name=$1 target=$2
	shift 2
	for _ in 1 2 3; do
		rm -f "$target"
		TIMEFORMAT='%U %S %R'
		{ time "$@" >/dev/null 2>&1; } 2>&1 | awk '{ printf "%.2f %.2f\n", $1 + $2, $3 }'
	done | sort -n | sed -n 2p | {
		read -r cpu wall
		printf '%-34s %6s %6s %8s\n' "$name" "$cpu" "$wall" \
			"$([ ! -e "$target" ] || du --block-size=1M "$target" | cut -f1)"
	}
}
viv() { "$build/viv" disk "$@"; }

printf '%-34s %6s %6s %8s\n' "$megabytes MB of data" "CPU s" "wall s" "MB"
row 'cp --sparse=always' out cp --sparse=always src.raw out
for format in raw qcow2; do
	row "raw to $format, qemu-img -m16 -W" out qemu-img convert -m 16 -W -f raw -O "$format" src.raw out
	row "raw to $format, viv" out viv convert -f raw -O "$format" src.raw out
done
qemu-img convert -f raw -O qcow2 src.raw src.qcow2
row 'qcow2 to raw, qemu-img -m16 -W' out qemu-img convert -m 16 -W -f qcow2 -O raw src.qcow2 out
row 'qcow2 to raw, viv' out viv convert -f qcow2 -O raw src.qcow2 out
for type in zstd zlib; do
	row "$((megabytes / 4)) MB to $type, qemu-img" out qemu-img convert -c -f raw -O qcow2 -o "compression_type=$type" small.raw out
	row "$((megabytes / 4)) MB to $type, viv" out viv convert -c -f raw -O qcow2 -o "compression_type=$type" small.raw out
done
row "$((megabytes / 4)) MB to streamOptimized, qemu-img" out qemu-img convert -f raw -O vmdk -o subformat=streamOptimized small.raw out
row "$((megabytes / 4)) MB to streamOptimized, viv" out viv convert -f raw -O vmdk -o subformat=streamOptimized small.raw out
row 'create 1T metadata, qemu-img' out qemu-img create -f qcow2 -o preallocation=metadata out 1T
row 'create 1T metadata, viv' out viv create -f qcow2 -o preallocation=metadata out 1T
for size in 64k 128k; do
	options=cluster_size=$size
	[ "$size" = 64k ] || options=$options,extended_l2=on
	for program in "qemu-img" "$build/viv disk"; do
		qemu-img create -q -f qcow2 -o "$options" stride 8G
		# shellcheck disable=SC2086
		row "8192 strided 4k writes, $size, ${program##*/}" none $program bench -f qcow2 -w -c 8192 -d 32 -S 1M stride
		# shellcheck disable=SC2086
		row "8192 strided 4k reads, $size, ${program##*/}" none $program bench -f qcow2 -c 8192 -d 32 -S 1M stride
		printf '%-34s %22s\n' "  on the host" "$(du --block-size=1M stride | cut -f1)"
		rm stride
	done
done
