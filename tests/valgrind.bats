#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Both programs under valgrind, in a build with configure --enable-valgrind:
# no byte is lost or misused, and no descriptor is open at the end but those
# that were inherited.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2054

load helpers/common

CONNECTS=${CONNECTS:-100}

# Descriptors open at the end in one valgrind log: all but the standard ones
# and the inherited.
lost_fds() {
    awk '/Open (file descriptor|AF_|pipe|socket)/ { open = $0; getline; if ($0 !~ /inherited from parent/) print open }' "$1"
}

@test "after $CONNECTS connections under valgrind nothing is lost: no byte, no descriptor" {
    local i vlog
    # In a PID namespace each worker would be number 1, and so would its log.
    daemon_prefix=(without_namespaces pid valgrind --quiet --verbose --vgdb=no --trace-children=yes --track-fds=yes
        --leak-check=full --show-leak-kinds=definite,indirect,possible
        --errors-for-leak-kinds=definite,indirect,possible
        "--log-file=$BATS_TEST_TMPDIR/valgrind.%p")
    VUCTL_TIMEOUT=60
    start_daemon --log-level=info
    for ((i = 0; i < CONNECTS; i++)); do
        case $((i % 4)) in
        0) vuctl negotiate start expect-map flush stop ;;
        1) vuctl negotiate start expect-map flush hang-up ;;
        2) vuctl negotiate send id=77 expect-close ;;
        3) vuctl negotiate start expect-map bad-chain loop flush stop ;;
        esac
    done
    stop_daemon
    local programs=0
    for vlog in "$BATS_TEST_TMPDIR"/valgrind.*; do
        grep -q 'ERROR SUMMARY: 0 errors' "$vlog" || fail "$(cat "$vlog")"
        [[ -z $(lost_fds "$vlog") ]] || fail "$(cat "$vlog")"
        programs=$((programs + 1))
    done
    # Supervisor, spawner, builder, a worker per connection, and the last spare.
    ((programs >= CONNECTS + 4)) || fail "only $programs logs of valgrind"
}
