#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# The manual page says what the program does, and the other way round.

# What helpers/common.bash sets or reads:
# shellcheck disable=SC2154,SC2034,SC2013

load helpers/common

manual=$top_srcdir/man/vhost-shmemd.8

@test "the manual has every option of --help, and no other" {
    run -0 "$SHMEMD" --help
    local help page
    help=$(grep -oE '^  --[a-z-]+' <<<"$output" | tr -d ' ' | sort)
    page=$(sed -n 's/^\.It Fl -\([a-z-]*\).*/--\1/p' "$manual" | sort)
    [[ -n $help ]]
    assert_equal "$page" "$help"
}

@test "the synopsis of the manual names every option" {
    run -0 "$SHMEMD" --help
    local option synopsis
    synopsis=$(sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$manual")
    for option in $(grep -oE '^  --[a-z-]+' <<<"$output" | tr -d ' '); do
        # mdoc: Fl -help | -version
        grep -qE -- "(Fl | )-${option#--}( |$)" <<<"$synopsis" || fail "$option is not in the synopsis"
    done
}

@test "--help names every profile, level and default that the manual names" {
    run -0 "$SHMEMD" --help
    assert_output --partial 'qemu (default), rust-vmm, crosvm'
    assert_output --partial 'error, warn, info (default) or debug'
    assert_output --partial 'pmem (default), or raw'
    grep -qE '^\.Bl -tag -width rust-vmm-0.16' "$manual"
    local profile
    for profile in $(sed -n '/-width rust-vmm-0.16/,/^\.El/s/^\.It Cm //p' "$manual"); do
        run "$SHMEMD" "--front-end=$profile" --region shmid=0,size=1 --socket-path=/x
        refute_output --partial 'no such profile'
    done
}

# The commands of the EXAMPLES that begin with this word, one per line.
example_commands() {
    sed -n '/^\.Sh EXAMPLES/,/^\.Sh DIAGNOSTICS/p' "$manual" | grep "^$1 "
}

@test "each vhost-shmemd command of the manual's EXAMPLES starts and serves" {
    command -v mkfs.ext4 >/dev/null || PATH=$PATH:/usr/sbin:/sbin
    cd "$BATS_TEST_TMPDIR"
    mkdir rootfs
    echo hello >rootfs/file
    eval "$(example_commands mkfs.ext4)"
    local n=0 command
    while read -r command; do
        command=${command//\/run\//$BATS_TEST_TMPDIR/}
        [[ $command =~ --socket-path=([^ ]+) ]]
        socket=${BASH_REMATCH[1]}
        eval "set -- ${command#vhost-shmemd }"
        "$SHMEMD" --worker="$SHMEMD_WORKER" "$@" >>"$log" 2>&1 3>&- &
        daemon_pid=$!
        wait_until test -S "$socket"
        run -0 vuctl negotiate start expect-map flush stop
        stop_daemon TERM
        n=$((n + 1))
    done < <(example_commands vhost-shmemd)
    assert_equal "$n" 2
}
