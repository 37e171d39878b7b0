#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# swap.sh --path PATH --size SIZE [--condition part:PATH[:required]] [--condition partsize:PATH:SIZE[:required]] [--debug]
# A file to swap to. If a condition is not met there is none, which is a failure only if it is required.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

say() {
    echo "swap: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

bytes() {
    number=${1%[kKmMgG]}
    case $number in "" | *[!0-9]*) fail "$1 is no size" ;; esac
    case $1 in
        *[kK]) echo $((number * 1024)) ;;
        *[mM]) echo $((number * 1048576)) ;;
        *[gG]) echo $((number * 1073741824)) ;;
        *) echo "$number" ;;
    esac
}

unmet() { # WHAT REQUIRED
    [ "$2" != true ] || fail "$1"
    say "$1: no swap"
    exit 0
}

condition() {
    kind=${1%%:*}
    rest=${1#*:}
    place=${rest%%:*}
    rest=${rest#"$place"}
    rest=${rest#:}
    case $kind in
        part) grep -q " $place " /proc/mounts || unmet "nothing is mounted on $place" "$rest" ;;
        partsize | size)
            least=$(bytes "${rest%%:*}") || exit 1
            required=${rest#"${rest%%:*}"}
            has=$(df -k -P "$place" 2> /dev/null | awk 'NR == 2 { print $2 * 1024 }')
            [ "${has:-0}" -ge "$least" ] || unmet "$place has ${has:-no} bytes" "${required#:}"
            ;;
        *) fail "there is no condition $kind" ;;
    esac
}

path="" size="" conditions=""
while [ $# -gt 0 ]; do
    case $1 in
        --path) [ -z "$path" ] || fail "one --path, not two"; path=$2 && shift ;;
        --size) size=$2 && shift ;;
        --condition) conditions="$conditions $2" && shift ;;
        --debug) set -x ;;
        --encrypt) fail "an encrypted swap file cannot be made by this image" ;;
        *) fail "there is no option $1" ;;
    esac
    shift
done
[ -n "$path" ] || fail "--path is missing"
[ -n "$size" ] || fail "--size is missing"
size=$(bytes "$size") || exit 1
for one in $conditions; do
    condition "$one"
done
folder=${path%/*}
mkdir -p "$folder" || fail "there is no folder $folder"
if [ ! -f "$path" ] || [ "$(stat -c %s "$path")" -ne "$size" ]; then
    free=$(df -k -P "$folder" | awk 'NR == 2 { print $4 * 1024 }')
    [ "$free" -gt "$size" ] || fail "$folder has $free bytes, and $size are wanted"
    rm -f "$path"
    # written, not only allocated: a swap file has no holes
    dd if=/dev/zero of="$path" bs=1048576 count=$(((size + 1048575) / 1048576)) 2> /dev/null || fail "$path cannot be written"
    truncate -s "$size" "$path"
fi
chmod 0600 "$path"
mkswap "$path" > /dev/null || fail "$path cannot be made a swap file"
swapon "$path" || fail "$path cannot be swapped to (not on a tmpfs)"
say "$path, $size bytes"
