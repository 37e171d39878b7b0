#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A login on each console of the kernel's command line; INSECURE=true asks for no password. A login that ended is
# offered again.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# the system's own, if it has one
if [ -f /hostroot/etc/getty.shadow ]; then
    { cat /hostroot/etc/getty.shadow; echo; } > /etc/shadow
    chmod 0600 /etc/shadow
fi

offer() {
    speed=${1#*,}
    [ "$speed" != "$1" ] || speed=115200
    speed=$(echo "$speed" | tr -cd 0-9)
    tty=${1%%,*}
    case ${INSECURE:-} in
        true | yes | 1) set -- -n -l /usr/bin/console-shell ;;
        *) set -- ;;
    esac
    while :; do
        setsid getty "$@" -L "${speed:-115200}" "$tty" linux
        sleep 1
    done
}

found=""
read -r words < /proc/cmdline
for word in $words; do
    case $word in console=*) ;; *) continue ;; esac
    name=${word#console=}
    case " $found " in *" ${name%%,*} "*) continue ;; esac
    [ -c "/dev/${name%%,*}" ] || continue
    found="$found ${name%%,*}"
    offer "$name" &
done
[ -n "$found" ] || offer console &
wait
