#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# A host: one daemon with a configuration file, and several guests of it at a
# time. They share an image, or have copies of it; their files survive a crash
# of everything, and a disk that fails fails for them; a program of the host
# takes part; and the configuration changes while they run.
#
# shellcheck disable=SC2016 # in single quotes: for the guest to expand
# shellcheck disable=SC2154 # output, daemon_pid, daemon_log: set elsewhere

setup() {
	load helpers.bash
	guest_setup
	T=$BATS_TEST_TMPDIR
}

teardown() {
	guest_teardown
}

# make_rootfs: $T/rootfs.img, an ext4 of 64 MiB with a file "data" of 16 MiB that
# cannot be compressed; sets sum, what sha256sum prints of that file.
make_rootfs() {
	mkdir "$T/rootfs"
	head -c 16M /dev/urandom >"$T/rootfs/data"
	echo original >"$T/rootfs/file"
	sum=$(sha256sum <"$T/rootfs/data")
	truncate -s 64M "$T/rootfs.img"
	run -0 mkfs.ext4 -q -F -b 4096 -d "$T/rootfs" "$T/rootfs.img"
}

# bats test_tags=works:qemu:share
@test "four guests mount one ext4 read-only with DAX at the same time, read the same file, and its memory is there once" {
	local all=(a b c d) name sum before pids=() resident
	make_rootfs
	before=$(sha256sum <"$T/rootfs.img")
	start_host <<-'END'
		region "rootfs" { image = $T/rootfs.img }
		device "rootfs" { socket = $T/rootfs.sock shm 0 { region = rootfs } }
	END
	boot_all "${all[@]/%/=rootfs}"
	for name in "${all[@]}"; do
		pmem_appears "$name"
		run -0 vm run "$name" 'mount -t ext4 -o ro,dax /dev/pmem0 /mnt &&
		    grep -c "/mnt ext4 ro,.*dax=always" /proc/mounts'
		assert_output 1
		vm run "$name" 'sha256sum </mnt/data >/tmp/sum' &
		pids+=($!)
	done
	for name in "${pids[@]}"; do
		wait "$name"
	done
	for name in "${all[@]}"; do
		run -0 vm run "$name" 'cat /tmp/sum'
		assert_output "$sum"
	done

	run -0 status_of regions rootfs connections maps
	assert_output "$(printf '4\n4')"
	# No more than the image, of which each guest has mapped what it has read.
	resident=$(status_of regions rootfs resident)
	((resident <= 64 << 20))
	region_memory rootfs "${all[@]}"
	((rss >= 4 * 16 << 20))
	((pss <= resident))
	for name in "${all[@]}"; do
		vm run "$name" 'umount /mnt'
		end_guest "$name"
	done
	assert_equal "$(region_read rootfs 0 $((64 << 20)) | sha256sum)" "$before"
}

# region_memory REGION GUEST...: how much of the region these QEMUs have mapped,
# in rss counted for each, in pss for all together, in bytes.
region_memory() {
	local region=$1 name
	shift
	read -r rss pss < <(
		for name; do
			cat "/proc/$(vm pid "$name")/smaps"
		done | awk -v file="/memfd:vhost-shmemd:$region" '
		    /^[0-9a-f]+-[0-9a-f]+ / { ours = $6 == file }
		    ours && $1 == "Rss:" { rss += $2 }
		    ours && $1 == "Pss:" { pss += $2 }
		    END { printf "%d %d\n", rss * 1024, pss * 1024 }'
	)
}

# bats test_tags=works:qemu:copy
@test "four guests have a read-only region as copies at the same time: each writes files that nobody else sees" {
	local all=(a b c d) name sum before
	make_rootfs
	before=$(sha256sum <"$T/rootfs.img")
	start_host <<-'END'
		region "rootfs" { image = $T/rootfs.img access = read-only }
		device "rootfs" {
			socket = $T/rootfs.sock
			shm 0 { region = rootfs read-only-fallback = copy }
		}
	END
	boot_all "${all[@]/%/=rootfs}"
	for name in "${all[@]}"; do
		pmem_appears "$name"
		run -0 vm run "$name" "mount -t ext4 -o dax /dev/pmem0 /mnt &&
		    cat /mnt/file && echo 'of $name' | tee /mnt/file >/mnt/$name &&
		    sync"
		assert_output original
	done
	for name in "${all[@]}"; do
		run -0 vm run "$name" 'cd /mnt && cat file && ls -d [a-d] &&
		    sha256sum <data'
		assert_output "$(printf 'of %s\n' "$name" "$name" | sed '2s/of //')
$sum"
	done
	run -0 status_of regions rootfs connections access
	assert_output "$(printf '4\nread-only')"
	assert_equal "$(region_read rootfs 0 $((64 << 20)) | sha256sum)" "$before"
	for name in "${all[@]}"; do
		vm run "$name" 'umount /mnt'
		end_guest "$name"
	done
}

# --- files ----------------------------------------------------------------------

# on_disk: $T/disk, for the daemon, is an ext4 on a disk of its own, a loop device
# over $T/media. All of that ends with the daemon and its children.
on_disk() {
	truncate -s 160M "$T/media"
	mkdir "$T/disk"
	run -0 mkfs.ext4 -q -F "$T/media"
	# shellcheck disable=SC2034 # for daemon_launch
	daemon_prefix=(unshare --mount --propagation private -- sh -euc
	    'mount -o loop "$1/media" "$1/disk"; shift; exec "$@"' sh "$T")
}

# What makes an ext4 in a guest: mke2fs of the host with its libraries.
mke2fs_program() {
	local file mke2fs
	mke2fs=$(command -v mke2fs)
	# shellcheck disable=SC2034 # for boot_all
	for file in "$mke2fs" $(ldd "$mke2fs" | grep -o '/[^ ]*'); do
		boot_options+=(--program "$file")
	done
}
mke2fs='/bin/ld-linux-x86-64.so.2 --library-path /bin /bin/mke2fs'

# All processes of the daemon, itself included.
daemon_processes() {
	local pid
	printf '%s\n' "$daemon_pid"
	for pid in $(pgrep -P "$daemon_pid"); do
		printf '%s\n' "$pid"
		pgrep -P "$pid" || :
	done
}

# Print the flusher's process id.
flusher_pid() {
	local pid
	for pid in $(daemon_processes); do
		[[ $(<"/proc/$pid/comm") != shmemd-flusher ]] ||
		    printf '%s\n' "$pid"
	done
}

all_gone() {
	local pid
	for pid; do
		daemon_is_gone "$pid" || return 1
	done
}

# bats test_tags=works:qemu:flush
@test "what a guest has fsynced is on the disk when daemon and QEMU are killed and the power fails, and is served again" {
	local processes conf
	on_disk
	mke2fs_program
	conf=$(cat <<-'END'
		region "data" { file = $T/disk/data create = yes size = 64M }
		device "data" { socket = $T/data.sock shm 0 { region = data } }
	END
	)
	start_host <<<"$conf"
	boot_all a=data
	pmem_appears a
	run -0 vm run a "$mke2fs -q -t ext4 -b 4096 /dev/pmem0 &&
	    mount -t ext4 -o dax /dev/pmem0 /mnt &&
	    grep -c '/mnt ext4 .*dax=always' /proc/mounts &&
	    seq 200000 >/mnt/numbers && fsync /mnt/numbers"
	assert_output 1
	# The power fails now: this is what the disk has, and no page cache.
	run -0 cp --sparse=always "$T/media" "$T/after-power-cut"
	mapfile -t processes < <(daemon_processes)
	kill -KILL "$(vm pid a)" "${processes[@]}"
	wait_until all_gone "${processes[@]}"
	wait "$daemon_pid" || :
	run -0 vm wait a
	assert_output -- -9
	forgive_guest a
	assert_daemon_log

	# Each e2fsck replays a journal: of the disk, and of the file on it.
	run e2fsck -f -y "$T/after-power-cut"
	assert_equal "$((status & ~1))" 0
	run -0 debugfs -R "dump /data $T/data" "$T/after-power-cut"
	run e2fsck -f -y "$T/data"
	assert_output --partial 'recovering journal'
	assert_equal "$((status & ~1))" 0
	run -0 e2fsck -f -n "$T/data"
	assert_equal "$(debugfs -R 'cat /numbers' "$T/data" 2>/dev/null |
	    sha256sum)" "$(seq 200000 | sha256sum)"

	start_host <<<"$conf"
	boot_all b=data
	pmem_appears b
	run -0 vm run b 'mount -t ext4 -o dax /dev/pmem0 /mnt &&
	    sha256sum </mnt/numbers && umount /mnt'
	assert_output "$(seq 200000 | sha256sum)"
	end_guest b
}

# bats test_tags=works:qemu:flush
@test "a guest's fsync ends after the flusher's fdatasync has" {
	local flusher before after calls begin
	start_host <<-'END'
		region "data" { file = $T/data create = yes size = 64M }
		device "data" { socket = $T/data.sock shm 0 { region = data } }
	END
	run -0 mkfs.ext4 -q -F -b 4096 "$T/data"
	boot_all a=data
	pmem_appears a
	# A commit of its own, every 5 s if not told else, would be one more call.
	run -0 vm run a 'mount -t ext4 -o dax,commit=3600 /dev/pmem0 /mnt && sync'
	flusher=$(flusher_pid)
	# The disk is slow: each call takes a second longer.
	background strace strace -p "$flusher" -o "$T/calls" -ttt \
	    -e trace=fdatasync -e inject=fdatasync:delay_exit=1s
	wait_until grep -q attached "$T/strace.log"

	before=$EPOCHREALTIME
	run -0 vm run a 'echo text >/mnt/file'
	[[ ! -s $T/calls ]]
	run -0 vm run a 'fsync /mnt/file'
	after=$EPOCHREALTIME
	wait_until grep -q DELAYED "$T/calls"
	# 1700000000.123456 fdatasync(4) = 0 (DELAYED)
	run -1 grep -v 'fdatasync(4) *= 0 (DELAYED)$' "$T/calls"
	calls=0
	while read -r begin _; do
		calls=$((calls + 1))
		((${begin/./} > ${before/[.,]/}))
		((${begin/./} + 1000000 < ${after/[.,]/}))
	done <"$T/calls"
	((calls >= 1))
	run -0 vm run a 'umount /mnt'
	end_guest a
}

# The disk ends after so many bytes from now on.
resize_disk() {
	truncate -s "$1" "$T/media"
	losetup --set-capacity "$(losetup -n -O NAME -j "$T/media")"
}

# bats test_tags=works:qemu:flush
@test "when a region's disk fails fsync fails in its guest, and for good, and another guest's goes on" {
	on_disk
	start_host <<-'END'
		region "bad" { file = $T/disk/bad create = yes size = 64M }
		region "good" { file = $T/good create = yes size = 64M }
		device "bad" { socket = $T/bad.sock shm 0 { region = bad } }
		device "good" { socket = $T/good.sock shm 0 { region = good } }
	END
	expect_warning 'error: region bad: fdatasync: Input/output error'
	expect_warning 'conn [0-9]+: .*[Ii]nput/output error'
	boot_all a=bad b=good
	pmem_appears a
	pmem_appears b
	guest_put a 0 'while all is well'
	run -0 vm run a 'fsync /dev/pmem0'
	run -0 status_of regions bad sync_error
	assert_output None

	resize_disk 1M
	guest_put a 4096 'what cannot be written'
	run vm run a 'fsync /dev/pmem0'
	assert_failure
	assert_output --partial 'Input/output error'
	wait_until status_is regions bad sync_error 'Input/output error'
	# What was lost stays lost when the disk is back.
	resize_disk 160M
	run vm run a 'fsync /dev/pmem0'
	assert_failure
	assert_output --partial 'Input/output error'
	run -0 guest_get a 4096
	assert_output 'what cannot be written'

	guest_put b 0 'on a disk that is well'
	run -0 vm run b 'fsync /dev/pmem0'
	run -0 status_of regions good sync_error
	assert_output None
	end_guest a
	end_guest b
}

# --- raw ------------------------------------------------------------------------

# bats test_tags=works:qemu:map,works:qemu:share,works:qemu:several-regions
@test "two guests and a program of the host talk to each other in regions 0 and 2 of a raw device" {
	local device host name
	boot_options=(--virtio-id 4 --program "$(guest_program shm-bar)")
	start_host <<-'END'
		region "questions" { size = 1M }
		region "answers" { size = 1M }
		device "board" {
			socket = $T/board.sock
			type = raw
			virtio-id = 4
			shm 0 { region = questions }
			shm 2 { region = answers }
		}
	END
	boot_all a=board b=board
	# virtio id 4: the guest's driver for sources of entropy starts it.
	device=$(vm run a 'dirname "$(grep -lx 0x1044 /sys/bus/pci/devices/*/device)"')
	for name in a b; do
		run -0 vm run "$name" "shm-bar $device list | sort"
		assert_output "$(printf '%s\n' '0 4 0x0 0x100000' \
		    '2 4 0x100000 0x100000')"
	done
	run -0 vm run a "shm-bar $device put 0 4096 'asked by a'"
	run -0 vm run b "shm-bar $device get 0 4096"
	assert_output 'asked by a'

	# It holds both: attach runs attach.
	background host "${SHMEMCTL:-${top_builddir:-.}/vhost-shmemctl}" attach \
	    --control="$T/control" questions -- sh -c 'exec "$0" attach \
	    --control="$1" answers -- env QUESTIONS="$SHMEM_FD" python3 -c "$2"' \
	    "$(realpath "${SHMEMCTL:-${top_builddir:-.}/vhost-shmemctl}")" \
	    "$T/control" '
import mmap, os, time

def region(name):
    memory = mmap.mmap(int(os.environ[name]), 1 << 20)
    assert len(memory) == int(os.environ["SHMEM_SIZE"])
    return memory

def text(memory, at):
    return memory[at:memory.find(b"\0", at)]

questions, answers = region("QUESTIONS"), region("SHMEM_FD")
for guest, at in ("a", 4096), ("b", 8192):
    while text(questions, at) != b"asked by %s" % guest.encode():
        time.sleep(0.01)
    answers[at:at + 12] = b"answer to %s\0" % guest.encode()
print("done")
'
	host=$!
	run -0 vm run b "wait-for sh -c 'shm-bar $device get 2 4096 | grep .'
	    shm-bar $device get 2 4096
	    shm-bar $device put 0 8192 'asked by b'"
	assert_output 'answer to a'
	run -0 vm run a "wait-for sh -c 'shm-bar $device get 2 8192 | grep .'
	    echo \$(shm-bar $device get 2 8192), \$(shm-bar $device get 2 4096)"
	assert_output 'answer to b, answer to a'
	wait "$host"
	assert_equal "$(<"$T/host.log")" 'done'
	run -0 status_of regions answers connections maps
	assert_output "$(printf '2\n2')"
	end_guest a
	end_guest b
}

# --- reload ---------------------------------------------------------------------

# fsyncs GUEST: it does, and the daemon is asked for it.
fsyncs() {
	local before
	before=$(log_count FLUSH)
	run -0 vm run "$1" 'fsync /dev/pmem0'
	wait_until log_count_exceeds FLUSH "$before"
}

# bats test_tags=works:qemu:share,works:qemu:flush
@test "after a reload guests work on, one whose device was removed too, and a guest boots on a new device" {
	start_host <<-'END'
		region "r" { size = 64M }
		region "old" { file = $T/old create = yes size = 32M }
		device "r" { socket = $T/r.sock shm 0 { region = r } }
		device "old" { socket = $T/old.sock shm 0 { region = old } }
	END
	boot_all a=r c=old
	pmem_appears a
	pmem_appears c
	guest_put c 0 'from before'
	works_both_ways a 'before'

	configure_host <<-'END'
		region "r" { size = 64M }
		device "r" { socket = $T/r.sock shm 0 { region = r } }
		device "new" { socket = $T/new.sock shm 0 { region = r } }
	END
	kill -HUP "$daemon_pid"
	wait_until log_has ': info: reload: '
	wait_until test -S "$T/new.sock"
	[[ ! -e $T/old.sock && -S $T/r.sock ]]
	run -0 status_of devices old retired connections
	assert_output "$(printf 'True\n1')"

	boot_all b=new
	pmem_appears b
	works_both_ways a 'after'
	run -0 guest_get b 20480
	assert_output 'guest: after'
	works_both_ways b 'the new one'
	run -0 guest_get a 20480
	assert_output 'guest: the new one'
	fsyncs a
	fsyncs b
	run -0 guest_get c 0
	assert_output 'from before'
	run -0 guest_put c 4096 'and after'
	fsyncs c
	assert_equal "$(dd if="$T/old" bs=4096 skip=1 count=1 status=none |
	    tr -d '\0')" 'and after'

	# With its guest the removed device is gone.
	end_guest c
	wait_until status_is devices old name ''
	run -0 status_of regions old name
	assert_output ''
	end_guest a
	end_guest b
}
