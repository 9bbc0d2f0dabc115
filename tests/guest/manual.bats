#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The examples of the manual that take a guest, and the quickstart of a release.
#
# shellcheck disable=SC2154 # output, daemon_socket: set elsewhere

setup() {
	load helpers.bash
	guest_setup
	T=$BATS_TEST_TMPDIR
	"$BATS_TEST_DIRNAME/../helpers/examples" "$T/examples"
}

teardown() {
	guest_teardown
}

# libvirt_arguments FILE: what libvirt makes of such a domain for QEMU: memory
# that can be shared, and the arguments that it passes through.
libvirt_arguments() {
	python3 - "$1" <<-'END'
		import shlex, sys, xml.etree.ElementTree as xml
		domain = xml.parse(sys.argv[1])
		memory = domain.find("memoryBacking")
		assert memory.find("source").get("type") == "memfd"
		assert memory.find("access").get("mode") == "shared"
		args = [arg.get("value") for arg in domain.find("{*}commandline")]
		print("-M q35,memory-backend=mem -m 512M "
		      "-object memory-backend-memfd,id=mem,size=512M,share=on",
		      shlex.join(args))
	END
}

# As programs of the guest: mkfs.ext4 of this host, with its libraries.
mkfs_for_guest() {
	local program file
	program=$(PATH=$PATH:/usr/sbin:/sbin command -v mkfs.ext4)
	mkdir "$T/bin"
	cp -L "$program" "$T/bin/mke2fs"
	cat >"$T/bin/mkfs.ext4" <<-'END'
		#!/bin/sh
		exec /bin/ld-linux-x86-64.so.2 --library-path /bin --argv0 mkfs.ext4 /bin/mke2fs "$@"
	END
	chmod 0755 "$T/bin/mkfs.ext4"
	for file in $(ldd "$program" | grep -oE '/[^ ]+'); do
		cp -L "$file" "$T/bin"
	done
	with_programs=()
	for file in "$T/bin/"*; do
		with_programs+=(--program "$file")
	done
}

@test "QEMU takes the arguments of libvirt's recipe, and the guest mounts the region with DAX as it says" {
	start_daemon
	run -0 libvirt_arguments "$T/examples/xml/"*
	mkfs_for_guest
	vm start a --socket "$daemon_socket" "${with_programs[@]}" \
	    --machine "${output//\/run\/shm.sock//run/sockets/0}"
	vm wait-boot a
	pmem_appears a
	works_both_ways a 'by the arguments'
	run -0 vm run a "set -e; $(cat "$T/examples/guest/vhost-shmemd-frontends.7."*)"
	refute_output --partial 'error'
	run -0 vm run a 'grep pmem0 /proc/mounts && echo seen by the host >/mnt/f && sync && umount /mnt'
	assert_output --regexp '^/dev/pmem0 /mnt ext4 .*dax'
	# README.md has the second line alone.
	run -0 vm run a "$(cat "$T/examples/guest/README.md."*) && cat /mnt/f && umount /mnt"
	assert_output 'seen by the host'
	end_guest a
	region_read r 0 $((64 << 20)) | grep -qa 'seen by the host'
}

@test "contrib/quickstart of a release tarball shows a guest that shares memory with this host" {
	local build=${top_builddir:-.} release
	if [[ ! -e $build/Makefile ]]; then
		skip "no build tree to make a tarball from"
	fi
	make -s -C "$build" distdir distdir="$T/release"
	release=$T/release
	[[ -x $release/configure && ! -e $release/.git ]]
	# As quickly as it can: what is tested here is that all is there.
	run -0 env -u top_builddir -u VM_STATE_DIR CFLAGS=-O0 CPPFLAGS=-U_FORTIFY_SOURCE \
	    timeout 900 "$release/contrib/quickstart"
	assert_line --partial 'the guest read   Hello guest! The host'
	assert_line --partial 'the host read    Hello host! Linux'
	assert_line --regexp '^Done in [0-9]+ seconds\. The programs are in build/quickstart\.$'
	run pgrep -f "$release"
	assert_output ''
}
