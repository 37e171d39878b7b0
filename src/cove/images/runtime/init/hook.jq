# SPDX-License-Identifier: Apache-2.0
# As prepare.jq, for what needs the container's namespaces.
def call(name; words): [name] + (words | map(@sh)) | join(" ");
(.interfaces // [] | .[] | call("interface"; [.name // "", .add // "", .peer // "", (.createInRoot // false | tostring)])),
(.bindNS // {} | to_entries[] | select((.value // "") != "") | call("bind_namespace"; [.key, .value]))
