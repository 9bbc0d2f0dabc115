# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# What every guest test (*.bats) shares. A test file calls guest_setup and
# guest_teardown from setup and teardown. What they promise: a test writes only
# to $BATS_TEST_TMPDIR and the cache, leaves no process behind, and passes only
# if
# - every guest it started was ended with `end_guest`, or with its own checks
#   and `forgive_guest`;
# - the daemon exited with 0, its workers said that the filter was loaded, and
#   its log has no sanitizer's text, no kill by the filter, no SHMEM_MAP that
#   QEMU refused, and no warning or error but those the test named with
#   `expect_warning`.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
# shellcheck source=/dev/null
source "$BATS_TEST_DIRNAME/lib.bash"

# daemon_start of lib.bash sets these.
daemon_pid='' daemon_socket='' daemon_log=''
# start_second_daemon sets these.
second_pid='' second_socket='' second_log=''
expected_warnings=''
background_pids=()
in_forky=()
# What boot_all gives to vm start besides.
boot_options=()

# Run as root in a new mount namespace: a command in the forky root ($1), where
# the test's directory ($2) is /run/test.
# shellcheck disable=SC2016 # the inner shell expands it
forky_script='
root=$1 dir=$2
shift 2
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/test"
mount --bind "$dir" "$root/run/test"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"'

# guest_setup [PACKAGE...]: the packages are what the test needs in the forky
# root. What stands before a command to run it there is the array in_forky.
guest_setup() {
	local root
	if ((EUID != 0)); then
		skip "needs root, for the chroot that QEMU runs in"
	fi
	PATH=$BATS_TEST_DIRNAME:$PATH
	export VM_STATE_DIR=$BATS_TEST_TMPDIR/vm
	mkdir "$VM_STATE_DIR"
	# Making the root must not count against a test's deadlines.
	root=$(forky-root "$@")
	# shellcheck disable=SC2034 # for the test files
	in_forky=(unshare --mount --propagation private -- sh -euc
	    "$forky_script" sh "$root" "$BATS_TEST_TMPDIR")
}

guest_teardown() {
	local failed=0 name pid

	# bats sets this when the body of the test has succeeded.
	[[ -n ${BATS_TEST_COMPLETED:-} ]] || failed=1
	if ((!failed)); then
		for name in "$VM_STATE_DIR"/*; do
			if [[ -d $name && ! -e $name/ended ]]; then
				echo "no end_guest for guest ${name##*/}"
				failed=1
			fi
		done
	fi
	vm kill-all || failed=1
	for pid in "${background_pids[@]}"; do
		# Not TERM, after which one may take its time.
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	end_daemon || failed=1
	with_second end_daemon || failed=1
	if ((failed)); then
		show_logs
	fi
	return "$failed"
}

# If there is one: it ends as it should, and has logged nothing bad.
end_daemon() {
	[[ -n $daemon_pid ]] || return 0
	daemon_stop || {
		echo "the daemon's exit status is $?"
		return 1
	}
	[[ -z ${BATS_TEST_COMPLETED:-} ]] || assert_daemon_log
}

# For whoever reads a failure.
show_logs() {
	local name file
	for file in "$daemon_log" "$second_log" "$BATS_TEST_TMPDIR/"*.log; do
		if [[ -s $file ]]; then
			echo "--- ${file#"$BATS_TEST_TMPDIR/"}"
			tail -n 200 "$file"
		fi
	done
	for name in "$VM_STATE_DIR"/*; do
		for file in stderr console; do
			if [[ -s $name/$file ]]; then
				echo "--- guest ${name##*/}: $file"
				tail -n 40 "$name/$file"
			fi
		done
	done
}

# expect_warning REGEX: this test makes the daemon warn or fail like that.
expect_warning() {
	expected_warnings=${expected_warnings:+$expected_warnings|}$1
}

log_has() {
	grep -qE -- "$1" "$daemon_log"
}

# log_count PATTERN: print how many lines of the daemon's log match.
log_count() {
	grep -cE -- "$1" "$daemon_log" || :
}

log_count_exceeds() {
	(($(log_count "$1") > $2))
}

assert_daemon_log() {
	local bad warnings
	bad='AddressSanitizer|LeakSanitizer|MemorySanitizer|runtime error:'
	bad+='|SIGSYS|Bad system call|SHMEM_MAP.*refused|refused.*SHMEM_MAP'
	if log_has "$bad"; then
		echo "the daemon's log holds:"
		grep -E -- "$bad" "$daemon_log"
		return 1
	fi
	warnings=$(grep -E '^vhost-shmemd[^ ]*: (warn|error)' "$daemon_log" |
	    grep -vE -- "${expected_warnings:-^$}") || :
	if [[ -n $warnings ]]; then
		echo "the daemon's log warns without need:"
		printf '%s\n' "$warnings"
		return 1
	fi
	if ! log_has 'filter loaded'; then
		echo "the daemon's log does not say that the filter was loaded"
		return 1
	fi
}

# start_daemon [ARGUMENT...]: with the arguments, else one 64 MiB region named
# r without an image.
start_daemon() {
	if (($# == 0)); then
		set -- --region shmid=0,size=64M,name=r
	fi
	daemon_start "$BATS_TEST_TMPDIR" "$@"
}

# start_host [ARGUMENT...]: serve the configuration on standard input, with $T
# as the directory of the test. Its devices listen at $T/DEVICE.sock, its control
# socket is $T/control. Returns when everything is served.
start_host() {
	configure_host
	daemon_socket=$BATS_TEST_TMPDIR/control
	daemon_launch "$BATS_TEST_TMPDIR/log" --config="$BATS_TEST_TMPDIR/conf" \
	    --control-socket="$daemon_socket" "$@" || return
	wait_until host_answers_or_dead || return
	daemon_wait
}

# The socket of one that was killed may be there still.
host_answers_or_dead() {
	ctl status >/dev/null 2>&1 || ! daemon_running
}

# configure_host: write that file.
configure_host() {
	sed "s|\$T|$BATS_TEST_TMPDIR|g" >"$BATS_TEST_TMPDIR/conf"
}

# ctl COMMAND...: vhost-shmemctl, which asks the daemon of start_host.
ctl() {
	"${SHMEMCTL:-${top_builddir:-.}/vhost-shmemctl}" "$1" \
	    --control="$BATS_TEST_TMPDIR/control" "${@:2}"
}

# status_of regions|devices NAME KEY...: print those values, one a line.
status_of() {
	ctl status --json | python3 -c '
import json, sys
for found in json.load(sys.stdin)[sys.argv[1]]:
    if found["name"] == sys.argv[2]:
        print(*(found[key] for key in sys.argv[3:]), sep="\n")
' "$@"
}

# status_is WHAT NAME KEY VALUE
status_is() {
	[[ $(status_of "$1" "$2" "$3") == "$4" ]]
}

# start_second_daemon ARGUMENT...: beside the first; with_second COMMAND... is
# the command with this one as the daemon.
start_second_daemon() {
	local daemon_pid daemon_socket daemon_log
	mkdir "$BATS_TEST_TMPDIR/second"
	daemon_start "$BATS_TEST_TMPDIR/second" "$@" || return
	second_pid=$daemon_pid
	second_socket=$daemon_socket
	second_log=$daemon_log
}
with_second() {
	local daemon_pid=$second_pid daemon_socket=$second_socket
	local daemon_log=$second_log
	"$@"
}

# background NAME COMMAND...: a program (no function) that runs until the
# test's end; what it says goes to NAME.log. Its pid is $!.
background() {
	local log=$BATS_TEST_TMPDIR/$1.log
	shift
	# Descriptor 3 is bats' own: bats waits until nobody holds it.
	"$@" >"$log" 2>&1 </dev/null 3>&- &
	background_pids+=($!)
}

# guest_program NAME: compile NAME.c for guests, and print the program's path.
guest_program() {
	${CC:-cc} -O2 -static -o "$BATS_TEST_TMPDIR/$1" \
	    "$BATS_TEST_DIRNAME/$1.c" && printf '%s\n' "$BATS_TEST_TMPDIR/$1"
}

# make_image FILE: 8 MiB of lines that are all different.
make_image() {
	seq -f 'line %012.0f of what the host put into the region' 1 145000 >"$1"
	truncate -s 8M "$1"
}

# boot NAME [vm start's options]: a guest of the daemon's, with its driver
# bound. Prints nothing, so that it can run beside another one.
boot() {
	local name=$1
	shift
	vm start "$name" --socket "$daemon_socket" "$@"
	vm wait-boot "$name"
	pmem_appears "$name"
}

# boot_all NAME=DEVICE...: guests of these devices of start_host, all at once.
boot_all() {
	local each
	for each; do
		vm start "${each%%=*}" \
		    --socket "$BATS_TEST_TMPDIR/${each#*=}.sock" "${boot_options[@]}"
	done
	for each; do
		vm wait-boot "${each%%=*}"
	done
}

# The driver has the device, and the device node is there.
pmem_appears() {
	vm run "$1" 'wait-for test -b /dev/pmem0'
}

# guest_put NAME OFFSET TEXT, guest_get NAME OFFSET: one block of the guest's
# /dev/pmem0, past its page cache; of another device if PMEM names it.
guest_put() {
	vm run "$1" "PMEM=${PMEM:-} block put $2 '$3'"
}
guest_get() {
	vm run "$1" "PMEM=${PMEM:-} block get $2"
}

# host_put OFFSET TEXT, host_get OFFSET: the same in the region named r, but
# that only the text and one zero is put.
host_put() {
	printf '%s\0' "$2" | region_write r "$1"
}
host_get() {
	region_read r "$1" 4096 | tr -d '\0'
}

# works_both_ways NAME TEXT: the guest reads what the host writes now, and the
# other way round.
works_both_ways() {
	host_put 16384 "host: $2"
	run -0 guest_get "$1" 16384
	assert_output "host: $2"
	run -0 guest_put "$1" 20480 "guest: $2"
	run -0 host_get 20480
	assert_output "guest: $2"
}

# end_guest NAME [poweroff|quit]: end it as its user would; QEMU must have had
# nothing to say and exit with 0.
end_guest() {
	run -0 vm "${2:-poweroff}" "$1"
	assert_output 0
	run -0 vm stderr "$1"
	assert_output ''
	forgive_guest "$1"
}

# The test has its own checks of how this guest ended.
forgive_guest() {
	: >"$VM_STATE_DIR/$1/ended"
}

# Print the pids of the daemon's workers, idle ones included.
worker_pids() {
	pgrep -P "$daemon_pid" vhost-shmemd-wo
}

# Print the pids of those that have a guest: its memory is mapped there.
serving_workers() {
	local pid
	for pid in $(worker_pids); do
		if grep -q '/memfd:memory-backend-memfd' "/proc/$pid/maps"; then
			printf '%s\n' "$pid"
		fi
	done
}
