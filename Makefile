# Meson and Ninja do the work; this file names the usual jobs and sets up a build folder per purpose (HACKING.md).
# `make` leaves build/viv. On Debian, as root, missing packages are installed first; DEPS=no leaves them alone.
MAKEFLAGS += --no-print-directory
deps = @$(if $(filter no,$(DEPS)),:,tools/deps) $(1)

.PHONY: all deps run test build-tests bench check format asan clang fuzz iotests oracle coverage deb install uninstall clean help

all: build/build.ninja ## builds build/viv and its siblings
	@ninja -C build --quiet

deps: ## installs the Debian packages that are missing (root)
	$(call deps,build)

# The folders. Tests and fuzz replays are compiled when a test asks for them, not by `make`.
build/build.ninja: | deps
	meson setup build -Dtests=false
build/.tests: build/build.ninja
	@meson configure build -Dtests=true && touch $@
build-tests: build/.tests
	@ninja -C build --quiet all meson-test-prereq
build-asan/build.ninja: | deps
	meson setup build-asan -Db_sanitize=address,undefined
build-clang/build.ninja: | deps
	CC=clang meson setup build-clang
build-fuzz/build.ninja: | deps
	CC=clang meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
build-cov/build.ninja: | deps
	meson setup build-cov -Db_coverage=true

run: all ## a container of Debian, whose image is made here, says hello (root)
	$(call deps,run)
	@tools/hello build

test: ## every test; STAGES="unit asan" or STAGES=test/system/x.bats picks (test/run --help)
	$(call deps,build check test)
	@test/run $(STAGES)

check: ## the quick ones: includes, paths, format, unit tests, fuzz replays
	$(call deps,build check)
	@test/run check unit

bench: ## figures beside those of the peers
	$(call deps,build check bench)
	@$(MAKE) DEPS=no build-tests
	@for b in test/bench/*; do [ ! -x "$$b" ] || VIV_BUILD=$(CURDIR)/build "$$b" || exit; done

oracle: build-tests ## decoder against Zydis, interpreter against this CPU, for long; COUNT=100000000
	$(call deps,build check oracle)
	@test/oracle build $(COUNT)

format: ## clang-format over every C file
	@tools/check-format -i

asan clang: %: build-%/build.ninja ## compiles everything with the sanitizers; with clang
	@ninja -C build-$@ --quiet all meson-test-prereq

fuzz: build-fuzz/build.ninja ## libFuzzer, FUZZ_SECONDS=60 per target; TARGETS="spec cli" picks
	@ninja -C build-fuzz --quiet meson-test-prereq
	@tools/fuzz build-fuzz $(TARGETS)

iotests: all ## QEMU's own disk tests with qemu-img and with viv; FORMATS="qcow2 vmdk" picks
	$(call deps,build iotests)
	@tools/iotests qemu $(FORMATS)
	@tools/iotests viv $(FORMATS)

coverage: ## lines reached by the unit tests and replays
	$(call deps,build check coverage)
	@$(MAKE) DEPS=no build-cov/build.ninja
	@ninja -C build-cov --quiet meson-test-prereq
	@meson test -C build-cov --no-rebuild --quiet >/dev/null || echo "some tests failed: the figures are lower for it"
	@gcovr --root . --filter src/ --gcov-ignore-parse-errors build-cov | cut -c1-66

deb: ## a Debian package in build-deb
	$(call deps,build check test)
	@tools/deb build-deb

install: all ## below DESTDIR
	@DESTDIR=$(DESTDIR) meson install -C build --no-rebuild --strip --quiet

uninstall: all ## removes what install put there
	@DESTDIR=$(DESTDIR) tools/uninstall build

clean: ## removes the build folders
	rm -rf build build-asan build-clang build-fuzz build-cov build-deb

help: ## this list
	@sed -n 's/^\([a-z ]*\):.*## /\1\t/p' Makefile | expand -t 12
