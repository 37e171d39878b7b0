#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets what stands in /etc/sysctl.d/*.conf, in the order of the files' names. What this kernel does not have is said.
failed=0
for file in /etc/sysctl.d/*.conf; do
    [ -f "$file" ] || continue
    while IFS= read -r line || [ -n "$line" ]; do
        line=$(echo "$line" | sed 's/^[[:space:]]*//; s/[[:space:]]*=[[:space:]]*/=/; s/[[:space:]]*$//')
        case $line in "" | "#"* | ";"*) continue ;; esac
        optional=no
        case $line in -*) optional=yes line=${line#-} ;; esac
        sysctl -q -w "$line" > /tmp/said 2>&1 || [ $optional = yes ] || { sed "s|^|sysctl: ${file##*/}: |" /tmp/said >&2; failed=1; }
    done < "$file"
done
exit $failed
