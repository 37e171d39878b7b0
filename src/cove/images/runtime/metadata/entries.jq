# SPDX-License-Identifier: Apache-2.0
# Calls of folder and entry for a tree of user data; names that lead elsewhere are refused.
def part: if . == "" or . == "." or . == ".." or contains("/") then error("\(.) is no name") else . end;
def walk_entries(path):
  to_entries[] | (path + [.key | part]) as $here | .value as $value
  | ($here | join("/")) as $name | ($value.perm // "") as $perm
  | if ($value | has("content")) == ($value | has("entries")) then error("\($name): content or entries, one of them")
    elif $value | has("content") then "entry \($name | @sh) \($perm | @sh) \($value.content | @sh)"
    else "folder \($name | @sh) \($perm | @sh)", ($value.entries | walk_entries($here)) end;
walk_entries([])
