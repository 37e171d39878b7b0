# SPDX-License-Identifier: Apache-2.0
# Calls of the functions in prepare.sh, one a line, each of which has to succeed.
def call(name; words): ([name] + (words | map(@sh)) | join(" ")) + " &&";
(.mounts // [] | .[] | call("mount_one"; [.destination // "", .type // "", .source // ""] + (.options // []))),
(.mkdir // [] | .[] | call("make_folder"; [.])),
(.cgroups // [] | .[] | call("make_cgroup"; [.])),
"true"
