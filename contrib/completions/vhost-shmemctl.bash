# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# bash completion for vhost-shmemctl. Names of regions, devices and connections
# are asked from the daemon; without one there are none.

# _vhost_shmemctl_names PROGRAM LIST KEY [--control=PATH]: the values of KEY in
# the objects of LIST. The JSON is our own: one key a line, by the depth indented.
_vhost_shmemctl_names() {
    "$1" status --json --timeout=1 "${@:4}" 2>/dev/null </dev/null |
        sed -nE "/^  \"$2\": \[\$/,/^  \]/s/^      \"$3\": \"?([A-Za-z0-9._-]+)\"?,?\$/\1/p"
}

_vhost_shmemctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]-} options='' control=() i
    COMPREPLY=()

    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W 'probe qemu-args crosvm-args doctor status regions connections disconnect reload metrics top attach --help --version' -- "$cur")
        return
    fi
    # "=" ends a word: --option=value is three of them.
    if [[ $cur = = ]]; then
        cur=
    elif [[ $prev = = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --control)
            [[ ${COMP_WORDS[i + 1]-} != = ]] || i=$((i + 1))
            ((i + 1 >= COMP_CWORD)) || control=("--control=${COMP_WORDS[i + 1]}")
            ;;
        --)
            # The command that attach runs.
            if ((i + 1 == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            fi
            return
            ;;
        esac
    done
    case $prev in
    --control | --socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --type)
        mapfile -t COMPREPLY < <(compgen -W 'pmem raw' -- "$cur")
        return
        ;;
    --timeout | --config-size | --virtio-id | --queues | --memory)
        return
        ;;
    esac
    case $command in
    probe) options='--timeout --json --config-size' ;;
    qemu-args) options='--control --timeout --config-size --socket --type --virtio-id --queues --memory' ;;
    crosvm-args) options='--control --timeout --socket --type --virtio-id' ;;
    doctor | status | regions | connections) options='--control --timeout --json' ;;
    disconnect | reload | metrics) options='--control --timeout' ;;
    top) options='--control --timeout --once' ;;
    attach) options='--control --timeout --read-only --stdin --stdout' ;;
    *) return ;;
    esac
    if [[ $cur = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options --help" -- "$cur")
        return
    fi
    local names=''
    case $command in
    probe)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    qemu-args | crosvm-args) names=$(_vhost_shmemctl_names "${COMP_WORDS[0]}" devices name "${control[@]}") ;;
    attach) names=$(_vhost_shmemctl_names "${COMP_WORDS[0]}" regions name "${control[@]}") ;;
    disconnect) names=$(_vhost_shmemctl_names "${COMP_WORDS[0]}" connections id "${control[@]}") ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$cur")
}

complete -o filenames -o bashdefault -F _vhost_shmemctl vhost-shmemctl
