#!/usr/bin/python3
"""A checkpassword (cr.yp.to/checkpwd/interface.html):

    checkpassword.py PASSWORDS PROGRAM [ARGUMENT...]

PASSWORDS has lines "name password", the password the rest of the line.
Becomes PROGRAM where name and password are right.
"""

import os
import sys

if len(sys.argv) < 3:
    sys.exit(2)
given = b""
while piece := os.read(3, 512):
    given += piece
os.close(3)
try:
    name, password, when, rest = given.split(b"\0")
    int(when)
except ValueError:
    sys.exit(2)
if rest:
    sys.exit(2)
try:
    with open(sys.argv[1], "rb") as file:
        known = file.read().splitlines()
except OSError:
    sys.exit(111)
if name + b" " + password not in known:
    sys.exit(1)
os.environ["USER"] = os.fsdecode(name)
os.execvp(sys.argv[2], sys.argv[2:])
