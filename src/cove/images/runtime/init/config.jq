# SPDX-License-Identifier: Apache-2.0
# config.json as it is used: the root's whole path, and the hook if there is something for it.
($runtime[0] // {}) as $runtime
| ([$runtime.bindNS // {} | .[] | select((. // "") != "")] + ($runtime.interfaces // []) | length > 0) as $more
| .root.path |= if startswith("/") then . else "\($folder)/\(.)" end
| if $more then .hooks.createRuntime += [{path: $hook, args: ["hook", $folder]}] else . end
