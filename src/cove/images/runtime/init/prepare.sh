# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What a container's runtime.json says is to be done: before it is made (prepare), between then and its start (the hook).
# prepare.jq and hook.jq make calls of these functions of it.

# prepare FOLDER BUNDLE: everything until a container can be made; BUNDLE/config.json is what runc is to read.
prepare() {
    rootfs=$1/rootfs
    mkdir -p "$2"
    if [ -f "$1/runtime.json" ]; then
        calls=$(jq -r -f $LIB/prepare.jq "$1/runtime.json") || return 1
        eval "$calls" || return 1
    fi
    jq --arg folder "$1" --arg hook $LIB/hook --slurpfile runtime "$1/runtime.json" -f $LIB/config.jq \
        "$1/config.json" > "$2/config.json"
}

# The root of a container that has ended.
release() {
    umount "$1/rootfs" 2> /dev/null
    umount "$1/tmp" 2> /dev/null
    return 0
}

# mount_one PLACE TYPE SOURCE OPTION...
mount_one() {
    place=$1 type=$2 source=$3 kept="" propagation="" bound="" again=""
    shift 3
    case $place in /*) ;; *) place=$rootfs/$place ;; esac
    for option; do
        case $option in
            shared | rshared | private | rprivate | slave | rslave | unbindable | runbindable)
                propagation="$propagation $option"
                continue
                ;;
            bind | rbind) bound=yes ;;
            remount) again=yes ;;
            upperdir=* | workdir=*) mkdir -p "${option#*=}" ;;
        esac
        kept="$kept${kept:+,}$option"
    done
    [ -e "$place" ] || mkdir -p "$place" || return 1
    # a remount that says nothing else is there for the propagation
    if [ "$kept" != remount ]; then
        mount -n ${type:+-t "$type"} ${kept:+-o "$kept"} "${source:-${type:-none}}" "$place" || return 1
        case ,$kept, in
            # flags of a bind mount need a second call
            *,ro,* | *,nosuid,* | *,nodev,* | *,noexec,*)
                [ -z "$bound" ] || [ -n "$again" ] || mount -n -o "remount,$kept" "$place" || return 1
                ;;
        esac
    fi
    for option in $propagation; do
        mount -n --make-"$option" "$place" || return 1
    done
}

make_folder() {
    case $1 in /*) mkdir -p "$1" ;; *) mkdir -p "$rootfs/$1" ;; esac
}

make_cgroup() {
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        mkdir -p "/sys/fs/cgroup/$1"
    else
        for controller in /sys/fs/cgroup/*/; do
            mkdir -p "$controller$1"
        done
    fi
}

# interface NAME TYPE PEER IN_ROOT: a network device for the process $pid; without a type it is there already.
interface() {
    type=$2
    [ -z "$3" ] || type=${type:-veth}
    if [ -n "$type" ] && [ "$type" != veth ] && [ "$4" != true ]; then
        nsenter -t "$pid" -n ip link add "$1" type "$type"
        return
    fi
    if [ -n "$type" ]; then
        [ "$type" != veth ] || [ -n "$3" ] || return 1
        ip link add "$1" type "$type" || return 1
        [ "$type" != veth ] || rename_peer "$1" "$3" || return 1
    fi
    ip link set "$1" netns "$pid"
}

# The kernel has named the other end of a pair.
rename_peer() {
    read -r wanted < "/sys/class/net/$1/iflink"
    for card in /sys/class/net/*; do
        read -r number < "$card/ifindex"
        [ "$number" != "$wanted" ] || ip link set "${card##*/}" name "$2" || return 1
    done
}

# bind_namespace KIND PATH: keep a namespace of the process $pid under a name.
bind_namespace() {
    mkdir -p "$(dirname "$2")"
    while umount "$2" 2> /dev/null; do :; done # of a former run
    : > "$2" && mount -n -o bind "/proc/$pid/ns/$1" "$2"
}
