#!/bin/sh
export A=a
export B='$b'
exec '/p/it'"'"'s here/ld.so' --argv0 x "$@"
