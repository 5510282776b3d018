#!/bin/sh
# Figures of the decoder, beside Zydis, over the C library's code, and of the interpreter.
set -eu
bench=${VIV_BUILD:-$(dirname "$0")/../../build}/test/bench
"$bench/bench_isa" "$(ldd /bin/sh | sed -n 's/.*=> \(.*libc\.so[^ ]*\).*/\1/p')"
"$bench/bench_interp"
