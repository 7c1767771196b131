#!/usr/bin/env bash
# What launchers look at before they ask a cloud for anything; sourced by them.
set -euo pipefail

fail() {
    echo "${0##*/}: $1" >&2
    exit 2
}

# need COMMAND HOW-TO-GET-IT
need() {
    command -v "$1" >/dev/null || fail "the command $1 is not on this machine: $2"
}

# check_form OPTION VALUE PATTERN WANTED
check_form() {
    # Elsewhere a-z may have capitals in it.
    local LC_ALL=C
    [[ $2 =~ ^($3)$ ]] || fail "$1=$2: give $4"
}

# Refuses values that still have a word of the README in place of a name.
check_filled() {
    local value
    for value in "$@"; do
        if [[ $value =~ (^|[=/])(BUCKET|FOLDER|IMAGE|PROJECT|REPOSITORY)([/:]|$) ]]; then
            fail "$value: put your own name in place of ${BASH_REMATCH[2]}"
        fi
    done
}

# The words of a command that has failed, in one line.
words_of() {
    tr -s '[:space:]' ' ' <"$1" | sed 's/ $//' | cut --characters=1-600
}
