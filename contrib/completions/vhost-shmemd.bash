# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# bash completion for vhost-shmemd.

_vhost_shmemd() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()

    # "=" ends a word: --option=value is three of them.
    if [[ $cur = = ]]; then
        cur=
    elif [[ $prev = = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
    --config | --socket-path | --connect | --control-socket | --worker) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    --user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
    --device) mapfile -t COMPREPLY < <(compgen -W 'pmem raw' -- "$cur") ;;
    --front-end) mapfile -t COMPREPLY < <(compgen -W 'qemu rust-vmm crosvm rust-vmm-0.16 rfc' -- "$cur") ;;
    --sandbox) mapfile -t COMPREPLY < <(compgen -W 'auto strict' -- "$cur") ;;
    --log-level) mapfile -t COMPREPLY < <(compgen -W 'error warn info debug' -- "$cur") ;;
    --without) mapfile -t COMPREPLY < <(compgen -W 'packed in-order indirect event-idx' -- "$cur") ;;
    --fd | --region | --message-timeout) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "--config --check-config --socket-path --fd --connect --device --region --front-end --user --sandbox --once --log-level --control-socket --message-timeout --without --worker --print-capabilities --print-seccomp --help-config --help --version" -- "$cur") ;;
    esac
}

complete -o filenames -F _vhost_shmemd vhost-shmemd
