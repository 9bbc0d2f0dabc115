# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Copyright the vhost-shmemd authors
#
# To be sourced: start and stop a vhost-shmemd for guests, and look into its
# regions as a host program does. Knows nothing of bats; contrib/quickstart
# uses it too. What it promises:
#
# - One daemon at a time. Its files are in the directory given to daemon_start:
#   DIR/socket, DIR/log.
# - Every wait has a deadline, which is far more than anything needs on a busy
#   machine, and ends at once when the daemon has died.
# - Functions return non-zero and say why on stderr.
#
# The programs come from SHMEMD and SHMEMD_WORKER, else from top_builddir.

# wait_until COMMAND...: run COMMAND until it succeeds.
wait_until() {
	local deadline=$((SECONDS + 60))
	until "$@"; do
		if ((SECONDS > deadline)); then
			echo "not in time: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

daemon_running() {
	[[ -n ${daemon_pid:-} ]] && kill -0 "$daemon_pid" 2>/dev/null
}

daemon_ready_or_dead() {
	[[ -S $daemon_socket ]] || ! daemon_running
}

# daemon_start DIR ARGUMENT...: returns when the socket is there. Sets
# daemon_pid, daemon_socket and daemon_log.
daemon_start() {
	daemon_socket=$1/socket
	daemon_launch "$1/log" --socket-path="$daemon_socket" "${@:2}" || return
	daemon_wait
}

# daemon_launch LOG ARGUMENT...: start it, by the command in the array
# daemon_prefix if there is one, which has to end in exec. Sets daemon_pid and
# daemon_log.
daemon_launch() {
	local top=${top_builddir:-.} program worker

	program=$(realpath "${SHMEMD:-$top/vhost-shmemd}") || return
	worker=$(realpath "${SHMEMD_WORKER:-${program%/*}/vhost-shmemd-worker}") ||
	    return
	if [[ ! -x $program || ! -x $worker ]]; then
		echo "not there: $program, $worker: build them, or set" \
		    "SHMEMD and SHMEMD_WORKER" >&2
		return 1
	fi
	daemon_log=$1
	shift
	# Descriptor 3 is bats' own: bats waits until nobody holds it.
	# shellcheck disable=SC2154 # set by callers who have one
	${daemon_prefix[@]+"${daemon_prefix[@]}"} "$program" \
	    --worker="$worker" --log-level=debug "$@" 2>"$daemon_log" \
	    </dev/null 3>&- &
	daemon_pid=$!
}

# daemon_wait: until daemon_socket is there.
daemon_wait() {
	wait_until daemon_ready_or_dead || return
	if ! daemon_running; then
		echo "the daemon did not start:" >&2
		cat "$daemon_log" >&2
		return 1
	fi
}

# daemon_stop: SIGTERM, then its exit status. It has promised to end within 2
# seconds, which other tests hold it to; beside emulated guests the clock says
# little, and SIGKILL comes at the deadline.
daemon_stop() {
	local pid=${daemon_pid:-} status=0

	[[ -n $pid ]] || return 0
	daemon_pid=
	kill -TERM "$pid" 2>/dev/null || :
	(
		exec 3>&-
		wait_until daemon_is_gone "$pid" 2>/dev/null ||
		    kill -KILL "$pid"
	) &
	wait "$pid" || status=$?
	wait $! || :
	return "$status"
}

# A child that nobody has waited for is a zombie: gone, too.
daemon_is_gone() {
	local stat
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
	stat=${stat##*) }
	[[ $stat == Z* ]]
}

# region_file NAME: print a path that opens the region's memory, as a host
# program that may look into the daemon can.
region_file() {
	wait_until find_region "$1" 2>/dev/null || {
		echo "the daemon has no region named '$1'" >&2
		return 1
	}
}

# The socket can be there before the supervisor has what it serves.
find_region() {
	local fd
	for fd in "/proc/$daemon_pid/fd/"*; do
		if [[ $(readlink "$fd") == "/memfd:vhost-shmemd:$1 (deleted)" ]]; then
			printf '%s\n' "$fd"
			return
		fi
	done
	return 1
}

# region_read NAME OFFSET LENGTH: bytes of the region, to stdout.
region_read() {
	local file
	file=$(region_file "$1") || return
	dd if="$file" iflag=skip_bytes,count_bytes,fullblock bs=1M \
	    skip="$2" count="$3" status=none
}

# region_write NAME OFFSET: standard input goes into the region.
region_write() {
	local file
	file=$(region_file "$1") || return
	dd of="$file" oflag=seek_bytes conv=notrunc bs=1M seek="$2" status=none
}
