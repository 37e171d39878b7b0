# SPDX-License-Identifier: Apache-2.0
# Sourced by ./cove and the other scripts; POSIX sh. The caller has set $here to the clone, without links.
#
# cove_setup KIND   sets $venv to a virtual environment that holds requirements/KIND.txt and Cove itself, and makes
#                   it first if needed. On the path of every ./cove call, so: one cksum, no other program, when
#                   nothing changed.

# Prints a Python that is new enough. Each is tried by running it: pyenv's shims exist also for versions that are
# not installed. One with ensurepip is better, because it can fill a virtual environment by itself.
cove_python() {
    for modules in 'sys, venv, ensurepip' 'sys, venv'; do
        for candidate in ${COVE_PYTHON:+"$COVE_PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
            if "$candidate" -c "import $modules; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; then
                printf '%s\n' "$candidate"
                return 0
            fi
        done
    done
    echo 'cove: Python 3.11 or newer was not found (tried python3, python3.14 to python3.11, python)' >&2
    echo 'hint: install it, for example `apt install python3 python3-venv` or `brew install python`, or name it in COVE_PYTHON' >&2
    return 1
}

# Whether the environment $1 is complete and made from what $want says. A clone that was moved, a lock or
# pyproject.toml that changed and a Python that was removed all make it stale.
cove_fresh() {
    [ -r "$1/cove-$kind.stamp" ] && [ -x "$1/bin/python" ] || return 1
    have=
    while IFS= read -r line || [ -n "$line" ]; do
        have="$have${have:+
}$line"
    done <"$1/cove-$kind.stamp"
    [ "$have" = "$want" ]
}

cove_setup() {
    kind=$1
    want=$(cksum "$here/requirements/install.txt" "$here/requirements/dev.txt" "$here/pyproject.toml")
    venv=$here/.venv
    if cove_fresh "$venv"; then return 0; fi
    # a clone that may not be written to gets its environment in COVE_HOME
    number=$(printf '%s' "$here" | cksum)
    spare=${COVE_HOME:-${HOME:-/nonexistent}/.cove}/venv-${number%% *}
    if cove_fresh "$spare"; then
        venv=$spare
        return 0
    fi
    python=$(cove_python) || return 1
    venv=$("$python" "$here/scripts/bootstrap.py" "$here" "$kind" "$want" "$spare")
}
