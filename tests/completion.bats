#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# The completions for shells offer what the programs take, and names that the
# daemon has.
# shellcheck disable=SC2154,SC2034 # COMP_WORDS and COMPREPLY are bash's own names

load helpers/common

completions=$top_srcdir/contrib/completions

setup() {
    common_setup
    ctl=$top_builddir/vhost-shmemctl
    # shellcheck source=/dev/null
    source "$completions/vhost-shmemctl.bash"
    # shellcheck source=/dev/null
    source "$completions/vhost-shmemd.bash"
    server_pid=
}

teardown() {
    if [[ -n $server_pid ]]; then
        kill "$server_pid"
        wait "$server_pid" || :
    fi
    common_teardown
}

# offers FUNCTION WORD...: what it offers for the last word, in order.
offers() {
    local function=$1
    shift
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    "$function"
    ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}" | sort
}

commands() {
    "$ctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\).*/\1/p' | grep .
}

# options PROGRAM [COMMAND]
options() {
    "$@" --help | grep -oE '^  --[a-z-]+' | tr -d ' ' | sort
}

@test "bash: the first word of vhost-shmemctl is a command" {
    assert_equal "$(offers _vhost_shmemctl "$ctl" '' | grep -v '^--')" "$(commands | sort)"
    assert_equal "$(offers _vhost_shmemctl "$ctl" con)" connections
    assert_equal "$(offers _vhost_shmemctl "$ctl" --v)" --version
}

@test "bash: each command of vhost-shmemctl has the options that its --help has" {
    local command
    for command in $(commands); do
        assert_equal "$command: $(offers _vhost_shmemctl "$ctl" "$command" --)" "$command: $(options "$ctl" "$command")"
    done
}

@test "bash: the options of vhost-shmemd are those of its --help" {
    assert_equal "$(offers _vhost_shmemd vhost-shmemd '')" "$(options "$SHMEMD")"
    assert_equal "$(offers _vhost_shmemd vhost-shmemd --front-end = q)" qemu
    assert_equal "$(offers _vhost_shmemd vhost-shmemd --device '')" $'pmem\nraw'
    cd "$BATS_TEST_TMPDIR"
    touch a-file
    assert_equal "$(offers _vhost_shmemd vhost-shmemd --socket-path = a-)" a-file
}

@test "bash: the words after an option of vhost-shmemd are those that it takes" {
    local option word text
    for option in front-end log-level sandbox without; do
        for word in $(offers _vhost_shmemd vhost-shmemd "--$option" = ''); do
            run -1 "$SHMEMD" --region=shmid=0,size=4M "--$option=$word"
            assert_output --partial '--socket-path, --fd or --connect is missing'
        done
        run -1 "$SHMEMD" "--$option=nonsense"
        for text in $(offers _vhost_shmemd vhost-shmemd "--$option" = ''); do
            assert_output --partial "$text"
        done
    done
}

# A daemon with regions, a device and connections. The completions give it a second
# for its answer, as suits somebody who has pressed a key; on a busy machine a test
# gives it more. So the programs that they call are those of $bin.
play_daemon() {
    mkdir "$BATS_TEST_TMPDIR/replies"
    tr -d '\n' <"$top_srcdir/tests/helpers/status.json" >"$BATS_TEST_TMPDIR/replies/status"
    echo >>"$BATS_TEST_TMPDIR/replies/status"
    bin=$BATS_TEST_TMPDIR/bin
    mkdir "$bin"
    cat >"$bin/vhost-shmemctl" <<-EOF
	#!/usr/bin/env bash
	exec "$ctl" "\${@/#--timeout=1/--timeout=$VUCTL_TIMEOUT}"
	EOF
    chmod +x "$bin/vhost-shmemctl"
    ctl=$bin/vhost-shmemctl
    "$top_srcdir/tests/helpers/control-server" "$BATS_TEST_TMPDIR/control" "$BATS_TEST_TMPDIR/replies" >&2 3>&- &
    server_pid=$!
    wait_until grep -q " 00010000 .* $BATS_TEST_TMPDIR/control\$" /proc/net/unix
}

@test "bash: regions, devices and connections are those that the daemon has" {
    play_daemon
    local control=(--control "=" "$BATS_TEST_TMPDIR/control")
    assert_equal "$(offers _vhost_shmemctl "$ctl" attach "${control[@]}" '')" $'root\nscratch'
    assert_equal "$(offers _vhost_shmemctl "$ctl" attach --control "$BATS_TEST_TMPDIR/control" s)" scratch
    assert_equal "$(offers _vhost_shmemctl "$ctl" qemu-args "${control[@]}" '')" $'old\nvm1'
    assert_equal "$(offers _vhost_shmemctl "$ctl" disconnect "${control[@]}" '')" $'7\n9'
    assert_equal "$(offers _vhost_shmemctl "$ctl" attach --control = /nonexistent '')" ''
    assert_equal "$(offers _vhost_shmemctl "$ctl" attach r -- trunc)" "$(compgen -c trunc | sort)"
}

@test "zsh: the completions have every command and option, and no other" {
    local file=$completions/_vhost-shmemctl
    assert_equal "$(sed -n "/commands=(/,/)\$/p" "$file" | grep -oE "'[a-z-]+:" | tr -d "':" | grep -v '^--' | sort)" \
        "$(commands | sort)"
    assert_equal "$(grep -oE -- "--[a-z-]+(=|\[|:)" "$file" | tr -d '=[:' | sort -u)" \
        "$(options "$ctl")"
    assert_equal "$(grep -oE -- "--[a-z-]+(=|\[)" "$completions/_vhost-shmemd" | tr -d '=[' | sort -u)" \
        "$(options "$SHMEMD")"
}

# in_both LINE FUNCTION WORD...: zsh will be asked for LINE, and has to offer the
# words that bash does.
in_both() {
    asked+=("$1")
    wanted+=("$(offers "${@:2}" | sort -u)")
}

@test "zsh: it offers what bash does" {
    local asked=() wanted=() command option i buffer words
    local completed=(connections 'top --once' 'scratch' --front-end=crosvm)
    require_tool zsh
    play_daemon
    local place=$BATS_TEST_TMPDIR/control

    # One word is left of each of these, and zsh writes it into the line.
    in_both 'vhost-shmemctl con' _vhost_shmemctl "$ctl" con
    in_both 'vhost-shmemctl top --o' _vhost_shmemctl "$ctl" top --o
    in_both "vhost-shmemctl attach --control=$place scr" _vhost_shmemctl "$ctl" attach --control = "$place" scr
    in_both 'vhost-shmemd --front-end=cro' _vhost_shmemd vhost-shmemd --front-end = cro

    in_both 'vhost-shmemctl ' _vhost_shmemctl "$ctl" ''
    for command in $(commands); do
        in_both "vhost-shmemctl $command --" _vhost_shmemctl "$ctl" "$command" --
    done
    for command in attach qemu-args crosvm-args disconnect; do
        in_both "vhost-shmemctl $command --control=$place " \
            _vhost_shmemctl "$ctl" "$command" --control = "$place" ''
    done
    in_both 'vhost-shmemctl attach r -- trunc' _vhost_shmemctl "$ctl" attach r -- trunc
    in_both 'vhost-shmemd --' _vhost_shmemd vhost-shmemd --
    for option in device front-end log-level sandbox without; do
        in_both "vhost-shmemd --$option=" _vhost_shmemd vhost-shmemd "--$option" = ''
    done

    # It ends by itself; the deadline is for one that hangs.
    run -0 timeout $((VUCTL_TIMEOUT * 6)) \
        zsh -f "$top_srcdir/tests/helpers/zsh-offers" "$completions" "$bin" "${asked[@]}"
    for i in "${!asked[@]}"; do
        [[ -n ${wanted[i]} ]] || fail "bash offers nothing for '${asked[i]}'"
        IFS=$'\t' read -r buffer words <<<"${lines[i]}"
        assert_equal "${asked[i]}: $(tr ' ' '\n' <<<"$words" | sort)" "${asked[i]}: ${wanted[i]}"
        if ((i < ${#completed[@]})); then
            assert_regex "$buffer" " ${completed[i]} ?\$"
        fi
    done
}
